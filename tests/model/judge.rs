//! Judges every answer: guarantees 1, 2 and 3, and what goes with them.

use std::sync::atomic::Ordering;
use std::time::Duration;

use cloakroom::cache::{CacheState, LookupOptions, Served};
use cloakroom::domain::error::{Failure, FailureClass, LookupError, Stage, Unavailable};
use cloakroom::domain::freshness::Moment;
use tokio::time::Instant;

use super::history::Game;
use super::ledger::Heard;
use super::plan::S;
use super::truth::{Kind, Token, left, shows_a_login_after};

/// A question as it was put.
pub struct Asked {
    user: &'static str,
    connection: Option<&'static str>,
    options: LookupOptions,
    seq: u64,
    at: Instant,
    wall_steps: u64,
    lost: Duration,
    due: Option<Due>,
    /// Auth0 can be asked, so a stale token is no answer.
    must_ask: bool,
}

/// For how long a caller who holds a token that is alive waits for Auth0.
const PATIENCE: Duration = S;

/// What has to be answered at once, since it is held and may be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    Hit,
    Stale,
    Fact(Kind),
    /// A token is held that may be served if Auth0 cannot be asked: a token, or what Auth0 says, but soon.
    Soon,
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap()
}

/// What is left of `token`, at the least and at the most.
fn lifetime(game: &Game, heard: &Heard, token: &Token, now: Moment) -> (i64, i64) {
    let expires = game.known_expiry(heard, &token.text);
    expires.map_or((i64::MAX, i64::MAX), |expires| left(heard, expires, now))
}

impl Asked {
    pub fn now(
        game: &Game,
        user: &'static str,
        connection: Option<&'static str>,
        options: LookupOptions,
    ) -> Self {
        let seq = game.wire.ledger().tick();
        let wall_steps = game.truth().wall_steps;
        let (at, lost) = (Instant::now(), game.lost());
        let mut asked =
            Self { user, connection, options, seq, at, wall_steps, lost, due: None, must_ask: false };
        asked.due = asked.what_is_due(game).filter(|_| !options.fresh);
        let mut ledger = game.wire.ledger();
        let longest = 2 * game.setup.request_timeout;
        asked.must_ask = ledger.is_at_rest(game.now(), &game.setup.upstream, longest)
            && !ledger.nothing.contains_key(user)
            && game.management.is_valid();
        asked
    }

    fn what_is_due(&self, game: &Game) -> Option<Due> {
        let (heard, certain) = game.heard(self.user)?;
        if !certain {
            return None;
        }
        let (cache, now) = (&game.setup.cache, game.now());
        let age = heard.sent.age(now);
        let fact = |kind: Kind| (age < kind.remembered(&cache.negative)).then_some(Due::Fact(kind));
        let token = match heard.said.select(self.connection) {
            Ok(token) => token,
            Err(kind) => return fact(kind),
        };
        let (refused, doubt) =
            (game.truth().refused(self.user, &token.text), game.wire.ledger().doubt_about_logins());
        if refused.is_some_and(|(_, at)| shows_a_login_after(&heard, at, doubt) != Some(true)) {
            return None;
        }
        let (least, most) = lifetime(game, &heard, token, now);
        if most <= 0 || most < millis(cache.min_ttl) {
            return fact(Kind::Dead);
        }
        if least <= 0 || least < millis(cache.min_ttl) {
            return None;
        }
        if most < millis(self.options.min_ttl) {
            return fact(Kind::MinTtl);
        }
        if least < millis(self.options.min_ttl) {
            return None;
        }
        if age <= cache.max_ttl {
            return Some(Due::Hit);
        }
        let failed = game.truth().failed.get(self.user).copied();
        let outage = failed
            .is_some_and(|seq| game.wire.ledger().heard.last().is_none_or(|heard| heard.heard_seq < seq));
        let servable_for = (cache.max_ttl + cache.max_stale).saturating_sub(age);
        let alive_for = least.saturating_sub(millis(cache.min_ttl.max(self.options.min_ttl)));
        match outage {
            true => (age <= cache.max_ttl + cache.max_stale).then_some(Due::Stale),
            false => (servable_for > PATIENCE && alive_for > millis(PATIENCE)).then_some(Due::Soon),
        }
    }

