//! The rows about `[management_api]`: whether calls of `/api/v2` are sent on, and why not.

use crate::api::types::ManagementTokenStatus;
use crate::cli::text::date;
use crate::domain::freshness::Timestamp;

use super::rows::{failure, row};

/// Whether the calls are open, until when the token is valid, and what it may do.
pub(super) fn rows(token: &ManagementTokenStatus, now: Timestamp) -> Vec<[String; 2]> {
    let why = token.refusal.as_ref().or(token.failure.as_ref().map(|failure| &failure.detail));
    let is_open = token.valid && token.refusal.is_none();
    let state = match (is_open, &token.expires_at, why) {
        (true, Some(at), _) => format!("open, its token expires {}", date(at, now)),
        (true, None, _) => "open".into(),
        (false, _, Some(why)) => format!("CLOSED: {why}"),
        (false, _, None) => "no token yet".into(),
    };
    let mut rows = vec![row("/api/v2", state)];
    rows.extend(token.scopes.iter().map(|scopes| row("", format!("scopes: {}", scopes.join(" ")))));
    // The cause is in the first row unless an older token is still valid.
    rows.extend(
        token.failure.iter().flat_map(|cause| failure(cause).into_iter().skip(usize::from(!is_open))),
    );
    if let Some(at) = token.next_refresh_at.as_ref().filter(|_| token.failure.is_some()) {
        rows.push(row("", format!("next attempt {}", date(at, now))));
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::types::FailureStatus;

    fn shown(token: &ManagementTokenStatus) -> Vec<String> {
        let rows = rows(token, Timestamp::parse("2026-11-22T10:00:00Z").unwrap());
        rows.into_iter().map(|row| row.join(" ")).collect()
    }

    fn token() -> ManagementTokenStatus {
        ManagementTokenStatus {
            valid: true,
            expires_at: Some("2026-11-22T16:00:00Z".into()),
            next_refresh_at: Some("2026-11-22T10:05:00Z".into()),
            last_success_at: Some("2026-11-22T09:00:00Z".into()),
            scopes: Some(vec!["read:users".into(), "update:users".into()]),
            missing_scopes: vec![],
            refusal: None,
            failure: None,
        }
    }

    fn failure() -> Option<FailureStatus> {
        Some(FailureStatus { detail: "take it away".into(), permanent: true, attempts: 2 })
    }

    #[test]
    fn open_calls_state_the_tokens_end_and_its_scopes() {
        let open = "/api/v2 open, its token expires in 6 h (2026-11-22T16:00:00Z)";
        assert_eq!(shown(&token()), [open, " scopes: read:users update:users"]);
        let renewal_fails = shown(&ManagementTokenStatus { failure: failure(), ..token() });
        assert_eq!(renewal_fails[0], open);
        assert_eq!(renewal_fails[2], " FAILED 2 times: take it away");
    }

    #[test]
    fn closed_calls_state_why_once() {
        let none = ManagementTokenStatus { valid: false, expires_at: None, scopes: None, ..token() };
        assert_eq!(shown(&none), ["/api/v2 no token yet"]);
        let closed = shown(&ManagementTokenStatus { failure: failure(), ..none });
        let advice = " waiting does not help: the configuration has to be changed, here or in Auth0";
        let next = " next attempt in 5 min (2026-11-22T10:05:00Z)";
        assert_eq!(closed, ["/api/v2 CLOSED: take it away", advice, next]);
        let refused = ManagementTokenStatus { refusal: Some("Auth0 refuses it".into()), ..token() };
        assert_eq!(shown(&refused)[0], "/api/v2 CLOSED: Auth0 refuses it");
    }
}
