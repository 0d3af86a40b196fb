//! Random histories of logins, faults, crashes and redemptions against a provider that invalidates refresh tokens.
//!
//! The provider knows the truth about each token, and the judge compares with it what the daemon does and says. A caller
//! that breaks the order is noticed, which the last test shows.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};

use super::simulated_provider::{Provider, Sent, Truth};
use super::*;

/// What happens between redemptions, and what the steps of a redemption meet.
#[derive(Clone, Debug)]
enum Event {
    /// A redemption, whose steps meet these fates in this order, and then good ones.
    Redeem(Vec<Fate>),
    /// A login that stores a new refresh token at Auth0, or none.
    Login(bool),
    /// The user revokes every token.
    Revoke,
    Pass(u64),
    /// The provider's host answers a request of another user.
    Answer,
    Restart,
    Purge,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Good,
    /// The store fails, or the provider answers in time and has done nothing.
    Fails,
    CrashBefore,
    CrashAfter,
    /// The provider's answer is lost, after it has processed the request or before.
    AnswerLost {
        processed: bool,
        connection: bool,
    },
    Misconfigured,
    Reauthentication,
    /// The provider issues no new refresh token this time.
    Kept,
}

/// How the caller of the state machine deviates from what its steps say.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Caller {
    Honest,
    SkipsIntents,
    AnswersBeforeTheResultIsStored,
    IgnoresFailedStores,
    ForgetsAttemptsAtARestart,
    SendsAgainByItself,
    PurgesChains,
    ForgetsWhenItSent,
}

/// The daemon is gone, and so is everything that it had in memory.
struct Crashed;

struct World {
    caller: Caller,
    terms: Terms,
    now: u64,
    /// When the redemption began that is under way.
    begun: u64,
    /// When the first request of this run began whose outcome is unknown, by its token.
    unknown_since: BTreeMap<String, u64>,
    provider: Provider,
    auth0: Option<String>,
    disk: Option<Chain>,
    /// A chain that could not be stored, in memory.
    unwritten: Option<Chain>,
    broken: Option<String>,
}

impl World {
    fn new(caller: Caller, grace: u64) -> Self {
        let mut provider = Provider::default();
        let auth0 = Some(provider.log_in());
        let (terms, now) = (terms(Rotation::Single, grace), 1);
        let (begun, unknown_since) = (now, BTreeMap::new());
        let (disk, unwritten, broken) = (None, None, None);
        Self { caller, terms, now, begun, unknown_since, provider, auth0, disk, unwritten, broken }
    }

    fn rule(&mut self, holds: bool, rule: &str) {
        if !holds && self.broken.is_none() {
            self.broken = Some(rule.to_owned());
        }
    }

    fn meet(&mut self, event: &Event) {
        self.now += 1;
        match event {
            Event::Redeem(fates) => {
                if self.redeem(&mut fates.iter().copied()).is_err() {
                    self.restart();
                }
            }
            Event::Login(true) => self.auth0 = Some(self.provider.log_in()),
            Event::Login(false) => self.auth0 = None,
            Event::Revoke => self.provider.end(|_| true, Truth::Revoked),
            Event::Pass(secs) => self.now += secs,
            Event::Answer => self.terms.last_answer = Some(at(self.now).elapsed),
            Event::Restart => self.restart(),
            Event::Purge if self.caller == Caller::PurgesChains => self.disk = None,
            Event::Purge => {}
        }
    }

    /// Starts another run, in which moments of the last one are earlier than all others.
    fn restart(&mut self) {
        self.unwritten = None;
        self.unknown_since.clear();
        self.terms.last_answer = None;
        if let Some(chain) = &mut self.disk {
            // An answer whose result was never stored is the same as none.
            let sent = self.provider.sent.entry(chain.token.expose().to_owned()).or_default();
            let unknown = sent.iter().filter(|sent| **sent == Sent::Unknown).count();
            if let Some(last) = sent.last_mut().filter(|_| unknown < usize::from(chain.attempts)) {
                *last = Sent::Unknown;
            }
            (chain.since, chain.sent) = (Duration::ZERO, Duration::ZERO);
            chain.refusal.iter_mut().for_each(|refusal| refusal.at = Duration::ZERO);
            if self.caller == Caller::ForgetsAttemptsAtARestart {
                chain.attempts = 0;
            }
        }
    }

