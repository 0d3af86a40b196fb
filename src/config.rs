//! The configuration: a TOML file and the environment in, a validated [`Config`] or every problem out.
//!
//! Whoever holds a [`Config`] may rely on it: relations between settings are checked, files are read, names of
//! users and groups are resolved. The keys, their defaults and their meaning are in README's configuration part.
//!
//! The way of a value: `file` and `environment` each make a `layer`, which the `config` crate lays over each other;
//! `reader` takes key after key out of the result, each with its origin, and `tenant`, `client`, `listener` and
//! `sections` say what each may be.

mod admin;
mod allow;
mod audit;
mod changes;
mod client;
mod environment;
mod file;
mod files;
mod host;
mod keys;
mod layer;
mod listener;
mod place;
mod problem;
mod proxy;
mod reader;
mod sections;
mod tenant;
mod user_key;
mod values;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;

use crate::domain::policy::Rule;
use crate::secret::{Secret, TagKey};

pub use self::changes::{Change, Reread};
pub use self::environment::Env;
use self::files::Exposure;
use self::problem::{Checked, Report};
pub use self::problem::{Problem, Problems};
use self::reader::Reader;

/// The file that is read when none is named. It may be absent.
pub const DEFAULT_FILE: &str = "/etc/cloakroom/cloakroom.toml";

/// A configuration that may be used, and what is likely not meant about it.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What was configured.
    pub config: Config,
    /// One line each, written as problems are.
    pub warnings: Vec<String>,
    /// The files that it was read from, and would be read from again.
    pub files: Vec<PathBuf>,
}

/// Reads `file`, or [`DEFAULT_FILE`] if there is one, and lays `env` over it. Reads the files that these name, too.
pub fn load(file: Option<&Path>, env: &Env) -> Result<Loaded, Problems> {
    load_from(file.unwrap_or(Path::new(DEFAULT_FILE)), file.is_none(), env)
}

fn load_from(path: &Path, may_be_absent: bool, env: &Env) -> Result<Loaded, Problems> {
    /// A configuration is a page; this keeps a file named by mistake from being read whole.
    const LIMIT_KIB: u64 = 1024;

    let name = path.display().to_string();
    let whole_file = |text: &str| Problem { key: None, origin: Some(name.clone()), text: text.to_owned() };
    match files::read(path, LIMIT_KIB) {
        Ok(content) => {
            let text = std::str::from_utf8(&content.bytes)
                .map_err(|_| Problems::one(whole_file("the file does not hold text (UTF-8)")))?;
            let mut loaded = parse_opened(&name, text, content.exposure, env)?;
            loaded.files.push(path.to_owned());
            Ok(loaded)
        }
        Err(files::Unusable::Absent) if may_be_absent => parse(&name, "", env).map_err(|problems| {
            problems.headed(whole_file("there is no such file, and the environment alone does not do"))
        }),
        Err(error) => Err(Problems::one(whole_file(&error.to_string()))),
    }
}

/// The number of a user that is given by name or by number, as `uid` in a rule is.
pub fn uid(text: &str) -> Result<u32, String> {
    listener::uid(&text.into())
}

/// The same of a group.
pub fn gid(text: &str) -> Result<u32, String> {
    listener::gid(&text.into())
}

/// The secret in `path`, a `tenant.client.secret_file`; `None` where there is none that could be used.
pub fn secret_in(path: &Path) -> Option<Secret> {
    client::secret_from(path).ok().map(|(secret, _)| secret)
}

/// Reads `text` as the content of a file called `name`, and lays `env` over it.
pub fn parse(name: &str, text: &str, env: &Env) -> Result<Loaded, Problems> {
    parse_opened(name, text, None, env)
}

/// The same for a file that lies as open to others as `exposure` says.
fn parse_opened(name: &str, text: &str, exposure: Option<Exposure>, env: &Env) -> Result<Loaded, Problems> {
    let mut report = Report::default();
    let file = file::read(name, text, &mut report);
    let Some(file) = file else {
        environment::read(env, &mut report);
        return Err(report.into_problems(name));
    };
    let environment = environment::read(env, &mut report);
    let merged = layer::merge(file, environment);
    let mut reader = match merged {
        Ok(root) => Reader::new(root, report, exposure),
        // Our sources cannot fail, and give only paths that the crate understands.
        Err(error) => {
            report.problem("", None, format!("the sources of the configuration cannot be merged: {error}"));
            return Err(report.into_problems(name));
        }
    };
    let config = read(&mut reader, env);
    let files = reader.files;
    let (config, warnings) = reader.report.finish(name, config)?;
    Ok(Loaded { config, warnings, files })
}

