//! The client of Token Vault against the simulated vault, in virtual time.

mod access;
mod certificates;
mod keys;
mod limits;
mod lookups;
mod outcomes;
mod refusals;
mod secrecy;
mod turns;

use std::sync::Arc;
use std::time::Duration;

use cloakroom::cache::ForWhom;
use cloakroom::clock::Clock;
use cloakroom::config::{self, Client, ClientTable, Config, Credential, CredentialFiles};
use cloakroom::domain::priority::{Flow, Priority};
use cloakroom::domain::source::{IssuedToken, SourceFailure, SourceFault, SourceOrders};
use cloakroom::domain::user::UserId;
use cloakroom::fake_auth0::{
    CertificateKind, ClientAuth, ClientKeyPair, ConnectedAccount, Endpoint, KeyUse, Listening, Tenant,
    TenantOptions, users,
};
use cloakroom::secret::TagKey;
use cloakroom::signing::{SigningAlg, SigningKey};
use cloakroom::telemetry::Counters;
use cloakroom::transport::Transport;
use cloakroom::upstream::vault::{Exchanged, Vault};
use cloakroom::upstream::{Auth0, Parts, transport_to};
use tempfile::TempDir;

use crate::support::in_memory::{InMemory, configure, tenant};

const GOOGLE: &str = "google-oauth2";
const GITHUB: &str = "github";
const HOUR: Duration = Duration::from_secs(3_600);

struct World {
    tenant: Tenant,
    /// The daemon's clock and the tenant's.
    clocks: [Clock; 2],
    config: Config,
    auth0: Auth0,
    vault: Vault,
    counters: Arc<Counters>,
    transport: Arc<dyn Transport>,
    _directory: TempDir,
}

/// What an exchange ends with, in a form that tests compare.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// The token.
    Token(String),
    NotConnected,
    Fault(SourceFault),
    Failure(SourceFailure),
}

fn signing_key(index: usize) -> Arc<SigningKey> {
    let pair = ClientKeyPair::shared(index).unwrap();
    Arc::new(SigningKey::from_pem(pair.private_pem.expose().as_bytes(), SigningAlg::Rs256).unwrap())
}

/// A client with these keys, the preferred one first.
fn client(keys: &[usize]) -> Arc<Client> {
    let mut keys = keys.iter().map(|index| Credential::PrivateKeyJwt(signing_key(*index)));
    let (first, second) = (keys.next().unwrap(), keys.next());
    let (credential, next) = match second {
        Some(present) => (present, Some(first)),
        None => (first, None),
    };
    let (files, token_host) = (CredentialFiles::None, None);
    let table = ClientTable::TenantClient;
    Arc::new(Client { table, id: "demo-client".into(), credential, next, files, token_host })
}

/// `[vault]`, with the key of this number in `vault.key_file`, if any.
fn settings(key: Option<usize>) -> config::Vault {
    config::Vault { audit_context: "cloakroom".into(), key: key.map(signing_key), key_file: None }
}

fn options() -> TenantOptions {
    TenantOptions { client_auth: ClientAuth::PrivateKeyJwt, ..TenantOptions::default() }
}

impl World {
    /// A tenant whose application may exchange at two connections with the key number 0, and one connected account.
    /// Joined in memory, in virtual time.
    fn new(upstream: &str) -> Self {
        Self::with(upstream, |tenant, config| InMemory::to(tenant, config))
    }

    fn with(upstream: &str, transport: impl FnOnce(&Tenant, &Config) -> Arc<dyn Transport>) -> Self {
        let (tenant, clocks) = tenant(options());
        let configured = configure("tenant.example", &tenant, None, &format!("[upstream]\n{upstream}"));
        let transport = transport(&tenant, &configured.1);
        Self::assemble(tenant, clocks, configured, transport, &client(&[0]), settings(None))
    }

    /// Over TLS on loopback, in real time. `settings` are keys of `[tenant]`.
    fn over_tls(settings: &str) -> (Self, Listening) {
        let clock = Clock::system();
        let tenant = Tenant::new(clock.clone(), options()).unwrap();
        let listening = tenant.listen(CertificateKind::Good).unwrap();
        let configured = configure(listening.domain(), &tenant, Some(listening.ca_pem()), settings);
        let transport = transport_to(&configured.1.tenant).unwrap();
        let clocks = [clock.clone(), clock];
        let world =
            Self::assemble(tenant, clocks, configured, transport, &client(&[0]), self::settings(None));
        (world, listening)
    }

