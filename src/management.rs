//! Keeps the Management token fresh.
//!
//! One task obtains every token, so there is never more than one grant under way; lookups only read what it
//! holds. It renews ahead of time, keeps the old token while a new one cannot be had, and tells a refusal that
//! only a person can mend from trouble that passes.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};

use crate::clock::Clock;
use crate::config;
use crate::domain::error::{Failure, Refusal, Stage, Unavailable};
use crate::domain::freshness::{Deadline, Freshness, Moment, Schedule, Timestamp};
use crate::domain::retry::Backoff;
use crate::secret::Secret;
use crate::task;

mod keeper;

use keeper::Keeper;

/// What the Management API's users endpoint needs. Without the second, Auth0 leaves tokens out *silently*.
pub const NEEDED_SCOPES: [&str; 2] = ["read:users", "read:user_idp_tokens"];

/// Never drop a token because Auth0 refused it sooner than this after the last time: if Auth0 refuses whatever it
/// issues, every lookup would otherwise cost a grant.
const BETWEEN_DROPS: Duration = Duration::from_secs(10);

/// While Auth0 refuses whatever it issues, nothing is asked for this long, and longer each time.
const REFUSED: Backoff = Backoff::new(BETWEEN_DROPS, Duration::from_secs(600));

/// Where Management tokens come from.
pub trait GrantSource: Send + Sync + 'static {
    /// Asks for one, or for one more where that is refused. Each ends within `tenant.request_timeout` of its turn.
    fn grant(&self) -> Granting<'_>;
}

/// A grant under way.
pub type Granting<'a> = Pin<Box<dyn Future<Output = Result<Grant, Failure>> + Send + 'a>>;

/// A Management token as it was granted.
#[derive(Debug)]
pub struct Grant {
    /// The token.
    pub token: Secret,
    /// When it was asked for.
    pub sent: Moment,
    /// When it dies: by `expires_in` or by its own `exp`, whichever is earlier.
    pub expires: Deadline,
    /// What it may do; `None` where Auth0 does not say.
    pub scopes: Option<Vec<String>>,
    /// For how long little is left of the application's quota for tokens; zero where Auth0 does not say so.
    pub scarce_for: Duration,
}

/// A Management token in use.
#[derive(Debug)]
pub struct ManagementToken {
    token: Secret,
    schedule: Schedule,
    scopes: Option<Vec<String>>,
}

/// The keeper's face to the rest of the program. Cheap to clone; the keeper ends when the last one is dropped.
#[derive(Clone, Debug)]
pub struct Management {
    shared: Arc<Shared>,
    clock: Clock,
}

#[derive(Debug)]
struct Shared {
    state: watch::Sender<State>,
    /// Makes the keeper look whether a token is needed before its time.
    wake: Arc<Notify>,
    seed: u64,
}

#[derive(Clone, Debug)]
struct State {
    held: Option<Arc<ManagementToken>>,
    phase: Phase,
    /// Why the last attempt failed, and how many did in a row.
    failure: Option<(Failure, u64)>,
    last_success: Option<Timestamp>,
    last_drop: Option<Moment>,
    /// Auth0 refuses whatever it issues: why, and until when nothing is asked with it.
    refusal: Option<(Refusal, Moment)>,
    /// How often in a row that has been so.
    refusals: usize,
    /// From the next token on.
    settings: config::Management,
    /// Something has changed that may end a failure: the next attempt need not wait.
    is_urgent: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Asking,
    Waiting { until: Moment },
}

/// What there is to know of the Management token, without the token.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Whether one is held that may be used.
    pub valid: bool,
    /// When the one held expires.
    pub expires_at: Option<Timestamp>,
    /// When the next attempt is made; `None` while one is under way.
    pub next_attempt_at: Option<Timestamp>,
    /// When one was last obtained; `None` if never.
    pub last_success: Option<Timestamp>,
    /// What it may do, where Auth0 says so.
    pub scopes: Option<Vec<String>>,
    /// What it should be able to do and is not.
    pub missing_scopes: Vec<&'static str>,
    /// Why the last attempt failed, and how many did in a row.
    pub failure: Option<(Failure, u64)>,
    /// Why Auth0 does not accept what it issued, if that is so.
    pub refusal: Option<Refusal>,
}

