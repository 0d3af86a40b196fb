//! `[[proxy]]`: the identity providers' APIs that clients may call.

use std::sync::Arc;
use std::time::Duration;

use bytesize::ByteSize;

use super::api_address::{self, ApiAddress};
use super::problem::Checked;
use super::reader::{Reader, Setting};
use super::schema::{self, PROXIED_API_PATH, Type};
use super::source_values::Value;
use super::values::{Parsed, choice, line};
use crate::domain::policy::call::is_api_name;
use crate::domain::verdict::Dialect;

/// `[[proxy]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxiedApi {
    /// The connection whose tokens are sent.
    pub connection: Arc<str>,
    /// The API's name in paths and rules, unique within the connection.
    pub name: Arc<str>,
    /// The host in lower case, and `:` and the port unless that is 443.
    pub authority: Arc<str>,
    /// The path that every call's path is appended to: empty, or `/a/b` without a slash at its end.
    pub prefix: Arc<str>,
    /// Whose form the API's refusals have.
    pub dialect: Dialect,
    /// Whether the host's addresses may be others than public ones. The same for all APIs of one authority.
    pub allow_private: bool,
    /// The limit on the body of a request, in bytes.
    pub request_bytes: u64,
    /// The limit on the body of an answer, in bytes.
    pub response_bytes: u64,
    /// Time limit from a request's last byte to the head of its answer.
    pub head_timeout: Duration,
    /// Time limit for a pause within a body, in either direction.
    pub idle_timeout: Duration,
}

/// An API that was read, and the settings that others are compared with.
struct Read {
    name: Setting<String>,
    allow_private: Setting<bool>,
    api: ProxiedApi,
}

/// Reads every API.
pub(super) fn read(reader: &mut Reader) -> Checked<Vec<ProxiedApi>> {
    let read: Vec<_> = (0..reader.length(PROXIED_API_PATH))
        .map(|index| {
            let table = schema::join(PROXIED_API_PATH, &index.to_string());
            reader.element(&table)?;
            one(reader, &table)
        })
        .collect();
    let mut earlier: Vec<Read> = Vec::new();
    let mut checked = Vec::new();
    for api in read {
        checked.push(api.and_then(|api| {
            compare(reader, &earlier, &api)?;
            let checked = api.api.clone();
            earlier.push(api);
            Ok(checked)
        }));
    }
    checked.into_iter().collect()
}

/// Refuses an API that contradicts an earlier one.
fn compare(reader: &mut Reader, earlier: &[Read], api: &Read) -> Checked<()> {
    let of = |api: &ProxiedApi| (Arc::clone(&api.connection), Arc::clone(&api.name));
    if let Some(double) = earlier.iter().find(|other| of(&other.api) == of(&api.api)) {
        let text = format!("is the same API as {}: a connection has each name once", double.name.key);
        return Err(reader.refuse(&api.name, text));
    }
    let is_at_odds = |other: &&Read| {
        other.api.authority == api.api.authority && other.api.allow_private != api.api.allow_private
    };
    if let Some(other) = earlier.iter().find(is_at_odds) {
        let text = format!(
            "must be {}, as {} is, which is about the same host",
            other.allow_private.value, other.allow_private.key
        );
        return Err(reader.refuse(&api.allow_private, text));
    }
    Ok(())
}

fn one(reader: &mut Reader, table: &str) -> Checked<Read> {
    let key = |name: &str| format!("{table}.{name}");
    let connection = reader.owned(&key("connection"), line);
    let connection = connection.and_then(|connection| reader.required(&key("connection"), connection));
    let name = reader.owned(&key("name"), api_name);
    let name = name.and_then(|name| reader.required(&key("name"), name));
    let url = reader.parsed(&key("url"), api_address::parse);
    let url = url.and_then(|url| reader.required(&key("url"), url));
    let dialect = reader.parsed(&key("provider"), |takes, value| choice(takes, value, Dialect::parse));
    let allow_private: Checked<Setting<bool>> = reader.setting(&key("allow_private"));
    let request_bytes = reader.value(&key("request_bytes"));
    let response_bytes = reader.value(&key("response_bytes"));
    let head_timeout = reader.value(&key("head_timeout"));
    let idle_timeout = reader.value(&key("idle_timeout"));

    let (url, allow_private) = (url?, allow_private?);
    if url.value.is_private && !allow_private.value {
        let text = format!(
            "has an IP address or a name of this machine as its host; write the API's public name, or set {} if that is \
             meant",
            allow_private.key
        );
        return Err(reader.refuse(&url, text));
    }
    let ApiAddress { authority, prefix, .. } = url.value;
    let (connection, name, dialect) = (connection?, name?, dialect?);
    let bytes = |size: ByteSize| size.as_u64();
    let api = ProxiedApi {
        connection: connection.value.as_str().into(),
        name: name.value.as_str().into(),
        dialect: dialect.map_or_else(|| Dialect::of_host(&authority), |dialect| dialect.value),
        authority: authority.into(),
        prefix: prefix.into(),
        allow_private: allow_private.value,
        request_bytes: bytes(request_bytes?),
        response_bytes: bytes(response_bytes?),
        head_timeout: head_timeout?,
        idle_timeout: idle_timeout?,
    };
    Ok(Read { name, allow_private, api })
}

fn api_name(takes: Type, value: &Value) -> Parsed<&str> {
    let name = line(takes, value)?;
    if is_api_name(name) {
        return Ok(name);
    }
    Err("must be 1 to 63 lower-case letters, digits and hyphens, with no hyphen at either end".to_owned())
}
