//! Keeps the Management token valid.
//!
//! One task, the keeper, obtains every token, so at most one grant is under way. Lookups only read the current token.
//! The keeper renews ahead of time, keeps the old token while it cannot obtain a new one, and distinguishes a refusal
//! that takes an operator from a failure that may pass.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};

use crate::clock::Clock;
use crate::config;
use crate::domain::error::{Failure, Refusal, Stage, Unavailable};
use crate::domain::freshness::{Deadline, Moment, Timestamp};
use crate::domain::retry::Backoff;
use crate::task;

pub mod calls;
mod keeper;
mod source;
mod state;
mod token;

use keeper::Keeper;
use state::{KeeperPhase, KeeperState, Shared};

pub use source::{Grant, GrantSource, Granting};
pub use token::{IDP_TOKENS_SCOPE, ManagementToken, NEEDED_SCOPES, Purpose, missing};

/// The least time between two tokens that are dropped because Auth0 refused them. Without it, every lookup would cost a
/// grant while Auth0 refuses every token.
const BETWEEN_DROPS: Duration = Duration::from_secs(10);

/// Pauses of requests while Auth0 refuses every token. Each is longer than the one before.
const REFUSED: Backoff = Backoff::new(BETWEEN_DROPS, Duration::from_secs(600));

/// A handle to the keeper. Cheap to clone; the keeper ends when the last handle is dropped.
#[derive(Clone, Debug)]
pub struct Management {
    shared: Arc<Shared>,
    clock: Clock,
}

/// The state of the Management token, without the token itself.
#[derive(Clone, Debug)]
pub struct ManagementSnapshot {
    /// Whether there is a token that may be used.
    pub valid: bool,
    /// When the current token expires.
    pub expires_at: Option<Timestamp>,
    /// When the next attempt is made; `None` while one is under way.
    pub next_attempt_at: Option<Timestamp>,
    /// When a token was last obtained; `None` if never.
    pub last_success: Option<Timestamp>,
    /// Its scopes, if Auth0 states them.
    pub scopes: Option<Vec<String>>,
    /// The needed scopes that it lacks.
    pub missing_scopes: Vec<&'static str>,
    /// The last failure and the number of failed attempts in a row; `None` after a success.
    pub failure: Option<(Failure, u64)>,
    /// Why Auth0 refuses the tokens that it issues, if it does.
    pub refusal: Option<Refusal>,
}

