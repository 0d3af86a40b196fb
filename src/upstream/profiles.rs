//! Users' profiles from Auth0's Management API: retries, and the renewal of a Management token that Auth0 refuses.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::cache::{Fetched, Fetching, ForWhom, NotNow, ProfileSource};
use crate::domain::error::{Failure, FailureClass, Stage, Unavailable};
use crate::domain::priority::Priority;
use crate::domain::user::UserId;
use crate::management::{Management, ManagementToken};

use super::budget::BudgetPermit;
use super::client::{Auth0, BETWEEN_ATTEMPTS, budget_failure, unavailable};
use super::pace::BudgetError;
use super::wire::UserAnswer;

/// When to try an optional request again that was not sent because there is no Management token.
const AFTER_NO_TOKEN: Duration = Duration::from_secs(2);

/// The [`ProfileSource`] that reads Auth0's Management API.
#[derive(Clone)]
pub struct Profiles {
    auth0: Auth0,
    management: Management,
}

impl Profiles {
    /// Reads users through `auth0`, with the tokens that `management` keeps.
    pub fn new(auth0: Auth0, management: Management) -> Self {
        Self { auth0, management }
    }

    /// Requests the user until there is an answer, the retries are used up, or `deadline` passes. An optional read
    /// makes one request and no retry.
    async fn read(
        &self,
        user: &UserId,
        deadline: Instant,
        admission: Admission,
    ) -> Result<Fetched, Unavailable> {
        let (retries, mut first, admission) = match admission {
            Admission::Queued(_) => (self.auth0.reloadable().max_retries as usize, None, admission),
            Admission::Optional(permit, priority) => (0, permit, Admission::Optional(None, priority)),
        };
        let priority = admission.priority();
        let mut waits = BETWEEN_ATTEMPTS.waits(self.auth0.draw()).take(retries);
        let mut token = self.bearer(deadline).await?;
        let (mut renewed, mut last) = (false, None);
        loop {
            let permit = match first.take() {
                Some(permit) => permit,
                None => self.permit(deadline, &admission).await?,
            };
            let failure =
                match timeout_at(deadline, self.auth0.user(user, token.token(), permit, priority)).await {
                    Ok(Ok((UserAnswer::User(profile, logged_in), sent))) => {
                        self.management.accepted();
                        let tokens_withheld = token.tokens_withheld();
                        return Ok(Fetched { profile, sent, tokens_withheld, logged_in });
                    }
                    Ok(Ok((UserAnswer::BearerRefused(refusal), _))) => {
                        // The token is renewed once: it may have been revoked, or granted before its scopes were. If
                        // Auth0 refuses the next one as well, a new token does not help.
                        self.auth0.failed(&Failure::Denied(refusal.clone()));
                        if renewed || !self.management.refused(&token) {
                            let retry_after = self.management.still_refused(&refusal);
                            let (stage, failure) = (Stage::ManagementToken, Failure::Denied(refusal));
                            return Err(Unavailable { stage, failure, retry_after });
                        }
                        renewed = true;
                        token = self.bearer(deadline).await?;
                        continue;
                    }
                    Ok(Err(failure)) => failure,
                    Err(_) => {
                        // The failure before says more than an attempt that was cut off.
                        let failure = last.unwrap_or_else(|| self.timed_out());
                        self.auth0.user_read_failed(&failure);
                        self.auth0.failed(&failure);
                        return Err(unavailable(Stage::User, failure));
                    }
                };
            let wait = if failure.class() == FailureClass::Passing { waits.next() } else { None };
            let wait = wait.map(|wait| wait.max(failure.asks_to_wait().unwrap_or_default()));
            let Some(next) = wait.map(|wait| Instant::now() + wait).filter(|next| *next < deadline) else {
                return Err(unavailable(Stage::User, failure));
            };
            last = Some(failure);
            tokio::time::sleep_until(next).await;
            token = self.bearer(deadline).await?;
        }
    }

    /// A permit for one more request; without waiting, for an optional read.
    async fn permit(&self, deadline: Instant, admission: &Admission) -> Result<BudgetPermit, Unavailable> {
        let budget = &self.auth0.0.budget;
        let permit = match admission {
            Admission::Optional(_, priority) => budget.try_acquire(*priority),
            Admission::Queued(for_whom) => {
                let timeout = deadline.saturating_duration_since(Instant::now());
                budget.acquire(Priority::Caller, for_whom.clone(), timeout).await
            }
        };
        permit.map_err(|error| unavailable(Stage::User, budget_failure(error)))
    }

    async fn bearer(&self, deadline: Instant) -> Result<Arc<ManagementToken>, Unavailable> {
        match timeout_at(deadline, self.management.bearer()).await {
            Ok(outcome) => outcome,
            Err(_) => Err(unavailable(Stage::ManagementToken, self.timed_out())),
        }
    }

    fn timed_out(&self) -> Failure {
        Failure::TimedOut { host: Arc::clone(&self.auth0.0.domain) }
    }

    fn start(&self, user: UserId, admission: Admission) -> Fetching {
        let this = self.clone();
        let deadline = Instant::now() + this.auth0.reloadable().request_timeout;
        Box::pin(async move { this.read(&user, deadline, admission).await })
    }
}

/// How a read of a user gets its permits from the budget.
enum Admission {
    /// Waits for its turn in the queues of these flows.
    Queued(ForWhom),
    /// Has the permit for its first request, which was acquired with this priority, and never waits for another.
    Optional(Option<BudgetPermit>, Priority),
}

impl Admission {
    fn priority(&self) -> Priority {
        match self {
            Self::Queued(_) => Priority::Caller,
            Self::Optional(_, priority) => *priority,
        }
    }
}

impl ProfileSource for Profiles {
    fn fetch(&self, user: UserId, for_whom: ForWhom) -> Fetching {
        self.start(user, Admission::Queued(for_whom))
    }

    fn fetch_if_spare(&self, user: UserId, priority: Priority) -> Result<Fetching, NotNow> {
        // Without a token the permit would be held while the grant, which needs a permit itself, is waited for. While
        // Auth0 refuses every token, the permit would be spent for nothing.
        match self.management.at_once() {
            Some(Ok(_)) => {}
            Some(Err(why)) => return Err(NotNow::Unavailable(why)),
            None => return Err(NotNow::NoRoom(AFTER_NO_TOKEN)),
        }
        let permit = self.spend_if_spare(priority).map_err(NotNow::NoRoom)?;
        Ok(self.start(user, Admission::Optional(Some(permit), priority)))
    }

    fn spare(&self, priority: Priority) -> Result<(), Duration> {
        self.spend_if_spare(priority).map(drop)
    }
}

impl Profiles {
    fn spend_if_spare(&self, priority: Priority) -> Result<BudgetPermit, Duration> {
        self.auth0.0.budget.try_acquire(priority).map_err(|error| match error {
            BudgetError::Gate(wait) | BudgetError::Busy(wait) => wait,
        })
    }
}
