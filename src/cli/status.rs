//! `cloakroom status`: shows the state of a daemon to an operator.
//!
//! The first line is the verdict. Below it, faults are in capitals, and everything else is not.

use std::io;

use bytesize::ByteSize;

use crate::api::types::{
    CacheStatus, ListenerStatus, LookupCounts, ManagementTokenStatus, SourceStatus, StateStatus,
    StatusAnswer, UpstreamStatus,
};
use crate::domain::freshness::Timestamp;

use super::client::Client;
use super::text::{count, date, span, table};
use super::{AnswerFormat, CommandError, SocketArgs};

mod certificate;
mod management_api;
mod rows;

use rows::{failure, row};

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
    rows.extend(status.management_api.iter().flat_map(|token| management_api::rows(token, now)));
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
        (true, None) if status.sources.iter().any(|source| source.misconfigured.is_some()) => {
            "ready: but a source is misconfigured, so some expired tokens are not renewed".into()
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

fn cache(cache: &CacheStatus) -> String {
    let [held, limit] = [cache.bytes, cache.max_bytes].map(|bytes| ByteSize::b(bytes).display().iec());
    format!("{}, {held} of {limit}", count(cache.entries, "user"))
}

fn lookups(counts: LookupCounts) -> String {
    let LookupCounts { hit, miss, stale, negative, error } = counts;
    format!("{hit} hit, {miss} miss, {stale} stale, {negative} negative, {error} error")
}

fn upstream(status: &UpstreamStatus, now: Timestamp) -> Vec<[String; 2]> {
    let UpstreamStatus { token_requests, user_requests, failures, last_failure, .. } = status;
    let (tokens, users) = (count(*token_requests, "token request"), count(*user_requests, "user request"));
    let joined = count(status.flights_joined, "lookup");
    // Without `/v1/me` there are no requests for keys, and without Token Vault no exchanges.
    let some = |number, what| match number {
        0 => String::new(),
        some => format!(", {}", count(some, what)),
    };
    let keys = some(status.key_requests, "key request");
    let exchanges = some(status.exchange_requests, "exchange");
    let requests = format!("{tokens}, {users}{keys}{exchanges}, {failures} failed; {joined} shared one");
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
    let ListenerStatus { path, connections, streams } = listener;
    let streams = if *streams > 0 { format!(", {}", count(*streams, "stream")) } else { String::new() };
    format!("{path} ({}{streams})", count(*connections, "connection"))
}

fn source(source: &SourceStatus) -> String {
    let SourceStatus { connection, source, host, misconfigured } = source;
    let fault = misconfigured.as_ref().map(|fault| format!(" MISCONFIGURED: {fault}"));
    format!("{connection}: {source} at {host}{}", fault.unwrap_or_default())
}

#[cfg(test)]
mod tests;
