//! `cloakroom demo`: runs a daemon with a simulated tenant and a simulated Google, and shows four lookups. Google's API
//! and the Management API are there too, to be called through the daemon.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::api::types::TokenAnswer;
use crate::app::{self, Deps, Running};
use crate::clock::Clock;
use crate::config::{self, Config, Env, Loaded};
use crate::domain::user::UserId;
use crate::fake_auth0::api::{ApiDialect, ApiOptions, FakeApi};
use crate::fake_auth0::provider::{Dialect, FakeProvider, ProviderFault, ProviderOptions};
use crate::fake_auth0::{CertificateKind, Endpoint, Fault, Listening, Tenant, TenantOptions, users};
use crate::process::signals::Signals;
use crate::secret::Secret;
use crate::telemetry;

use super::client::Client;
use super::runtime::block_on;
use super::{CommandError, Exit};

/// For `--help`.
pub const ABOUT: &str = "\
Try a daemon with a simulated Auth0 tenant: no account, no file, no root.

Starts a simulated tenant and a simulated identity provider on loopback and a daemon that uses them. Looks a token up \
twice (first from Auth0, then from the cache), and a token that has expired (first renewed by the provider, then from \
the cache). Prints commands to try, calls of the provider's API and of the Management API among them, and serves \
until Ctrl-C.

Examples:
  cloakroom demo
  cloakroom demo --once";

/// The arguments of `demo`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The daemon's socket [default: in a new temporary directory]
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// End after the lookups
    #[arg(long)]
    pub once: bool,
}

/// Latency of the simulated servers, so that a cached lookup is visibly faster.
const LATENCY: Duration = Duration::from_millis(60);

/// The connection whose tokens the simulated Google renews.
const CONNECTION: &str = "google-oauth2";

/// The name under which the daemon's clients call the simulated Google's API.
const PROXIED: &str = "people";

/// The application that calls of the Management API go out as, and its secret.
const CALLS_CLIENT: (&str, &str) = ("demo-calls", "demo-calls-secret");

/// The API that the simulated tenant issues users' tokens for, and that `[me]` names.
const API: &str = "https://api.demo.example";

/// Auth0's default lifetime of access tokens.
const USER_TOKEN_LIFETIME: Duration = Duration::from_secs(86_400);

/// Timeout for the daemon to be ready.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// Shows the lookups, then serves until a signal.
pub fn run(args: &Args, out: &mut impl io::Write) -> Result<(), CommandError> {
    let signals = Signals::register().map_err(failed("signals cannot be handled"))?;
    let directory = tempfile::Builder::new()
        .prefix("cloakroom-demo-")
        .tempdir()
        .map_err(failed("no directory for temporary files can be made"))?;
    let socket = args.socket.clone().unwrap_or_else(|| directory.path().join("cloakroom.sock"));
    block_on(1, async {
        let demo = Demo::start(directory.path(), &socket).await?;
        writeln!(out, "{}", demo.introduction())?;
        demo.perform(out).await?;
        if !args.once {
            writeln!(out, "{}", demo.invitation())?;
            out.flush()?;
            signals.first().await?;
        }
        demo.running.stop().await;
        Ok(())
    })
}

/// A tenant, a provider, a daemon against them, and a client.
struct Demo {
    tenant: Tenant,
    listening: Listening,
    google: FakeProvider,
    google_listening: Listening,
    api_listening: Listening,
    running: Running,
    client: Client,
    socket: PathBuf,
    /// A file with the header of a user's own token, for curl.
    user_token: PathBuf,
    /// Dropped last, so that everything else can log.
    _log: telemetry::log::LogGuard,
}

impl Demo {
    /// Starts a small deployment: a tenant with a certificate, a secret in a file, a configuration, a socket.
    async fn start(directory: &Path, socket: &Path) -> Result<Self, CommandError> {
        let tenant = Tenant::new(Clock::system(), TenantOptions::default()).map_err(failed("no tenant"))?;
        let listening = tenant.listen(CertificateKind::Good).map_err(failed("the tenant cannot listen"))?;
        tenant.fault(Endpoint::User, Fault::Latency(LATENCY));
        tenant.register_application(CALLS_CLIENT.0, Secret::new(CALLS_CLIENT.1), &["read:users"]);
        let google = FakeProvider::beside(&tenant, ProviderOptions::of(Dialect::Google));
        let google_listening =
            google.listen(CertificateKind::Good).map_err(failed("the provider cannot listen"))?;
        google.adopt(&tenant, CONNECTION);
        google.fault(ProviderFault::Latency(LATENCY));
        let options = ApiOptions { dialect: ApiDialect::Google, ..ApiOptions::default() };
        let api = FakeApi::beside(&tenant, options);
        api.trust(&google);
        api.set_latency(LATENCY);
        let api_listening = api.listen(CertificateKind::Good).map_err(failed("the API cannot listen"))?;
        let mut text = configuration(&tenant, &listening, directory, socket)?;
        text.push_str(&renewal(&google, &google_listening, directory)?);
        text.push_str(&proxied(&api_listening));
        text.push_str(&management_api(directory)?);
        let config = parsed(&text)?;
        let mut log = telemetry::log::init(&config.log).map_err(failed("the log cannot be written"))?;
        log.start().map_err(failed("the log cannot be written"))?;
        let deps = Deps::production(&config).map_err(failed("the daemon does not start"))?;
        let running = app::start(&config, deps).await.map_err(failed("the daemon does not start"))?;
        let user_token = user_token(&tenant, directory)?;
        let (client, socket) = (Client::new(socket), socket.to_owned());
        let demo = Self {
            tenant,
            listening,
            google,
            google_listening,
            api_listening,
            running,
            client,
            socket,
            user_token,
            _log: log,
        };
        demo.wait_until_ready().await?;
        Ok(demo)
    }

