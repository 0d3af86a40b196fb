//! Plays the steps of one history.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use cloakroom::cache::{LookupOptions, Query};
use cloakroom::domain::freshness::Timestamp;
use cloakroom::domain::priority::Flow;
use cloakroom::domain::user::{Selector, UserId};
use cloakroom::fake_auth0::RateLimit;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::{Game, Tally};
use crate::ledger::agrees;
use crate::plan::idioms::plain;
use crate::plan::{CONNECTIONS, DAY, Edge, Look, S, Setup, Step, USERS};

pub struct Player {
    game: Arc<Game>,
    lookups: JoinSet<()>,
    removed: BTreeMap<usize, Value>,
    management_lifetime: Duration,
}

impl Player {
    pub fn new(setup: &Setup, tally: &Arc<Tally>) -> Self {
        let game = Arc::new(Game::new(setup, tally));
        let mut nobody = game.tenant.user(USERS[0]).unwrap();
        nobody["user_id"] = json!(USERS[8]);
        nobody["identities"][0]["access_token"] = json!("ya29.nobody");
        let removed = BTreeMap::from([(8, nobody)]);
        let management_lifetime = setup.management_lifetime;
        Self { game, lookups: JoinSet::new(), removed, management_lifetime }
    }

    #[expect(clippy::disallowed_methods, reason = "callers have no names")]
    async fn look(&mut self, look: &Look) {
        let asked: Vec<_> = (0..look.callers)
            .map(|caller| {
                let patience = look.hangs_up.filter(|_| caller == 0);
                tokio::spawn(Arc::clone(&self.game).look(look.clone(), patience))
            })
            .collect();
        for caller in asked {
            if look.waits {
                // As long as the judge's own bound, so that who is stuck is said there.
                drop(timeout(120 * S, caller).await);
            } else {
                self.lookups.spawn(async { drop(timeout(120 * S, caller).await) });
            }
        }
    }

    /// Lets time pass, but not so much that short-lived Management tokens are all that happens.
    async fn pass(&self, span: Duration) {
        sleep(span.min(self.management_lifetime * 6)).await;
    }

    pub async fn step(&mut self, step: &Step) {
        self.game.wire.ledger().steps();
        let game = Arc::clone(&self.game);
        match step {
            Step::Look(look) => self.look(look).await,
            Step::Edge(edge, off, user) => {
                if let Some(wait) = self.until(*edge, USERS[*user]) {
                    let wait = u64::try_from(wait + off).unwrap_or(0);
                    self.pass(Duration::from_millis(wait)).await;
                }
                self.look(&plain(*user)).await;
            }
            Step::Login(user, connection) => {
                game.tenant.login(USERS[*user], CONNECTIONS[*connection]);
                game.learn(USERS[*user]);
            }
            Step::SignOn(user) => {
                game.tenant.sign_on(USERS[*user]);
                game.learn(USERS[*user]);
            }
            Step::Report(which, user) => game.report(*which, USERS[*user]),
            Step::Purge(user) => {
                game.cache.purge(&UserId::parse(USERS[*user]).unwrap());
                let seq = game.wire.ledger().tick();
                game.truth().purged(USERS[*user], seq);
            }
            Step::PurgeAll => {
                game.cache.purge_all();
                let seq = game.wire.ledger().tick();
                USERS.iter().for_each(|user| game.truth().purged(user, seq));
            }
            Step::Pass(span) => self.pass(*span).await,
            Step::Fault(endpoint, fault, 0) => game.tenant.fault(*endpoint, fault.clone()),
            Step::Fault(endpoint, fault, times) => {
                game.tenant.fault_next(*endpoint, *times, fault.clone());
            }
            Step::Clear => game.tenant.clear_all(),
            Step::Limit(limit) => {
                let limit = limit.map(|(per_second, burst)| RateLimit { per_second, burst });
                game.tenant.set_rate_limit(limit);
            }
            Step::WallStepped(by) => self.set_wall(game.now().wall.as_millis() + by),
            Step::WallSetRight => self.set_wall(game.wire.true_now()),
            Step::Suspend(span) => {
                game.clock.suspend(*span);
                game.true_clock.suspend(*span);
            }
            Step::Pause(span) => {
                game.true_clock.suspend(*span);
                game.wire.ledger().pauses(*span);
            }
            Step::Revoke => game.tenant.revoke_management_tokens(),
            Step::Scopes(scopes) => game.tenant.grant_scopes(scopes),
            Step::ManagementLifetime(lifetime) => {
                self.management_lifetime = *lifetime;
                game.tenant.set_token_lifetime(*lifetime);
            }
            Step::Block(user) => game.tenant.block(USERS[*user]),
            Step::Unblock(user) => game.tenant.unblock(USERS[*user]),
            Step::Remove(user) => {
                if let Some(description) = game.tenant.remove_user(USERS[*user]) {
                    self.removed.insert(*user, description);
                }
            }
            Step::Restore(user) => {
                if let Some(description) = self.removed.remove(user) {
                    game.tenant.put_user(description);
                    game.learn(USERS[*user]);
                }
            }
        }
    }

