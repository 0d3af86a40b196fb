//! One exchange: its attempts, within `tenant.request_timeout` and the budget.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout_at};

use crate::cache::ForWhom;
use crate::config;
use crate::domain::error::{Failure, FailureClass};
use crate::domain::freshness::Moment;
use crate::domain::priority::Priority;
use crate::domain::retry::Backoff;
use crate::domain::source::{Source, SourceFailure, SourceFault};
use crate::telemetry::SourceOutcome;

use super::super::client::{
    BETWEEN_ATTEMPTS, ClientSettings, Endpoint, ask_again_after, budget_failure, own_issuer,
};
use super::super::credentials::TokenEndpoint;
use super::account::AccountTag;
use super::answer::{ExchangeAnswer, parse_exchange};
use super::outcome::{Exchanged, source_failure};
use super::refreshes::FailedRefresh;
use super::request::{Signers, Wanted, request};
use super::state::VaultInner;

/// The waits that are advised after failed refreshes of an account.
const AFTER_FAILED_REFRESH: Backoff = Backoff::new(Duration::from_secs(5), Duration::from_secs(60));

/// The advised waits grow no more after this many failures.
const MOST_STEPS: usize = 16;

/// The cause in the failure of an answer whose token has no second left. The vault refreshes a token only once it has
/// expired.
const EXPIRED: &str = "a token that has expired";

/// An exchange under way.
pub(super) struct Exchange<'a> {
    inner: &'a VaultInner,
    settings: Arc<config::Vault>,
    client: Arc<ClientSettings>,
    wanted: Wanted<'a>,
    connection: Arc<str>,
    account: AccountTag,
    priority: Priority,
    for_whom: ForWhom,
    deadline: Instant,
    /// What has not been refused yet, the next to be tried first.
    signers: VecDeque<Signers>,
    /// Whether a refusal was about the subject token, so that the application was authenticated before.
    was_authenticated: bool,
    is_admitted: bool,
    has_corrected_clock: bool,
}

/// What follows an attempt.
enum Step {
    /// The exchange is over.
    Done(Exchanged),
    /// Another attempt is to be made at once, with other keys or by a corrected clock.
    Again,
    /// Another attempt may succeed after a wait.
    Retry(Trouble),
}

/// Why an attempt brought no token, although the next one may.
enum Trouble {
    Failure(Failure),
    NotRefreshed,
}

impl<'a> Exchange<'a> {
    /// An exchange that begins now.
    pub fn new(inner: &'a VaultInner, wanted: Wanted<'a>, priority: Priority, for_whom: ForWhom) -> Self {
        let client = inner.auth0.reloadable();
        let (settings, tags) = (inner.settings(), &inner.auth0.0.tags);
        Self {
            signers: inner.signers(&settings).into(),
            was_authenticated: false,
            settings,
            wanted,
            connection: wanted.connection.into(),
            account: AccountTag::new(tags, wanted.user, wanted.connection, wanted.login_hint),
            priority,
            for_whom,
            deadline: Instant::now() + client.request_timeout,
            client,
            is_admitted: false,
            has_corrected_clock: false,
            inner,
        }
    }

    /// Makes attempts until one decides, the retries are used up, or the time is over.
    pub async fn run(mut self) -> Exchanged {
        let auth0 = &self.inner.auth0;
        // Before the queue, so that lookups for which nothing can be done do not fill it.
        if let Some(fault) = self.inner.would_hold(&self.connection, auth0.0.clock.now()) {
            return Exchanged::Misconfigured(fault);
        }
        let mut waits = BETWEEN_ATTEMPTS.waits(auth0.draw()).take(self.client.max_retries as usize);
        let mut last = None;
        loop {
            let trouble = match self.attempt(last.as_ref()).await {
                Step::Done(exchanged) => return exchanged,
                Step::Again => continue,
                Step::Retry(trouble) => trouble,
            };
            let wait = trouble.wait_before_retry(last.as_ref(), &mut waits);
            match wait.map(|wait| Instant::now() + wait).filter(|next| *next < self.deadline) {
                Some(next) => {
                    last = Some(trouble);
                    sleep_until(next).await;
                }
                None => return self.give_up(trouble),
            }
        }
    }

