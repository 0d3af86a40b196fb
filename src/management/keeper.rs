//! The task that obtains Management tokens: ahead of time, and with backoff after failures.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::Notify;

use crate::clock::Clock;
use crate::config::Management as Settings;
use crate::domain::error::{Failure, FailureClass};
use crate::domain::freshness::{Deadline, Freshness, Moment, Schedule, Terms};
use crate::domain::retry::{Backoff, Waits};
use crate::task;

use super::source::{Grant, GrantSource};
use super::state::{KeeperPhase, Shared};
use super::token::ManagementToken;

/// The least time between obtaining a token and requesting the next one, however short its lifetime, and between
/// attempts, however often an operator asks for one.
const LEAST_INTERVAL: Duration = Duration::from_secs(1);

/// Backoff for failures that may pass. A minute is short compared with an outage and long compared with a rate limit.
const PASSING: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));

/// Backoff for refusals that an operator has to fix: short enough to notice the fix soon, long enough not to look like
/// an attack.
const PERMANENT: Backoff = Backoff::new(Duration::from_secs(60), Duration::from_secs(600));

/// How often the keeper reads the clock while it waits. Timers stop while the machine sleeps, and this bounds the delay
/// after it.
const CLOCK_CHECK_INTERVAL: Duration = Duration::from_secs(60);

/// Jitter of a renewal, as a fraction of the lifetime in either direction, so that hosts that started together do not
/// renew together.
const JITTER: f64 = 0.05;

/// The task that obtains tokens.
pub(super) struct Keeper {
    pub shared: Weak<Shared>,
    pub wake: Arc<Notify>,
    pub source: Arc<dyn GrantSource>,
    pub clock: Clock,
    pub random: fastrand::Rng,
    pub backoff: Option<(FailureClass, Waits)>,
    /// When the last attempt began.
    pub asked: Moment,
}

impl Keeper {
    /// Obtains tokens until the last handle is dropped.
    pub async fn run(mut self) {
        loop {
            self.asked = self.clock.now();
            let source = Arc::clone(&self.source);
            // In a task of its own, so that a panic in it does not end the keeper.
            let outcome = task::run("grant", async move { source.grant().await }).await;
            let outcome = outcome.unwrap_or(Err(Failure::Fault));
            let now = self.clock.now();
            let Some(shared) = self.shared.upgrade() else { return };
            let settings = shared.state.borrow().settings;
            let outcome = outcome.and_then(|grant| {
                shared.purpose.admit(grant.shows_idp_tokens).map_err(Failure::Denied)?;
                self.admit(grant, settings, now)
            });
            let wait = match &outcome {
                Ok(token) => self.until_refresh(token, now),
                Err(failure) => self.after(failure),
            };
            let until = now.after(wait);
            match outcome {
                Ok(token) => shared.accept(token, until, now),
                Err(failure) => shared.reject(failure, until),
            }
            drop(shared);
            if self.wait(until).await.is_none() {
                return;
            }
        }
    }

    /// Turns a grant into a token with its schedule. A token that has expired on arrival is a failure.
    fn admit(&mut self, grant: Grant, settings: Settings, now: Moment) -> Result<ManagementToken, Failure> {
        let lifetime = grant.expires.remaining(grant.sent);
        let min_ttl = settings.min_ttl.min(lifetime / 10);
        // Drawn once per token. If it were drawn at every check, the earliest draw would win.
        let fraction = settings.refresh_at + JITTER * (self.random.f64() * 2.0 - 1.0);
        let usable = lifetime.saturating_sub(min_ttl);
        let due = lifetime.mul_f64(fraction.clamp(0.0, 1.0)).min(usable);
        // While the quota for tokens is nearly used up, the next request is later, but early enough for a retry after a
        // failure.
        let latest = due.saturating_add(usable.saturating_sub(due) / 2);
        let refresh_after = due.max(grant.scarce_for.min(latest));
        let terms = Terms {
            refresh_after: Some(refresh_after),
            fresh_for: Duration::MAX,
            servable_for: Duration::MAX,
            min_ttl,
        };
        let schedule = Schedule { sent: grant.sent, expires: Some(grant.expires), terms };
        if schedule.at(now) == Freshness::Expired {
            let what = "a Management token that has expired on arrival; check this machine's clock";
            return Err(Failure::Malformed { what });
        }
        Ok(ManagementToken { token: grant.token, schedule, scopes: grant.scopes })
    }

