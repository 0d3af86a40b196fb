//! What can be set, as types: whoever holds one may rely on what is said of it here.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;

use super::effective::Effective;
use crate::domain::policy::Rule;
use crate::secret::{Secret, TagKey};

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
    /// What each key was read as, for a reload to compare.
    pub(super) effective: Effective,
}

/// `[tenant]`.
#[derive(Clone, Debug)]
pub struct Tenant {
    /// Host, or host and port; never a scheme or a path. https is the only scheme there is.
    pub domain: Arc<str>,
    /// The domain was written with a dot at its end: its name is resolved as it is, without search domains. The dot is
    /// in no other place: not in TLS, `Host`, the audience or an issuer.
    pub is_absolute: bool,
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
#[derive(Clone, Debug, Default, PartialEq)]
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
    /// Its secret, from `secret_file` (less one newline at its end) or from `secret`. Shared, so that it is in memory
    /// once.
    pub secret: Arc<Secret>,
    /// The file that the secret is from, if it is from one.
    pub secret_file: Option<PathBuf>,
    /// How it authenticates.
    pub auth: ClientAuth,
}

impl Client {
    /// Whether Auth0 is shown the same by both. Where the secret is from makes no difference to it.
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Me {
    /// A user token has to be for one of these; with none, `/v1/me` is off.
    pub audiences: Vec<String>,
    /// Further issuers whose tokens are accepted, besides the tenant's own: origins with a slash at their end.
    pub issuers: Vec<String>,
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