/// Every table, before the first one that is wrong ends it.
fn read(reader: &mut Reader, env: &Env) -> Checked<Config> {
    let timeouts = tenant::timeouts(reader);
    let tenant = tenant::read(reader, env, &timeouts);
    let client = client::read(reader);
    let management = sections::management(reader);
    let cache = sections::cache(reader, timeouts.as_ref().ok().map(|timeouts| &timeouts.request));
    let upstream = sections::upstream(reader);
    let listeners = listener::read(reader);
    let me = sections::me(reader);
    let audit = audit::read(reader);
    let admin = admin::read(reader);
    let shutdown = sections::shutdown(reader);
    let log = sections::log(reader);
    let runtime = sections::runtime(reader);
    Ok(Config {
        tenant: tenant?,
        client: Arc::new(client?),
        management: management?,
        cache: cache?,
        upstream: upstream?,
        listeners: listeners?,
        me: me?,
        audit: audit?,
        admin: admin?,
        shutdown: shutdown?,
        log: log?,
        runtime: runtime?,
    })
}

/// Everything that can be set, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// `[tenant]`: where Auth0 is and how it is reached.
    pub tenant: Tenant,
    /// `[tenant.client]`: the application that asks.
    /// Shared, so that there is one copy of its secret.
    pub client: Arc<Client>,
    /// `[management]`: the Management token's renewal.
    pub management: Management,
    /// `[cache]`: how long users' entries live.
    pub cache: Cache,
    /// `[upstream]`: how Auth0 is asked.
    pub upstream: Upstream,
    /// `[[listener]]`: never empty.
    pub listeners: Vec<Listener>,
    /// `[me]`: whose tokens `/v1/me` accepts.
    pub me: Me,
    /// `[audit]`: what is written down of requests, and where.
    pub audit: Audit,
    /// `[admin]`: probes and metrics over TCP.
    pub admin: Admin,
    /// `[shutdown]`: how the daemon ends.
    pub shutdown: Shutdown,
    /// `[log]`: what is logged, and how.
    pub log: Log,
    /// `[runtime]`: threads and memory.
    pub runtime: Runtime,
}

/// `[tenant]`.
#[derive(Clone, Debug)]
pub struct Tenant {
    /// Host, or host and port; never a scheme or a path. https is the only scheme there is.
    pub domain: Arc<str>,
    /// The Management API's identifier.
    pub audience: Arc<str>,
    /// Certificates from `ca_file`, trusted besides the platform's.
    pub extra_roots: Vec<CertificateDer<'static>>,
    /// How to get out.
    pub proxy: Proxy,
    /// For name resolution, TCP, a proxy's CONNECT and the TLS handshake together.
    pub connect_timeout: Duration,
    /// For one answer as a whole, retries included; longer than `connect_timeout`.
    pub request_timeout: Duration,
}

/// From `tenant.proxy`, else from `HTTPS_PROXY` or `ALL_PROXY`, and `NO_PROXY`, in either case.
#[derive(Clone, Debug, Default)]
pub struct Proxy {
    /// `http://[user:password@]host[:port]`; a secret because of the password.
    pub url: Option<Secret>,
    /// Hosts that are reached directly, as `NO_PROXY` lists them; empty where `tenant.proxy` is set.
    pub no_proxy: String,
}

/// `[tenant.client]`.
#[derive(Clone, Debug)]
pub struct Client {
    /// The application's client id.
    pub id: String,
    /// Its secret, from `secret_file` (less one newline at its end) or from `secret`.
    pub secret: Secret,
    /// The file that the secret is from, if it is from one.
    pub secret_file: Option<PathBuf>,
    /// How it authenticates.
    pub auth: ClientAuth,
}

/// How the application authenticates at the token endpoint (RFC 6749 §2.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// `client_secret_post`: id and secret in the form.
    SecretPost,
    /// `client_secret_basic`: id and secret in the `Authorization` header.
    SecretBasic,
}

impl ClientAuth {
    /// As the configuration names it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SecretPost => "client_secret_post",
            Self::SecretBasic => "client_secret_basic",
        }
    }
}

/// `[management]`.
#[derive(Clone, Copy, Debug)]
pub struct Management {
    /// Fraction of the token's lifetime after which it is renewed; between 0.1 and 0.95.
    pub refresh_at: f64,
    /// Never used with less than this left, or than a tenth of its lifetime if that is less.
    pub min_ttl: Duration,
}

