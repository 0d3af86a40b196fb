//! Tells a lack of file descriptors from what it looks like: a name that cannot be resolved.

use std::error::Error;
use std::io;

use nix::errno::Errno;

/// Whether `error` says that the process (`EMFILE`) or the machine (`ENFILE`) has no descriptor left.
pub(super) fn are_lacking(error: &(dyn Error + 'static)) -> bool {
    let code = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error);
    code.is_some_and(|code| [Errno::EMFILE, Errno::ENFILE].contains(&Errno::from_raw(code)))
}

/// The C library's resolver has this many open at a time, at most: a configuration, and a socket or two.
const TO_RESOLVE: usize = 4;

/// Whether there are fewer at this moment than what a name takes to be resolved. The resolver does not pass on why it
/// could not open `hosts`, `resolv.conf` or a socket; trying to have as many tells it.
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
