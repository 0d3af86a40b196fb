//! Tells a caller why its connection is closed, where no request of it is answered. What it was told arrives: the kernel
//! resets a connection that is closed while there is something unread in it, and the caller may not come to read.

use std::io::ErrorKind;
use std::time::Duration;

use nix::sys::socket::Shutdown;
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::fairness::step_back;
use super::io::shut;
use crate::api::Services;
use crate::api::error::ApiError;

/// For how long whatever a caller still sends is taken in and thrown away.
const LINGER: Duration = Duration::from_secs(1);

/// For how long a request is waited for that is refused whatever it is. Most callers send theirs at once, and some take an
/// answer that comes before it for an error of HTTP.
const FIRST_WORDS: Duration = Duration::from_secs(2);

/// Nothing that we would answer is longer. What is more is thrown away after it was refused.
const LONGEST: usize = 64 * 1024;

/// Says `why` to a caller whose request never became one.
pub(super) async fn explain(why: &ApiError, stream: &UnixStream, services: &Services) {
    if say(why, true, stream, services) {
        drain(stream).await;
    }
}

/// Says that there is no room for another connection, to whatever it asks for first.
pub(super) async fn tell(stream: UnixStream, services: &Services) {
    let mut heard = Heard::default();
    let whole = read(&stream, |bytes| {
        heard.note(bytes);
        heard.is_whole() || heard.length > LONGEST
    });
    timeout(FIRST_WORDS, whole).await.ok();
    if say(&ApiError::NoRoom, !heard.is_head(), &stream, services) && !heard.is_whole() {
        drain(&stream).await;
    }
}

/// Writes the whole answer and ends it; whether there was anybody to read it.
fn say(why: &ApiError, with_body: bool, stream: &UnixStream, services: &Services) -> bool {
    let request_id = services.next_request_id();
    services.tally.answered(None, why.status());
    tracing::debug!(code = why.code(), %request_id, "ApiError");
    // Whether it still reads is its own affair.
    let is_said = stream.try_write(why.raw(request_id.as_str(), with_body).as_bytes()).is_ok()
        && shut(stream, Shutdown::Write).is_ok();
    if !is_said {
        tracing::trace!("A caller was gone before it was told why");
    }
    is_said
}

async fn drain(stream: &UnixStream) {
    timeout(LINGER, read(stream, |_| false)).await.ok();
}

/// Reads until `is_enough` says so, or there is no more.
async fn read(stream: &UnixStream, mut is_enough: impl FnMut(&[u8]) -> bool) {
    let mut bytes = [0; 1024];
    while stream.readable().await.is_ok() {
        match stream.try_read(&mut bytes) {
            Ok(0) => return,
            Ok(length) if is_enough(bytes.get(..length).unwrap_or_default()) => return,
            Err(error) if error.kind() != ErrorKind::WouldBlock => return,
            // Other connections take their turns meanwhile.
            _ => step_back().await,
        }
    }
}

/// What has to be known of a request that is refused unread.
#[derive(Default)]
struct Heard {
    length: usize,
    first: [u8; 5],
    last: [u8; 4],
}

impl Heard {
    fn note(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if let Some(place) = self.first.get_mut(self.length) {
                *place = *byte;
            }
            self.last.rotate_left(1);
            self.last[3] = *byte;
            self.length = self.length.saturating_add(1);
        }
    }

    fn is_head(&self) -> bool {
        self.first == *b"HEAD "
    }

    /// Whether all has been read of a request that has no body, so that nothing more is to come.
    fn is_whole(&self) -> bool {
        (self.is_head() || self.first.starts_with(b"GET ")) && self.last == *b"\r\n\r\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_whole_with_its_empty_line_wherever_it_is_cut() {
        let request = b"HEAD /livez HTTP/1.1\r\nhost: x\r\n\r\n";
        for cut in 1..request.len() {
            let mut heard = Heard::default();
            heard.note(&request[..cut]);
            assert!(!heard.is_whole(), "{cut}");
            heard.note(&request[cut..]);
            assert!(heard.is_whole() && heard.is_head());
        }
        for other in [&b"POST /v1/reload HTTP/1.1\r\n\r\n"[..], b"\r\n\r\n", b"", b"GET / HTTP/1.1\r\n"] {
            let mut heard = Heard::default();
            heard.note(other);
            assert!(!heard.is_whole() && !heard.is_head());
        }
    }
}
