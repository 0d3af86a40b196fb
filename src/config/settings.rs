//! The settings as types, whose documented bounds and relations hold for every value that `load` returns.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;

use super::effective::Effective;
use crate::domain::policy::Rule;
use crate::secret::{Secret, TagKey};

/// A valid configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// `[tenant]`: the Auth0 tenant and the way to reach it.
    pub tenant: Tenant,
    /// `[tenant.client]`: the application that obtains Management tokens. Shared, so that its secret is in memory once.
    pub client: Arc<Client>,
    /// `[management]`: the renewal of the Management token.
    pub management: Management,
    /// `[cache]`: how much is cached, and for how long.
    pub cache: Cache,
    /// `[upstream]`: the budget for requests to Auth0.
    pub upstream: Upstream,
    /// `[[listener]]`: the sockets; never empty.
    pub listeners: Vec<Listener>,
    /// `[me]`: which users' tokens `/v1/me` accepts.
    pub me: Me,
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
    pub(super) effective: Effective,
}

/// `[tenant]`.
#[derive(Clone, Debug)]
pub struct Tenant {
    /// Host, or host and port; never a scheme or a path. https is the only scheme.
    pub domain: Arc<str>,
    /// Whether the domain was written with a dot at its end: the name is resolved as it is, without search domains.
    /// `domain` is without the dot, and so are TLS, `Host`, the audience and issuers.
    pub is_absolute: bool,
    /// The Management API's identifier.
    pub audience: Arc<str>,
    /// Certificates from `ca_file`, trusted besides the platform's.
    pub extra_roots: Vec<CertificateDer<'static>>,
    /// The proxy through which Auth0 is reached.
    pub proxy: Proxy,
    /// Time limit for name resolution, TCP, a proxy's CONNECT and the TLS handshake together.
    pub connect_timeout: Duration,
    /// Time limit for one answer, retries included; longer than `connect_timeout`.
    pub request_timeout: Duration,
}

/// The proxy, from `tenant.proxy`, or else from `HTTPS_PROXY` or `ALL_PROXY` and `NO_PROXY`, in upper or lower case.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Proxy {
    /// `http://[user:password@]host[:port]`; a secret because of the password.
    pub url: Option<Secret>,
    /// Hosts that are reached directly, as `NO_PROXY` lists them; empty if `tenant.proxy` is set.
    pub no_proxy: String,
}

/// `[tenant.client]`.
#[derive(Clone, Debug)]
pub struct Client {
    /// The application's client id.
    pub id: String,
    /// The client's secret, from `secret_file` (without one line end) or from `secret`. Shared, so that it is in
    /// memory once.
    pub secret: Arc<Secret>,
    /// The file with the secret, if it is from one.
    pub secret_file: Option<PathBuf>,
    /// The authentication method.
    pub auth: ClientAuth,
}

impl Client {
    /// Whether both have the same credentials. The source of the secret makes no difference.
    pub fn has_credentials_of(&self, other: &Self) -> bool {
        let Self { id, secret, secret_file: _, auth } = self;
        *id == other.id && *auth == other.auth && *secret == other.secret
    }
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
    /// The method's name in the configuration.
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
    /// The token is not used with less than this left, or than a tenth of its lifetime if that is less.
    pub min_ttl: Duration,
}

/// `[cache]`.
#[derive(Clone, Copy, Debug)]
pub struct Cache {
    /// Limit on keys and values together, in bytes.
    pub max_bytes: u64,
    /// The age at which an entry expires.
    pub max_ttl: Duration,
    /// How much longer a valid token is served while Auth0 cannot be asked.
    pub max_stale: Duration,
    /// Tokens with less than this left are not handed out.
    pub min_ttl: Duration,
    /// Fraction of `max_ttl` after which an entry in use is refreshed; 0 turns it off.
    pub refresh_ahead: f64,
    /// `[cache.negative]`.
    pub negative: Negative,
}