    fn until_refresh(&mut self, token: &ManagementToken, now: Moment) -> Duration {
        self.backoff = None;
        let due = token.schedule.terms.refresh_after.unwrap_or_default();
        due.saturating_sub(token.schedule.sent.age(now)).max(LEAST_INTERVAL)
    }

    fn after(&mut self, failure: &Failure) -> Duration {
        let class = failure.class();
        if self.backoff.as_ref().is_none_or(|(of, _)| *of != class) {
            let backoff = if class == FailureClass::Permanent { PERMANENT } else { PASSING };
            self.backoff = Some((class, backoff.waits(self.random.u64(..))));
        }
        let next = self.backoff.as_mut().and_then(|(_, waits)| waits.next());
        let next = next.unwrap_or(CLOCK_CHECK_INTERVAL);
        match failure.asks_to_wait() {
            // The tenant states when its limit resets.
            Some(asked) if class == FailureClass::Throttled => asked,
            // A failure may persist, however short a wait it asks for.
            asked => next.max(asked.unwrap_or_default()),
        }
    }

    /// Waits until `until`, or until a token is needed earlier; `None` if the last handle has been dropped.
    async fn wait(&mut self, until: Moment) -> Option<()> {
        loop {
            let now = self.clock.now();
            let mut remaining = until.elapsed.saturating_sub(now.elapsed);
            let shared = self.shared.upgrade()?;
            let is_urgent = shared.state.borrow().is_urgent;
            if is_urgent {
                remaining = remaining.min(LEAST_INTERVAL.saturating_sub(self.asked.age(now)));
            }
            if remaining.is_zero() || shared.state.borrow().needs_token(now) {
                if is_urgent {
                    self.backoff = None;
                }
                shared.state.send_modify(|state| {
                    if state.is_urgent && state.refusal.is_some() {
                        // The current token is refused. The next one may be accepted.
                        (state.token, state.refusal, state.refusals) = (None, None, 0);
                    }
                    (state.phase, state.is_urgent) = (KeeperPhase::Asking, false);
                });
                return Some(());
            }
            drop(shared);
            tokio::select! {
                () = tokio::time::sleep(remaining.min(CLOCK_CHECK_INTERVAL)) => {}
                () = self.wake.notified() => {}
            }
        }
    }
}

impl Shared {
    fn accept(&self, token: ManagementToken, until: Moment, now: Moment) {
        let (purpose, client) = (self.purpose, self.purpose.table());
        let lacks = purpose.missing(token.scopes.as_deref());
        let expires_at = token.schedule.expires.map(Deadline::wall).unwrap_or(now.wall);
        tracing::info!(client, %expires_at, next_refresh_at = %until.wall, "Management token obtained");
        self.state.send_modify(|state| {
            let known = state.token.as_ref().map(|token| purpose.missing(token.scopes.as_deref()));
            if !lacks.is_empty() && known.is_none_or(|known| known != lacks) {
                warn_of(&lacks);
            }
            if state.is_urgent {
                (state.refusal, state.refusals) = (None, 0);
            }
            state.token = Some(Arc::new(token));
            state.phase = KeeperPhase::Waiting { until };
            (state.failure, state.is_urgent) = (None, false);
            state.last_success = Some(now.wall);
        });
    }

    fn reject(&self, failure: Failure, until: Moment) {
        let client = self.purpose.table();
        self.state.send_modify(|state| {
            let (known, attempts) = match &state.failure {
                Some((before, attempts)) => (before.is_like(&failure), attempts.saturating_add(1)),
                None => (false, 1),
            };
            let (why, next_attempt_at) = (&failure, until.wall);
            // Logged once: an outage of hours is one line, and its end another.
            match failure.class() {
                _ if known => tracing::debug!(client, %why, attempts, %next_attempt_at, "Still no Management token"),
                FailureClass::Permanent => {
                    tracing::error!(client, %why, %next_attempt_at, "No Management token until this is fixed");
                }
                _ => tracing::warn!(client, %why, %next_attempt_at, "No Management token"),
            }
            state.is_urgent &= failure.asks_to_wait().is_none();
            state.failure = Some((failure, attempts));
            if state.refused_scopes().is_some() {
                // The one before has other scopes. But the operator has just given the application this permission, and
                // all of its calls end at one moment, which the log names, rather than when that token expires.
                state.token = None;
            }
            state.phase = KeeperPhase::Waiting { until };
        });
    }
}

fn warn_of(missing: &[&str]) {
    let missing = missing.join(" ");
    tracing::warn!(
        missing,
        "The Management token lacks a scope that is needed: give the application that permission for the Management \
         API. Without read:user_idp_tokens Auth0 silently leaves all tokens out of its answers"
    );
}
