//! Which of the application's credentials a request is tried with, and what a refusal of some means for the others.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::time::Duration;

use crate::domain::error::{Failure, FailureClass};
use crate::domain::freshness::Moment;

use super::client::{Auth0, ClientSettings};
use super::credentials::Credentials;

/// By how much the tenant's clock has to differ from what an assertion was dated by, for another one to be tried.
const WRONG_CLOCK: Duration = Duration::from_secs(5);

/// The attempts to authenticate of one request: with the configured credentials in their order, and then with the last
/// ones that Auth0 accepted before a reload. Each is tried once, and the next only if Auth0 refuses it.
pub(super) struct Attempts {
    auth0: Auth0,
    waiting: VecDeque<(Credentials, Rank)>,
    current: Option<Attempt>,
    /// Whether one was repeated with another date. Servers whose clocks differ would otherwise repeat it without end.
    is_redated: bool,
    /// The credentials that were refused first, and their refusal, which is the one to report.
    refusal: Option<(Credentials, Failure)>,
}

/// One attempt.
struct Attempt {
    credentials: Credentials,
    rank: Rank,
    /// When it began, on this machine's elapsed clock and on the tenant's.
    begun: Moment,
}

/// Where credentials are from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rank {
    /// Configured, in their order.
    Configured,
    /// In use before a reload, and not configured any more.
    Previous,
}

impl Auth0 {
    /// The attempts to authenticate one request.
    pub(super) fn attempts(&self, settings: &ClientSettings) -> Attempts {
        let configured =
            settings.credentials.iter().map(|credentials| (credentials.clone(), Rank::Configured));
        let waiting = configured.chain(self.previous().clone().map(|previous| (previous, Rank::Previous)));
        Attempts {
            auth0: self.clone(),
            waiting: waiting.collect(),
            current: None,
            is_redated: false,
            refusal: None,
        }
    }

    /// Whether the tenant's clock has turned out different from what it was taken for at `begun`, which
    /// [`Auth0::tenant_moment`] has read.
    pub(super) fn was_misdated(&self, begun: Moment) -> bool {
        let now = self.tenant_moment();
        let expected = begun.wall.after(begun.age(now));
        now.wall.since(expected).max(expected.since(now.wall)) > WRONG_CLOCK
    }
}

impl Attempts {
    /// The credentials to try next.
    pub(super) fn next(&mut self) -> Option<Credentials> {
        let (credentials, rank) = self.waiting.pop_front()?;
        let current = Attempt { credentials: credentials.clone(), rank, begun: self.auth0.tenant_moment() };
        self.current = Some(current);
        Some(credentials)
    }

    /// Judges the outcome of a request with the credentials that [`Attempts::next`] returned last. Continues if there
    /// are others to try, and breaks with the outcome to report.
    pub(super) fn judge<T>(&mut self, outcome: Result<T, Failure>) -> ControlFlow<Result<T, Failure>> {
        let Some(Attempt { credentials, rank, begun }) = self.current.take() else {
            return ControlFlow::Break(outcome);
        };
        match outcome {
            Ok(done) => {
                self.accepted(&credentials, rank);
                ControlFlow::Break(Ok(done))
            }
            Err(failure) if failure.class() == FailureClass::Permanent => {
                // The refusal has shown the tenant's clock, and that the assertion was dated by another one.
                if credentials.signing_key().is_some() && !self.is_redated && self.auth0.was_misdated(begun) {
                    self.is_redated = true;
                    self.waiting.push_front((credentials, rank));
                    return ControlFlow::Continue(());
                }
                if rank == Rank::Previous {
                    *self.auth0.previous() = None;
                }
                let (_, first) = self.refusal.get_or_insert((credentials, failure));
                match self.waiting.is_empty() {
                    true => ControlFlow::Break(Err(first.clone())),
                    false => ControlFlow::Continue(()),
                }
            }
            Err(failure) => {
                let first = self.refusal.take().map_or(failure, |(_, first)| first);
                ControlFlow::Break(Err(first))
            }
        }
    }

    /// Logs what the acceptance of `credentials` says about the others.
    fn accepted(&self, credentials: &Credentials, rank: Rank) {
        let worked_before = credentials.works();
        // The previous ones are for as long as none of the configured ones has been accepted.
        let is_replaced = rank != Rank::Previous && self.auth0.previous().take().is_some();
        let Some((refused, why)) = &self.refusal else {
            if !worked_before && (is_replaced || !self.waiting.is_empty()) {
                tracing::info!("Auth0 accepts the client's new credentials");
            }
            return;
        };
        match rank {
            Rank::Configured if refused.is_refusal_news() => tracing::error!(
                %why,
                "Auth0 refuses the client's next key, and accepts the present one: check {}",
                refused.table().keys().next_key_file
            ),
            Rank::Configured => {}
            Rank::Previous => tracing::error!(
                %why,
                "Auth0 refuses the client's new credentials, and still accepts the previous ones: check the new ones"
            ),
        }
    }
}
