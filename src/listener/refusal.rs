//! Sends the response to a client whose connection is closed before any of its requests is handled.
//!
//! What the client still sends is read and discarded, because the kernel resets a connection that is closed with unread
//! data, and the client might then not get to read the response.

use std::io::ErrorKind;
use std::time::Duration;

use nix::sys::socket::Shutdown;
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::fairness::yield_to_ready;
use super::io::shut;
use crate::api::Services;
use crate::api::error::ApiError;

/// How long what the client still sends is read and discarded.
const LINGER: Duration = Duration::from_secs(1);

/// How long to wait for a request that is refused anyway. Most clients send theirs at once, and some treat a response
/// that precedes it as an HTTP error.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);

/// The most that is read before the refusal. No request that would be answered is longer; more is discarded afterwards.
const LONGEST: usize = 64 * 1024;

/// Sends `why` to a client whose request could not be read.
pub(super) async fn explain(why: &ApiError, stream: &UnixStream, services: &Services) {
    if send(why, true, stream, services) {
        drain(stream).await;
    }
}

/// Answers the first request of a client that there is no room for another connection.
pub(super) async fn refuse(stream: UnixStream, services: &Services) {
    let mut request = RequestBytes::default();
    let whole = read(&stream, |bytes| {
        request.note(bytes);
        request.is_whole() || request.length > LONGEST
    });
    timeout(REQUEST_TIMEOUT, whole).await.ok();
    if send(&ApiError::NoRoom, !request.is_head(), &stream, services) && !request.is_whole() {
        drain(&stream).await;
    }
}

/// Writes the whole response and shuts down the sending half; whether that succeeded.
fn send(why: &ApiError, with_body: bool, stream: &UnixStream, services: &Services) -> bool {
    let request_id = services.next_request_id();
    services.request_counters.answered(None, why.status());
    tracing::debug!(code = why.code(), %request_id, "Request refused");
    let is_sent = stream.try_write(why.raw(request_id.as_str(), with_body).as_bytes()).is_ok()
        && shut(stream, Shutdown::Write).is_ok();
    if !is_sent {
        tracing::trace!("A client had hung up before its refusal was sent");
    }
    is_sent
}

/// Reads what the client still sends, until it closes its sending half or [`LINGER`] has passed.
pub(super) async fn drain(stream: &UnixStream) {
    timeout(LINGER, read(stream, |_| false)).await.ok();
}

/// Reads until `is_enough` returns true, or the client has closed its sending half.
async fn read(stream: &UnixStream, mut is_enough: impl FnMut(&[u8]) -> bool) {
    let mut bytes = [0; 1024];
    while stream.readable().await.is_ok() {
        match stream.try_read(&mut bytes) {
            Ok(0) => return,
            Ok(length) if is_enough(bytes.get(..length).unwrap_or_default()) => return,
            Err(error) if error.kind() != ErrorKind::WouldBlock => return,
            // Other connections go first.
            _ => yield_to_ready().await,
        }
    }
}

/// What a refusal has to know of the request.
#[derive(Default)]
struct RequestBytes {
    length: usize,
    first: [u8; 5],
    last: [u8; 4],
}

impl RequestBytes {
    fn note(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if let Some(byte_of_first) = self.first.get_mut(self.length) {
                *byte_of_first = *byte;
            }
            self.last.rotate_left(1);
            self.last[3] = *byte;
            self.length = self.length.saturating_add(1);
        }
    }

    fn is_head(&self) -> bool {
        self.first == *b"HEAD "
    }

    /// Whether a request without a body has been read completely.
    fn is_whole(&self) -> bool {
        (self.is_head() || self.first.starts_with(b"GET ")) && self.last == *b"\r\n\r\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_whole_with_its_empty_line_wherever_it_is_cut() {
        let head = b"HEAD /livez HTTP/1.1\r\nhost: x\r\n\r\n";
        for cut in 1..head.len() {
            let mut request = RequestBytes::default();
            request.note(&head[..cut]);
            assert!(!request.is_whole(), "{cut}");
            request.note(&head[cut..]);
            assert!(request.is_whole() && request.is_head());
        }
        for other in [&b"POST /v1/reload HTTP/1.1\r\n\r\n"[..], b"\r\n\r\n", b"", b"GET / HTTP/1.1\r\n"] {
            let mut request = RequestBytes::default();
            request.note(other);
            assert!(!request.is_whole() && !request.is_head());
        }
    }
}