    /// Sends one request. `last` is what the attempt before ended with.
    async fn attempt(&mut self, last: Option<&Trouble>) -> Step {
        let auth0 = &self.inner.auth0;
        let Some(signers) = self.signers.front() else {
            return Step::Done(Exchanged::Misconfigured(SourceFault::VaultClient));
        };
        // Before the permit, because it may take one of its own.
        let url = match timeout_at(self.deadline, auth0.token_url(&self.client, &signers.credentials)).await {
            Ok(Ok(url)) => url,
            Ok(Err(failure)) => return Step::Retry(Trouble::Failure(failure)),
            Err(_) => return Step::Done(self.give_up(self.cut_off(last))),
        };
        let left = self.deadline.saturating_duration_since(Instant::now());
        let budget = auth0.budget_for(Endpoint::Exchange);
        let permit = match budget.acquire(self.priority, self.for_whom.clone(), left).await {
            Ok(permit) => permit,
            Err(error) => return Step::Done(self.failed(&budget_failure(error))),
        };
        // While this exchange waited, others may have been refused.
        if !std::mem::replace(&mut self.is_admitted, true)
            && let Some(fault) = self.inner.holds(&self.connection, auth0.0.clock.now())
        {
            return Step::Done(Exchanged::Misconfigured(fault));
        }
        auth0.0.counters.exchange_requests.add();
        let begun = auth0.tenant_moment();
        let issuer = own_issuer(&auth0.0.domain);
        let endpoint = TokenEndpoint { url: &url, issuer: &issuer };
        // Signed anew for each request, because Auth0 accepts a `jti` once.
        let request = || {
            request(endpoint, self.wanted, signers, &self.settings.audit_context, auth0.0.clock.tenant_wall())
        };
        let transport = signers.credentials.transport().unwrap_or(&self.client.transport);
        let sent =
            auth0.send_through(transport, &self.client, Endpoint::Exchange, request, permit, self.priority);
        let answer = timeout_at(self.deadline, sent).await;
        let answer =
            answer.map(|answered| answered.and_then(|(answer, timing)| parse_exchange(&answer, timing)));
        let took = begun.age(auth0.0.clock.now());
        let counters = &auth0.0.counters.sources;
        counters.answered(Source::Vault, &self.connection, counted(answer.as_ref().ok()), took);
        let answer = match answer {
            Ok(answer) => answer,
            Err(_) => return Step::Done(self.give_up(self.cut_off(last))),
        };
        match answer {
            Ok(answer) => self.conclude(answer, begun),
            Err(Failure::CertificateRefused { .. }) => self.refused(SourceFault::VaultClient, begun),
            Err(failure) => {
                self.client.token_endpoint.doubt();
                Step::Retry(Trouble::Failure(failure))
            }
        }
    }

    /// Why an attempt that was cut off at the deadline has failed. The failure before, if there was one, says more.
    fn cut_off(&self, last: Option<&Trouble>) -> Trouble {
        Trouble::Failure(match last {
            Some(Trouble::Failure(failure)) => failure.clone(),
            _ => Failure::TimedOut { host: Arc::clone(&self.inner.auth0.0.domain) },
        })
    }

    /// What follows from an answer about the account or the application. `begun` is when the request was signed, by the
    /// tenant's clock as it was known then.
    fn conclude(&mut self, answer: ExchangeAnswer, begun: Moment) -> Step {
        match answer {
            ExchangeAnswer::Issued(token) => {
                self.accepted();
                if token.expires_in == Some(Duration::ZERO) {
                    return Step::Retry(Trouble::Failure(Failure::Malformed { what: EXPIRED }));
                }
                let now = self.inner.auth0.0.clock.now();
                self.inner.issued(&self.connection, self.account, token.expires_in, now);
                Step::Done(Exchanged::Issued(token))
            }
            ExchangeAnswer::NotConnected => {
                self.accepted();
                Step::Done(Exchanged::NotConnected)
            }
            ExchangeAnswer::NotRefreshed => {
                self.accepted();
                Step::Retry(Trouble::NotRefreshed)
            }
            ExchangeAnswer::Refused(fault) => self.refused(fault, begun),
        }
    }

