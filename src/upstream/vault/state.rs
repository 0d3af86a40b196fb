//! What the client of the vault remembers between exchanges: which keys Auth0 accepts, what it refuses, and whose
//! tokens it could not refresh.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use crate::config;
use crate::domain::error::Failure;
use crate::domain::freshness::Moment;
use crate::domain::source::SourceFault;
use crate::telemetry::outage_log::OutageLog;

use super::super::client::Auth0;
use super::account::AccountTag;
use super::brake::Brake;
use super::refreshes::{FailedRefresh, Refreshes};
use super::request::{Signers, combinations};

/// What all exchanges share.
pub(super) struct VaultInner {
    pub auth0: Auth0,
    settings: RwLock<Arc<config::Vault>>,
    state: Mutex<VaultState>,
    /// Outages of the token endpoint.
    outages: OutageLog,
}

#[derive(Default)]
struct VaultState {
    /// The connections whose latest exchanges were refused.
    brakes: HashMap<Arc<str>, Brake>,
    refreshes: Refreshes,
    /// The connections for which the log says that no account can be refreshed.
    unrefreshed: HashSet<Arc<str>>,
    /// What Auth0 accepted last, also if a reload has replaced it since.
    accepted: Option<Signers>,
    /// Whether a reload came after that, so that what is configured now is tried first.
    is_reloaded: bool,
}

impl VaultInner {
    pub fn new(auth0: Auth0, settings: config::Vault) -> Self {
        let settings = RwLock::new(Arc::new(settings));
        Self { auth0, settings, state: Mutex::default(), outages: OutageLog::default() }
    }

    pub fn reconfigure(&self, settings: config::Vault) {
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
        let mut state = self.state();
        state.is_reloaded = true;
        state.brakes.clear();
        state.refreshes.forget_failures();
    }

    pub fn settings(&self) -> Arc<config::Vault> {
        Arc::clone(&self.settings.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn state(&self) -> MutexGuard<'_, VaultState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What to sign with, in the order in which it is tried: what Auth0 accepted last, and then what is configured; the
    /// other way round after a reload. Never empty if the configuration is valid.
    pub fn signers(&self, settings: &config::Vault) -> Vec<Signers> {
        let mut signers = combinations(&self.auth0.reloadable().credentials, settings.key.as_ref());
        let state = self.state();
        let Some(accepted) = &state.accepted else { return signers };
        // The configured ones use the transport in force.
        let known = signers.iter().position(|signers| signers.are(accepted));
        match (state.is_reloaded, known) {
            (true, Some(_)) => {}
            (true, None) => signers.push(accepted.clone()),
            (false, Some(at)) => {
                let preferred = signers.remove(at);
                signers.insert(0, preferred);
            }
            (false, None) => signers.insert(0, accepted.clone()),
        }
        signers
    }

    /// Returns why an exchange of `connection` is refused without a request, if it is.
    pub fn would_hold(&self, connection: &str, now: Moment) -> Option<SourceFault> {
        self.state().brakes.get(connection)?.would_hold(now)
    }

    /// Why Auth0 refuses exchanges of `connection`, if it does and not for a single account.
    pub fn fault(&self, connection: &str) -> Option<SourceFault> {
        self.state().brakes.get(connection)?.fault()
    }

    /// [`VaultInner::would_hold`] for an exchange whose request is about to be sent.
    pub fn holds(&self, connection: &str, now: Moment) -> Option<SourceFault> {
        self.state().brakes.get_mut(connection)?.holds(now)
    }

    /// Notes that Auth0 refuses exchanges of `connection`.
    pub fn refused(&self, connection: &Arc<str>, account: AccountTag, fault: &SourceFault, now: Moment) {
        self.reached();
        self.auth0.0.counters.upstream_failed(now.wall, fault.to_string());
        let mut state = self.state();
        let brake = match state.brakes.remove(connection) {
            Some(mut brake) => {
                brake.refused(fault.clone(), account, now);
                brake
            }
            None => Brake::new(fault.clone(), account, self.auth0.draw(), now),
        };
        let brake = state.brakes.entry(Arc::clone(connection)).or_insert(brake);
        if brake.is_news() {
            tracing::error!(%connection, why = %fault, "Token Vault refuses exchanges until this is fixed");
        }
    }

    /// Notes that Auth0 has accepted `signers`, and lets the application exchange at `connection`.
    pub fn accepted(&self, connection: &str, signers: &Signers) {
        self.reached();
        let mut state = self.state();
        if let Some(brake) = state.brakes.remove(connection)
            && brake.was_logged()
        {
            tracing::info!(%connection, "Token Vault accepts exchanges again");
        }
        state.is_reloaded = false;
        if state.accepted.as_ref().is_some_and(|accepted| accepted.are(signers)) {
            return;
        }
        if state.accepted.replace(signers.clone()).is_some() {
            let kid = signers.subject.kid();
            tracing::info!(kid, "Token Vault accepts exchanges with other keys than before");
        }
    }

    /// Notes that the vault has issued a token with this lifetime.
    pub fn issued(
        &self,
        connection: &Arc<str>,
        account: AccountTag,
        expires_in: Option<Duration>,
        now: Moment,
    ) {
        let mut state = self.state();
        let is_refreshed = state.refreshes.issued(connection, account, expires_in, now);
        if is_refreshed && state.unrefreshed.remove(connection) {
            tracing::info!(%connection, "Token Vault refreshes tokens again");
        }
    }

    /// Notes that the vault could not refresh the token of an account. Returns what that means, and how many times in a
    /// row it has happened.
    pub fn not_refreshed(
        &self,
        connection: &Arc<str>,
        account: AccountTag,
        now: Moment,
    ) -> (FailedRefresh, u32) {
        let mut state = self.state();
        let (meaning, count) = state.refreshes.failed(connection, account, now);
        if meaning == FailedRefresh::Common && state.unrefreshed.insert(Arc::clone(connection)) {
            tracing::warn!(
                %connection,
                "Token Vault cannot refresh the tokens of several users, and of none in between: the provider is down, \
                 or the connection's client secret in Auth0 is wrong"
            );
        }
        (meaning, count)
    }

    /// Notes that an exchange has failed for a reason that may pass.
    pub fn failed(&self, why: &Failure, now: Moment) {
        self.auth0.failed(why);
        if self.outages.fails(why, now) {
            tracing::warn!(%why, "Token Vault cannot be asked");
        }
    }

    /// Notes that Auth0 has answered.
    fn reached(&self) {
        if self.outages.ends() {
            tracing::info!("Token Vault can be asked again");
        }
    }
}
