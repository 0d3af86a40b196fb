//! The file of a socket that this daemon has created, which it removes at its end.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

/// The file of a socket, identified by device and inode. Dropping it removes the file, unless another file has replaced
/// that.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
    /// Keeps the socket listening until the file is removed. A daemon that starts may replace a dead socket, and the
    /// new file may get the same inode. This daemon would then remove the other daemon's file.
    _listener: UnixListener,
}

impl SocketFile {
    /// The file at `path`, whose metadata is `meta`. `listener` is another descriptor of the socket.
    pub(super) fn new(path: PathBuf, meta: &Metadata, listener: UnixListener) -> Self {
        Self { path, device: meta.dev(), inode: meta.ino(), _listener: listener }
    }

    /// Whether the file at the path is still the one that this daemon has created.
    pub(super) fn is_own(&self) -> bool {
        fs::symlink_metadata(&self.path)
            .is_ok_and(|meta| meta.dev() == self.device && meta.ino() == self.inode)
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.is_own()
            && let Err(cause) = fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %cause, "The socket's file cannot be removed");
        }
    }
}
