//! Refresh tokens: which one is redeemed, and what is stored before and after.
//!
//! [`Chains`] drives [`domain::redemption`](crate::domain::redemption), one redemption of an identity at a time. With
//! `[state]` it stores chains of refresh tokens in a file, otherwise in memory.
//!
//! A chain passes through these files: `record` writes it as text, `sealing` encrypts it and binds it to the name that
//! `slot` computes, `store` collects what has to be written, and `database` writes it to the file that `place` watches.

use std::collections::BTreeSet;
use std::future::Future;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::{self, SystemRandom};
use tokio::sync::RwLock;

use crate::clock::Clock;
use crate::config;
use crate::domain::redemption::{self, Chain, Step};
use crate::domain::source::{OverReason, Redemption, Rotation, SourceFailure};
use crate::domain::user::UserId;
use crate::flight::{Flights, NoFlight, Obsolete};
use crate::secret::{NoRandomness, Secret};
use crate::telemetry::{Counters, UserNames};

mod database;
mod memory;
mod opening;
mod place;
pub mod record;
pub mod sealing;
pub mod slot;
mod store;
mod trouble;

pub use self::place::{Look, Place};
pub use self::trouble::{StateError, Trouble};
pub use crate::domain::redemption::{Asked, Redeemed, Terms};

use self::database::Records;
use self::memory::Memory;
use self::record::Run;
use self::sealing::Keyring;
use self::slot::{Holder, Slot, user_prefix};
use self::store::{Outcome, Store, Unreadable};

/// When to ask again after an internal error.
const FAULT_RETRY: Duration = Duration::from_secs(1);

/// The identity of a chain.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ChainKey {
    /// The Auth0 connection.
    pub connection: Arc<str>,
    /// The user.
    pub user: UserId,
    /// The user's id at the identity provider.
    pub identity_user_id: String,
}

/// The chains of refresh tokens of all identities. Cheap to clone; clones share them.
#[derive(Clone, Debug)]
pub struct Chains(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    tenant: Arc<str>,
    storage: Storage,
    /// Redemptions under way. Their number is bounded by what their callers have under way.
    redemptions: Flights<Slot, (), Redeemed>,
    clock: Clock,
    counters: Arc<Counters>,
    /// Read by every redemption, and written by the end of the daemon.
    open: Arc<RwLock<()>>,
}

#[derive(Debug)]
enum Storage {
    Memory {
        names: hmac::Key,
        chains: Memory,
    },
    File {
        keyring: Keyring,
        store: Store,
        names: Box<UserNames>,
        /// The records that the log has named, because they cannot be opened. No more than the file has.
        unopened: Mutex<BTreeSet<Slot>>,
    },
}

/// A state file that is open and locked. It is opened before the process gives up what it does not need; from then on
/// no path is opened any more.
#[derive(Debug)]
pub struct OpenState {
    records: Box<dyn Records>,
    keyring: Keyring,
    tenant: Arc<str>,
}

impl OpenState {
    /// Opens the file of `settings`, which is created if it does not exist. Reads all of it. `tenant` names the tenant
    /// for as long as the file is used.
    pub fn open(settings: &config::State, tenant: &str) -> Result<Self, StateError> {
        let (keyring, run) = keyring(settings)?;
        let records = Box::new(opening::open_file(&settings.path, &keyring, run)?);
        Ok(Self { records, keyring, tenant: tenant.into() })
    }

    /// Opens a database at a place of a test's own, which [`create`] has made.
    pub fn open_at(place: impl Place, settings: &config::State, tenant: &str) -> Result<Self, StateError> {
        let (keyring, run) = keyring(settings)?;
        let records = Box::new(opening::open_at(place, &settings.path, &keyring, run)?);
        Ok(Self { records, keyring, tenant: tenant.into() })
    }
}

