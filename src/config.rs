//! The configuration: a TOML file and the environment in, a validated [`Config`] or every problem out.
//!
//! A [`Config`] is valid as a whole: relations between settings are checked, files are read, names of users and
//! groups are resolved. The keys, their defaults and their meaning are rows of [`schema`].
//!
//! A value passes through these files: `toml_file` and `environment` each produce a `Layer` (`source_values`), and the
//! environment's overrides the file's. `reader` takes keys out of the result, each with its origin, and checks them
//! against `schema`. The file of a table (`tenant`, `cache`, `listener` and so on) has its settings as a type, reads
//! each key into its field, and checks what keys mean together.

mod accounts;
mod admin;
mod allow;
mod api_address;
mod audit;
mod cache;
mod calls;
mod changes;
mod client;
mod client_key;
mod client_secret;
mod client_table;
mod connection;
mod effective_values;
mod environment;
mod host;
mod listener;
mod log;
mod management;
mod management_api;
mod me;
mod problem;
mod providers;
mod proxied_api;
mod proxy;
mod reader;
mod referenced_files;
mod refresh;
mod reloadable;
mod runtime;
pub mod schema;
mod shutdown;
mod socket_dir;
mod source_values;
mod state;
mod suggestion;
mod tenant;
mod token_endpoint;
mod toml_file;
mod upstream;
mod user_key;
mod values;
mod vault;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::domain::source::{Source, SourceOrders};
use crate::secret::Secret;

use self::accounts::{Gid, Uid};
pub use self::admin::Admin;
pub use self::audit::{Audit, AuditEvents, AuditOutput};
pub use self::cache::{Cache, Negative};
pub use self::changes::{Change, Reread};
pub use self::client::{Client, Credential, CredentialFiles};
pub use self::client_table::{ClientKeys, ClientTable};
pub use self::connection::Connection;
use self::effective_values::Effective;
pub use self::environment::Env;
pub use self::listener::Listener;
pub use self::log::{Log, LogFormat, UserIds};
pub use self::management::Management;
pub use self::me::Me;
pub use self::problem::{Cause, Problem, Problems};
use self::problem::{Checked, Report, Wrong};
pub use self::providers::Providers;
pub use self::proxied_api::ProxiedApi;
pub use self::proxy::Proxy;
use self::reader::Reader;
use self::referenced_files::Exposure;
pub use self::refresh::Refresh;
pub use self::runtime::Runtime;
use self::schema::Type;
pub use self::shutdown::Shutdown;
pub use self::state::State;
pub use self::tenant::Tenant;
pub use self::token_endpoint::TokenEndpoint;
pub use self::upstream::Upstream;
use self::values::Typed;
pub use self::vault::Vault;

/// The file that is read when no file is named. It may be missing.
pub const DEFAULT_FILE: &str = "/etc/cloakroom/cloakroom.toml";

/// A valid configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// `[tenant]`: the Auth0 tenant and the way to reach it.
    pub tenant: Tenant,
    /// `[tenant.client]`: the application that obtains Management tokens. Shared by the parts that use it.
    pub client: Arc<Client>,
    /// `[management]`: the renewal of Management tokens.
    pub management: Management,
    /// `[management_api]`: the application that proxied calls of the Management API go out as; `None` without the table.
    pub management_api: Option<Arc<Client>>,
    /// `[cache]`: how much is cached, and for how long.
    pub cache: Cache,
    /// `[upstream]`: the budget for requests to Auth0.
    pub upstream: Upstream,
    /// `[providers]`: how identity providers are reached.
    pub providers: Providers,
    /// `[[connection]]`: the connections whose tokens have more sources than what Auth0 stores.
    pub connections: Vec<Connection>,
    /// `[vault]`: the client of Token Vault; `None` without the table.
    pub vault: Option<Vault>,
    /// `[[proxy]]`: the APIs that clients may call.
    pub proxied_apis: Vec<ProxiedApi>,
    /// `[[listener]]`: the sockets; never empty.
    pub listeners: Vec<Listener>,
    /// `[me]`: which users' tokens `/v1/me` accepts.
    pub me: Me,
    /// `[state]`: the file with refresh tokens that rotate; `None` if they are kept in memory.
    pub state: Option<State>,
    /// `[audit]`: which requests have a line, and where it is written.
    pub audit: Audit,
    /// `[admin]`: probes and metrics over TCP.
    pub admin: Admin,
    /// `[shutdown]`: the time limits for the end of the daemon.
    pub shutdown: Shutdown,
    /// `[log]`: the level and form of the log.
    pub log: Log,
    /// `[runtime]`: threads and memory.
    pub runtime: Runtime,
    /// What each key was read as, for a reload to compare.
    effective: Effective,
}

