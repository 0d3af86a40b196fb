//! Detects that the process or the machine has no free file descriptor, which the resolver reports as an unknown name.

use std::error::Error;
use std::io;

use nix::errno::Errno;

/// Whether `error` says that the process (`EMFILE`) or the machine (`ENFILE`) has no descriptor left.
pub(super) fn are_lacking(error: &(dyn Error + 'static)) -> bool {
    let code = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error);
    code.is_some_and(|code| [Errno::EMFILE, Errno::ENFILE].contains(&Errno::from_raw(code)))
}

/// The most descriptors that the C library's resolver has open at a time: a configuration file and a socket or two.
const TO_RESOLVE: usize = 4;

/// Whether fewer descriptors are free at this moment than resolving a name takes. The resolver does not report why it
/// could not open `hosts`, `resolv.conf` or a socket, so this function tries to open as many sockets.
pub(super) fn are_gone() -> bool {
    let socket = || std::net::UdpSocket::bind("[::]:0").or_else(|_| std::net::UdpSocket::bind("0.0.0.0:0"));
    let mut sockets = Vec::new();
    (0..TO_RESOLVE).any(|_| match socket() {
        Ok(socket) => {
            sockets.push(socket);
            false
        }
        Err(error) => are_lacking(&error),
    })
}