/// `[cache]`.
#[derive(Clone, Copy, Debug)]
pub struct Cache {
    /// Bound on keys and values together, in bytes.
    pub max_bytes: u64,
    /// How old an entry may be before Auth0 is asked again.
    pub max_ttl: Duration,
    /// While Auth0 cannot be asked: how much longer a token that is still valid is served.
    pub max_stale: Duration,
    /// Never hand out a token with less than this left.
    pub min_ttl: Duration,
    /// Fraction of `max_ttl` after which an entry in use is refreshed; 0 turns it off.
    pub refresh_ahead: f64,
    /// `[cache.negative]`.
    pub negative: Negative,
}

/// `[cache.negative]`: how long facts that are no token are remembered.
#[derive(Clone, Copy, Debug)]
pub struct Negative {
    /// There is no such user.
    pub user_not_found: Duration,
    /// The user is there, but has no token to give: none, no such identity, several, or blocked.
    pub no_token: Duration,
    /// The token has expired at its source.
    pub login_required: Duration,
}

/// `[upstream]`.
#[derive(Clone, Copy, Debug)]
pub struct Upstream {
    /// The daemon's own budget for the tenant, of which nothing is exempt.
    pub requests_per_second: f64,
    /// How many may go at once after a pause.
    pub burst: u32,
    /// Requests under way at a time.
    pub max_concurrency: u32,
    /// Further attempts after a failure that may pass, within `tenant.request_timeout`.
    pub max_retries: u32,
}

/// `[[listener]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Listener {
    /// Absolute path of the socket.
    pub path: PathBuf,
    /// Permission bits.
    pub mode: u32,
    /// Owner's uid; `None` leaves it the daemon's.
    pub owner: Option<u32>,
    /// Group's gid; `None` leaves it the daemon's.
    pub group: Option<u32>,
    /// Connections at a time; further ones wait in the kernel's queue.
    pub max_connections: usize,
    /// Whether `Cloakroom-Request: true` is required.
    pub require_request_header: bool,
    /// `[[listener.allow]]`: who may do what; without any, root and the daemon's own uid.
    pub allow: Vec<Rule>,
}

/// `[me]`.
#[derive(Clone, Debug)]
pub struct Me {
    /// A user token has to be for one of these; with none, `/v1/me` is off.
    pub audiences: Vec<String>,
}

/// `[audit]`.
#[derive(Clone, Debug)]
pub struct Audit {
    /// Which requests have a line.
    pub events: AuditEvents,
    /// Where lines go.
    pub output: AuditOutput,
}

/// `audit.events`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditEvents {
    /// No request.
    None,
    /// Everything but lookups that the cache answers, and questions for the daemon's state.
    Notable,
    /// These, too.
    All,
}

/// `audit.output`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditOutput {
    /// Standard output.
    Stdout,
    /// journald, by its socket; the configuration knows only the one that it always has.
    Journald(PathBuf),
    /// A file of this absolute path.
    File(PathBuf),
}

/// `[admin]`.
#[derive(Clone, Copy, Debug)]
pub struct Admin {
    /// Where probes and metrics can be read over TCP; nowhere without it. Loopback, unless that is allowed expressly.
    pub address: Option<SocketAddr>,
}

/// `[shutdown]`.
#[derive(Clone, Copy, Debug)]
pub struct Shutdown {
    /// After SIGTERM, keep accepting this long.
    pub min_delay: Duration,
    /// Then finish what was begun for at most this long.
    pub deadline: Duration,
}

/// `[log]`.
#[derive(Clone, Debug)]
pub struct Log {
    /// The least severe level that is logged.
    pub level: tracing::Level,
    /// How lines look.
    pub format: LogFormat,
    /// How lines, the audit log's too, name users.
    pub user_ids: UserIds,
    /// From `user_key_file`: with what they are hashed. `None` leaves that to the machine's id.
    pub user_key: Option<TagKey>,
}

/// `log.format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// `log.user_ids`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserIds {
    /// As a keyed hash.
    Hashed,
    /// As they are.
    Plain,
}

/// `[runtime]`.
#[derive(Clone, Copy, Debug)]
pub struct Runtime {
    /// 1 is a single-threaded runtime; more are worker threads.
    pub threads: usize,
    /// Whether memory is kept from being written to swap.
    pub lock_memory: bool,
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
            "/nonexistent/cloakroom.toml: there is no such file"
        );
        variables.swap_remove(0);
        let env: Env = variables.into_iter().collect();
        assert_eq!(
            load_from(absent, true, &env).unwrap_err().to_string(),
            "/nonexistent/cloakroom.toml: there is no such file, and the environment alone does not do\n\
             tenant.domain: required: the tenant's host name, here or in CLOAKROOM_TENANT__DOMAIN"
        );
    }
}