impl Chains {
    /// Chains in memory, which do not survive a restart. Refresh tokens of providers that invalidate one when they redeem
    /// it are not redeemed: such a connection needs [`Chains::in_file`].
    ///
    /// # Errors
    /// The kernel returns no random bytes.
    pub fn in_memory(clock: Clock, counters: Arc<Counters>) -> Result<Self, NoRandomness> {
        let names = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).map_err(|_| NoRandomness)?;
        Ok(Self::of("".into(), Storage::Memory { names, chains: Memory::default() }, clock, counters))
    }

    /// Chains in a state file. `names` are those of users in the log; `seed` determines the jitter of retries.
    pub fn in_file(
        state: OpenState,
        names: UserNames,
        clock: Clock,
        counters: Arc<Counters>,
        seed: u64,
    ) -> Self {
        let OpenState { records, keyring, tenant } = state;
        let store = Store::new(records, clock.clone(), Arc::clone(&counters), seed);
        let (names, unopened) = (Box::new(names), Mutex::default());
        let storage = Storage::File { keyring, store, names, unopened };
        Self::of(tenant, storage, clock, counters)
    }

    fn of(tenant: Arc<str>, storage: Storage, clock: Clock, counters: Arc<Counters>) -> Self {
        let (redemptions, open) = (Flights::new(usize::MAX), Arc::default());
        Self(Arc::new(Inner { tenant, storage, redemptions, clock, counters, open }))
    }

    /// Redeems a refresh token of the identity `key`, in the safe order. `asked` is Auth0's latest answer about the
    /// identity. `redeem` sends a refresh token to the provider, once.
    ///
    /// There is one redemption of an identity at a time. A caller that comes meanwhile has its outcome. A redemption
    /// continues when its callers are gone.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn redeem<F, R>(&self, key: &ChainKey, terms: Terms, asked: Asked, redeem: F) -> Redeemed
    where
        F: Fn(Secret) -> R + Send + Sync + 'static,
        R: Future<Output = Redemption> + Send + 'static,
    {
        let redeem = Arc::new(redeem);
        let mut is_second = false;
        loop {
            let flight = self.0.redemptions.join(self.0.slot(key), (), |obsolete, _| {
                let (inner, key, redeem) = (Arc::clone(&self.0), key.clone(), Arc::clone(&redeem));
                let (terms, asked) = (terms.clone(), asked.clone());
                let redeem = move |token| redeem(token);
                Ok::<_, ()>(async move { inner.run(&key, terms, asked, obsolete, redeem).await })
            });
            let flight = match flight {
                Ok(flight) => flight,
                Err(NoFlight::Full | NoFlight::Refused(())) => return failed(SourceFailure::Fault),
            };
            let has_joined = flight.joined();
            let end = flight.landed().await.unwrap_or_else(|| failed(SourceFailure::Fault));
            match end {
                // Another caller's answer of Auth0 may be older than this one's, so these count for that caller alone.
                Redeemed::NoRefreshToken | Redeemed::AskAuth0 | Redeemed::Over(_)
                    if has_joined && !is_second =>
                {
                    is_second = true;
                }
                end => return end,
            }
        }
    }

    /// Forgets the refresh tokens of `user`. The next redemption begins with the one that Auth0 stores, which is of no
    /// use if its provider has invalidated it.
    ///
    /// # Errors
    /// The state file cannot be written, and nothing is forgotten.
    pub async fn forget(&self, user: &UserId) -> Result<(), SourceFailure> {
        let inner = &self.0;
        let prefix = match &inner.storage {
            Storage::Memory { names, .. } => user_prefix(names, &inner.tenant, user.as_str()),
            Storage::File { keyring, .. } => keyring.user(&inner.tenant, user.as_str()),
        };
        // A redemption that has read its chain by then must not write it back.
        let void = || inner.redemptions.void_where(|slot| slot.user() == prefix);
        match &inner.storage {
            Storage::Memory { chains, .. } => chains.forget(prefix, void),
            Storage::File { store, .. } => forgotten(store.forget(prefix, void).await)?,
        }
        Ok(())
    }

    /// Forgets the refresh tokens of all users.
    ///
    /// # Errors
    /// The state file cannot be written, and nothing is forgotten.
    pub async fn forget_all(&self) -> Result<(), SourceFailure> {
        let void = || self.0.redemptions.void_all();
        match &self.0.storage {
            Storage::Memory { chains, .. } => chains.forget_all(void),
            Storage::File { store, .. } => forgotten(store.forget_all(void).await)?,
        }
        Ok(())
    }

    /// Begins no further redemption, waits for those under way, and closes the state file. Without this, the end of the
    /// daemon loses the answers that are under way.
    pub async fn close(&self) {
        let closed = Arc::clone(&self.0.open).write_owned().await;
        // For ever: the daemon is about to end.
        std::mem::forget(closed);
        if let Storage::File { store, .. } = &self.0.storage {
            store.close().await;
        }
    }
}

