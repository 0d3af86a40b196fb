//! Plays one history.

mod player;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use cloakroom::cache::{
    Cache, ForWhom, Forgetting, Issuing, LookupOptions, Query, ReportOutcome, TokenIssuer, Wanted,
};
use cloakroom::clock::Clock;
use cloakroom::config::{self, Config};
use cloakroom::domain::error::LookupError;
use cloakroom::domain::freshness::{Moment, Timestamp};
use cloakroom::domain::priority::Flow;
use cloakroom::domain::source::SourceOrders;
use cloakroom::domain::user::{Selector, UserId};
use cloakroom::fake_auth0::{Tenant, TenantOptions};
use cloakroom::management::Management;
use cloakroom::secret::{Tag, TagKey};
use cloakroom::telemetry::{Counters, UserNames};
use cloakroom::upstream::{Auth0, Parts, Profiles};
use serde_json::json;
use tokio::time::timeout;

use super::judge::Asked;
use super::ledger::Heard;
use super::ledger::wire::Wire;
use super::plan::{CONNECTIONS, History, Look, S, Setup, USERS, Which, defaults};
use super::truth::{Said, Truth};
use player::Player;

const START: Timestamp = Timestamp::from_secs(1_800_000_000);

/// What was seen, over all histories: rules that are never tried prove nothing.
#[derive(Default)]
pub struct Tally {
    pub hits: AtomicU64,
    pub misses: AtomicU64,
    pub stale: AtomicU64,
    pub facts: AtomicU64,
    pub failures: AtomicU64,
    /// Answers that had to be given at once, and were.
    pub due: AtomicU64,
    /// Lookups past `max_ttl` with a token in hand, which may wait for Auth0, but not for long.
    pub soon: AtomicU64,
    /// Those past `max_ttl` for which Auth0 had to be asked.
    pub must_ask: AtomicU64,
    pub dropped: AtomicU64,
    pub requests: AtomicU64,
    pub throttled: AtomicU64,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [
            ("hits", &self.hits),
            ("misses", &self.misses),
            ("stale", &self.stale),
            ("facts", &self.facts),
            ("failures", &self.failures),
            ("answers due at once", &self.due),
            ("answers due soon", &self.soon),
            ("questions due", &self.must_ask),
            ("reports", &self.dropped),
            ("requests", &self.requests),
            ("429s", &self.throttled),
        ];
        let all = all.map(|(name, count)| format!("{} {name}", count.load(Ordering::Relaxed)));
        f.write_str(&all.join(", "))
    }
}

/// The daemon's parts, the tenant, and what is known of both.
pub struct Game {
    pub setup: Setup,
    pub wire: Wire,
    pub cache: Cache,
    pub management: Management,
    truth: Mutex<Truth>,
    tenant: Tenant,
    clock: Clock,
    true_clock: Clock,
    pub tally: Arc<Tally>,
}

/// No connection has a source besides what Auth0 stores, so none is asked.
struct NoSources;

impl TokenIssuer for NoSources {
    fn issue(&self, wanted: Wanted, _: ForWhom) -> Issuing {
        panic!("{wanted:?}: no source is configured")
    }

    fn forget(&self, _user: UserId) -> Forgetting {
        Box::pin(std::future::ready(Ok(())))
    }

    fn forget_all(&self) -> Forgetting {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// `Err` says which rule was broken.
pub fn play(history: &History, tally: &Arc<Tally>) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(async {
        let mut player = Player::new(&history.setup, tally);
        for (number, step) in history.steps.iter().enumerate() {
            player.step(step).await;
            player.judged().await.map_err(|why| format!("step {number}: {why}"))?;
        }
        player.ends().await.map_err(|why| format!("at the end: {why}"))
    })
}

impl Game {
    fn new(setup: &Setup, tally: &Arc<Tally>) -> Self {
        let (clock, true_clock) = (Clock::simulated(START), Clock::simulated(START));
        let options = TenantOptions { token_lifetime: setup.management_lifetime, ..TenantOptions::default() };
        let tenant = Tenant::new(true_clock.clone(), options).unwrap();
        for (user, lifetime) in [0, 1, 4].into_iter().zip(setup.lifetimes) {
            let mut description = tenant.user(USERS[user]).unwrap();
            description["identities"][0]["expires_in"] = json!(lifetime);
            tenant.put_user(description);
        }
        let wire = Wire::new(
            tenant.clone(),
            clock.clone(),
            true_clock.clone(),
            setup.upstream,
            setup.request_timeout,
        );
        let Config { tenant: mut to, client, management: mut keeper, .. } = defaults();
        to.audience = tenant.audience().into();
        (to.connect_timeout, to.request_timeout) = (S, setup.request_timeout);
        keeper.min_ttl = setup.management_min_ttl;
        let (tags, counters, seed) = (TagKey::random().unwrap(), Arc::new(Counters::default()), setup.seed);
        let names = UserNames::new(config::UserIds::Plain, tags.clone());
        let parts = Parts {
            transport: Arc::new(wire.clone()),
            clock: clock.clone(),
            tags,
            counters: Arc::clone(&counters),
            orders: SourceOrders::default(),
            seed,
        };
        let auth0 = Auth0::new(&to, &client, setup.upstream, parts);
        let management = Management::start(Arc::new(auth0.clone()), keeper, clock.clone(), seed);
        let profiles = Arc::new(Profiles::new(auth0, management.clone()));
        let cache =
            Cache::new(&setup.cache, profiles, Arc::new(NoSources), clock.clone(), counters, names, seed);
        let game = Self {
            setup: setup.clone(),
            wire,
            cache,
            management,
            truth: Mutex::default(),
            tenant,
            clock,
            true_clock,
            tally: Arc::clone(tally),
        };
        USERS.iter().for_each(|user| game.learn(user));
        game
    }