impl Config {
    /// Where the tokens of each connection come from.
    pub fn source_orders(&self) -> SourceOrders {
        let orders = self.connections.iter();
        orders.map(|connection| (Arc::clone(&connection.name), connection.sources)).collect()
    }

    /// Whether clients can call other APIs at all, if a rule allows it.
    pub fn has_calls(&self) -> bool {
        !self.proxied_apis.is_empty() || self.management_api.is_some()
    }
}

/// A valid configuration, and warnings about it.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Settings that are valid and probably not meant, a line each, in the form of problems.
    pub warnings: Vec<String>,
    /// The files that were read, and that a reload reads again.
    pub files: Vec<PathBuf>,
}

/// Reads `file`, or [`DEFAULT_FILE`] if it exists, and overrides it by `env`. Reads the files that these name, too.
pub fn load(file: Option<&Path>, env: &Env) -> Result<Loaded, Problems> {
    load_from(file.unwrap_or(Path::new(DEFAULT_FILE)), file.is_none(), env)
}

fn load_from(path: &Path, may_be_absent: bool, env: &Env) -> Result<Loaded, Problems> {
    /// A configuration is a page. The limit keeps a file that was named by mistake from being read as a whole.
    const LIMIT_KIB: u64 = 1024;

    let name = path.display().to_string();
    let whole_file = |wrong: Wrong| Problem {
        key: None,
        origin: Some(name.clone()),
        text: wrong.text,
        cause: wrong.cause,
    };
    match referenced_files::read(path, LIMIT_KIB) {
        Ok(content) => {
            let text = std::str::from_utf8(&content.bytes)
                .map_err(|_| Problems::one(whole_file("the file is not UTF-8 text".into())))?;
            let mut loaded = parse_opened(&name, text, content.exposure, env)?;
            loaded.files.push(path.to_owned());
            Ok(loaded)
        }
        Err(referenced_files::ReadError::Absent) if may_be_absent => {
            parse(&name, "", env).map_err(|problems| {
                problems.headed(whole_file(
                    "file not found, and the environment does not set every required key".into(),
                ))
            })
        }
        Err(error) => Err(Problems::one(whole_file(error.into()))),
    }
}

/// The number of a user that is named as in a rule's `uid`: by name or by number.
pub fn uid(text: &str) -> Result<u32, String> {
    Uid::parse(Type::User, &text.into()).map(|Uid(uid)| uid).map_err(|wrong| wrong.text)
}

/// The number of a group that is named as in a rule's `gid`: by name or by number.
pub fn gid(text: &str) -> Result<u32, String> {
    Gid::parse(Type::Group, &text.into()).map(|Gid(gid)| gid).map_err(|wrong| wrong.text)
}

/// The secret in the file `path`, under the rules for secrets; `None` if it cannot be used.
pub fn secret_in(path: &Path) -> Option<Secret> {
    client_secret::secret_from(path).ok().map(|(secret, _)| secret)
}

/// Reads `text` as the content of a file called `name`, and overrides it by `env`.
pub fn parse(name: &str, text: &str, env: &Env) -> Result<Loaded, Problems> {
    parse_opened(name, text, None, env)
}

