//! Reads the bodies of responses within bounds: bytes, frames, and interim responses before them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::Request;
use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_ENCODING, HeaderMap};
use tokio::sync::Notify;

use crate::domain::error::Failure;

/// The limit of a body in bytes. A user with a hundred linked identities takes about 300 KiB.
const MAX_BODY: usize = 1024 * 1024;

/// The most frames of a body, which is 64 bytes per frame at the limit. Each frame takes time, whatever its size: 1 MiB
/// in single bytes would keep a thread busy for a second.
const MOST_FRAMES: usize = 16 * 1024;

/// The most interim responses (1xx) before the final one. Auth0 sends none; HTTP allows any number.
const MOST_INTERIM: usize = 8;

/// The cause in the failure of a response after too many interim ones.
pub(super) const INTERIM: &str = "too many interim responses (1xx)";
const TOO_LARGE: &str = "a body of more than 1 MiB";
const TOO_MANY_FRAMES: &str = "a body in more than 16384 chunks";

/// Reads the whole of `body`. `broken` turns an error of reading into a failure.
pub(super) async fn whole(
    mut body: Incoming,
    broken: impl FnOnce(hyper::Error) -> Failure,
) -> Result<Bytes, Failure> {
    let malformed = |what| Err(Failure::Malformed { what });
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > MAX_BODY {
        return malformed(TOO_LARGE);
    }
    let (mut whole, mut frames) = (Vec::with_capacity(announced), 0_usize);
    while let Some(frame) = body.frame().await {
        let frame = match frame {
            Ok(frame) => frame,
            Err(error) => return Err(broken(error)),
        };
        let Some(piece) = frame.data_ref() else { continue };
        frames = frames.saturating_add(1);
        if whole.len().saturating_add(piece.len()) > MAX_BODY {
            return malformed(TOO_LARGE);
        }
        if frames > MOST_FRAMES {
            return malformed(TOO_MANY_FRAMES);
        }
        whole.extend_from_slice(piece);
    }
    Ok(whole.into())
}

/// Counts the interim responses to `request`. Notifies when there are more than [`MOST_INTERIM`].
pub(super) fn count_interim<B>(request: &mut Request<B>) -> Arc<Notify> {
    let (enough, count) = (Arc::new(Notify::new()), AtomicUsize::new(0));
    let notify = Arc::clone(&enough);
    hyper::ext::on_informational(request, move |_| {
        if count.fetch_add(1, Ordering::Relaxed) >= MOST_INTERIM {
            notify.notify_one();
        }
    });
    enough
}

/// Whether the body is encoded. Names of no encoding and of character sets are ignored, because real servers send both.
pub(super) fn is_encoded(headers: &HeaderMap) -> bool {
    const NO_ENCODING: [&str; 5] = ["", "identity", "none", "utf-8", "utf8"];
    let is_none = |coding: &str| NO_ENCODING.iter().any(|none| none.eq_ignore_ascii_case(coding.trim()));
    let all = headers.get_all(CONTENT_ENCODING).iter();
    !all.into_iter().all(|value| value.to_str().is_ok_and(|codings| codings.split(',').all(is_none)))
}
