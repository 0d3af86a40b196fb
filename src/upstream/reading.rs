//! Reads answers within bounds: of bytes, of pieces, and of what comes before them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_ENCODING, HeaderMap};
use tokio::sync::Notify;

use crate::domain::error::Failure;

/// Far beyond any answer we ask for: a user with a hundred linked identities is some 300 KiB.
const MAX_BODY: usize = 1024 * 1024;

/// The most pieces that a body may come in, 64 bytes each where there are so many: each takes its time, whatever is in
/// it, and one of 1 MiB in single bytes would have a thread busy for a second.
const MOST_PIECES: usize = 16 * 1024;

/// The most interim answers (1xx) before the one that counts. Auth0 sends none; HTTP allows any number.
const MOST_INTERIM: usize = 8;

/// What is said of the last of those that are too many.
pub(super) const INTERIM: &str = "one interim answer (1xx) after the other";
const TOO_LARGE: &str = "a body of more than 1 MiB";
const TOO_MANY_PIECES: &str = "a body in more than 16384 pieces";

/// Reads `body` into one piece whatever it comes in. `broken` is the failure that an error while reading is.
pub(super) async fn whole(
    mut body: Incoming,
    broken: impl FnOnce(hyper::Error) -> Failure,
) -> Result<Bytes, Failure> {
    let malformed = |what| Err(Failure::Malformed { what });
    let told = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if told > MAX_BODY {
        return malformed(TOO_LARGE);
    }
    let (mut whole, mut pieces) = (Vec::with_capacity(told), 0_usize);
    while let Some(frame) = body.frame().await {
        let frame = match frame {
            Ok(frame) => frame,
            Err(error) => return Err(broken(error)),
        };
        let Some(piece) = frame.data_ref() else { continue };
        pieces = pieces.saturating_add(1);
        if whole.len().saturating_add(piece.len()) > MAX_BODY {
            return malformed(TOO_LARGE);
        }
        if pieces > MOST_PIECES {
            return malformed(TOO_MANY_PIECES);
        }
        whole.extend_from_slice(piece);
    }
    Ok(whole.into())
}

/// Counts what comes before the answer that counts; notifies when that is more than there should be.
pub(super) fn count_interim(request: &mut Request<Full<Bytes>>) -> Arc<Notify> {
    let (enough, count) = (Arc::new(Notify::new()), AtomicUsize::new(0));
    let notify = Arc::clone(&enough);
    hyper::ext::on_informational(request, move |_| {
        if count.fetch_add(1, Ordering::Relaxed) >= MOST_INTERIM {
            notify.notify_one();
        }
    });
    enough
}

/// Whether anything was done to the body. What names nothing, or a character set, is harmless: servers are seen to send
/// both.
pub(super) fn is_encoded(headers: &HeaderMap) -> bool {
    const HARMLESS: [&str; 5] = ["", "identity", "none", "utf-8", "utf8"];
    let is_harmless =
        |coding: &str| HARMLESS.iter().any(|harmless| harmless.eq_ignore_ascii_case(coding.trim()));
    let all = headers.get_all(CONTENT_ENCODING).iter();
    !all.into_iter().all(|value| value.to_str().is_ok_and(|codings| codings.split(',').all(is_harmless)))
}
