//! `cloakroom status`: shows the state of a daemon to an operator.
//!
//! The first line is the verdict. Below it, faults are in capitals, and everything else is not.

use std::io;

use bytesize::ByteSize;

use crate::api::types::{
    CacheStatus, FailureStatus, ListenerStatus, LookupCounts, ManagementTokenStatus, SourceStatus,
    StateStatus, StatusAnswer, UpstreamStatus,
};
use crate::domain::freshness::Timestamp;

use super::client::Client;
use super::text::{count, date, span, table};
use super::{AnswerFormat, CommandError, SocketArgs};

mod certificate;

/// For `--help`.
pub const ABOUT: &str = "\
Show the state of a running daemon: whether it is ready, its Management API token, its cache, its answers.

The first line says `ready` or `not ready` and why. The exit code says whether the daemon answered, not whether it \
is ready: use `cloakroom healthcheck` for that.

Examples:
  cloakroom status
  cloakroom status --output json | jq .management_token.expires_at";

/// The arguments of `status`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// What to print
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = AnswerFormat::Text)]
    pub output: AnswerFormat,
    /// The daemon's socket.
    #[command(flatten)]
    pub socket: SocketArgs,
}

/// Difference of the clocks in seconds above which a row is shown. The daemon warns above it as well.
const TOLERABLE_SKEW: f64 = 5.0;

/// Requests the daemon's state and prints it.
pub async fn run(args: &Args, out: &mut impl io::Write) -> Result<(), CommandError> {
    let answer = Client::new(&args.socket.path).get("/v1/status").await?;
    args.output.write(&answer, render, out)
}

fn render(status: &StatusAnswer, now: Timestamp) -> String {
    let mut rows = vec![
        row("daemon", format!("cloakroom {}, up {}", status.version, span(status.uptime_seconds))),
        row("", format!("started {}", date(&status.started_at, now))),
        row("tenant", &status.tenant),
    ];
    rows.extend(management(&status.management_token, now));
    rows.extend(status.client_certificate.iter().map(|client| row("client", certificate::text(client, now))));
    rows.push(row("cache", cache(&status.cache)));
    rows.push(row("lookups", lookups(status.lookups)));
    rows.extend(upstream(&status.upstream, now));
    rows.extend(
        status
            .sources
            .iter()
            .enumerate()
            .map(|(n, one)| row(if n == 0 { "sources" } else { "" }, source(one))),
    );
    rows.extend(status.state.iter().flat_map(state));
    rows.extend(status.listeners.iter().enumerate().map(|(n, listener)| {
        let name = if n == 0 { "sockets" } else { "" };
        row(name, listening(listener))
    }));
    // The verdict is a table of one cell, so that its control characters are escaped as well.
    format!("{}\n{}", table(&[[verdict(status)]]), table(&rows))
}

fn row(name: &str, value: impl Into<String>) -> [String; 2] {
    [name.into(), value.into()]
}

/// Returns whether the daemon is ready, and why not. A ready daemon may still have a fault that the operator should
/// know.
fn verdict(status: &StatusAnswer) -> String {
    let token = &status.management_token;
    if status.draining {
        return "not ready: it is shutting down".into();
    }
    match (status.ready, &token.failure) {
        (false, Some(failure)) => format!("not ready: no Management token: {}", failure.detail),
        (false, None) if token.valid => "not ready: lookups are not answered yet".into(),
        (false, None) => "not ready: no Management token yet".into(),
        (true, _) if !token.missing_scopes.is_empty() => {
            format!("ready: but the Management token lacks {}", token.missing_scopes.join(" and "))
        }
        (true, _) if token.refusal.is_some() => {
            "ready: but Auth0 refuses the Management token, so lookups fail".into()
        }
        (true, _) if status.state.as_ref().is_some_and(|state| state.trouble.is_some()) => {
            "ready: but the state file cannot be used, so no refresh token that rotates is redeemed".into()
        }
        (true, Some(failure)) => {
            let attempts = count(failure.attempts, "failed attempt");
            format!("ready: but the Management token is not being renewed ({attempts})")
        }
        (true, None) => "ready: lookups are answered".into(),
    }
}

fn state(state: &StateStatus) -> Vec<[String; 2]> {
    let what = match &state.trouble {
        Some(trouble) => format!("CANNOT BE USED: {trouble}"),
        None => count(state.records, "record"),
    };
    let unwritten = state.oldest_unwritten_seconds.map(|age| {
        row("", format!("{} NOT WRITTEN, the oldest for {}", count(state.unwritten, "result"), span(age)))
    });
    std::iter::once(row("state", what)).chain(unwritten).collect()
}

fn management(token: &ManagementTokenStatus, now: Timestamp) -> Vec<[String; 2]> {
    let state = match (token.valid, &token.expires_at) {
        (true, Some(at)) => format!("valid, expires {}", date(at, now)),
        (true, None) => "valid".into(),
        (false, Some(at)) => format!("NONE; the last one's expiry was {}", date(at, now)),
        (false, None) => "NONE".into(),
    };
    let mut rows = vec![row("token", state)];
    if let Some(at) = &token.last_success_at {
        rows.push(row("", format!("obtained {}", date(at, now))));
    }
    if let Some(at) = &token.next_refresh_at {
        let what = if token.failure.is_some() { "next attempt" } else { "renewed" };
        rows.push(row("", format!("{what} {}", date(at, now))));
    }
    match &token.scopes {
        Some(scopes) if scopes.is_empty() => rows.push(row("", "scopes: none")),
        Some(scopes) => rows.push(row("", format!("scopes: {}", scopes.join(" ")))),
        // Before the first token Auth0 has not answered yet.
        None if token.last_success_at.is_some() => rows.push(row("", "scopes: Auth0 did not say")),
        None => {}
    }
    for scope in &token.missing_scopes {
        rows.push(row("", format!("MISSING SCOPE {scope}: {}", consequence(scope))));
    }
    rows.extend(token.refusal.iter().map(|why| row("", format!("REFUSED: {why}"))));
    rows.extend(token.failure.iter().flat_map(failure));
    rows
}