/// Writes an empty state file to `storage`, for [`OpenState::open_at`].
pub fn create(storage: impl redb::StorageBackend) -> Result<(), Trouble> {
    database::create(storage)
}

/// Whether the directory for a state file at `path` exists and can be written to by this process; else why not.
pub fn check_directory(path: &Path) -> Result<(), StateError> {
    place::check_directory(path)
}

fn keyring(settings: &config::State) -> Result<(Keyring, u64), StateError> {
    let trouble = |trouble: Trouble| StateError::Trouble { path: settings.path.clone(), trouble };
    let (first, others) = settings.keys.split_first().ok_or_else(|| trouble(Trouble::Fault))?;
    let mut run = [0; 8];
    rand::fill(&mut run).map_err(|_| trouble(Trouble::Fault))?;
    let run = u64::from_be_bytes(run);
    let keyring = Keyring::new(first, others, Run(run)).map_err(|cause| trouble(cause.into()))?;
    Ok((keyring, run))
}

fn failed(failure: SourceFailure) -> Redeemed {
    let retry_after = match failure {
        SourceFailure::State => redemption::UNSTORED_RETRY,
        _ => FAULT_RETRY,
    };
    Redeemed::Failed { failure, retry_after }
}

fn forgotten(outcome: Outcome) -> Result<(), SourceFailure> {
    if outcome == Outcome::Durable { Ok(()) } else { Err(SourceFailure::State) }
}

/// A redemption whose chain cannot be read. What Auth0 stores may be valid, unless its provider invalidates what it
/// redeems. Nothing is stored, because the chain may have a newer refresh token, and a refusal says nothing about that.
async fn without_chain<R>(terms: &Terms, asked: Asked, redeem: impl Fn(Secret) -> R + Send) -> Redeemed
where
    R: Future<Output = Redemption> + Send,
{
    let unknown = failed(SourceFailure::State);
    let Some(token) = asked.refresh_token.filter(|_| terms.rotation != Rotation::Single) else {
        return unknown;
    };
    match redeem(token).await {
        Redemption::Issued { token, .. } => Redeemed::Issued(token),
        Redemption::Over(_) => unknown,
        Redemption::Misconfigured(fault) => Redeemed::Misconfigured(fault),
        Redemption::Failed { failure, retry_after, .. } => Redeemed::Failed { failure, retry_after },
    }
}

impl Inner {
    fn holder<'a>(&'a self, key: &'a ChainKey) -> Holder<'a> {
        let ChainKey { connection, user, identity_user_id: account } = key;
        Holder { tenant: &self.tenant, connection, user: user.as_str(), account }
    }

    fn slot(&self, key: &ChainKey) -> Slot {
        match &self.storage {
            Storage::Memory { names, .. } => Slot::of(names, &self.holder(key)),
            Storage::File { keyring, .. } => keyring.slot(&self.holder(key)),
        }
    }

