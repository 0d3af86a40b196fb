//! Profiles from Auth0's Management API: retries, and the renewal of a Management token that Auth0 refuses.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::cache::{Fetched, Fetching, ForWhom, NotNow, ProfileSource};
use crate::domain::error::{Failure, FailureClass, Stage, Unavailable};
use crate::domain::priority::Priority;
use crate::domain::user::UserId;
use crate::management::{Management, ManagementToken};

use super::budget::{BudgetError, Permit};
use super::wire::UserAnswer;
use super::{Auth0, BETWEEN_ATTEMPTS, over, unavailable};

/// Without a Management token nothing is asked for that nobody waits for; it is seen to within moments, or not.
const AFTER_NO_TOKEN: Duration = Duration::from_secs(2);

/// Profiles from Auth0's Management API.
#[derive(Clone)]
pub struct Profiles {
    auth0: Auth0,
    management: Management,
}

impl Profiles {
    /// Asks `auth0` with the tokens that `management` keeps.
    pub fn new(auth0: Auth0, management: Management) -> Self {
        Self { auth0, management }
    }

    /// Asks until there is an answer, the retries are used up, or `deadline` comes. Where the admission for the first
    /// request was spared, one request is all, and nobody is kept waiting for another.
    async fn read(
        &self,
        user: &UserId,
        deadline: Instant,
        admission: Admission,
    ) -> Result<Fetched, Unavailable> {
        let (retries, mut first, admission) = match admission {
            Admission::InTurn(_) => (self.auth0.means().max_retries as usize, None, admission),
            Admission::Spared(permit, priority) => (0, permit, Admission::Spared(None, priority)),
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
                        // Once: it may have been revoked, or granted before its scopes were. If the next one is
                        // refused as well, tokens are not what is wrong.
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
                        // The attempt that was cut off says less than the one before it.
                        let failure = last.unwrap_or_else(|| self.timed_out());
                        self.auth0.troubled(&failure);
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

    /// Admission for one more request, at once or not at all where the first was `spared`.
    async fn permit(&self, deadline: Instant, admission: &Admission) -> Result<Permit, Unavailable> {
        let budget = &self.auth0.0.budget;
        let admission = match admission {
            Admission::Spared(_, priority) => budget.try_acquire(*priority),
            Admission::InTurn(for_whom) => {
                let patience = deadline.saturating_duration_since(Instant::now());
                budget.acquire(Priority::Caller, for_whom.clone(), patience).await
            }
        };
        admission.map_err(|held| unavailable(Stage::User, over(held)))
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
        let deadline = Instant::now() + this.auth0.means().request_timeout;
        Box::pin(async move { this.read(&user, deadline, admission).await })
    }
}

/// How one who reads a user comes by leaves of the budget.
enum Admission {
    /// Waits for its turns.
    InTurn(ForWhom),
    /// Has the first, given for something of this priority, and takes another only if that can be spared at once.
    Spared(Option<Permit>, Priority),
}

impl Admission {
    fn priority(&self) -> Priority {
        match self {
            Self::InTurn(_) => Priority::Caller,
            Self::Spared(_, priority) => *priority,
        }
    }
}

impl ProfileSource for Profiles {
    fn fetch(&self, user: UserId, for_whom: ForWhom) -> Fetching {
        self.start(user, Admission::InTurn(for_whom))
    }

    fn fetch_if_spare(&self, user: UserId, priority: Priority) -> Result<Fetching, NotNow> {
        // Without a token in hand the admission would be held while one is waited for, which needs admission itself; and while
        // Auth0 refuses them all it would be spent for nothing.
        match self.management.at_once() {
            Some(Ok(_)) => {}
            Some(Err(why)) => return Err(NotNow::Unavailable(why)),
            None => return Err(NotNow::NoRoom(AFTER_NO_TOKEN)),
        }
        let permit = self.spend_if_spare(priority).map_err(NotNow::NoRoom)?;
        Ok(self.start(user, Admission::Spared(Some(permit), priority)))
    }

    fn spare(&self, priority: Priority) -> Result<(), Duration> {
        self.spend_if_spare(priority).map(drop)
    }
}

impl Profiles {
    fn spend_if_spare(&self, priority: Priority) -> Result<Permit, Duration> {
        self.auth0.0.budget.try_acquire(priority).map_err(|held| match held {
            BudgetError::Gate(wait) | BudgetError::Busy(wait) => wait,
        })
    }
}
