//! `[[connection]]`: the sources of a connection's tokens.

use std::sync::Arc;
use std::time::Duration;

use super::problem::Checked;
use super::reader::{Reader, Setting};
use super::refresh::{self, Refresh};
use super::schema::{self, CONNECTION_PATH, Type};
use super::source_values::Value;
use super::values::{Parsed, line, lines, wrong_type};
use crate::domain::source::{Source, SourceOrder};

/// `[[connection]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Connection {
    /// The connection's name in Auth0.
    pub name: Arc<str>,
    /// The sources of its tokens, in the order in which they are asked.
    pub sources: SourceOrder,
    /// The lifetime of tokens whose source states none.
    pub assumed_ttl: Option<Duration>,
    /// `[connection.refresh]`, present if and only if `sources` has `refresh`. Shared, so that its secrets are in
    /// memory once.
    pub refresh: Option<Arc<Refresh>>,
}

impl Connection {
    /// The connection with what equals a part of one of `known` replaced by that part, so that it is in memory once.
    #[must_use]
    pub fn sharing(mut self, known: &[Self]) -> Self {
        let known = known.iter().filter_map(|connection| connection.refresh.as_ref());
        if let Some(refresh) = &mut self.refresh {
            if let Some(same) = known.clone().find(|known| *known == refresh) {
                *refresh = Arc::clone(same);
            } else {
                for secret in Arc::make_mut(refresh).secrets_mut() {
                    let mut secrets =
                        known.clone().flat_map(|known| known.secrets().map(|(_, secret)| secret));
                    if let Some(same) = secrets.find(|known| *known == secret) {
                        *secret = Arc::clone(same);
                    }
                }
            }
        }
        self
    }

    /// The keys whose file has another content in `new`.
    pub(super) fn different_contents(&self, new: &Self) -> Vec<&'static str> {
        let (Some(old), Some(new)) = (&self.refresh, &new.refresh) else { return Vec::new() };
        let mut keys = Vec::new();
        if old.secret != new.secret {
            keys.push("connection.refresh.secret_file");
        }
        if old.previous_secret != new.previous_secret {
            keys.push("connection.refresh.previous_secret_file");
        }
        keys
    }
}

/// Reads every connection. `min_ttl` is `cache.min_ttl`, if that is valid.
pub(super) fn read(reader: &mut Reader, min_ttl: Option<&Setting<Duration>>) -> Checked<Vec<Connection>> {
    let read: Vec<_> = (0..reader.length(CONNECTION_PATH))
        .map(|index| {
            let table = schema::join(CONNECTION_PATH, &index.to_string());
            reader.element(&table)?;
            one(reader, &table, min_ttl)
        })
        .collect();
    let mut names: Vec<Setting<String>> = Vec::new();
    let mut checked = Vec::new();
    for connection in read {
        checked.push(connection.and_then(|(name, connection)| {
            if let Some(double) = names.iter().find(|other| other.value == name.value) {
                return Err(reader.refuse(&name, format!("is the same connection as {}", double.key)));
            }
            names.push(name);
            Ok(connection)
        }));
    }
    checked.into_iter().collect()
}

fn one(
    reader: &mut Reader,
    table: &str,
    min_ttl: Option<&Setting<Duration>>,
) -> Checked<(Setting<String>, Connection)> {
    let key = |name: &str| format!("{table}.{name}");
    let name = reader.owned(&key("name"), line);
    let name = name.and_then(|name| reader.required(&key("name"), name));
    let sources = reader.parsed(&key("sources"), sources);
    let sources = sources.and_then(|sources| reader.required(&key("sources"), sources));
    let assumed_ttl = reader.optional(&key("assumed_ttl"));
    let has_refresh = reader.has_table(&key("refresh"));
    let refresh = has_refresh.then(|| refresh::read(reader, &key("refresh"))).transpose();

    let (sources, assumed_ttl) = (sources?, assumed_ttl?);
    match (sources.value.contains(Source::Refresh), has_refresh) {
        (true, false) => {
            let text = "refresh needs [connection.refresh] with the connection's client at its provider";
            return Err(reader.refuse(&sources, text));
        }
        (false, true) => {
            let text = format!("is set, and {} does not contain refresh", sources.key);
            return Err(reader.missing(&key("refresh"), text));
        }
        (true, true) | (false, false) => {}
    }
    if let Some(assumed_ttl) = &assumed_ttl {
        if !sources.value.issues() {
            reader.warn(assumed_ttl, "has no effect without refresh or vault in sources");
        }
        if let Some(min_ttl) = min_ttl {
            reader.require_shorter(min_ttl, assumed_ttl)?;
        }
    }
    require_vault(reader, &sources)?;
    let (name, refresh) = (name?, refresh?);
    let connection = Connection {
        name: name.value.as_str().into(),
        sources: sources.value,
        assumed_ttl: assumed_ttl.map(|setting| setting.value),
        refresh: refresh.map(Arc::new),
    };
    Ok((name, connection))
}

/// Refuses `vault` without `[vault]`.
fn require_vault(reader: &mut Reader, sources: &Setting<SourceOrder>) -> Checked<()> {
    if sources.value.contains(Source::Vault) && !reader.has_table("vault") {
        return Err(reader.refuse(sources, "vault needs [vault], which names the client of Token Vault"));
    }
    Ok(())
}

fn sources(takes: Type, value: &Value) -> Parsed<SourceOrder> {
    let Type::Words(words) = takes else { return wrong_type(takes, value) };
    let all = [Source::Identities, Source::Refresh, Source::Vault];
    let parse = |(at, name): (usize, &String)| {
        let found =
            all.into_iter().find(|source| source.as_str() == name && words.contains(&source.as_str()));
        found.ok_or_else(|| {
            let known: Vec<_> = words.iter().map(|word| format!("{word:?}")).collect();
            format!("element {at} is not a source; the sources are {}", known.join(", "))
        })
    };
    let sources: Vec<_> = lines(takes, value)?.iter().enumerate().map(parse).collect::<Result<_, _>>()?;
    SourceOrder::new(&sources).ok_or_else(|| "must name at least one source, each once".to_owned())
}
