//! The task that obtains Management tokens: ahead of time while it can, patiently while it cannot.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::Notify;

use crate::clock::Clock;
use crate::config::Management as Settings;
use crate::domain::error::{Failure, FailureClass};
use crate::domain::freshness::{Deadline, Freshness, Moment, Schedule, Terms};
use crate::domain::retry::{Backoff, Waits};
use crate::task;

use super::{Grant, GrantSource, ManagementToken, Phase, Shared, missing};

/// Never ask for the next token sooner than this after one was obtained, however short its life, or after an attempt,
/// however often a person asks for another.
const LEAST_INTERVAL: Duration = Duration::from_secs(1);

/// For failures that may pass. A minute is short against an outage and long against a rate limit.
const PASSING: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));

/// For refusals that a person has to mend: soon enough to see the mend, too seldom to look like an attack.
const PERMANENT: Backoff = Backoff::new(Duration::from_secs(60), Duration::from_secs(600));

/// Timers stand still while the machine sleeps; looking at the clock this often bounds how late we notice.
const LOOK_AT_THE_CLOCK: Duration = Duration::from_secs(60);

/// A fleet that was started at once should not renew at once: this fraction of the lifetime, either way.
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
    /// Ends when nobody is left who could ask.
    pub async fn run(mut self) {
        loop {
            self.asked = self.clock.now();
            let source = Arc::clone(&self.source);
            // In a task of its own: a panic in it must not end the keeper, whom everybody waits for.
            let outcome = task::run("grant", async move { source.grant().await }).await;
            let outcome = outcome.unwrap_or(Err(Failure::Fault));
            let now = self.clock.now();
            let Some(shared) = self.shared.upgrade() else { return };
            let settings = shared.state.borrow().settings;
            let outcome = outcome.and_then(|grant| self.admit(grant, settings, now));
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

    /// Turns a grant into a token under its terms. One that is dead on arrival is a failure like any other.
    fn admit(&mut self, grant: Grant, settings: Settings, now: Moment) -> Result<ManagementToken, Failure> {
        let lifetime = grant.expires.remaining(grant.sent);
        let min_ttl = settings.min_ttl.min(lifetime / 10);
        // Drawn once for each token: drawn at every look, the earliest draw would win.
        let fraction = settings.refresh_at + JITTER * (self.random.f64() * 2.0 - 1.0);
        let usable = lifetime.saturating_sub(min_ttl);
        let due = lifetime.mul_f64(fraction.clamp(0.0, 1.0)).min(usable);
        // While the quota for tokens is nearly spent, the next is asked for later, but not so late that an attempt that
        // fails could not be made again.
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
        let next = next.unwrap_or(LOOK_AT_THE_CLOCK);
        match failure.asks_to_wait() {
            // The tenant knows when there is more to give.
            Some(asked) if class == FailureClass::Throttled => asked,
            // What fails may go on failing, however soon it asks to be asked again.
            asked => next.max(asked.unwrap_or_default()),
        }
    }

    /// Waits until `until`, or until a token is needed sooner; `None` if nobody is left who could need one.
    async fn wait(&mut self, until: Moment) -> Option<()> {
        loop {
            let now = self.clock.now();
            let mut left = until.elapsed.saturating_sub(now.elapsed);
            let shared = self.shared.upgrade()?;
            let is_urgent = shared.state.borrow().is_urgent;
            if is_urgent {
                left = left.min(LEAST_INTERVAL.saturating_sub(self.asked.age(now)));
            }
            if left.is_zero() || shared.state.borrow().needs_one(now) {
                if is_urgent {
                    self.backoff = None;
                }
                shared.state.send_modify(|state| {
                    if state.is_urgent && state.refusal.is_some() {
                        // What was granted before is refused; what is granted now may not be.
                        (state.held, state.refusal, state.refusals) = (None, None, 0);
                    }
                    (state.phase, state.is_urgent) = (Phase::Asking, false);
                });
                return Some(());
            }
            drop(shared);
            tokio::select! {
                () = tokio::time::sleep(left.min(LOOK_AT_THE_CLOCK)) => {}
                () = self.wake.notified() => {}
            }
        }
    }
}

impl Shared {
    fn accept(&self, token: ManagementToken, until: Moment, now: Moment) {
        let lacks = missing(token.scopes.as_deref());
        let expires_at = token.schedule.expires.map(Deadline::wall).unwrap_or(now.wall);
        tracing::info!(%expires_at, next_refresh_at = %until.wall, "Management token obtained");
        self.state.send_modify(|state| {
            let known = state.held.as_ref().map(|held| missing(held.scopes.as_deref()));
            if !lacks.is_empty() && known.is_none_or(|known| known != lacks) {
                warn_of(&lacks);
            }
            if state.is_urgent {
                (state.refusal, state.refusals) = (None, 0);
            }
            state.held = Some(Arc::new(token));
            state.phase = Phase::Waiting { until };
            (state.failure, state.is_urgent) = (None, false);
            state.last_success = Some(now.wall);
        });
    }

    fn reject(&self, failure: Failure, until: Moment) {
        self.state.send_modify(|state| {
            let (known, attempts) = match &state.failure {
                Some((before, attempts)) => (before.is_like(&failure), attempts.saturating_add(1)),
                None => (false, 1),
            };
            let (why, next_attempt_at) = (&failure, until.wall);
            // Said once; an outage of hours is one line, and its end another.
            match failure.class() {
                _ if known => tracing::debug!(%why, attempts, %next_attempt_at, "Still no Management token"),
                FailureClass::Permanent => {
                    tracing::error!(%why, %next_attempt_at, "No Management token until this is mended");
                }
                _ => tracing::warn!(%why, %next_attempt_at, "No Management token"),
            }
            state.is_urgent &= failure.asks_to_wait().is_none();
            state.failure = Some((failure, attempts));
            state.phase = Phase::Waiting { until };
        });
    }
}

fn warn_of(missing: &[&str]) {
    let missing = missing.join(" ");
    tracing::warn!(
        missing,
        "The Management token lacks a scope that is needed: give the application that permission for the Management \
         API. Without read:user_idp_tokens Auth0 leaves every token out of its answers, silently"
    );
}