impl Management {
    /// Starts the keeper of the token for lookups, which requests one from `source` at once. `seed` determines its jitter.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(
        source: Arc<dyn GrantSource>,
        settings: config::Management,
        clock: Clock,
        seed: u64,
    ) -> Self {
        Self::start_for(Purpose::Lookups, source, settings, clock, seed)
    }

    /// [`Management::start`] for tokens that are used for `purpose`.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start_for(
        purpose: Purpose,
        source: Arc<dyn GrantSource>,
        settings: config::Management,
        clock: Clock,
        seed: u64,
    ) -> Self {
        let state = KeeperState {
            token: None,
            phase: KeeperPhase::Asking,
            failure: None,
            last_success: None,
            last_drop: None,
            refusal: None,
            refusals: 0,
            settings,
            is_urgent: false,
        };
        let wake = Arc::new(Notify::new());
        let shared =
            Arc::new(Shared { state: watch::Sender::new(state), wake: Arc::clone(&wake), seed, purpose });
        let keeper = Keeper {
            shared: Arc::downgrade(&shared),
            wake,
            source,
            clock: clock.clone(),
            random: fastrand::Rng::with_seed(seed),
            backoff: None,
            asked: clock.now(),
        };
        task::spawn("management", keeper.run());
        Self { shared, clock }
    }

    /// A token that may be used now: the current one, or the next if a grant is under way.
    ///
    /// While the keeper backs off after a failure, this returns that failure at once. Otherwise it waits for as long as
    /// the grant takes. Callers set a timeout.
    pub async fn bearer(&self) -> Result<Arc<ManagementToken>, Unavailable> {
        let mut state = self.shared.state.subscribe();
        loop {
            state.mark_unchanged();
            if let Some(outcome) = self.at_once() {
                return outcome;
            }
            // Cannot fail: this handle owns the sender.
            state.changed().await.ok();
        }
    }

    /// The result of [`Management::bearer`] without waiting; `None` if it would wait. Then a grant is under way, or the
    /// keeper has been woken to request one.
    pub fn at_once(&self) -> Option<Result<Arc<ManagementToken>, Unavailable>> {
        let now = self.clock.now();
        let unavailable = |failure, until| {
            Some(Err(Unavailable { stage: Stage::ManagementToken, failure, retry_after: now.age(until) }))
        };
        let state = self.shared.state.borrow();
        if let Some((refusal, until)) = &state.refusal
            && until.elapsed > now.elapsed
        {
            return unavailable(Failure::Denied(refusal.clone()), *until);
        }
        if let Some(token) = state.usable(now) {
            return Some(Ok(Arc::clone(token)));
        }
        match (&state.phase, &state.failure) {
            (KeeperPhase::Asking, _) => {}
            (KeeperPhase::Waiting { until }, Some((failure, _))) if until.elapsed > now.elapsed => {
                return unavailable(failure.clone(), *until);
            }
            // The token expired before the keeper noticed, for example because the machine slept.
            (KeeperPhase::Waiting { .. }, _) => self.shared.wake.notify_one(),
        }
        None
    }

    /// Drops `token`, which Auth0 refused, if it is still the current one, and wakes the keeper to obtain another.
    ///
    /// Returns `false` if a token was dropped so recently that another would probably be refused too.
    pub fn refused(&self, token: &Arc<ManagementToken>) -> bool {
        let now = self.clock.now();
        let mut another = true;
        self.shared.state.send_if_modified(|state| {
            if !state.token.as_ref().is_some_and(|current| Arc::ptr_eq(current, token)) {
                return false;
            }
            if state.last_drop.is_some_and(|last| last.age(now) < BETWEEN_DROPS) {
                another = false;
                return false;
            }
            let client = self.shared.purpose.table();
            tracing::warn!(
                client,
                "Auth0 refused the Management token; it is dropped and another is obtained"
            );
            state.token = None;
            state.last_drop = Some(now);
            true
        });
        self.shared.wake.notify_one();
        another
    }

    /// Whether `token` is the one that is handed out now.
    pub fn is_current(&self, token: &Arc<ManagementToken>) -> bool {
        self.shared.state.borrow().token.as_ref().is_some_and(|current| Arc::ptr_eq(current, token))
    }

    /// Notes that Auth0 also refused the token that replaced a refused one. Pauses requests, longer each time, and logs
    /// the reason once. Returns the rest of the pause.
    pub fn still_refused(&self, why: &Refusal) -> Duration {
        let now = self.clock.now();
        let mut pause = Duration::ZERO;
        self.shared.state.send_modify(|state| {
            let is_new = state.refusal.as_ref().is_none_or(|(known, _)| known != why);
            if is_new {
                tracing::error!(%why, "Auth0 refuses every Management token; lookups fail until this is fixed");
            }
            // Lookups that are under way at the same time see the same refusal. It counts once.
            let remaining = state.refusal.as_ref().map(|(_, until)| now.age(*until)).unwrap_or_default();
            pause = remaining;
            if remaining.is_zero() {
                // The pauses stop growing after six.
                let wait = REFUSED.waits(self.shared.seed).nth(state.refusals.min(8));
                pause = wait.unwrap_or(BETWEEN_DROPS);
                state.refusals = state.refusals.saturating_add(1);
            }
            state.refusal = Some((why.clone(), now.after(pause)));
        });
        pause
    }

    /// Notes that Auth0 accepted the token, which ends a pause.
    pub fn accepted(&self) {
        // In nearly all cases there is nothing to change, and the watchers are not woken.
        if self.shared.state.borrow().refusal.is_some() {
            tracing::info!("Auth0 accepts the Management token again");
            self.shared.state.send_modify(|state| (state.refusal, state.refusals) = (None, 0));
        }
    }

    /// Whether there is a token that may be used now.
    pub fn is_valid(&self) -> bool {
        self.shared.state.borrow().usable(self.clock.now()).is_some()
    }

    /// Whether a token has ever been obtained.
    pub fn has_started(&self) -> bool {
        self.shared.state.borrow().last_success.is_some()
    }

    /// Replaces the settings, from the next token on. With `retry_now`, because the credentials are new or an operator
    /// asks for it, the next attempt is made at once if the last one failed or its tokens are refused. It is not made
    /// earlier than Auth0 asked, nor within a second of the last attempt.
    pub fn reconfigure(&self, settings: config::Management, retry_now: bool) {
        self.shared.state.send_modify(|state| {
            state.settings = settings;
            let failed = state.failure.as_ref().is_some_and(|(why, _)| why.asks_to_wait().is_none());
            // An attempt that is under way may have been sent before the change.
            let needed = failed || state.refusal.is_some() || state.phase == KeeperPhase::Asking;
            state.is_urgent |= retry_now && needed;
        });
        self.shared.wake.notify_one();
    }

    /// Waits until a token has been obtained for the first time.
    pub async fn obtained(&self) {
        // Cannot fail: this handle owns the sender.
        self.shared.state.subscribe().wait_for(|state| state.last_success.is_some()).await.ok();
    }

    /// Resolves if the first token that Auth0 issues after the start has a scope that must not be used, with the refusal.
    /// Never resolves otherwise. Does not keep the keeper running.
    pub fn unfit_at_first(&self) -> impl Future<Output = Refusal> + Send + use<> {
        let mut state = self.shared.state.subscribe();
        async move {
            let judged = |state: &KeeperState| {
                state.last_success.is_some()
                    || matches!(state.refused_scopes(), Some(Refusal::UserTokensScope))
            };
            // The state's guard must not be held while waiting for ever.
            let first = match state.wait_for(judged).await {
                Ok(state) if state.last_success.is_none() => state.refused_scopes().cloned(),
                _ => None,
            };
            match first {
                Some(refusal) => refusal,
                None => std::future::pending().await,
            }
        }
    }

    /// The state at `now`, for status and metrics.
    pub fn snapshot(&self, now: Moment) -> ManagementSnapshot {
        let state = self.shared.state.borrow();
        let scopes = state.token.as_ref().and_then(|token| token.scopes.clone());
        ManagementSnapshot {
            valid: state.usable(now).is_some(),
            expires_at: state.token.as_ref().and_then(|token| token.schedule.expires).map(Deadline::wall),
            next_attempt_at: match state.phase {
                KeeperPhase::Asking => None,
                KeeperPhase::Waiting { until } => Some(until.wall),
            },
            last_success: state.last_success,
            missing_scopes: self.shared.purpose.missing(scopes.as_deref()),
            scopes,
            failure: state.failure.clone(),
            refusal: state.refusal.as_ref().map(|(why, _)| why.clone()),
        }
    }
}
