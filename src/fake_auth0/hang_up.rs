//! Notices that a client has closed its connection, also while bytes of it are still unread.

use std::io;
use std::time::Duration;

use tokio::io::Interest;
use tokio::net::TcpStream;

/// How often a connection with unread bytes is looked at.
const PAUSE: Duration = Duration::from_millis(2);

/// A second descriptor of a connection's socket.
pub(super) struct Watched(TcpStream);

/// Returns the stream, and its second descriptor. The socket is open until both are dropped.
pub(super) fn watchable(stream: TcpStream) -> io::Result<(TcpStream, Watched)> {
    let stream = stream.into_std()?;
    let second = TcpStream::from_std(stream.try_clone()?)?;
    Ok((TcpStream::from_std(stream)?, Watched(second)))
}

impl Watched {
    /// Waits until the client has closed the connection, or its sending half of it.
    pub async fn closed_by_peer(self) {
        loop {
            match self.0.ready(Interest::READABLE).await {
                Ok(ready) if !ready.is_read_closed() => tokio::time::sleep(PAUSE).await,
                _ => return,
            }
        }
    }
}
