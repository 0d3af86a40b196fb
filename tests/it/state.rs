//! Refresh tokens that rotate: the order of a redemption, and the file behind it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cloakroom::clock::Clock;
use cloakroom::config::{self, UserIds};
use cloakroom::domain::freshness::Timestamp;
use cloakroom::domain::redemption::RETRY_HELD;
use cloakroom::domain::source::{IssuedToken, OverReason, Processed, Redemption, Rotation, SourceFailure};
use cloakroom::domain::user::UserId;
use cloakroom::secret::{KeyMaterial, Secret, TagKey};
use cloakroom::state::{Asked, ChainKey, Chains, OpenState, Redeemed, Terms};
use cloakroom::telemetry::{Counters, UserNames};

#[path = "../support/single_use_provider.rs"]
mod single_use_provider;

mod disk;
mod failing_disk;
mod file;
mod http;
mod redemptions;

use single_use_provider::{Provider, Truth};

/// How the provider deals with the next requests.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    /// It processes the request, and its answer is lost.
    AnswerLost,
    /// The request is lost.
    RequestLost,
    /// It refuses the refresh token.
    Refused,
}

/// One identity, its provider, and what Auth0 stores. The daemon's part is handed in, because it can be restarted.
#[derive(Clone)]
struct Scene {
    clock: Clock,
    counters: Arc<Counters>,
    provider: Provider,
    faults: Arc<Mutex<Vec<Fault>>>,
    auth0: Option<String>,
    terms: Terms,
}

impl Scene {
    fn new(rotation: Rotation) -> Self {
        Self::with_grace(rotation, Duration::ZERO)
    }

    fn with_grace(rotation: Rotation, grace: Duration) -> Self {
        let provider = Provider::with_grace(grace);
        Self {
            clock: Clock::simulated(Timestamp::from_secs(1_800_000_000)),
            counters: Arc::default(),
            auth0: Some(provider.log_in()),
            provider,
            faults: Arc::default(),
            terms: Terms { client: "client".into(), rotation, grace, last_answer: None },
        }
    }

    fn in_memory(&self) -> Chains {
        Chains::in_memory(self.clock.clone(), Arc::clone(&self.counters)).unwrap()
    }

    fn open(&self, path: &Path, keys: &[u8]) -> Result<Chains, String> {
        let state = OpenState::open(&settings(path, keys), TENANT).map_err(|error| error.to_string())?;
        Ok(self.in_file(state))
    }

    fn in_file(&self, state: OpenState) -> Chains {
        let names = UserNames::new(UserIds::Plain, TagKey::random().unwrap());
        Chains::in_file(state, names, self.clock.clone(), Arc::clone(&self.counters), 1)
    }

    /// Lets time pass for the daemon and for the provider.
    async fn pass(&self, span: Duration) {
        tokio::time::sleep(span).await;
        self.provider.pass(span);
    }

    /// One call, with Auth0's answer of this moment.
    async fn redeem_once(&self, chains: &Chains, user: &str) -> Redeemed {
        let asked = Asked { refresh_token: self.auth0.as_deref().map(Secret::new), at: self.clock.now() };
        let (provider, faults) = (self.provider.clone(), Arc::clone(&self.faults));
        let redeem = move |token: Secret| {
            let (provider, fault) = (provider.clone(), faults.lock().unwrap().pop());
            async move {
                tokio::time::sleep(Duration::from_millis(50)).await;
                match fault {
                    None => answer(provider.redeem(token.expose())),
                    Some(Fault::Refused) => answer(None),
                    Some(fault) => {
                        match fault {
                            Fault::AnswerLost => drop(provider.redeem(token.expose())),
                            Fault::RequestLost | Fault::Refused => provider.receive(token.expose()),
                        }
                        let (failure, retry_after) =
                            (SourceFailure::TimedOut { host: "idp.example".into() }, Duration::from_secs(2));
                        Redemption::Failed { failure, retry_after, processed: Processed::Unknown }
                    }
                }
            }
        };
        chains.redeem(&key(user), self.terms.clone(), asked, redeem).await
    }

    /// A redemption as the cache makes it: if the provider refuses, Auth0 is asked once more.
    async fn redeem(&self, chains: &Chains, user: &str) -> String {
        let mut end = self.redeem_once(chains, user).await;
        if matches!(end, Redeemed::AskAuth0) {
            tokio::time::sleep(Duration::from_millis(10)).await;
            end = self.redeem_once(chains, user).await;
        }
        match end {
            Redeemed::Issued(token) => token.access_token.expose().to_owned(),
            Redeemed::Over(reason) => format!("over: {}", reason.as_str()),
            Redeemed::Failed { failure, .. } => format!("failed: {failure}"),
            end => format!("{end:?}"),
        }
    }

    /// Checks that no token was sent twice, except for `retried`, which were sent once more.
    fn expect_sent_once(&self, retried: &[&str]) {
        let log = self.provider.log();
        for token in &log {
            let times = log.iter().filter(|other| *other == token).count();
            let allowed = 1 + usize::from(retried.contains(&token.as_str()));
            assert!(times <= allowed, "{token} was sent {times} times: {log:?}");
        }
    }
}

/// The access token shows which refresh token comes next.
fn answer(next: Option<String>) -> Redemption {
    match next {
        Some(next) => Redemption::Issued {
            token: IssuedToken {
                access_token: Secret::new(format!("access before {next}")),
                expires_in: Some(Duration::from_secs(3600)),
                scopes: None,
            },
            refresh_token: Some(Secret::new(next)),
        },
        None => Redemption::Over(OverReason::RefreshRefused),
    }
}

const TENANT: &str = "acme.eu.auth0.com";
const UNSTORED: &str =
    "failed: the state file cannot be written, so no refresh token that rotates is redeemed: see the log";

fn settings(path: &Path, keys: &[u8]) -> config::State {
    let keys = keys.iter().map(|byte| KeyMaterial::from_bytes(&[*byte; 32]).unwrap()).collect();
    config::State { path: path.to_owned(), keys }
}

fn key(user: &str) -> ChainKey {
    ChainKey {
        connection: "okta".into(),
        user: UserId::parse(&format!("okta|{user}")).unwrap(),
        identity_user_id: user.to_owned(),
    }
}

/// A directory with a state file that does not exist yet.
fn directory() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state");
    (directory, path)
}
