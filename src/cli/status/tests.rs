//! Tests of the text of `cloakroom status`.

use super::*;
use crate::api::types::{FailureStatus, UpstreamFailure};

fn healthy() -> StatusAnswer {
    StatusAnswer {
        version: "0.1.0".into(),
        started_at: "2026-11-22T06:48:00Z".into(),
        uptime_seconds: 11_520,
        ready: true,
        draining: false,
        tenant: "acme.eu.auth0.com".into(),
        management_token: ManagementTokenStatus {
            valid: true,
            expires_at: Some("2026-11-23T06:48:00Z".into()),
            next_refresh_at: Some("2026-11-23T02:00:00Z".into()),
            last_success_at: Some("2026-11-22T06:48:00Z".into()),
            scopes: Some(vec!["read:users".into(), "read:user_idp_tokens".into()]),
            missing_scopes: vec![],
            refusal: None,
            failure: None,
        },
        management_api: None,
        client_certificate: None,
        cache: CacheStatus { entries: 1, bytes: 34_816, max_bytes: 67_108_864 },
        lookups: LookupCounts { hit: 1_203, miss: 12, stale: 0, negative: 3, error: 1 },
        upstream: UpstreamStatus {
            token_requests: 1,
            user_requests: 13,
            failures: 1,
            last_failure: Some(UpstreamFailure {
                at: "2026-11-22T08:00:00Z".into(),
                detail: "unexpected status 503 from Auth0".into(),
            }),
            flights_joined: 7,
            ratelimit_remaining: Some(48),
            ..UpstreamStatus::default()
        },
        sources: vec![
            SourceStatus {
                connection: "google-oauth2".into(),
                source: "refresh".into(),
                host: "oauth2.googleapis.com".into(),
                misconfigured: None,
            },
            SourceStatus {
                connection: "github".into(),
                source: "refresh".into(),
                host: "github.com".into(),
                misconfigured: Some("the provider refuses the connection's client".into()),
            },
        ],
        state: None,
        listeners: vec![
            ListenerStatus { path: "/run/cloakroom/cloakroom.sock".into(), connections: 1, streams: 0 },
            ListenerStatus { path: "/run/web/cloakroom.sock".into(), connections: 40, streams: 2 },
        ],
    }
}

fn failed(permanent: bool) -> Option<FailureStatus> {
    Some(FailureStatus {
        detail: "the host name acme.eu.auth0.com cannot be resolved".into(),
        permanent,
        attempts: 3,
    })
}

fn without_token() -> StatusAnswer {
    let management_token = ManagementTokenStatus {
        valid: false,
        expires_at: None,
        next_refresh_at: Some("2026-11-22T10:00:08Z".into()),
        last_success_at: None,
        scopes: None,
        missing_scopes: vec![],
        refusal: None,
        failure: failed(false),
    };
    StatusAnswer { ready: false, management_token, ..healthy() }
}

fn shown(status: &StatusAnswer) -> String {
    render(status, Timestamp::parse("2026-11-22T10:00:00Z").unwrap())
}

#[test]
fn a_healthy_daemon() {
    assert_eq!(
        shown(&healthy()),
        "\
ready: but a source is misconfigured, so some expired tokens are not renewed

daemon   cloakroom 0.1.0, up 3 h 12 min
         started 3 h 12 min ago (2026-11-22T06:48:00Z)
tenant   acme.eu.auth0.com
token    valid, expires in 20 h 48 min (2026-11-23T06:48:00Z)
         obtained 3 h 12 min ago (2026-11-22T06:48:00Z)
         renewed in 16 h (2026-11-23T02:00:00Z)
         scopes: read:users read:user_idp_tokens
cache    1 user, 34.0 KiB of 64.0 MiB
lookups  1203 hit, 12 miss, 0 stale, 3 negative, 1 error
auth0    1 token request, 13 user requests, 1 failed; 7 lookups shared one
         48 left of the tenant's rate limit
         last failure 2 h ago (2026-11-22T08:00:00Z): unexpected status 503 from Auth0
sources  google-oauth2: refresh at oauth2.googleapis.com
         github: refresh at github.com MISCONFIGURED: the provider refuses the connection's client
sockets  /run/cloakroom/cloakroom.sock (1 connection)
         /run/web/cloakroom.sock (40 connections, 2 streams)
"
    );
}

#[test]
fn a_daemon_that_never_got_a_token() {
    let text = shown(&without_token());
    assert!(
        text.starts_with(
            "not ready: no Management token: the host name acme.eu.auth0.com cannot be resolved\n\n"
        ),
        "{text}"
    );
    let token = "\
token    NONE
         next attempt in 8 s (2026-11-22T10:00:08Z)
         FAILED 3 times: the host name acme.eu.auth0.com cannot be resolved
         it may pass: the daemon keeps trying
";
    assert!(text.contains(token), "{text}");
    assert!(!text.contains("scopes"), "{text}");
}

