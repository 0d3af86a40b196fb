//! Tells a lack of file descriptors from what it looks like: a name that cannot be resolved.

use std::error::Error;
use std::io;

use nix::errno::Errno;

/// Whether `error` says that the process (`EMFILE`) or the machine (`ENFILE`) has no descriptor left.
pub(super) fn are_lacking(error: &(dyn Error + 'static)) -> bool {
    let code = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error);
    code.is_some_and(|code| [Errno::EMFILE, Errno::ENFILE].contains(&Errno::from_raw(code)))
}

/// Whether there is none at this moment. The C library's resolver does not pass on why it could not open `hosts`,
/// `resolv.conf` or a socket; trying to have one tells it.
pub(super) fn are_gone() -> bool {
    std::net::UdpSocket::bind("[::]:0")
        .or_else(|_| std::net::UdpSocket::bind("0.0.0.0:0"))
        .is_err_and(|error| are_lacking(&error))
}
