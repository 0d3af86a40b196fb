//! The order of one redemption of a refresh token, as a state machine.
//!
//! A provider may invalidate a refresh token when it redeems it. So the order matters: the intent is durable before the
//! token is sent, and the answer with the next token is durable before the access token is handed out. A crash between
//! the two leaves an intent without a result, and then the token is sent once more: if the provider has not processed
//! the first request, that succeeds; if it has, the next token was never received, and nothing is left to lose.
//!
//! The same retry follows a request without an answer. It waits until the provider answers others: one that fails
//! during the same outage would make a token that is valid count as lost.
//!
//! [`begin`] returns the first [`Step`]. The caller does what the step says and hands the outcome to it, which returns
//! the next one. A step cannot be skipped, because only its outcome leads to the next.

use std::sync::Arc;
use std::time::Duration;

use super::freshness::Moment;
use super::source::{IssuedToken, OverReason, Processed, Redemption, Rotation, SourceFailure, SourceFault};
use crate::secret::{Secret, SecretHash};

#[cfg(test)]
mod tests;

/// How often one refresh token is sent while its outcomes are unknown: once, and once more.
const MOST_ATTEMPTS: u8 = 2;

/// How long the one retry waits for an answer of the provider's host to another request. Longer than a restart or a
/// failover of a provider takes.
pub const RETRY_HELD: Duration = Duration::from_secs(180);

/// When to ask again while the retry waits. Another user's request can end that at any time.
const WAITING_RETRY: Duration = Duration::from_secs(10);

/// How long a refusal that only the user can end is answered without asking the provider again.
const HELD: Duration = Duration::from_secs(600);

/// When to ask again while the state cannot be stored.
pub const UNSTORED_RETRY: Duration = Duration::from_secs(5);

/// The refresh tokens of one identity: each was issued for the one before, and the first is from Auth0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// The first refresh token, as Auth0 stores it. Another one there means that the user has logged in again.
    pub origin: SecretHash,
    /// When Auth0 was asked for the first refresh token, on the elapsed clock; zero for an earlier run of the daemon.
    pub since: Duration,
    /// The refresh token to redeem next.
    pub token: Secret,
    /// How often this chain was stored.
    pub generation: u64,
    /// How often `token` was sent, or was about to be sent, without a known outcome.
    pub attempts: u8,
    /// When the first of these attempts began, on the elapsed clock; zero for an earlier run of the daemon.
    pub sent: Duration,
    /// Set if the provider has refused `token`.
    pub refusal: Option<Refusal>,
}

/// A provider's refusal of a refresh token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What the user is told.
    pub reason: OverReason,
    /// The client that was refused. A refusal says nothing about another client's redemption.
    pub client: Arc<str>,
    /// When, on the elapsed clock; zero for an earlier run of the daemon.
    pub at: Duration,
}

/// How a connection's refresh tokens are redeemed.
#[derive(Clone, Debug)]
pub struct Terms {
    /// The client id with which they are redeemed.
    pub client: Arc<str>,
    /// What the provider does with a refresh token that it redeems.
    pub rotation: Rotation,
    /// How long after its redemption a refresh token is accepted once more.
    pub grace: Duration,
    /// When the provider's host answered last, on the elapsed clock; `None` if it has failed since.
    pub last_answer: Option<Duration>,
}

/// What Auth0 answered last about an identity.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The refresh token that it stores.
    pub refresh_token: Option<Secret>,
    /// When that request was sent.
    pub at: Moment,
}

/// The outcome of a redemption for its caller.
#[derive(Clone, Debug)]
pub enum Redeemed {
    /// An access token.
    Issued(IssuedToken),
    /// Neither Auth0 nor the daemon has a refresh token of this identity.
    NoRefreshToken,
    /// The provider has refused the refresh token, and Auth0 may have a newer one: ask it once more, then call again.
    AskAuth0,
    /// The provider has refused the refresh token, and Auth0 has no newer one.
    Over(OverReason),
    /// The provider refuses the connection's client or what it asks for.
    Misconfigured(SourceFault),
    /// No usable answer.
    Failed {
        /// Why.
        failure: SourceFailure,
        /// After how long a retry can help.
        retry_after: Duration,
    },
}

/// What the caller of a redemption does next.
#[derive(Debug)]
pub enum Step {
    /// Store a chain durably.
    Store(Box<Storing>),
    /// Send a refresh token to the provider, once.
    Redeem(Box<Redeeming>),
    /// The redemption is over.
    End(Redeemed),
}

/// A chain that has to be stored before the redemption continues.
#[derive(Debug)]
pub struct Storing {
    chain: Chain,
    is_intent: bool,
    stored: Step,
    failed: Redeemed,
}

impl Storing {
    /// The chain to store.
    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    /// Whether this is an intent. An intent that cannot be stored is dropped. Anything else is kept in memory and
    /// stored as soon as that is possible.
    pub fn is_intent(&self) -> bool {
        self.is_intent
    }

    /// The chain is durable.
    pub fn stored(self) -> Step {
        self.stored
    }

    /// The chain is not durable.
    pub fn failed(self) -> Step {
        Step::End(self.failed)
    }

