//! Answers to exchanges, documented and not.

use bytes::Bytes;
use hyper::HeaderMap;
use serde_json::{Value, json};

use crate::domain::freshness::{Moment, Timestamp};

use super::*;

fn at(secs: u64) -> Moment {
    Moment { wall: Timestamp::from_secs(1_700_000_000 + secs as i64), elapsed: Duration::from_secs(secs) }
}

fn raw(status: u16, body: &str) -> Result<ExchangeAnswer, Failure> {
    let status = StatusCode::from_u16(status).unwrap();
    let answer = Answer { status, headers: HeaderMap::new(), body: Bytes::from(body.to_owned()) };
    parse_exchange(&answer, Timing { sent: at(0), received: at(1) })
}

fn read(status: u16, body: &Value) -> Result<ExchangeAnswer, Failure> {
    raw(status, &body.to_string())
}

fn error(status: u16, code: &str) -> Result<ExchangeAnswer, Failure> {
    read(status, &json!({ "error": code, "error_description": "canary" }))
}

fn issued(body: &Value) -> (String, Option<u64>, Option<String>) {
    match read(200, body) {
        Ok(ExchangeAnswer::Issued(IssuedToken { access_token, expires_in, scopes })) => {
            (access_token.expose().to_owned(), expires_in.map(|span| span.as_secs()), scopes)
        }
        other => panic!("{body}: {other:?}"),
    }
}

#[test]
fn a_token_is_read_as_auth0_documents_it() {
    let documented = json!({
        "access_token": "ya29.a0", "scope": "openid https://www.googleapis.com/auth/calendar", "expires_in": 1377,
        "issued_token_type": "http://auth0.com/oauth/token-type/token-vault-access-token", "token_type": "Bearer",
    });
    let scopes = "openid https://www.googleapis.com/auth/calendar".to_owned();
    assert_eq!(issued(&documented), ("ya29.a0".to_owned(), Some(1376), Some(scopes)));
}

#[test]
fn lifetimes_and_scopes_are_read_in_every_form_that_providers_use() {
    let with = |name: &str, value: Value| {
        let mut body = json!({ "access_token": "t" });
        body[name] = value;
        let (_, expires_in, scopes) = issued(&body);
        (expires_in, scopes)
    };
    for (value, expires_in) in [
        (json!(3), Some(2)),
        (json!(1), Some(0)),
        (json!(0), Some(0)),
        (json!(-5), Some(0)),
        (json!("3599"), Some(3598)),
        (json!(59.9), Some(58)),
        // A date, by the local clock where the answer has none.
        (json!(1_700_000_101), Some(99)),
        (json!(null), None),
        (json!("soon"), None),
        (json!([3]), None),
    ] {
        assert_eq!(with("expires_in", value.clone()).0, expires_in, "{value}");
    }
    assert!(with("expires_in", json!(1e18)).0.unwrap() > 1_000_000_000);
    for (value, scopes) in [
        (json!("a b"), Some("a b")),
        (json!("a,b"), Some("a b")),
        (json!("repo, user:email,, \tgist "), Some("repo user:email gist")),
        (json!(""), None),
        (json!(" , "), None),
        (json!(null), None),
        (json!(["a"]), None),
    ] {
        assert_eq!(with("scope", value.clone()).1.as_deref(), scopes, "{value}");
    }
}

#[test]
fn a_success_without_a_token_is_no_token() {
    for body in [
        json!({}),
        json!({ "access_token": "" }),
        json!({ "access_token": null }),
        json!({ "access_token": {} }),
        json!({ "access_token": "two words" }),
        json!({ "access_token": "line\nbreak" }),
        json!(["token"]),
    ] {
        assert!(matches!(read(200, &body), Err(Failure::Malformed { .. })), "{body}");
    }
    for body in ["", "<html>", "{", "null"] {
        assert!(matches!(raw(200, body), Err(Failure::Malformed { .. })), "{body}");
    }
}

#[test]
fn only_the_codes_of_the_vault_are_about_the_account() {
    for status in [400, 401, 403, 404] {
        let not_found = error(status, "federated_connection_refresh_token_not_found");
        assert!(matches!(not_found, Ok(ExchangeAnswer::NotConnected)), "{not_found:?}");
        let failed = error(status, "federated_connection_refresh_token_flow_failed");
        assert!(matches!(failed, Ok(ExchangeAnswer::NotRefreshed)), "{failed:?}");
    }
    assert!(error(500, "federated_connection_refresh_token_not_found").is_err());
}

#[test]
fn a_refusal_says_what_an_operator_has_to_change() {
    for (status, code, fault) in [
        (401, "invalid_client", SourceFault::VaultClient),
        (401, "access_denied", SourceFault::VaultAccess),
        (403, "unauthorized_client", SourceFault::VaultGrant),
        (400, "unauthorized_client", SourceFault::VaultGrant),
        (400, "unsupported_grant_type", SourceFault::VaultGrant),
        (403, "access_denied", SourceFault::VaultAccess),
        (400, "invalid_scope", SourceFault::VaultAccess),
        (403, "mfa_required", SourceFault::VaultMfa),
        (400, "invalid_request", SourceFault::VaultRequest),
        (403, "invalid_grant", SourceFault::VaultRequest),
        (401, "something_new", SourceFault::VaultRequest),
    ] {
        match error(status, code) {
            Ok(ExchangeAnswer::Refused(found)) => {
                assert_eq!(found, fault, "{status} {code}");
                assert!(!found.to_string().contains("canary"));
            }
            other => panic!("{status} {code}: {other:?}"),
        }
    }
}

#[test]
fn a_denial_is_the_clients_only_in_the_words_that_auth0_has_for_that() {
    let denied = |status, description: &str| {
        read(status, &json!({ "error": "access_denied", "error_description": description }))
    };
    for (status, description, fault) in [
        (401, "Unauthorized", SourceFault::VaultClient),
        (401, "The IP address is not allowed", SourceFault::VaultAccess),
        (401, "", SourceFault::VaultAccess),
        (403, "Unauthorized", SourceFault::VaultAccess),
    ] {
        let found = denied(status, description);
        assert!(matches!(&found, Ok(ExchangeAnswer::Refused(found)) if *found == fault), "{found:?}");
    }
}

#[test]
fn what_does_not_come_from_auth0_is_no_refusal() {
    for (status, body) in [
        (401, r#"{"message":"Forbidden"}"#),
        (403, "<html>blocked</html>"),
        (403, ""),
        (400, r#"{"error":"Bad Request"}"#),
        (404, r#"{"error":"not_found"}"#),
        (408, r#"{"error":"access_denied"}"#),
        (302, ""),
        (500, r#"{"error":"invalid_client"}"#),
        (503, r#"{"error":"temporarily_unavailable"}"#),
        (401, r#"{"error":"temporarily_unavailable"}"#),
        (403, r#"{"error":{"code":"access_denied"}}"#),
        (403, r#"["access_denied"]"#),
    ] {
        let found = raw(status, body);
        assert!(found.is_err(), "{status} {body}: {found:?}");
    }
}