    pub fn answered(self, game: &Game, outcome: Result<Served, LookupError>) {
        let seq = game.wire.ledger().tick();
        let tally = &game.tally;
        let (broken, counter) = match &outcome {
            Ok(served) => (
                self.judge_token(game, served),
                match served.state {
                    CacheState::Hit => &tally.hits,
                    CacheState::Miss => &tally.misses,
                    CacheState::Stale => &tally.stale,
                },
            ),
            Err(error) => match Kind::of(error) {
                Some(kind) => (self.judge_fact(game, kind), &tally.facts),
                None => (self.judge_failure(error), &tally.failures),
            },
        };
        counter.fetch_add(1, Ordering::Relaxed);
        let broken = broken.and_then(|()| self.judge_wait(game, &outcome));
        if let Err(why) = broken {
            let (user, connection, options) = (self.user, self.connection, self.options);
            let why = format!("{user}, {connection:?}, {options:?} is answered {outcome:?}: {why}");
            game.wire.ledger().breaks(why);
        }
        let could_not_ask = match &outcome {
            Ok(served) => served.state == CacheState::Stale && self.came_to_nothing(game),
            // That the budget is spent, or a Management token wanting, says nothing of this user.
            Err(LookupError::Unavailable(why)) => {
                why.stage == Stage::User && why.failure.class() != FailureClass::Throttled
            }
            Err(_) => false,
        };
        if could_not_ask {
            game.truth().failed.insert(self.user.into(), seq);
        }
    }

    /// Whether the latest request for this user came to nothing, and nothing was heard of anybody since.
    fn came_to_nothing(&self, game: &Game) -> bool {
        let ledger = game.wire.ledger();
        let heard = ledger.heard.last().map_or(0, |heard| heard.heard_seq);
        ledger.nothing.get(self.user).is_some_and(|seq| *seq > heard)
    }

