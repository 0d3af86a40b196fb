//! A provider's answer: judged, and turned into the answer to the client.

use hyper::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Response};

use crate::api::response::{self, AnswerBody, KeepAlive};
use crate::domain::verdict::{self, Dialect, MOST_READ, Sample, Verdict};
use crate::transport::streaming::StreamBody;

use super::download::{AnswerLimits, Beginning, Download};
use super::headers;
use super::links::Links;
use super::record::{CallRecord, RecordParts};

/// Marks every answer that is the provider's, and none of the daemon's own.
const UPSTREAM: HeaderName = HeaderName::from_static("cloakroom-upstream");
const VERDICT: HeaderName = HeaderName::from_static("cloakroom-verdict");
const REMEDY: HeaderName = HeaderName::from_static("cloakroom-remedy");

/// A provider's answer, and what it means.
pub struct Judged {
    response: Response<StreamBody>,
    /// What of the body was read to judge the answer.
    beginning: Beginning,
    /// What a refusal means; `None` for any other answer.
    pub verdict: Option<Verdict>,
}

impl Judged {
    /// Judges an answer, of which the beginning of the body is read where its meaning depends on that.
    pub async fn of(mut response: Response<StreamBody>, dialect: Dialect) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers());
        let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let length = text(CONTENT_LENGTH).and_then(|length| length.parse().ok());
        let is_encoded = headers.contains_key(CONTENT_ENCODING);
        let is_read = verdict::reads_body(dialect, status, text(CONTENT_TYPE), is_encoded, length);
        let beginning = match is_read {
            true => Beginning::read(response.body_mut(), MOST_READ).await,
            false => Beginning::default(),
        };
        let body = is_read.then(|| beginning.bytes(MOST_READ));
        let values = |name: &str| all(response.headers(), name);
        let sample = Sample { status, headers: &values, body: body.as_deref() };
        let verdict = verdict::judge(dialect, &sample);
        Self { response, beginning, verdict }
    }

    /// Whether the answer is a refusal after which a call with this method may be made once more.
    pub fn permits_retry(&self, method: &Method) -> bool {
        self.verdict.as_ref().is_some_and(|verdict| verdict.permits_retry(method.as_str()))
    }

    /// The status.
    pub fn status(&self) -> u16 {
        self.response.status().as_u16()
    }
}

fn all<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a [u8]> {
    headers.get_all(name).iter().map(HeaderValue::as_bytes).collect()
}

/// What the request carried.
pub struct Credential<'a> {
    /// The token.
    pub token: &'a [u8],
    /// The connection that a login would be with; `None` where no login brings another token.
    pub connection: Option<&'a str>,
}

/// The answer to the client.
pub fn respond(
    judged: Judged,
    parts: RecordParts,
    links: &Links<'_>,
    credential: Credential<'_>,
    limits: AnswerLimits,
    keep_alive: KeepAlive,
) -> Response<AnswerBody> {
    let Judged { response, beginning, verdict } = judged;
    let (head, body) = response.into_parts();
    let filtered = headers::answer(head.headers, &[credential.token]);
    let mut headers = filtered.headers;
    links.rewrite(&mut headers);
    headers.insert(UPSTREAM, HeaderValue::from_static("1"));
    let mut reflected = filtered.reflected;
    if let Some(verdict) = &verdict {
        let mut text = verdict.header_value();
        let mut remedy = credential.connection.and_then(|connection| verdict::remedy(connection, verdict));
        // An API that repeats the token may do so where it names scopes.
        if headers::reveals(text.as_bytes(), credential.token) {
            (text, remedy) = (verdict.as_str().to_owned(), None);
            reflected += 1;
        }
        let texts = [(VERDICT, Some(text)), (REMEDY, remedy)];
        let texts =
            texts.into_iter().filter_map(|(name, text)| Some((name, HeaderValue::try_from(text?).ok()?)));
        headers.extend(texts);
    }
    let request_id = parts.request_id.header();
    parts.services.counters.calls.reflected(reflected);
    let record = CallRecord::new(parts);
    let body = Download::new(beginning, body, limits, record);
    response::proxied(head.status, headers, request_id, keep_alive, body)
}