    /// A redemption; if Auth0 has to be asked once more, both together.
    fn redeem(&mut self, fates: &mut dyn Iterator<Item = Fate>) -> Result<Option<Redeemed>, Crashed> {
        if let Some(chain) = self.unwritten.take() {
            match fates.next() {
                Some(Fate::Fails) => {
                    self.unwritten = Some(chain);
                    return Ok(None);
                }
                _ => self.disk = Some(chain),
            }
        }
        let mut asked_at = self.now;
        let mut refused_at = None;
        let mut end = self.run(asked_at, fates)?;
        if matches!(end, Redeemed::AskAuth0) {
            refused_at = Some(self.now);
            self.now += 1;
            asked_at = self.now;
            if self.unwritten.is_some() {
                return Ok(None);
            }
            end = self.run(asked_at, fates)?;
        }
        if let Redeemed::Over(reason) = end {
            self.judge_over(reason, refused_at.is_none_or(|refused| asked_at > refused));
        }
        Ok(Some(end))
    }

    fn run(&mut self, asked: u64, fates: &mut dyn Iterator<Item = Fate>) -> Result<Redeemed, Crashed> {
        let auth0 = Asked { refresh_token: self.auth0.as_deref().map(Secret::new), at: at(asked) };
        self.begun = self.now;
        if let Some(chain) = self.disk.as_mut().filter(|_| self.caller == Caller::ForgetsWhenItSent) {
            chain.sent = Duration::ZERO;
        }
        let mut step = begin(self.disk.clone(), self.terms.clone(), auth0, at(self.now));
        loop {
            self.now += 1;
            let fate = fates.next().unwrap_or(Fate::Good);
            step = match step {
                Step::Store(storing) => self.store(*storing, fate)?,
                Step::Redeem(redeeming) => {
                    let mut outcome = self.send(redeeming.token(), fate)?;
                    let is_unknown = |outcome: &Redemption| {
                        matches!(outcome, Redemption::Failed { processed: Processed::Unknown, .. })
                    };
                    if self.caller == Caller::SendsAgainByItself && is_unknown(&outcome) {
                        self.send(redeeming.token(), fate)?;
                        outcome = self.send(redeeming.token(), Fate::Good)?;
                    }
                    redeeming.outcome(outcome, at(self.now))
                }
                Step::End(end) => {
                    if matches!(end, Redeemed::Issued(_)) {
                        let held = self.disk.as_ref().map(|chain| self.provider.truth(&chain.token));
                        self.rule(
                            held == Some(Truth::Live),
                            "a token was handed out before the next one was durable",
                        );
                    }
                    return Ok(end);
                }
            };
        }
    }

    fn store(&mut self, storing: Storing, fate: Fate) -> Result<Step, Crashed> {
        match self.caller {
            Caller::SkipsIntents if storing.is_intent() => return Ok(storing.stored()),
            Caller::AnswersBeforeTheResultIsStored if !storing.is_intent() => {
                self.unwritten = Some(storing.chain().clone());
                return Ok(storing.stored());
            }
            _ => {}
        }
        match fate {
            Fate::Fails if self.caller == Caller::IgnoresFailedStores => Ok(storing.stored()),
            Fate::Fails => {
                if !storing.is_intent() {
                    self.unwritten = Some(storing.chain().clone());
                }
                Ok(storing.failed())
            }
            Fate::CrashBefore => Err(Crashed),
            _ => {
                let chain = storing.chain().clone();
                if fate == Fate::CrashAfter {
                    if storing.is_intent() {
                        // To the next run this is the same as a request without an answer.
                        self.provider.note(&chain.token, Sent::Unknown);
                    }
                    self.disk = Some(chain);
                    return Err(Crashed);
                }
                if chain.attempts == 0 && chain.refusal.is_none() {
                    // Every outcome is known, and the token is live: its attempts count anew.
                    self.provider.sent.remove(chain.token.expose());
                }
                self.disk = Some(chain);
                Ok(storing.stored())
            }
        }
    }