    /// Guarantee 3, and that everything ends.
    fn judge_wait(&self, game: &Game, outcome: &Result<Served, LookupError>) -> Result<(), String> {
        let waited = self.at.elapsed();
        if waited > 3 * game.setup.request_timeout + S {
            return Err(format!("after {waited:?}"));
        }
        let asked_since = game.wire.ledger().trouble > self.seq || waited >= PATIENCE;
        if self.must_ask {
            game.tally.must_ask.fetch_add(1, Ordering::Relaxed);
            if matches!(outcome, Ok(Served { state: CacheState::Stale, .. })) && !asked_since {
                return Err("Auth0 could be asked, and was not".into());
            }
        }
        let Some(due) = self.due else { return Ok(()) };
        if due == Due::Soon {
            let failed = outcome.as_ref().is_err_and(|why| !why.is_fact());
            game.tally.soon.fetch_add(1, Ordering::Relaxed);
            return match waited > PATIENCE || failed {
                true if !self.is_stepped(game) => {
                    Err(format!("a token was held, and this came after {waited:?}"))
                }
                _ => Ok(()),
            };
        }
        let was = match outcome {
            Ok(Served { state: CacheState::Hit, .. }) => Some(Due::Hit),
            Ok(Served { state: CacheState::Stale, .. }) => Some(Due::Stale),
            Ok(Served { state: CacheState::Miss, .. }) => None,
            Err(error) => Kind::of(error).map(Due::Fact),
        };
        if was != Some(due) || !waited.is_zero() {
            return Err(format!("{due:?} was due at once, and it came after {waited:?}"));
        }
        game.tally.due.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn judge_token(&self, game: &Game, served: &Served) -> Result<(), String> {
        let (now, true_now) = (game.now(), game.wire.true_now());
        let (identity, token) = served.token();
        let text = token.access_token.expose();
        let owned = {
            let mut truth = game.truth();
            truth.tags.insert(text.to_owned(), token.fingerprint);
            truth.tokens.get(text).cloned().ok_or_else(|| format!("nobody ever had {text}"))?
        };

        // Guarantee 2.
        let asked = self.connection.is_none_or(|connection| connection == owned.connection);
        if owned.user != self.user || owned.connection != identity.connection() || !asked {
            return Err(format!("{text} is of {owned:?}"));
        }

        let fetched = served.fetched();
        let ledger = game.wire.ledger();
        let mut of_user = ledger.heard.iter().rev().filter(|heard| heard.user == self.user);
        let heard = of_user.find(|heard| heard.sent == fetched && heard.said.holds(text)).cloned();
        drop(ledger);
        let heard = heard.ok_or("Auth0 did not say so when it is said to have been asked")?;

        // Guarantee 1. A clock that is behind can be told by an honest date alone.
        let doubt = game.wire.ledger().doubt();
        let known = match game.setup.evicts() {
            true => heard.said.expiry_of(text),
            false => game.known_expiry(&heard, text),
        };
        if let (Some(expires), Some(doubt)) = (known, doubt)
            && (heard.date_is_honest() || heard.behind() <= 0)
        {
            let left = expires - true_now + heard.excusable() + doubt;
            let least = millis(game.setup.cache.min_ttl.max(self.options.min_ttl));
            if left <= 0 || left < least {
                return Err(format!("{text} has {left} ms left, {least} are needed"));
            }
        }

        self.is_up_to_date(game, &heard)?;
        let refused = game.truth().refused(self.user, text).filter(|(seq, _)| *seq < self.seq);
        let doubt = game.wire.ledger().doubt_about_logins();
        if refused.is_some_and(|(_, at)| shows_a_login_after(&heard, at, doubt) == Some(false)) {
            return Err(format!("{text} was reported"));
        }

        // The label.
        let cache = &game.setup.cache;
        let (age, new) = (heard.sent.age(now), heard.heard_seq > self.seq);
        let stepped = self.is_stepped(game);
        let truthful = match served.state {
            CacheState::Hit => {
                !new && age <= cache.max_ttl && self.at.elapsed().is_zero() && !self.options.fresh
            }
            CacheState::Miss => new,
            CacheState::Stale => {
                let old = age > cache.max_ttl || stepped;
                !new && old && age <= cache.max_ttl + cache.max_stale && !self.options.fresh
            }
        };
        if truthful { Ok(()) } else { Err(format!("fetched {age:?} ago, new: {new}")) }
    }

    /// Whether a clock moved on its own since: it was set, or was found to have stood still.
    fn is_stepped(&self, game: &Game) -> bool {
        game.truth().wall_steps != self.wall_steps || game.lost() != self.lost
    }

    /// Whoever asks after a purge is not answered with what was asked for before it.
    fn is_up_to_date(&self, game: &Game, heard: &Heard) -> Result<(), String> {
        let purged = game.truth().purged.get(self.user).copied();
        match purged.is_some_and(|seq| seq < self.seq && heard.sent_seq < seq) {
            true => Err("it was asked for before a purge".into()),
            false => Ok(()),
        }
    }

    /// A fact is Auth0's word, heard just now or not longer ago than such a fact is remembered.
    fn judge_fact(&self, game: &Game, kind: Kind) -> Result<(), String> {
        let now = game.now();
        let remembered = kind.remembered(&game.setup.cache.negative);
        let all: Vec<_> =
            game.wire.ledger().heard.iter().filter(|heard| heard.user == self.user).cloned().collect();
        let supports = |heard: &Heard| {
            let recent = heard.heard_seq > self.seq || heard.sent.age(now) < remembered;
            recent && self.is_up_to_date(game, heard).is_ok() && self.follows(game, kind, heard, now)
        };
        match all.iter().any(supports) {
            true => Ok(()),
            false => Err(format!("Auth0 did not say so within {remembered:?}")),
        }
    }

    fn follows(&self, game: &Game, kind: Kind, heard: &Heard, now: Moment) -> bool {
        let token = match heard.said.select(self.connection) {
            Ok(token) => token,
            Err(fact) => return fact == kind,
        };
        let (least, _) = lifetime(game, heard, token, now);
        match kind {
            // Auth0 may hold a newer one by the time of a report: it has to be asked after that.
            Kind::Refused => {
                let (reported, doubt) =
                    (game.truth().reported(self.user, &token.text), game.wire.ledger().doubt_about_logins());
                let refused = game.truth().refused(self.user, &token.text);
                let lifted =
                    refused.is_some_and(|(_, at)| shows_a_login_after(heard, at, doubt) == Some(true));
                reported.is_some_and(|seq| heard.sent_seq > seq || seq > self.seq) && !lifted
            }
            Kind::Dead => least <= 0 || least < millis(game.setup.cache.min_ttl),
            Kind::MinTtl => least < millis(self.options.min_ttl),
            _ => false,
        }
    }

    fn judge_failure(&self, error: &LookupError) -> Result<(), String> {
        match error {
            LookupError::Unavailable(Unavailable { failure: Failure::Fault, .. })
            | LookupError::Overloaded => Err("nothing went wrong in the daemon itself".into()),
            LookupError::ConnectRequired { .. } | LookupError::Source(_) => {
                Err("no source is configured".into())
            }
            LookupError::RateLimited { .. } if !self.options.fresh => {
                Err("it was not asked to be fresh".into())
            }
            _ => Ok(()),
        }
    }
}