/// `[cache.negative]`: how long facts are cached that are not a token.
#[derive(Clone, Copy, Debug)]
pub struct Negative {
    /// The user does not exist.
    pub user_not_found: Duration,
    /// The user exists and has no token to hand out: none, no such identity, several, or blocked.
    pub no_token: Duration,
    /// The token has expired at its provider.
    pub login_required: Duration,
}

/// `[upstream]`.
#[derive(Clone, Copy, Debug)]
pub struct Upstream {
    /// The rate of requests to Auth0, of all kinds.
    pub requests_per_second: f64,
    /// How many requests may be sent at once after a pause.
    pub burst: u32,
    /// How many requests may be under way at a time.
    pub max_concurrency: u32,
    /// How many further attempts follow a transient failure, within `tenant.request_timeout`.
    pub max_retries: u32,
}

/// `[[listener]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Listener {
    /// Absolute path of the socket.
    pub path: PathBuf,
    /// Permission bits.
    pub mode: u32,
    /// The owner's uid; `None` for the daemon's.
    pub owner: Option<u32>,
    /// The group's gid; `None` for the daemon's.
    pub group: Option<u32>,
    /// How many connections may be open at a time. Further ones wait in the kernel's queue.
    pub max_connections: usize,
    /// Whether `Cloakroom-Request: true` is required.
    pub require_request_header: bool,
    /// `[[listener.allow]]`: which callers may do what. Without rules, root and the daemon's own uid are answered.
    pub allow: Vec<Rule>,
}

/// `[me]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Me {
    /// The audiences of accepted user tokens. If empty, `/v1/me` is off.
    pub audiences: Vec<String>,
    /// Further issuers of accepted user tokens, besides the tenant itself: origins with a slash at their end.
    pub issuers: Vec<String>,
}

/// `[audit]`.
#[derive(Clone, Debug)]
pub struct Audit {
    /// The requests that have a line.
    pub events: AuditEvents,
    /// The destination of lines.
    pub output: AuditOutput,
}

/// `audit.events`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditEvents {
    /// No request.
    None,
    /// All requests except for cache hits and `status`.
    Notable,
    /// All requests.
    All,
}

/// `audit.output`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditOutput {
    /// Standard output.
    Stdout,
    /// The socket of journald. The configuration always sets the same one; tests set others.
    Journald(PathBuf),
    /// The file with this absolute path.
    File(PathBuf),
}

/// `[admin]`.
#[derive(Clone, Copy, Debug)]
pub struct Admin {
    /// The address of probes and metrics; `None` turns them off. A loopback address, unless `allow_remote` is set.
    pub address: Option<SocketAddr>,
}

/// `[shutdown]`.
#[derive(Clone, Copy, Debug)]
pub struct Shutdown {
    /// How long the daemon goes on accepting connections after SIGTERM.
    pub min_delay: Duration,
    /// The time limit for requests that were begun by then.
    pub deadline: Duration,
}

/// `[log]`.
#[derive(Clone, Debug)]
pub struct Log {
    /// The least severe level that is logged.
    pub level: tracing::Level,
    /// The form of lines.
    pub format: LogFormat,
    /// How lines of the log and the audit log name users.
    pub user_ids: UserIds,
    /// The key of that hash, from `user_key_file`; `None` for one that is derived from the machine's id.
    pub user_key: Option<TagKey>,
}

/// `log.format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// Text.
    Text,
    /// One JSON object per line.
    Json,
}

/// `log.user_ids`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserIds {
    /// Lines have a keyed hash of the user id.
    Hashed,
    /// Lines have the user id.
    Plain,
}

/// `[runtime]`.
#[derive(Clone, Copy, Debug)]
pub struct Runtime {
    /// The number of worker threads; 1 is a single-threaded runtime.
    pub threads: usize,
    /// Whether memory is kept from being written to swap.
    pub lock_memory: bool,
}
