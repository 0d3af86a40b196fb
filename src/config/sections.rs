//! Tables whose keys need no or few rules beyond those of the schema.

use std::time::Duration;

use bytesize::ByteSize;

use super::host::{self, HostPort};
use super::layer::Value;
use super::problem::Checked;
use super::reader::{Reader, Setting};
use super::schema::Type;
use super::settings::{
    Cache, Log, LogFormat, Management, Me, Negative, Runtime, Shutdown, Upstream, UserIds,
};
use super::user_key;
use super::values::{Parsed, lines};

/// Reads `[management]`.
pub(super) fn management(reader: &mut Reader) -> Checked<Management> {
    let refresh_at = reader.value("management.refresh_at");
    let min_ttl = reader.value("management.min_ttl");
    Ok(Management { refresh_at: refresh_at?, min_ttl: min_ttl? })
}

/// Reads `[cache]`. `request_timeout` is `tenant.request_timeout`, if that is valid.
pub(super) fn cache(reader: &mut Reader, request_timeout: Option<&Setting<Duration>>) -> Checked<Cache> {
    let max_bytes = reader.value::<ByteSize>("cache.max_bytes");
    let max_ttl = reader.setting("cache.max_ttl");
    let max_stale = reader.value("cache.max_stale");
    let min_ttl = reader.value("cache.min_ttl");
    let refresh_ahead = reader.value("cache.refresh_ahead");
    let negative = negative(reader);

    let max_ttl = max_ttl?;
    if let Some(request_timeout) = request_timeout {
        // Ages count from when the request was sent: a slow answer would be expired on arrival.
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

/// Reads `[cache.negative]`.
fn negative(reader: &mut Reader) -> Checked<Negative> {
    let user_not_found = reader.value("cache.negative.user_not_found");
    let no_token = reader.value("cache.negative.no_token");
    let login_required = reader.value("cache.negative.login_required");
    Ok(Negative { user_not_found: user_not_found?, no_token: no_token?, login_required: login_required? })
}

/// Reads `[upstream]`.
pub(super) fn upstream(reader: &mut Reader) -> Checked<Upstream> {
    let requests_per_second = reader.value("upstream.requests_per_second");
    let burst = reader.value("upstream.burst");
    let max_concurrency = reader.value("upstream.max_concurrency");
    let max_retries = reader.value("upstream.max_retries");
    Ok(Upstream {
        requests_per_second: requests_per_second?,
        burst: burst?,
        max_concurrency: max_concurrency?,
        max_retries: max_retries?,
    })
}

/// Reads `[me]`. There is no default: only the operator knows which tokens to accept.
pub(super) fn me(reader: &mut Reader) -> Checked<Me> {
    let audiences = reader.parsed("me.audiences", lines)?;
    if let Some(audiences) = &audiences
        && audiences.value.iter().any(|audience| audience.ends_with("/userinfo"))
    {
        let text = "access tokens with the scope openid are valid for /userinfo as well, whichever API they are for; \
                    use the identifier of your API";
        reader.warn(audiences, text);
    }
    let audiences = audiences.map(|audiences| audiences.value).unwrap_or_default();
    let issuers = reader.parsed("me.issuers", issuers)?;
    if let Some(issuers) =
        issuers.as_ref().filter(|issuers| audiences.is_empty() && !issuers.value.is_empty())
    {
        reader.warn(issuers, "without me.audiences no token is accepted, from any issuer");
    }
    Ok(Me { audiences, issuers: issuers.map(|issuers| issuers.value).unwrap_or_default() })
}

/// Parses custom domains into the form that Auth0 writes into tokens: in lower case, with a slash at the end.
fn issuers(takes: Type, value: &Value) -> Parsed<Vec<String>> {
    let mut issuers: Vec<String> = Vec::new();
    for (at, element) in lines(takes, value)?.iter().enumerate() {
        let wrong = |text: &str| format!("element {at} {text}");
        let origin = element.strip_prefix("https://").ok_or_else(|| wrong("must begin with https://"))?;
        let authority = origin.strip_suffix('/').unwrap_or(origin);
        if authority.contains(['/', '?', '#', '@']) {
            return Err(wrong("must be a domain of the tenant, as in \"https://login.acme.example/\""));
        }
        let HostPort { host, port, .. } =
            host::split(authority).map_err(|text| wrong(&format!("is not a domain: {text}")))?;
        let port = port.filter(|port| *port != 443).map(|port| format!(":{port}")).unwrap_or_default();
        let issuer = format!("https://{}{port}/", host.to_ascii_lowercase());
        if issuers.contains(&issuer) {
            return Err(wrong("is there twice"));
        }
        issuers.push(issuer);
    }
    Ok(issuers)
}

/// Reads `[shutdown]`.
pub(super) fn shutdown(reader: &mut Reader) -> Checked<Shutdown> {
    let min_delay = reader.value("shutdown.min_delay");
    let deadline = reader.value("shutdown.deadline");
    Ok(Shutdown { min_delay: min_delay?, deadline: deadline? })
}

/// Reads `[log]`.
pub(super) fn log(reader: &mut Reader) -> Checked<Log> {
    let level = reader.choice("log.level", |word| word.parse().ok());
    let format = reader.choice("log.format", |word| match word {
        "auto" => Some(LogFormat::Auto),
        "text" => Some(LogFormat::Text),
        "json" => Some(LogFormat::Json),
        _ => None,
    });
    let user_ids = reader.choice("log.user_ids", |word| match word {
        "hashed" => Some(UserIds::Hashed),
        "plain" => Some(UserIds::Plain),
        _ => None,
    });
    let user_key = user_key::read(reader);
    Ok(Log { level: level?, format: format?, user_ids: user_ids?, user_key: user_key? })
}

/// Reads `[runtime]`.
pub(super) fn runtime(reader: &mut Reader) -> Checked<Runtime> {
    let threads = reader.value("runtime.threads");
    let lock_memory = reader.value("runtime.lock_memory");
    Ok(Runtime { threads: threads?, lock_memory: lock_memory? })
}