/// Returns the effect of a missing scope, and the fix.
fn consequence(scope: &str) -> String {
    let effect = match scope {
        "read:users" => "no user can be read",
        "read:user_idp_tokens" => "Auth0 leaves every user's tokens out",
        _ => "something will be refused",
    };
    format!("{effect}; grant it to the application for the Auth0 Management API")
}

fn failure(failure: &FailureStatus) -> [[String; 2]; 2] {
    let advice = match failure.permanent {
        true => "waiting does not help: the configuration has to be changed, here or in Auth0",
        false => "it may pass: the daemon keeps trying",
    };
    [row("", format!("FAILED {}: {}", count(failure.attempts, "time"), failure.detail)), row("", advice)]
}

fn cache(cache: &CacheStatus) -> String {
    let [held, limit] = [cache.bytes, cache.max_bytes].map(|bytes| ByteSize::b(bytes).display().iec());
    format!("{}, {held} of {limit}", count(cache.entries, "user"))
}

fn lookups(counts: LookupCounts) -> String {
    let LookupCounts { hit, miss, stale, negative, error } = counts;
    format!("{hit} hit, {miss} miss, {stale} stale, {negative} negative, {error} error")
}

fn upstream(status: &UpstreamStatus, now: Timestamp) -> Vec<[String; 2]> {
    let UpstreamStatus { token_requests, user_requests, key_requests, failures, last_failure, .. } = status;
    let (tokens, users) = (count(*token_requests, "token request"), count(*user_requests, "user request"));
    let joined = count(status.flights_joined, "lookup");
    // If `/v1/me` is off there are none.
    let keys = match key_requests {
        0 => String::new(),
        some => format!(", {}", count(*some, "key request")),
    };
    let requests = format!("{tokens}, {users}{keys}, {failures} failed; {joined} shared one");
    let mut rows = vec![row("auth0", requests)];
    if let Some(seconds) = status.gate_closed_for {
        let wait = span(seconds);
        rows.push(row(
            "",
            format!("RATE LIMIT REACHED: the tenant answered 429; nothing is asked for another {wait}"),
        ));
    }
    if status.waiting > 0 {
        rows.push(row(
            "",
            format!("{} waiting for a permit within [upstream]", count(status.waiting, "request")),
        ));
    }
    if let Some(remaining) = status.ratelimit_remaining {
        let thrifty = if status.thrifty { ", which is low: nothing is refreshed ahead" } else { "" };
        rows.push(row("", format!("{remaining} left of the tenant's rate limit{thrifty}")));
    }
    if status.clock_skew_seconds.abs() > TOLERABLE_SKEW {
        let (seconds, which) = (status.clock_skew_seconds.abs(), status.clock_skew_seconds > 0.0);
        let direction = if which { "behind" } else { "ahead of" };
        rows.push(row(
            "",
            format!("CLOCK: this machine's is {seconds:.0} s {direction} Auth0's; synchronise it (NTP)"),
        ));
    }
    if let Some(failure) = last_failure {
        rows.push(row("", format!("last failure {}: {}", date(&failure.at, now), failure.detail)));
    }
    rows
}

fn listening(listener: &ListenerStatus) -> String {
    format!("{} ({})", listener.path, count(listener.connections, "connection"))
}

fn source(source: &SourceStatus) -> String {
    let SourceStatus { connection, source, host, misconfigured } = source;
    let fault = misconfigured.as_ref().map(|fault| format!(" MISCONFIGURED: {fault}"));
    format!("{connection}: {source} at {host}{}", fault.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::types::UpstreamFailure;

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
                ListenerStatus { path: "/run/cloakroom/cloakroom.sock".into(), connections: 1 },
                ListenerStatus { path: "/run/web/cloakroom.sock".into(), connections: 40 },
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
ready: lookups are answered

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
         /run/web/cloakroom.sock (40 connections)
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
        let rows =
            "state    CANNOT BE USED: it is full\n         2 results NOT WRITTEN, the oldest for 9 s\n";
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
    fn keys_that_were_asked_for_are_counted() {
        let mut status = healthy();
        status.upstream.key_requests = 1;
        let text = shown(&status);
        assert!(text.contains("13 user requests, 1 key request, 1 failed; 7 lookups"), "{text}");
    }

    #[test]
    fn nothing_in_it_can_drive_a_terminal() {
        let mut status = without_token();
        status.tenant = "acme\u{1b}[2J".into();
        status.management_token.failure =
            Some(FailureStatus { detail: "\u{1b}]0;x\u{7}".into(), permanent: false, attempts: 1 });
        assert!(!shown(&status).contains(['\u{1b}', '\u{7}']));
    }
}
