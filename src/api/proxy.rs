//! Calls that are sent on to a provider's API or to the Management API, with a token that the client does not hold.
//!
//! A call passes, in this order: the checks of every request (`admission.rs`), of its framing ([`framing`]), of its target
//! ([`crate::domain::target`]), and the rules. Then the token is looked up, the headers are filtered ([`headers`]), and
//! the body is sent on as it comes (`upload.rs`). The answer is judged ([`crate::domain::verdict`]), its headers are
//! filtered and its links rewritten ([`links`]), and its body is handed on as it comes (`download.rs`).
//!
//! What is judged is what is sent: the target goes on byte for byte, and nothing is normalised.

mod address;
mod answer;
mod apis;
mod awaited_answer;
mod brakes;
mod download;
mod fields;
pub mod framing;
mod head_wait;
pub mod headers;
pub mod links;
mod management_call;
mod provider_call;
mod record;
mod upload;

use hyper::Response;
use hyper::body::Incoming;

use crate::management::calls::ManagementCallFailure;

use super::audit::AuditRecord;
use super::error::ApiError;
use super::exchange::Exchange;
use super::response::AnswerBody;
use super::route::{Matched, Route};

pub use apis::ProxiedApis;
pub(super) use brakes::DropBrakes;

/// Why there is no answer to a call of `route`, for which the configuration has no table.
pub(super) fn turned_off(route: Option<Matched<'_>>) -> ApiError {
    match route.map(|matched| matched.spec.route) {
        Some(Route::ManagementApi) => ApiError::ManagementCall(ManagementCallFailure::NotConfigured),
        _ => ApiError::ProxyIsOff,
    }
}

/// The answer to a call of `route`, or why it is not sent on. `is_kept` says whether the client's connection persists.
pub(super) async fn answer(
    exchange: &Exchange<'_>,
    route: Matched<'_>,
    body: Incoming,
    is_kept: bool,
    record: &mut AuditRecord,
) -> Result<Response<AnswerBody>, ApiError> {
    match route.spec.route {
        Route::ManagementApi => management_call::answer(exchange, route, body, is_kept, record).await,
        _ => provider_call::answer(exchange, route, body, is_kept, record).await,
    }
}