    async fn wait_until_ready(&self) -> Result<(), CommandError> {
        let late = |_| CommandError::failed("the simulated tenant does not answer");
        let ready = timeout(READY_WITHIN, self.running.services().management.bearer()).await.map_err(late)?;
        ready.map_err(|unavailable| CommandError::failed(unavailable.failure.to_string()))?;
        // A call waits for the other token.
        let user = users::GOOGLE.replace('|', "%7C");
        timeout(READY_WITHIN, self.client.get(&format!("/api/v2/users/{user}"))).await.map_err(late)??;
        Ok(())
    }

    fn introduction(&self) -> String {
        format!(
            "A simulated Auth0 tenant listens at https://{domain} (TLS, with its own temporary CA),\n\
             the token endpoint of a simulated Google at https://{google},\n\
             and its API at https://{api}.\n\
             A cloakroom daemon listens at {socket}\n\
             and has obtained its Management API tokens from the tenant, for lookups and for calls: {grants}.\n",
            domain = self.listening.domain(),
            google = self.google_listening.domain(),
            api = self.api_listening.domain(),
            socket = self.socket.display(),
            grants = count(self.tenant.calls_to(Endpoint::Token).len(), "grant"),
        )
    }

    /// Looks two users' tokens up, each twice: one that is valid, and one that has expired.
    async fn perform(&self, out: &mut impl io::Write) -> Result<(), CommandError> {
        self.look_up_twice(out, users::GOOGLE).await?;
        writeln!(out, "\nThe next user's token expired in 2017. Auth0 also stored a refresh token:\n")?;
        self.look_up_twice(out, users::EXPIRED).await
    }

    async fn look_up_twice(&self, out: &mut impl io::Write, user: &str) -> Result<(), CommandError> {
        writeln!(out, "GET /v1/users/{}/token", user.replace('|', "%7C"))?;
        let cold = self.look_up(out, user, "cold").await?;
        let warm = self.look_up(out, user, "warm").await?;
        writeln!(out, "\n  access_token  {}", cold.access_token)?;
        writeln!(out, "  connection    {}", cold.connection)?;
        writeln!(out, "  source        {}", cold.source)?;
        if let (Some(at), Some(seconds)) = (&cold.expires_at, cold.expires_in) {
            writeln!(out, "  expires_at    {at} (in {seconds} s)")?;
        }
        if cold.fingerprint != warm.fingerprint {
            return Err(CommandError::failed("the two lookups gave different tokens"));
        }
        Ok(())
    }

    async fn look_up(
        &self,
        out: &mut impl io::Write,
        user: &str,
        how: &str,
    ) -> Result<TokenAnswer<'static>, CommandError> {
        let user = UserId::parse(user).map_err(failed("a sample user"))?;
        self.tenant.forget_calls();
        self.google.forget_redemptions();
        let begun = Instant::now();
        let answer = self.client.get(&format!("/v1/users/{}/token", user.to_path_segment())).await?;
        let took = begun.elapsed();
        let upstream = count(self.tenant.calls().len(), "upstream call");
        let provider = count(self.google.redemptions().len(), "provider call");
        let took = took.as_secs_f64() * 1e3;
        writeln!(out, "  {how} lookup   {upstream}, {provider}, answered after {took:.1} ms")?;
        Ok(answer.json()?)
    }

    fn invitation(&self) -> String {
        let program = std::env::current_exe().unwrap_or_else(|_| "cloakroom".into());
        let (program, socket, user_token) =
            (quoted(&program), quoted(&self.socket), quoted(&self.user_token));
        let (github, linked) = (users::GITHUB, users::LINKED.replace('|', "%7C"));
        let google = users::GOOGLE.replace('|', "%7C");
        format!(
            "\nTry, in another terminal:\n\n  \
             {program} token '{github}' --socket {socket}\n  \
             {program} status --socket {socket}\n  \
             curl --unix-socket {socket} -H 'Cloakroom-Request: true' http://localhost/v1/users/{linked}/identities\n  \
             curl --unix-socket {socket} -H 'Cloakroom-Request: true' -H @{user_token} http://localhost/v1/me/token\n  \
             curl --unix-socket {socket} -i -H 'Cloakroom-Request: true' \
             http://localhost/v1/users/{google}/proxy/{CONNECTION}/{PROXIED}/items\n  \
             curl --unix-socket {socket} -i -H 'Cloakroom-Request: true' http://localhost/api/v2/users/{google}\n\n\
             The last two call Google's API and Auth0's Management API. The daemon adds the tokens, which curl never \
             holds.\n\
             Ctrl-C ends it."
        )
    }
}