    /// The identity's chain was forgotten on request since the redemption began, so this one must not be stored.
    pub fn forgotten(self) -> Step {
        if self.is_intent { Step::End(Redeemed::AskAuth0) } else { self.stored }
    }
}

/// A refresh token that has to be sent to the provider.
#[derive(Debug)]
pub struct Redeeming {
    /// The chain as it is stored, or as it would be stored if this provider invalidated refresh tokens.
    chain: Chain,
    /// Whether the stored chain is another one than `chain`, so that the result is stored in any case.
    is_changed: bool,
    /// The attempts whose outcome was unknown before this one.
    earlier: u8,
    /// When this redemption began.
    begun: Moment,
    /// The refresh token that Auth0 stores, if it is another one that may be valid as well.
    fallback: Option<Secret>,
    /// When Auth0 was asked for it.
    asked: Moment,
    terms: Terms,
}

/// Begins a redemption at `now`. `known` is the identity's stored chain.
pub fn begin(known: Option<Chain>, terms: Terms, auth0: Asked, now: Moment) -> Step {
    let Asked { refresh_token, at: asked } = auth0;
    let (chain, is_changed) = match (known, &refresh_token) {
        (None, None) => return Step::End(Redeemed::NoRefreshToken),
        // Stored once it has been redeemed, because Auth0 may forget it at a login that brings none.
        (None, Some(token)) => (Chain::begun(token, asked, 0), true),
        (Some(old), Some(token)) if old.is_replaced_by(token, asked) => {
            (Chain::begun(token, asked, old.generation), true)
        }
        (Some(chain), _) => (chain, false),
    };
    if let Some(refusal) = chain.refusal.as_ref().filter(|refusal| refusal.applies(&terms, now)) {
        return Step::End(refusal.answer(asked));
    }
    let is_changed = is_changed || chain.refusal.is_some();
    let is_single = terms.rotation == Rotation::Single;
    if let Some(wait) = chain.retry_wait(&terms, now).filter(|_| is_single) {
        return Step::End(Redeemed::Failed {
            failure: SourceFailure::Unsettled,
            retry_after: wait.min(WAITING_RETRY),
        });
    }
    let fallback = refresh_token.filter(|token| !is_single && *token != chain.token);
    let (chain, earlier) = (Chain { refusal: None, ..chain }, chain.attempts);
    Redeeming { chain, is_changed, earlier, begun: now, fallback, asked, terms }.send(unstored(), now)
}

/// The end of a redemption before which the state could not be stored.
fn unstored() -> Redeemed {
    Redeemed::Failed { failure: SourceFailure::State, retry_after: UNSTORED_RETRY }
}

impl Redeeming {
    /// The refresh token to send.
    pub fn token(&self) -> &Secret {
        &self.chain.token
    }

    /// Continues with what the provider answered at `now`.
    pub fn outcome(self, outcome: Redemption, now: Moment) -> Step {
        match outcome {
            Redemption::Issued { token, refresh_token } => self.issued(token, refresh_token),
            Redemption::Over(reason) => self.refused(reason, now),
            Redemption::Misconfigured(fault) => self.without_effect(Redeemed::Misconfigured(fault)),
            Redemption::Failed { failure, retry_after, processed: Processed::No } => {
                self.without_effect(Redeemed::Failed { failure, retry_after })
            }
            Redemption::Failed { failure, retry_after, processed: Processed::Unknown } => {
                self.unknown(failure, retry_after, now)
            }
        }
    }

    fn is_single(&self) -> bool {
        self.terms.rotation == Rotation::Single
    }

    /// Sends the token, with an intent before it if the provider may invalidate the token. `unstored` is the end if
    /// the intent cannot be stored.
    fn send(self, unstored: Redeemed, now: Moment) -> Step {
        if !self.is_single() {
            return Step::Redeem(Box::new(self));
        }
        if self.earlier >= MOST_ATTEMPTS {
            return self.refuse(OverReason::RefreshLost, now);
        }
        let sent = if self.earlier == 0 { now.elapsed } else { self.chain.sent };
        let chain = Chain { attempts: self.earlier.saturating_add(1), sent, ..self.chain }.next();
        let stored = Step::Redeem(Box::new(Self { chain: chain.clone(), is_changed: true, ..self }));
        Step::Store(Box::new(Storing { chain, is_intent: true, stored, failed: unstored }))
    }

    fn issued(self, token: IssuedToken, refresh_token: Option<Secret>) -> Step {
        // A provider that sends no refresh token, or the same one, has not replaced it.
        let next = refresh_token.filter(|next| *next != self.chain.token);
        let issued = Redeemed::Issued(token);
        if next.is_none() && !self.is_changed {
            return Step::End(issued);
        }
        let is_lost_if_unstored = next.is_some() && self.is_single();
        let failed = if is_lost_if_unstored { unstored() } else { issued.clone() };
        let token = next.unwrap_or(self.chain.token);
        store(Chain { token, attempts: 0, refusal: None, ..self.chain }, issued, failed)
    }

