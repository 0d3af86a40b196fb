//! The daemon's own errors on `/api/v2`, in the shape of Auth0's Management API, which is what its SDKs parse.

use hyper::header::{HeaderName, HeaderValue, RETRY_AFTER};
use serde::Serialize;

use crate::domain::retry::whole_seconds;
use crate::management::calls::{ClosedGate, ManagementCallFailure};

use super::error::ErrorSpec;

/// How codes begin, so that they differ from all of Auth0's.
const PREFIX: &str = "cloakroom_";

/// The names of the headers that state Auth0's rate limit, by which its SDKs wait.
const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// An error of the Management API
/// (<https://auth0.com/docs/api/management/v2>).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Auth0Error<'a> {
    status_code: u16,
    error: &'a str,
    message: &'a str,
    error_code: String,
}

/// The body, which is JSON, of the error of this row. `detail` says the cause and the fix.
pub fn body(spec: &ErrorSpec, detail: &str) -> String {
    let error = Auth0Error {
        status_code: spec.status.as_u16(),
        error: spec.status.canonical_reason().unwrap_or("Error"),
        message: detail,
        error_code: format!("{PREFIX}{}", spec.name),
    };
    // Texts and a number can always be written.
    serde_json::to_string(&error).unwrap_or_default()
}

/// The headers of an answer to a call that failed with `failure`.
pub fn headers(failure: &ManagementCallFailure) -> Vec<(HeaderName, HeaderValue)> {
    if let ManagementCallFailure::GateClosed(gate) = failure {
        return of_closed_gate(gate);
    }
    let wait = failure.retry_after().map(|wait| (RETRY_AFTER, whole_seconds(wait).into()));
    wait.into_iter().collect()
}

fn of_closed_gate(gate: &ClosedGate) -> Vec<(HeaderName, HeaderValue)> {
    let mut headers = vec![
        (RETRY_AFTER, whole_seconds(gate.retry_after).into()),
        (REMAINING, 0.into()),
        (RESET, gate.resets_at.as_secs().into()),
    ];
    headers.extend(gate.limit.map(|limit| (LIMIT, limit.into())));
    headers
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::api::error::Code;
    use crate::domain::error::Refusal;
    use crate::domain::freshness::Timestamp;

    #[test]
    fn an_error_has_the_four_members_of_auth0s() {
        assert_eq!(
            body(Code::Forbidden.spec(), "no rule allows this \"call\""),
            r#"{"statusCode":403,"error":"Forbidden","message":"no rule allows this \"call\"","errorCode":"cloakroom_forbidden"}"#
        );
        assert!(body(Code::Overloaded.spec(), "").contains(r#""error":"Service Unavailable""#));
    }

    #[test]
    fn a_closed_gate_says_until_when_as_auth0_does() {
        let shown = |failure: &ManagementCallFailure| -> Vec<String> {
            let headers = headers(failure).into_iter();
            headers.map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect()
        };
        let gate = ClosedGate {
            retry_after: Duration::from_millis(6_200),
            limit: Some(50),
            resets_at: Timestamp::from_secs(1_700_000_007),
        };
        let mut expected = vec![
            "retry-after: 7",
            "x-ratelimit-remaining: 0",
            "x-ratelimit-reset: 1700000007",
            "x-ratelimit-limit: 50",
        ];
        assert_eq!(shown(&ManagementCallFailure::GateClosed(gate)), expected);
        expected.pop();
        assert_eq!(shown(&ManagementCallFailure::GateClosed(ClosedGate { limit: None, ..gate })), expected);
        let busy = ManagementCallFailure::Busy { retry_after: Duration::from_millis(10) };
        assert_eq!(shown(&busy), ["retry-after: 1"]);
        assert!(shown(&ManagementCallFailure::Closed(Refusal::UserTokensScope)).is_empty());
    }
}