    fn assemble(
        tenant: Tenant,
        clocks: [Clock; 2],
        (directory, config): (TempDir, Config),
        transport: Arc<dyn Transport>,
        client: &Arc<Client>,
        settings: config::Vault,
    ) -> Self {
        for purpose in [KeyUse::Authentication, KeyUse::TokenVault] {
            tenant.register_key(purpose, &ClientKeyPair::shared(0).unwrap().public_pem, "RS256").unwrap();
        }
        tenant.change_vault(|vault| vault.allow(&[GOOGLE, GITHUB], &["email", "calendar"]));
        let counters = Arc::new(Counters::default());
        let parts = Parts {
            transport: Arc::clone(&transport),
            clock: clocks[0].clone(),
            tags: TagKey::random().unwrap(),
            counters: Arc::clone(&counters),
            orders: SourceOrders::default(),
            seed: 7,
        };
        let auth0 = Auth0::new(&config.tenant, client, config.upstream, parts);
        let vault = Vault::new(auth0.clone(), settings);
        let world = Self { tenant, clocks, config, auth0, vault, counters, transport, _directory: directory };
        world.connect(users::GOOGLE, GOOGLE, "1035");
        world
    }

    /// Reloads with these keys of the client, and with this key in `vault.key_file`.
    fn reload(&self, keys: &[usize], key: Option<usize>) {
        let (orders, transport) = (SourceOrders::default(), Arc::clone(&self.transport));
        self.auth0.reconfigure(&self.config.tenant, &client(keys), self.config.upstream, orders, transport);
        self.vault.reconfigure(settings(key));
    }

    fn connect(&self, user: &str, connection: &str, account: &str) -> String {
        let account = ConnectedAccount::new(user, connection, account, &["email", "calendar"]);
        self.tenant.connect_account(account)
    }

    /// Adds a user with an account at Google, for a crowd.
    fn enrol(&self, number: usize) -> String {
        let id = format!("google-oauth2|crowd-{number}");
        assert!(self.tenant.put_user(serde_json::json!({ "user_id": id })));
        self.connect(&id, GOOGLE, &number.to_string());
        id
    }

    async fn exchange_for(&self, user: &str, connection: &str, hint: Option<&str>) -> Exchanged {
        let user = UserId::parse(user).unwrap();
        let for_whom = ForWhom::only(Flow::Uid(1000));
        self.vault.exchange(&user, connection, hint, Priority::Caller, for_whom).await
    }

    async fn exchange(&self) -> Outcome {
        outcome(self.exchange_for(users::GOOGLE, GOOGLE, None).await)
    }

    /// The token that an exchange brings.
    async fn issued(&self) -> IssuedToken {
        match self.exchange_for(users::GOOGLE, GOOGLE, None).await {
            Exchanged::Issued(token) => token,
            other => panic!("{other:?}"),
        }
    }

    fn calls(&self) -> usize {
        self.tenant.calls_to(Endpoint::Exchange).len()
    }

    /// How many calls `action` costs.
    async fn cost<T>(&self, action: impl Future<Output = T>) -> (T, usize) {
        let before = self.calls();
        let outcome = action.await;
        (outcome, self.calls() - before)
    }

    fn pass(&self, span: Duration) {
        self.clocks.iter().for_each(|clock| clock.suspend(span));
    }
}

fn outcome(exchanged: Exchanged) -> Outcome {
    match exchanged {
        Exchanged::Issued(token) => Outcome::Token(token.access_token.expose().to_owned()),
        Exchanged::NotConnected => Outcome::NotConnected,
        Exchanged::Misconfigured(fault) => Outcome::Fault(fault),
        Exchanged::Failed { failure, retry_after } => {
            assert!(!retry_after.is_zero() && retry_after <= Duration::from_secs(60), "{retry_after:?}");
            Outcome::Failure(failure)
        }
    }
}

fn token(number: usize) -> Outcome {
    Outcome::Token(format!("vault-{GOOGLE}-1035-{number}"))
}