    /// One redemption, from its first step to its end.
    async fn run<R>(
        &self,
        key: &ChainKey,
        terms: Terms,
        asked: Asked,
        obsolete: Obsolete,
        redeem: impl Fn(Secret) -> R + Send,
    ) -> Redeemed
    where
        R: Future<Output = Redemption> + Send,
    {
        let Ok(_open) = Arc::clone(&self.open).try_read_owned() else { return failed(SourceFailure::State) };
        // Configurations rule this out. In memory, the next refresh token would be lost at the end of the daemon.
        if terms.rotation == Rotation::Single && matches!(self.storage, Storage::Memory { .. }) {
            return failed(SourceFailure::State);
        }
        let known = match self.load(key).await {
            Ok(known) => known,
            Err(Unreadable) => return without_chain(&terms, asked, redeem).await,
        };
        let was_lost = known.as_ref().is_some_and(is_lost);
        let mut step = redemption::begin(known, terms, asked, self.clock.now());
        loop {
            step = match step {
                Step::Store(storing) => {
                    if is_lost(storing.chain()) && !was_lost {
                        self.counters.state.lost.add();
                        let connection = &*key.connection;
                        tracing::warn!(
                            connection,
                            "The answer to a redemption is lost, and with it the refresh token"
                        );
                    }
                    match self.store(key, storing.chain(), storing.is_intent(), &obsolete).await {
                        Outcome::Durable => storing.stored(),
                        Outcome::Failed => storing.failed(),
                        Outcome::Unknown => {
                            if storing.is_intent() {
                                self.withdraw(key, storing.chain(), &obsolete);
                            }
                            storing.failed()
                        }
                        Outcome::Obsolete => storing.forgotten(),
                    }
                }
                Step::Redeem(redeeming) => {
                    let outcome = redeem(redeeming.token().clone()).await;
                    redeeming.outcome(outcome, self.clock.now())
                }
                Step::End(end) => return end,
            }
        }
    }

    async fn load(&self, key: &ChainKey) -> Result<Option<Chain>, Unreadable> {
        let slot = self.slot(key);
        let (keyring, store, names, unopened) = match &self.storage {
            Storage::Memory { chains, .. } => return Ok(chains.get(&slot)),
            Storage::File { keyring, store, names, unopened } => (keyring, store, names, unopened),
        };
        let Some(sealed) = store.get(slot).await? else { return Ok(None) };
        match keyring.open(&slot, &sealed) {
            Ok(record) => Ok(Some(record.chain)),
            Err(why) => {
                // Once for each record, and not for each lookup.
                if unopened.lock().unwrap_or_else(PoisonError::into_inner).insert(slot) {
                    let (connection, user) = (&*key.connection, names.name(&key.user));
                    tracing::error!(
                        connection,
                        user,
                        ?why,
                        "A record of the state file cannot be opened; purge this user with credentials=true"
                    );
                }
                Err(Unreadable)
            }
        }
    }

    /// Takes an intent back that may become durable although the redemption is over: nothing was sent.
    fn withdraw(&self, key: &ChainKey, intent: &Chain, obsolete: &Obsolete) {
        let Storage::File { keyring, store, .. } = &self.storage else { return };
        let withdrawn = Chain { attempts: intent.attempts.saturating_sub(1), ..intent.clone() }.next();
        if let Ok((slot, sealed)) = keyring.seal(&self.holder(key), &withdrawn) {
            store.put_later(slot, sealed, obsolete.clone());
        }
    }

    async fn store(&self, key: &ChainKey, chain: &Chain, is_intent: bool, obsolete: &Obsolete) -> Outcome {
        match &self.storage {
            Storage::Memory { chains, .. } => {
                let is_stored = chains.put(self.slot(key), chain.clone(), || !obsolete.is_void());
                if is_stored { Outcome::Durable } else { Outcome::Obsolete }
            }
            Storage::File { keyring, store, .. } => match keyring.seal(&self.holder(key), chain) {
                Ok((slot, sealed)) => store.put(slot, sealed, is_intent, obsolete.clone()).await,
                Err(_) => Outcome::Failed,
            },
        }
    }
}

fn is_lost(chain: &Chain) -> bool {
    chain.refusal.as_ref().is_some_and(|refusal| refusal.reason == OverReason::RefreshLost)
}

#[cfg(test)]
mod tests;