#[test]
fn a_token_that_lacks_a_scope() {
    let mut status = healthy();
    status.management_token.scopes = Some(vec!["read:users".into()]);
    status.management_token.missing_scopes = vec!["read:user_idp_tokens".into()];
    let text = shown(&status);
    assert!(text.starts_with("ready: but the Management token lacks read:user_idp_tokens\n"), "{text}");
    let loud = "MISSING SCOPE read:user_idp_tokens: Auth0 leaves every user's tokens out; grant it";
    assert!(text.contains(loud), "{text}");
}

#[test]
fn a_renewal_that_fails_while_a_token_is_held() {
    let mut status = healthy();
    status.management_token.failure = failed(true);
    let text = shown(&status);
    let verdict = "ready: but the Management token is not being renewed (3 failed attempts)\n";
    assert!(text.starts_with(verdict), "{text}");
    assert!(text.contains("waiting does not help"), "{text}");
}

#[test]
fn a_state_file_that_cannot_be_written() {
    let (trouble, oldest_unwritten_seconds) = (Some("it is full".into()), Some(9));
    let state = StateStatus { trouble, records: 7, unwritten: 2, oldest_unwritten_seconds };
    let text = shown(&StatusAnswer { state: Some(state), ..healthy() });
    assert!(text.starts_with("ready: but the state file cannot be used"), "{text}");
    let rows = "state    CANNOT BE USED: it is full\n         2 results NOT WRITTEN, the oldest for 9 s\n";
    assert!(text.contains(rows), "{text}");
}

#[test]
fn every_other_verdict() {
    let mut starting = without_token();
    starting.management_token.failure = None;
    let draining = StatusAnswer { draining: true, ready: false, ..healthy() };
    let unexplained = StatusAnswer { ready: false, ..healthy() };
    let mut expired = without_token();
    expired.management_token.expires_at = Some("2026-11-22T09:59:00Z".into());
    expired.management_token.failure = None;

    let verdicts = [&starting, &draining, &unexplained].map(verdict);
    let expected = [
        "not ready: no Management token yet",
        "not ready: it is shutting down",
        "not ready: lookups are not answered yet",
    ];
    assert_eq!(verdicts, expected);
    assert!(
        shown(&expired).contains("token    NONE; the last one's expiry was 60 s ago"),
        "{}",
        shown(&expired)
    );
}

#[test]
fn scopes_that_auth0_did_not_state_are_not_invented() {
    let mut status = healthy();
    status.management_token.scopes = None;
    status.management_token.expires_at = None;
    let text = shown(&status);
    assert!(text.contains("token    valid\n"), "{text}");
    assert!(text.contains("scopes: Auth0 did not say"), "{text}");
}

#[test]
fn calls_of_the_management_api_have_rows_where_they_are_configured() {
    let mut status = healthy();
    assert!(!shown(&status).contains("/api/v2"));
    let mut token = without_token().management_token;
    token.failure = failed(true);
    status.management_api = Some(token);
    let text = shown(&status);
    let row = "/api/v2  CLOSED: the host name acme.eu.auth0.com cannot be resolved\n";
    assert!(text.contains(row), "{text}");
}

#[test]
fn keys_that_were_asked_for_are_counted() {
    let mut status = healthy();
    status.upstream.key_requests = 1;
    let text = shown(&status);
    assert!(text.contains("13 user requests, 1 key request, 1 failed; 7 lookups"), "{text}");
    status.upstream.exchange_requests = 2;
    let text = shown(&status);
    assert!(text.contains("1 key request, 2 exchanges, 1 failed; 7 lookups"), "{text}");
}

#[test]
fn a_source_that_is_misconfigured_is_in_the_verdict_and_one_that_is_not_is_no_fault() {
    let mut status = healthy();
    status.sources.truncate(1);
    assert!(shown(&status).starts_with("ready: lookups are answered\n"));
    status.management_token.failure = failed(false);
    status.sources = healthy().sources;
    assert!(shown(&status).starts_with("ready: but the Management token is not being renewed"));
}

#[test]
fn nothing_in_it_can_drive_a_terminal() {
    let mut status = without_token();
    status.tenant = "acme\u{1b}[2J".into();
    status.management_token.failure =
        Some(FailureStatus { detail: "\u{1b}]0;x\u{7}".into(), permanent: false, attempts: 1 });
    assert!(!shown(&status).contains(['\u{1b}', '\u{7}']));
}