impl ManagementToken {
    /// The token, to be sent to Auth0 and nowhere else.
    pub fn token(&self) -> &Secret {
        &self.token
    }

    /// When it dies.
    pub fn expires(&self) -> Option<Deadline> {
        self.schedule.expires
    }

    /// What it may do; `None` where Auth0 does not say.
    pub fn scopes(&self) -> Option<&[String]> {
        self.scopes.as_deref()
    }

    /// Whether Auth0 will leave users' tokens out of its answers.
    pub fn tokens_withheld(&self) -> bool {
        missing(self.scopes.as_deref()).contains(&NEEDED_SCOPES[1])
    }
}

/// Needed scopes that `granted` does not contain. Where Auth0 does not say, none is known to be missing.
pub fn missing(granted: Option<&[String]>) -> Vec<&'static str> {
    let Some(granted) = granted else { return Vec::new() };
    NEEDED_SCOPES.into_iter().filter(|needed| !granted.iter().any(|scope| scope == needed)).collect()
}

impl Management {
    /// Starts the keeper, which asks `source` at once. `seed` determines its jitter.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(
        source: Arc<dyn GrantSource>,
        settings: config::Management,
        clock: Clock,
        seed: u64,
    ) -> Self {
        let state = State {
            held: None,
            phase: Phase::Asking,
            failure: None,
            last_success: None,
            last_drop: None,
            refusal: None,
            refusals: 0,
            settings,
            is_urgent: false,
        };
        let wake = Arc::new(Notify::new());
        let shared = Arc::new(Shared { state: watch::Sender::new(state), wake: Arc::clone(&wake), seed });
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

    /// A token that may be used now: the one held, or the next if one is being obtained.
    ///
    /// While the keeper backs off after a failure this answers at once, with that failure. Otherwise it waits
    /// for as long as the grant takes; callers bound it.
    pub async fn bearer(&self) -> Result<Arc<ManagementToken>, Unavailable> {
        let mut state = self.shared.state.subscribe();
        loop {
            state.mark_unchanged();
            if let Some(outcome) = self.at_once() {
                return outcome;
            }
            // Cannot fail: the sender is ours.
            state.changed().await.ok();
        }
    }

    /// What [`Management::bearer`] answers without waiting; `None` if it would wait. Then the keeper is asking, or has
    /// been told to.
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
            (Phase::Asking, _) => {}
            (Phase::Waiting { until }, Some((failure, _))) if until.elapsed > now.elapsed => {
                return unavailable(failure.clone(), *until);
            }
            // The token died while nobody looked, as it does when a machine sleeps.
            (Phase::Waiting { .. }, _) => self.shared.wake.notify_one(),
        }
        None
    }

    /// Auth0 refused `token`: it is dropped, if it is still the one held, and another is obtained.
    ///
    /// `false` if that has been done so recently that the next one would hardly fare better.
    pub fn refused(&self, token: &Arc<ManagementToken>) -> bool {
        let now = self.clock.now();
        let mut another = true;
        self.shared.state.send_if_modified(|state| {
            if !state.held.as_ref().is_some_and(|held| Arc::ptr_eq(held, token)) {
                return false;
            }
            if state.last_drop.is_some_and(|last| last.age(now) < BETWEEN_DROPS) {
                another = false;
                return false;
            }
            tracing::warn!("Auth0 refused the Management token; it is dropped and another is obtained");
            state.held = None;
            state.last_drop = Some(now);
            true
        });
        self.shared.wake.notify_one();
        another
    }

    /// Auth0 refuses even the token that replaced a refused one. Nothing is asked with it for a while that grows each
    /// time, and the reason is said once. Answers what is left of that while.
    pub fn still_refused(&self, why: &Refusal) -> Duration {
        let now = self.clock.now();
        let mut pause = Duration::ZERO;
        self.shared.state.send_modify(|state| {
            let news = state.refusal.as_ref().is_none_or(|(known, _)| known != why);
            if news {
                tracing::error!(%why, "Auth0 refuses every Management token; lookups fail until this is mended");
            }
            // Lookups that are under way together find out the same thing: it is one refusal, however many they are.
            let begun = state.refusal.as_ref().map(|(_, until)| now.age(*until)).unwrap_or_default();
            pause = begun;
            if begun.is_zero() {
                // Its waits stop growing after six.
                let wait = REFUSED.waits(self.shared.seed).nth(state.refusals.min(8));
                pause = wait.unwrap_or(BETWEEN_DROPS);
                state.refusals = state.refusals.saturating_add(1);
            }
            state.refusal = Some((why.clone(), now.after(pause)));
        });
        pause
    }

    /// Auth0 accepts the token.
    pub fn accepted(&self) {
        // Almost always there is nothing to change, and then nobody is woken.
        if self.shared.state.borrow().refusal.is_some() {
            tracing::info!("Auth0 accepts the Management token again");
            self.shared.state.send_modify(|state| (state.refusal, state.refusals) = (None, 0));
        }
    }

    /// Whether a token is held that may be used now.
    pub fn is_valid(&self) -> bool {
        self.shared.state.borrow().usable(self.clock.now()).is_some()
    }

    /// Whether a token has ever been obtained.
    pub fn has_started(&self) -> bool {
        self.shared.state.borrow().last_success.is_some()
    }

    /// Goes by these settings from the next token on. Where there is `hope`, because the credentials are new or a person
    /// asks, and the last attempt has failed, or the tokens that it brought are refused, the next is made at once: unless
    /// Auth0 said when, and not within a second of the last.
    pub fn reconfigure(&self, settings: config::Management, hope: bool) {
        self.shared.state.send_modify(|state| {
            state.settings = settings;
            let failed = state.failure.as_ref().is_some_and(|(why, _)| why.asks_to_wait().is_none());
            // An attempt that is under way may have been sent before what gives hope.
            let needed = failed || state.refusal.is_some() || state.phase == Phase::Asking;
            state.is_urgent |= hope && needed;
        });
        self.shared.wake.notify_one();
    }

    /// Waits until a token has been obtained for the first time.
    pub async fn obtained(&self) {
        // Cannot fail: the sender is ours.
        self.shared.state.subscribe().wait_for(|state| state.last_success.is_some()).await.ok();
    }

    /// What there is to know at `now`.
    pub fn snapshot(&self, now: Moment) -> Snapshot {
        let state = self.shared.state.borrow();
        let scopes = state.held.as_ref().and_then(|held| held.scopes.clone());
        Snapshot {
            valid: state.usable(now).is_some(),
            expires_at: state.held.as_ref().and_then(|held| held.schedule.expires).map(Deadline::wall),
            next_attempt_at: match state.phase {
                Phase::Asking => None,
                Phase::Waiting { until } => Some(until.wall),
            },
            last_success: state.last_success,
            missing_scopes: missing(scopes.as_deref()),
            scopes,
            failure: state.failure.clone(),
            refusal: state.refusal.as_ref().map(|(why, _)| why.clone()),
        }
    }
}

impl State {
    fn usable(&self, now: Moment) -> Option<&Arc<ManagementToken>> {
        self.held.as_ref().filter(|held| held.schedule.at(now) != Freshness::Expired)
    }

    /// Whether one should be asked for before its time. A failure's backoff is kept to all the same.
    fn needs_one(&self, now: Moment) -> bool {
        self.failure.is_none() && self.usable(now).is_none()
    }
}