    fn send(&mut self, token: &Secret, fate: Fate) -> Result<Redemption, Crashed> {
        let is_intended = self.disk.as_ref().is_some_and(|chain| chain.token == *token && chain.attempts > 0);
        self.rule(is_intended, "a token was sent without a durable intent");
        let sent = self.provider.sent.get(token.expose()).cloned().unwrap_or_default();
        let sent: Vec<_> = sent.into_iter().filter(|sent| *sent != Sent::WithoutEffect).collect();
        let may_be_sent = sent.is_empty() || sent == [Sent::Unknown];
        self.rule(may_be_sent, "a token was sent again, and not as the one retry");

        if let Some(since) = self.unknown_since.get(token.expose()).copied() {
            let has_answered = self.terms.last_answer.is_some_and(|answer| answer > at(since).elapsed);
            let held = match self.terms.grace.is_zero() {
                true => RETRY_HELD,
                false => self.terms.grace / 2,
            };
            let has_waited = at(self.now).elapsed - at(since).elapsed >= held;
            self.rule(has_answered || has_waited, "the retry did not wait for the provider");
        }
        if matches!(fate, Fate::AnswerLost { .. }) {
            self.unknown_since.insert(token.expose().to_owned(), self.begun);
            self.terms.last_answer = None;
        }

        let is_processed = match fate {
            Fate::AnswerLost { processed, .. } => processed,
            Fate::Good | Fate::CrashAfter | Fate::Kept => true,
            _ => false,
        };
        let (grace, keep) = (self.terms.grace.as_secs(), fate == Fate::Kept);
        let next = is_processed.then(|| self.provider.redeem(token, self.now, grace, keep));
        let (noted, outcome) = match fate {
            Fate::CrashBefore | Fate::CrashAfter => (Sent::Unknown, Err(Crashed)),
            Fate::AnswerLost { connection, .. } => (Sent::Unknown, Ok(unknown(connection))),
            Fate::Fails => (Sent::WithoutEffect, Ok(failed(Processed::No))),
            Fate::Misconfigured => {
                (Sent::WithoutEffect, Ok(Redemption::Misconfigured(SourceFault::ProviderClient)))
            }
            Fate::Reauthentication => {
                (Sent::WithoutEffect, Ok(Redemption::Over(OverReason::ReauthenticationRequired)))
            }
            Fate::Good | Fate::Kept => match next.flatten() {
                Some(next) if next == token.expose() => (Sent::WithoutEffect, Ok(issued(None))),
                Some(next) => (Sent::Answered, Ok(issued(Some(&next)))),
                None => (Sent::Answered, Ok(Redemption::Over(OverReason::RefreshRefused))),
            },
        };
        self.provider.note(token, noted);
        outcome
    }

    fn judge_over(&mut self, reason: OverReason, was_asked: bool) {
        self.rule(was_asked, "a refusal was final, and Auth0 was not asked after it");
        let token =
            self.disk.as_ref().map(|chain| chain.token.clone()).expect("a chain that is over is stored");
        let truth = self.provider.truth(&token);
        let sent = self.provider.sent.get(token.expose()).cloned().unwrap_or_default();
        let is_true = match reason {
            OverReason::RefreshLost => {
                let unknown = sent.iter().filter(|sent| **sent == Sent::Unknown).count();
                truth != Truth::Live || unknown == usize::from(MOST_ATTEMPTS)
            }
            OverReason::RefreshRefused => truth == Truth::Revoked,
            OverReason::ReauthenticationRequired => true,
            _ => false,
        };
        self.rule(is_true, &format!("{} was said, and the token is {truth:?} ({sent:?})", reason.as_str()));
    }