    /// Nothing has happened to the token, so the intent is withdrawn: a later refusal would look like a consequence.
    fn without_effect(self, end: Redeemed) -> Step {
        if !self.is_single() {
            return Step::End(end);
        }
        store(Chain { attempts: self.earlier, ..self.chain }, end.clone(), end)
    }

    fn unknown(self, failure: SourceFailure, retry_after: Duration, now: Moment) -> Step {
        let again = self.retries_at_once(retry_after, now);
        let failed = Redeemed::Failed { failure, retry_after };
        match self.earlier.saturating_add(1) {
            _ if !self.is_single() => Step::End(failed),
            attempts if attempts >= MOST_ATTEMPTS => self.refuse(OverReason::RefreshLost, now),
            attempts if again => Self { earlier: attempts, ..self }.send(failed, now),
            // The intent stays, and the next redemption is the one retry.
            _ => Step::End(failed),
        }
    }

    /// Whether the one retry is sent now, and not by a later redemption: the time in which the provider accepts the token
    /// once more ends before it is to be asked again.
    fn retries_at_once(&self, retry_after: Duration, now: Moment) -> bool {
        let (passed, grace) = (self.begun.age(now), self.terms.grace);
        passed < grace && passed.saturating_add(retry_after) >= grace
    }

    fn refused(self, reason: OverReason, now: Moment) -> Step {
        let reason = match reason {
            OverReason::ReauthenticationRequired | OverReason::ConsentRequired => {
                return Self { chain: Chain { attempts: self.earlier, ..self.chain }, ..self }
                    .refuse(reason, now);
            }
            // The attempt whose outcome was unknown has been processed.
            _ if self.is_single() && self.earlier > 0 => OverReason::RefreshLost,
            _ => OverReason::RefreshRefused,
        };
        match self.fallback {
            Some(token) => {
                let chain = Chain::begun(&token, self.asked, self.chain.generation);
                Self { chain, is_changed: true, fallback: None, ..self }.send(unstored(), now)
            }
            None => self.refuse(reason, now),
        }
    }

    fn refuse(self, reason: OverReason, at: Moment) -> Step {
        let refusal = Some(Refusal { reason, client: self.terms.client, at: at.elapsed });
        store(Chain { refusal, ..self.chain }, Redeemed::AskAuth0, Redeemed::AskAuth0)
    }
}

/// Stores what came of a redemption, and then ends it.
fn store(chain: Chain, end: Redeemed, failed: Redeemed) -> Step {
    Step::Store(Box::new(Storing { chain: chain.next(), is_intent: false, stored: Step::End(end), failed }))
}

impl Refusal {
    /// Whether the provider is not asked again with the same refresh token.
    fn applies(&self, terms: &Terms, now: Moment) -> bool {
        match self.reason {
            OverReason::RefreshLost => true,
            OverReason::ReauthenticationRequired | OverReason::ConsentRequired => {
                self.client == terms.client && now.elapsed.saturating_sub(self.at) < HELD
            }
            _ => self.client == terms.client,
        }
    }

    /// The end of a redemption that this refusal forbids. `asked` is when Auth0 was asked last.
    fn answer(&self, asked: Moment) -> Redeemed {
        if asked.elapsed >= self.at { Redeemed::Over(self.reason) } else { Redeemed::AskAuth0 }
    }
}

impl Chain {
    /// A chain of `token` alone, which Auth0 stored when it was asked at `asked`.
    fn begun(token: &Secret, asked: Moment, generation: u64) -> Self {
        let (origin, since) = (token.hash(), asked.elapsed);
        let (token, sent) = (token.clone(), Duration::ZERO);
        Self { origin, since, token, generation, attempts: 0, sent, refusal: None }
    }

    /// How long the one retry after an unknown outcome still waits at `now`; `None` if there is nothing to wait for. A
    /// retry after a restart waits for nothing: its first attempt is more likely to have ended with the process.
    fn retry_wait(&self, terms: &Terms, now: Moment) -> Option<Duration> {
        let is_last = self.attempts.saturating_add(1) == MOST_ATTEMPTS;
        let has_answered = terms.last_answer.is_some_and(|at| at > self.sent);
        if !is_last || self.sent.is_zero() || has_answered || self.refusal.is_some() {
            return None;
        }
        let passed = now.elapsed.saturating_sub(self.sent);
        // A retry that comes after the grace is refused if the first attempt was processed.
        let held = if passed < terms.grace {
            RETRY_HELD.min(terms.grace.checked_div(2).unwrap_or_default())
        } else {
            RETRY_HELD
        };
        Some(held.saturating_sub(passed)).filter(|wait| !wait.is_zero())
    }

    /// Whether `token`, which Auth0 stored when it was asked at `asked`, is from a later login. An answer that is
    /// older than this chain's own first token shows an earlier one.
    fn is_replaced_by(&self, token: &Secret, asked: Moment) -> bool {
        token.hash() != self.origin && asked.elapsed >= self.since
    }

    /// This chain, stored once more.
    #[must_use]
    pub fn next(self) -> Self {
        Self { generation: self.generation.saturating_add(1), ..self }
    }
}