fn configuration(
    tenant: &Tenant,
    listening: &Listening,
    directory: &Path,
    socket: &Path,
) -> Result<String, CommandError> {
    let (ca, secret) = (directory.join("ca.pem"), directory.join("client-secret"));
    std::fs::write(&ca, listening.ca_pem()).map_err(failed("a temporary file"))?;
    let options = TenantOptions::default();
    write_secret(&secret, options.client_secret.expose())?;
    // No rule is the default for calls of APIs, not even for root.
    let own_uid = nix::unistd::geteuid().as_raw();
    // Without the environment's proxies, because the tenant is on loopback.
    Ok(format!(
        "[tenant]\ndomain = {:?}\naudience = {:?}\nca_file = {ca:?}\n\
         [tenant.client]\nid = {:?}\nsecret_file = {secret:?}\n\
         [[listener]]\npath = {socket:?}\nmode = \"0600\"\n\
         [[listener.allow]]\nuid = {own_uid}\n\
         operations = [\"token\", \"identities\", \"me\", \"report\", \"purge\", \"proxy\", \"me_proxy\", \"management_api\"]\n\
         calls = [\"GET {PROXIED}/me\", \"GET {PROXIED}/items\", \"GET {PROXIED}/events\", \"GET /users/*\"]\n\
         [me]\naudiences = [{API:?}]\n\
         [audit]\nevents = \"none\"\n\
         [log]\nlevel = \"warn\"\nformat = \"text\"\n",
        listening.domain(),
        tenant.audience(),
        options.client_id,
    ))
}

/// The tables that let the daemon redeem the refresh tokens of one connection.
fn renewal(provider: &FakeProvider, listening: &Listening, directory: &Path) -> Result<String, CommandError> {
    let (ca, secret) = (directory.join("ca.pem"), directory.join("connection-secret"));
    let (client_id, client_secret) = provider.client();
    write_secret(&secret, client_secret.expose())?;
    let dialect = provider.dialect();
    Ok(format!(
        "[providers]\nca_file = {ca:?}\n\
         [[connection]]\nname = {CONNECTION:?}\nsources = [\"identities\", \"refresh\"]\n\
         [connection.refresh]\nprovider = {:?}\nclient_id = {client_id:?}\nsecret_file = {secret:?}\n\
         token_endpoint = \"https://{}{}\"\n",
        dialect.name(),
        listening.domain(),
        dialect.path(),
    ))
}

/// The table that lets clients call the simulated Google's API, whose certificate `[providers]` trusts.
fn proxied(listening: &Listening) -> String {
    // `allow_private`, because the API is on loopback.
    format!(
        "[[proxy]]\nconnection = {CONNECTION:?}\nname = {PROXIED:?}\nurl = \"https://{}\"\n\
         provider = \"google\"\nallow_private = true\n",
        listening.domain(),
    )
}

/// The table that lets clients call the simulated tenant's Management API.
fn management_api(directory: &Path) -> Result<String, CommandError> {
    let secret = directory.join("management-api-secret");
    write_secret(&secret, CALLS_CLIENT.1)?;
    Ok(format!("[management_api]\nclient_id = {:?}\nsecret_file = {secret:?}\n", CALLS_CLIENT.0))
}

fn parsed(text: &str) -> Result<Config, CommandError> {
    match config::parse("the demo's configuration", text, &Env::default()) {
        Ok(Loaded { config, .. }) => Ok(config),
        Err(problems) => Err(CommandError::new(Exit::Configuration, problems.to_string())),
    }
}

/// Writes the header of a user's own token to a file, because arguments of processes are public.
fn user_token(tenant: &Tenant, directory: &Path) -> Result<PathBuf, CommandError> {
    let token =
        tenant.user_token(users::GOOGLE, API, USER_TOKEN_LIFETIME).map_err(failed("a sample token"))?;
    let path = directory.join("user-token");
    write_secret(&path, &format!("Authorization: Bearer {token}\n"))?;
    Ok(path)
}

fn write_secret(path: &Path, text: &str) -> Result<(), CommandError> {
    let mut file = OpenOptions::new();
    let file = file.write(true).create_new(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(failed("a temporary file"))
}

/// Quotes a path for a shell.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    match text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-+".contains(c)) {
        true => text,
        false => format!("'{}'", text.replace('\'', "'\\''")),
    }
}

fn count(number: usize, thing: &str) -> String {
    super::text::count(number as u64, thing)
}

fn failed<E: std::fmt::Display>(what: &'static str) -> impl Fn(E) -> CommandError {
    move |cause| CommandError::failed(format!("{what}: {cause}"))
}