/// Reads the text of a file that other users can access as `exposure` says.
fn parse_opened(name: &str, text: &str, exposure: Option<Exposure>, env: &Env) -> Result<Loaded, Problems> {
    let mut report = Report::default();
    let file = toml_file::read(name, text, &mut report);
    let Some(file) = file else {
        environment::read(env, &mut report);
        return Err(report.into_problems(name));
    };
    let environment = environment::read(env, &mut report);
    let mut reader = Reader::new(environment.over(file), report, exposure);
    let config = read(&mut reader, env);
    let files = reader.files;
    let (config, warnings) = reader.report.finish(name, config)?;
    Ok(Loaded { config, warnings, files })
}

/// Reads every table before it returns the first error, so that all problems are reported.
fn read(reader: &mut Reader, env: &Env) -> Checked<Config> {
    let timeouts = tenant::timeouts(reader);
    let tenant = tenant::read(reader, env, &timeouts);
    let client = client::read(reader, ClientTable::TenantClient);
    let management = management::read(reader);
    let management_api = management_api::read(reader, client.as_ref().ok());
    let min_ttl = reader.setting("cache.min_ttl");
    let cache = cache::read(reader, timeouts.as_ref().ok().map(|timeouts| &timeouts.request), &min_ttl);
    let upstream = upstream::read(reader);
    let connections = connection::read(reader, min_ttl.as_ref().ok());
    let proxied_apis = proxied_api::read(reader);
    let is_refreshing = |connections: &Vec<Connection>| connections.iter().any(|one| one.refresh.is_some());
    let are_reached = connections.as_ref().is_ok_and(is_refreshing)
        || proxied_apis.as_ref().is_ok_and(|apis| !apis.is_empty());
    let providers = providers::read(reader, env, are_reached);
    let asks_vault = |connections: &Vec<Connection>| {
        connections.iter().any(|connection| connection.sources.contains(Source::Vault))
    };
    let asks_vault = connections.as_ref().is_ok_and(asks_vault);
    let vault = vault::read(reader, client.as_ref().ok(), asks_vault);
    let listeners = listener::read(reader, proxied_apis.as_deref().ok());
    let me = me::read(reader);
    let state = state::read(reader);
    let audit = audit::read(reader);
    let admin = admin::read(reader);
    let shutdown = shutdown::read(reader);
    let log = log::read(reader);
    let runtime = runtime::read(reader);
    Ok(Config {
        tenant: tenant?,
        client: Arc::new(client?),
        management: management?,
        management_api: management_api?,
        cache: cache?,
        upstream: upstream?,
        providers: providers?,
        connections: connections?,
        vault: vault?,
        proxied_apis: proxied_apis?,
        listeners: listeners?,
        me: me?,
        state: state?,
        audit: audit?,
        admin: admin?,
        shutdown: shutdown?,
        log: log?,
        runtime: runtime?,
        effective: std::mem::take(&mut reader.effective),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_file_may_be_absent_if_the_environment_says_everything() {
        let absent = Path::new("/nonexistent/cloakroom.toml");
        let mut variables = vec![
            ("CLOAKROOM_TENANT__DOMAIN".to_owned(), "acme.eu.auth0.com".to_owned()),
            ("CLOAKROOM_TENANT__CLIENT__ID".to_owned(), "3Xk9".to_owned()),
            ("CLOAKROOM_TENANT__CLIENT__SECRET".to_owned(), "canary".to_owned()),
        ];
        let env: Env = variables.iter().cloned().collect();
        assert!(load_from(absent, true, &env).is_ok());
        assert_eq!(
            load_from(absent, false, &env).unwrap_err().to_string(),
            "/nonexistent/cloakroom.toml: file not found"
        );
        variables.swap_remove(0);
        let env: Env = variables.into_iter().collect();
        assert_eq!(
            load_from(absent, true, &env).unwrap_err().to_string(),
            "/nonexistent/cloakroom.toml: file not found, and the environment does not set every required key\n\
             tenant.domain: required: the tenant's host name, here or in CLOAKROOM_TENANT__DOMAIN"
        );
    }
}