    fn set_wall(&self, millis: i64) {
        self.game.truth().wall_steps += 1;
        self.game.clock.step_wall(Timestamp::from_millis(millis));
    }

    /// Milliseconds until something is decided about `user`.
    fn until(&self, edge: Edge, user: &str) -> Option<i64> {
        let game = &self.game;
        let (heard, _) = game.heard(user)?;
        let cache = &game.setup.cache;
        let after = |age: Duration| {
            let at = heard.sent.elapsed + age;
            i64::try_from(at.as_millis()).unwrap() - i64::try_from(game.now().elapsed.as_millis()).unwrap()
        };
        let expires = || Some(game.truth().earliest_expiry(&heard.said)? - game.wire.true_now());
        Some(match edge {
            Edge::Expiry => expires()?,
            Edge::MinTtl => expires()? - i64::try_from(cache.min_ttl.as_millis()).unwrap(),
            Edge::RefreshAhead => after(cache.max_ttl.mul_f64(cache.refresh_ahead)),
            Edge::MaxTtl => after(cache.max_ttl),
            Edge::MaxStale => after(cache.max_ttl + cache.max_stale),
            Edge::UserNotFound => after(cache.negative.user_not_found),
            Edge::NoToken => after(cache.negative.no_token),
            Edge::LoginRequired => after(cache.negative.login_required),
            Edge::Gate => {
                let gate = game.wire.ledger().gate;
                i64::try_from(gate.saturating_sub(game.now().elapsed).as_millis()).unwrap()
            }
        })
    }

    /// Lets what is ready happen, and says which rule has been broken, if one has.
    pub async fn judged(&self) -> Result<(), String> {
        for _ in 0..6 {
            tokio::task::yield_now().await;
        }
        if self.game.setup.evicts() {
            self.game.cache.size();
        }
        let ledger = self.game.wire.ledger();
        ledger.broken.first().map_or(Ok(()), |why| Err(why.clone()))
    }

    /// Once everything is well again and some time has passed, everybody is answered.
    pub async fn ends(mut self) -> Result<(), String> {
        let game = Arc::clone(&self.game);
        let tenant = &game.tenant;
        tenant.clear_all();
        tenant.set_rate_limit(None);
        tenant.grant_scopes(&["read:users", "read:user_idp_tokens"]);
        tenant.set_token_lifetime(DAY);
        self.set_wall(game.wire.true_now());
        while self.lookups.join_next().await.is_some() {}
        self.judged().await?;
        sleep(1_400 * S).await;
        for user in USERS {
            // The slowest budget has a request to spare every two seconds.
            sleep(20 * S).await;
            let (id, options) = (UserId::parse(user).unwrap(), LookupOptions::default());
            let query = Query { user: id, selector: Selector::default(), options };
            let outcome = self.answer(game.cache.look_up(query, Flow::Uid(7))).await;
            match outcome {
                Some(Err(why)) if !why.is_fact() => Err(format!("{user} is not answered: {why:?}"))?,
                Some(_) => {}
                None => Err(format!("{user} waits for ever"))?,
            }
        }
        self.judged().await?;
        let ledger = game.wire.ledger();
        game.tally.requests.fetch_add(ledger.requests, Ordering::Relaxed);
        game.tally.throttled.fetch_add(ledger.throttled, Ordering::Relaxed);
        agrees(tenant)
    }

    async fn answer<T>(&self, lookup: impl Future<Output = T>) -> Option<T> {
        timeout(120 * S, lookup).await.ok()
    }
}