    /// Notes that Auth0 has accepted what the latest attempt was signed with.
    fn accepted(&self) {
        if let Some(signers) = self.signers.front() {
            self.inner.accepted(&self.connection, signers);
        }
    }

    /// What follows from a refusal: another attempt, if other keys or another time may be accepted.
    fn refused(&mut self, fault: SourceFault, begun: Moment) -> Step {
        let auth0 = &self.inner.auth0;
        if fault == SourceFault::VaultClient {
            // Auth0 may ask for certificates at another host by now.
            self.client.token_endpoint.doubt();
        }
        // The codes for a wrong signature and for a wrong time are not documented.
        if matches!(fault, SourceFault::VaultClient | SourceFault::VaultRequest) {
            if auth0.was_misdated(begun) && !std::mem::replace(&mut self.has_corrected_clock, true) {
                return Step::Again;
            }
            self.was_authenticated |= fault == SourceFault::VaultRequest;
            self.signers.pop_front();
            if !self.signers.is_empty() {
                return Step::Again;
            }
        }
        // With several keys, the one that comes furthest shows what is missing.
        let fault = match self.was_authenticated {
            true if fault == SourceFault::VaultClient => SourceFault::VaultRequest,
            _ => fault,
        };
        self.inner.refused(&self.connection, self.account, &fault, auth0.0.clock.now());
        Step::Done(Exchanged::Misconfigured(fault))
    }

    /// The outcome of an exchange that is not tried again.
    fn give_up(&self, trouble: Trouble) -> Exchanged {
        let now = self.inner.auth0.0.clock.now();
        match trouble {
            Trouble::Failure(failure) => {
                self.inner.failed(&failure, now);
                self.failed(&failure)
            }
            Trouble::NotRefreshed => {
                let (meaning, count) = self.inner.not_refreshed(&self.connection, self.account, now);
                if meaning == FailedRefresh::Over {
                    return Exchanged::NotConnected;
                }
                let step = (count as usize).min(MOST_STEPS).saturating_sub(1);
                let waits = AFTER_FAILED_REFRESH.waits(self.inner.auth0.draw()).nth(step);
                Exchanged::Failed {
                    failure: SourceFailure::NotRefreshed,
                    retry_after: waits.unwrap_or_default(),
                }
            }
        }
    }

    fn failed(&self, failure: &Failure) -> Exchanged {
        let retry_after = failure.asks_to_wait().unwrap_or(ask_again_after(failure.class()));
        Exchanged::Failed { failure: source_failure(failure, &self.inner.auth0.0.domain), retry_after }
    }
}

/// The outcome by which an answer is counted; `None` is none in time.
fn counted(answer: Option<&Result<ExchangeAnswer, Failure>>) -> SourceOutcome {
    match answer {
        Some(Ok(ExchangeAnswer::Issued(_))) => SourceOutcome::Issued,
        Some(Ok(ExchangeAnswer::NotConnected)) => SourceOutcome::Over,
        Some(Ok(ExchangeAnswer::Refused(_)) | Err(Failure::CertificateRefused { .. })) => {
            SourceOutcome::Misconfigured
        }
        Some(Err(Failure::Throttled { .. })) => SourceOutcome::Throttled,
        Some(Ok(ExchangeAnswer::NotRefreshed) | Err(_)) | None => SourceOutcome::Failed,
    }
}

impl Trouble {
    /// The wait before the next attempt; `None` if there is to be none. A refresh is tried once more: the vault asks the
    /// provider each time.
    fn wait_before_retry(
        &self,
        last: Option<&Self>,
        waits: &mut impl Iterator<Item = Duration>,
    ) -> Option<Duration> {
        match self {
            Self::Failure(failure) => {
                let is_passing = failure.class() == FailureClass::Passing
                    || matches!(failure, Failure::Malformed { what: EXPIRED });
                let wait = waits.next().filter(|_| is_passing)?;
                Some(wait.max(failure.asks_to_wait().unwrap_or_default()))
            }
            Self::NotRefreshed if matches!(last, Some(Self::NotRefreshed)) => None,
            Self::NotRefreshed => waits.next(),
        }
    }
}
