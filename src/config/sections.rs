//! The tables that are nothing but numbers and words, with their defaults and bounds.

use std::time::Duration;

use super::layer::Value;
use bytesize::ByteSize;

use super::host::{self, HostPort};
use super::problem::Checked;
use super::reader::{Reader, Setting};
use super::values::{Parsed, boolean, choice, duration, integer, lines, number, size, within};
use super::{
    Cache, Log, LogFormat, Management, Me, Negative, Runtime, Shutdown, Upstream, UserIds, user_key,
};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Below a tenth, a renewal would follow the last one at once; above 95 %, its jitter of ±5 % would reach the end.
const FRACTION: std::ops::RangeInclusive<f64> = 0.1..=0.95;

/// Identity providers' tokens commonly live for an hour. Asking for more than half of that to be left would turn
/// users away who have only just logged in. There is no relation to `max_ttl`: that is the age of what Auth0 said,
/// this is what is left of the token, and a `max_ttl` of a few seconds beside the default here is quite sound.
const LONGEST_MIN_TTL: Duration = Duration::from_secs(30 * 60);

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// `[management]`. Auth0's Management tokens live for a day by default, so 0.8 leaves hours to try again.
pub(super) fn management(reader: &mut Reader) -> Checked<Management> {
    let refresh_at = reader.value("management.refresh_at", 0.8, within(FRACTION, number));
    let min_ttl = reader.value("management.min_ttl", seconds(30), within(Duration::ZERO..=HOUR, duration));
    Ok(Management { refresh_at: refresh_at?, min_ttl: min_ttl? })
}

/// `[cache]`; `request_timeout` is `tenant.request_timeout`, if that is sound.
pub(super) fn cache(reader: &mut Reader, request_timeout: Option<&Setting<Duration>>) -> Checked<Cache> {
    // A user's entry takes a few KiB, so that less than the lower bound holds nothing worth keeping.
    let bytes = within(ByteSize::mib(1)..=ByteSize::tib(1), size);
    let max_bytes = reader.value("cache.max_bytes", ByteSize::mib(64), bytes);
    let max_ttl = reader.setting("cache.max_ttl", seconds(600), within(seconds(1)..=DAY, duration));
    let max_stale = reader.value("cache.max_stale", HOUR, within(Duration::ZERO..=DAY, duration));
    let min_ttl =
        reader.value("cache.min_ttl", seconds(30), within(Duration::ZERO..=LONGEST_MIN_TTL, duration));
    let refresh_ahead = reader.value("cache.refresh_ahead", 0.8, |value| match number(value)? {
        0.0 => Ok(0.0),
        _ => within(FRACTION, number)(value).map_err(|text| format!("{text}, or 0 to turn it off")),
    });
    let negative = negative(reader);

    let max_ttl = max_ttl?;
    if let Some(request_timeout) = request_timeout {
        // Ages count from when the request was sent: an answer that took its time would be too old on arrival.
        reader.require_shorter(request_timeout, &max_ttl)?;
    }
    Ok(Cache {
        max_bytes: max_bytes?.as_u64(),
        max_ttl: max_ttl.value,
        max_stale: max_stale?,
        min_ttl: min_ttl?,
        refresh_ahead: refresh_ahead?,
        negative: negative?,
    })
}

/// `[cache.negative]`. Without any memory, each caller that asks for what is not there would cost the tenant a
/// request; with too long a one, users who mend the matter would not be noticed.
fn negative(reader: &mut Reader) -> Checked<Negative> {
    let range = || within(seconds(1)..=HOUR, duration);
    let user_not_found = reader.value("cache.negative.user_not_found", seconds(30), range());
    let no_token = reader.value("cache.negative.no_token", seconds(60), range());
    let login_required = reader.value("cache.negative.login_required", seconds(30), range());
    Ok(Negative { user_not_found: user_not_found?, no_token: no_token?, login_required: login_required? })
}

/// `[upstream]`. Auth0's largest tenants may ask the Management API some thousands of times a second, its free
/// ones twice; ten leaves most of what a paying one has to everything else that the tenant runs. Every attempt
/// counts; beyond ten they are a flood, not a remedy.
pub(super) fn upstream(reader: &mut Reader) -> Checked<Upstream> {
    let rate = reader.value("upstream.requests_per_second", 10.0, within(0.1..=5_000.0, number));
    // With no burst of two, a Management token and the first user could not follow each other.
    let burst = reader.value("upstream.burst", 20, within(2..=10_000, integer));
    let concurrency = reader.value("upstream.max_concurrency", 16, within(1..=1_000, integer));
    let retries = reader.value("upstream.max_retries", 2, within(0..=10, integer));
    let count = |number: i64| u32::try_from(number).unwrap_or(u32::MAX);
    Ok(Upstream {
        requests_per_second: rate?,
        burst: count(burst?),
        max_concurrency: count(concurrency?),
        max_retries: count(retries?),
    })
}