    pub fn truth(&self) -> MutexGuard<'_, Truth> {
        self.truth.lock().unwrap()
    }

    fn learn(&self, user: &str) {
        self.truth().learn(user, self.tenant.user(user).as_ref());
    }

    pub fn now(&self) -> Moment {
        self.clock.now()
    }

    /// What the daemon knows of lost time.
    pub fn lost(&self) -> Duration {
        self.clock.lost()
    }

    /// One caller.
    async fn look(self: Arc<Self>, look: Look, patience: Option<Duration>) {
        let user = UserId::parse(USERS[look.user]).unwrap();
        let connection = look.connection.map(|connection| CONNECTIONS[connection]);
        let selector = Selector { connection: connection.map(Into::into), ..Selector::default() };
        let options = LookupOptions { min_ttl: look.min_ttl, fresh: look.fresh };
        let asked = Asked::now(&self, USERS[look.user], connection, options);
        let outcome = self.cache.look_up(Query { user, selector, options }, Flow::Uid(look.user as u32 % 3));
        let outcome = match patience {
            None => Some(outcome.await),
            Some(patience) => timeout(patience, outcome).await.ok(),
        };
        if let Some(outcome) = outcome {
            asked.answered(&self, outcome);
        }
    }

    /// What was last heard of `user`, and whether the cache certainly holds that: whatever was asked for before a
    /// purge or a report is forgotten, and when a flight began can only be told to within its longest duration.
    pub fn heard(&self, user: &str) -> Option<(Heard, bool)> {
        let heard = self.wire.ledger().heard.iter().rev().find(|heard| heard.user == user).cloned()?;
        let outdated = self.truth().outdated.get(user).copied();
        let since = outdated.is_none_or(|at| heard.sent_at > at + self.setup.request_timeout);
        Some((heard, since && !self.setup.evicts()))
    }

    /// The earliest expiry that the daemon has certainly heard of the token `text` that `heard` holds: with the answers
    /// before it that hold it as well, or lack it and hold no other instead, unless there was a purge in between.
    pub fn known_expiry(&self, heard: &Heard, text: &str) -> Option<i64> {
        let purged = self.truth().purged.get(&heard.user).copied().unwrap_or(0);
        let ledger = self.wire.ledger();
        let of_user = ledger.heard.iter().rev().filter(|other| other.user == heard.user);
        let before = of_user.filter(|other| other.heard_seq < heard.heard_seq);
        let is_same = |said: &Said| said.holds(text) || said.lacks(&heard.said, text);
        let chain = before.take_while(|other| other.sent_seq > purged && is_same(&other.said));
        std::iter::once(heard).chain(chain).filter_map(|heard| heard.said.expiry_of(text)).min()
    }

    fn report(&self, which: Which, user: &str) {
        let heard = self.heard(user);
        let holds = |text: &str| heard.as_ref().is_some_and(|(heard, _)| heard.said.holds(text));
        let unknown = ("unknown".to_owned(), Tag::parse("AAAAAAAAAAAAAAAA").unwrap());
        let reported = {
            let truth = self.truth();
            let of_user = |text: &&String| truth.tokens[*text].user == user;
            let known: Vec<_> = truth.tags.keys().filter(of_user).cloned().collect();
            let text = match which {
                Which::Right => known.into_iter().find(|text| holds(text)),
                Which::Other => known.into_iter().rev().find(|text| holds(text)),
                Which::Late => known.into_iter().find(|text| !holds(text)),
                Which::Unknown => None,
            };
            text.map_or(unknown, |text| (text.clone(), truth.tags[&text]))
        };
        let (text, tag) = reported;
        let outcome =
            self.cache.report(Flow::Uid(9), &UserId::parse(user).unwrap(), tag, &Selector::default());
        let mut ledger = self.wire.ledger();
        let seq = ledger.tick();
        let certain = heard.as_ref().is_some_and(|(_, certain)| *certain);
        // Of a user without tokens none is held.
        let some = heard.as_ref().is_some_and(|(heard, _)| heard.said.has_tokens());
        match outcome {
            Ok(ReportOutcome::Dropped) => {
                if !holds(&text) {
                    ledger.breaks(format!("{text} is dropped by a report, and was not held"));
                }
                let last = heard.map(|(heard, _)| heard);
                self.truth().dropped(
                    user,
                    text,
                    seq,
                    self.wire.true_now(),
                    last.as_ref(),
                    ledger.doubt_about_logins(),
                );
                self.tally.dropped.fetch_add(1, Ordering::Relaxed);
            }
            Ok(other) if certain && (holds(&text) || (other == ReportOutcome::Unknown) == some) => {
                ledger.breaks(format!("{text} of {user} is reported: {other:?}"));
            }
            Ok(_) | Err(LookupError::RateLimited { .. }) => {}
            Err(other) => ledger.breaks(format!("a report is answered {other:?}")),
        }
    }
}