    /// A redemption without a fault, after every wait. It succeeds if the daemon or Auth0 has a token that is live.
    fn judge_end(&mut self) {
        self.now += 2 * HELD.as_secs();
        self.disk = self.unwritten.take().or(self.disk.take());
        let of_auth0 = self.auth0.as_deref().map(Secret::new);
        let ours = self
            .disk
            .as_ref()
            .filter(|chain| of_auth0.as_ref().is_none_or(|token| token.hash() == chain.origin));
        let is_spent = ours.is_some_and(|chain| {
            let is_lost = |refusal: &Refusal| refusal.reason == OverReason::RefreshLost;
            chain.attempts == MOST_ATTEMPTS || chain.refusal.as_ref().is_some_and(is_lost)
        });
        let token = ours.map(|chain| chain.token.clone()).or(of_auth0);
        let is_live = token.is_some_and(|token| self.provider.truth(&token) == Truth::Live);
        let end = self.redeem(&mut std::iter::empty());
        let is_issued = matches!(end, Ok(Some(Redeemed::Issued(_))));
        self.rule(is_issued || !is_live || is_spent, "a live token is not used");
    }
}

fn unknown(connection: bool) -> Redemption {
    let failure = SourceFailure::Unreachable { host: "idp.example".into(), cause: "connection lost" };
    let retry_after = Duration::from_secs(2);
    match connection {
        true => Redemption::Failed { failure, retry_after, processed: Processed::Unknown },
        false => failed(Processed::Unknown),
    }
}

fn play(caller: Caller, grace: u64, events: &[Event]) -> Result<(), String> {
    let mut world = World::new(caller, grace);
    for event in events {
        world.meet(event);
        world.broken.take().map_or(Ok(()), Err)?;
    }
    world.judge_end();
    world.broken.take().map_or(Ok(()), Err)
}

fn histories() -> impl Strategy<Value = (u64, Vec<Event>)> {
    let lost = (any::<bool>(), any::<bool>())
        .prop_map(|(processed, connection)| Fate::AnswerLost { processed, connection });
    let fate = prop_oneof![
        6 => Just(Fate::Good),
        2 => Just(Fate::Fails),
        1 => Just(Fate::CrashBefore),
        1 => Just(Fate::CrashAfter),
        2 => lost,
        1 => Just(Fate::Misconfigured),
        1 => Just(Fate::Reauthentication),
        1 => Just(Fate::Kept),
    ];
    let event = prop_oneof![
        8 => vec(fate, 0..6).prop_map(Event::Redeem),
        1 => any::<bool>().prop_map(Event::Login),
        1 => Just(Event::Revoke),
        2 => (0_u64..900).prop_map(Event::Pass),
        1 => Just(Event::Answer),
        1 => Just(Event::Restart),
        1 => Just(Event::Purge),
    ];
    (prop_oneof![Just(0_u64), Just(4), Just(30)], vec(event, 1..14))
}

fn look_for_a_fault(caller: Caller, cases: u32) -> Result<(), TestError<(u64, Vec<Event>)>> {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    TestRunner::new_with_rng(config, rng)
        .run(&histories(), |(grace, events)| play(caller, grace, &events).map_err(TestCaseError::fail))
}

#[test]
fn no_history_burns_a_token_or_says_what_is_not_true() {
    if let Err(found) = look_for_a_fault(Caller::Honest, 4_000) {
        panic!("{found}");
    }
}

#[test]
fn a_caller_that_breaks_the_order_is_noticed() {
    for caller in [
        Caller::SkipsIntents,
        Caller::AnswersBeforeTheResultIsStored,
        Caller::IgnoresFailedStores,
        Caller::ForgetsAttemptsAtARestart,
        Caller::SendsAgainByItself,
        Caller::PurgesChains,
        Caller::ForgetsWhenItSent,
    ] {
        assert!(look_for_a_fault(caller, 4_000).is_err(), "{caller:?} goes unnoticed");
    }
}