/// `[me]`. Nothing by default: whose tokens are to be accepted nobody but the operator knows.
pub(super) fn me(reader: &mut Reader) -> Checked<Me> {
    let audiences = reader.setting("me.audiences", Vec::new(), |value| match value {
        Value::Texts(list) if list.is_empty() => Ok(Vec::new()),
        value => lines(value),
    })?;
    if audiences.value.iter().any(|audience| audience.ends_with("/userinfo")) {
        let text = "every access token that a user gets with the scope openid is for /userinfo as well, whichever API \
                    it is meant for: name your API's identifier";
        reader.warn(&audiences, text);
    }
    let issuers = reader.setting("me.issuers", Vec::new(), |value| match value {
        Value::Texts(list) if list.is_empty() => Ok(Vec::new()),
        value => issuers(value),
    })?;
    if audiences.value.is_empty() && !issuers.value.is_empty() {
        reader.warn(&issuers, "without me.audiences no token is accepted, from any issuer");
    }
    Ok(Me { audiences: audiences.value, issuers: issuers.value })
}

/// Custom domains as Auth0 writes them into tokens: in lower case, with a slash at the end.
fn issuers(value: &Value) -> Parsed<Vec<String>> {
    let mut issuers: Vec<String> = Vec::new();
    for (at, element) in lines(value)?.iter().enumerate() {
        let wrong = |text: &str| format!("element {at} {text}");
        let origin = element.strip_prefix("https://").ok_or_else(|| wrong("must begin with https://"))?;
        let authority = origin.strip_suffix('/').unwrap_or(origin);
        if authority.contains(['/', '?', '#', '@']) {
            return Err(wrong("must be a domain of the tenant, as in \"https://login.acme.example/\""));
        }
        let HostPort { host, port, .. } =
            host::split(authority).map_err(|text| wrong(&format!("is no domain: {text}")))?;
        let port = port.filter(|port| *port != 443).map(|port| format!(":{port}")).unwrap_or_default();
        let issuer = format!("https://{}{port}/", host.to_ascii_lowercase());
        if issuers.contains(&issuer) {
            return Err(wrong("is there twice"));
        }
        issuers.push(issuer);
    }
    Ok(issuers)
}

/// `[shutdown]`. Supervisors kill after a while of their own: 90 s under systemd, 30 s under Kubernetes.
pub(super) fn shutdown(reader: &mut Reader) -> Checked<Shutdown> {
    let min_delay =
        reader.value("shutdown.min_delay", Duration::ZERO, within(Duration::ZERO..=HOUR, duration));
    let deadline =
        reader.value("shutdown.deadline", seconds(10), within(Duration::from_millis(1)..=HOUR, duration));
    Ok(Shutdown { min_delay: min_delay?, deadline: deadline? })
}

/// `[log]`.
pub(super) fn log(reader: &mut Reader) -> Checked<Log> {
    const LEVELS: &[(&str, tracing::Level)] = &[
        ("error", tracing::Level::ERROR),
        ("warn", tracing::Level::WARN),
        ("info", tracing::Level::INFO),
        ("debug", tracing::Level::DEBUG),
        ("trace", tracing::Level::TRACE),
    ];
    const FORMATS: &[(&str, LogFormat)] =
        &[("auto", LogFormat::Auto), ("text", LogFormat::Text), ("json", LogFormat::Json)];
    const USER_IDS: &[(&str, UserIds)] = &[("hashed", UserIds::Hashed), ("plain", UserIds::Plain)];

    let level = reader.value("log.level", tracing::Level::INFO, choice(LEVELS));
    let format = reader.value("log.format", LogFormat::Auto, choice(FORMATS));
    let user_ids = reader.value("log.user_ids", UserIds::Hashed, choice(USER_IDS));
    let user_key = user_key::read(reader);
    Ok(Log { level: level?, format: format?, user_ids: user_ids?, user_key: user_key? })
}

/// `[runtime]`. One thread answers a hit in microseconds; 64 is more than any machine of ours has use for.
pub(super) fn runtime(reader: &mut Reader) -> Checked<Runtime> {
    let threads = reader.value("runtime.threads", 1, within(1..=64, integer));
    let lock_memory = reader.value("runtime.lock_memory", false, boolean);
    Ok(Runtime { threads: usize::try_from(threads?).unwrap_or(1), lock_memory: lock_memory? })
}
