//! Plays the steps of one history of renewals.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use cloakroom::cache::{LookupOptions, Query};
use cloakroom::clock::Clock;
use cloakroom::domain::freshness::Timestamp;
use cloakroom::domain::priority::Flow;
use cloakroom::domain::source::Rotation;
use cloakroom::domain::user::{Selector, UserId};
use cloakroom::fake_auth0::provider::{
    Dialect, FakeProvider, LoginRefreshToken, OldAccessToken, ProviderOptions, TokenRules,
};
use cloakroom::fake_auth0::{Endpoint, Tenant, TenantOptions};
use cloakroom::secret::{Secret, Tag};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::Tally;
use super::failing_disk::{Disk, Survivors};
use super::judge::Asked;
use super::ledger::{End, Known, Ledger, Line};
use super::life::{CONNECTIONS, DiskOfLife, Life, SECRET};
use super::plan::{Setup, Step, USERS};
use crate::plan::{DAY, S};

const START: Timestamp = Timestamp::from_secs(1_800_000_000);

/// The longest that anything takes.
const PATIENCE: Duration = Duration::from_secs(120);

/// What is known besides what passes the line.
#[derive(Default)]
pub struct Truth {
    /// When Auth0 began to store the refresh token that it stores.
    pub stored_since: [Duration; 4],
    /// The token that was handed out last, and when it expires.
    pub last: [Option<(String, Tag, Duration)>; 4],
    /// How often a daemon was gone, or its disk failed: for each, an intent may be stored for a request that was never
    /// sent.
    pub accidents: usize,
}

/// What the present daemon, its clients and the judge share.
pub struct Game<'a> {
    pub setup: &'a Setup,
    pub tally: &'a Tally,
    pub line: Line,
    pub truth: Arc<Mutex<Truth>>,
}

impl Game<'_> {
    pub fn truth(&self) -> MutexGuard<'_, Truth> {
        self.truth.lock().unwrap()
    }

    pub fn now(&self) -> Duration {
        self.line.clock.now().elapsed
    }

    /// The refresh token that Auth0 stores.
    pub fn stored(&self, user: usize) -> Option<String> {
        let described = self.line.tenant.user(USERS[user]).unwrap();
        described["identities"][0]["refresh_token"].as_str().map(str::to_owned)
    }

    pub fn provider(&self, user: usize) -> &FakeProvider {
        &self.line.providers[side(user)]
    }
}

/// Which provider a user is of.
pub fn side(user: usize) -> usize {
    usize::from(user >= 2)
}

pub struct Player<'a> {
    game: Game<'a>,
    disk: DiskOfLife,
    life: Arc<Life>,
    /// What lookups under way have come to.
    lookups: JoinSet<(Asked, Option<super::judge::Outcome>)>,
}

impl<'a> Player<'a> {
    pub fn new(setup: &'a Setup, tally: &'a Tally) -> Self {
        let clock = Clock::simulated(START);
        let tenant = Tenant::new(
            clock.clone(),
            TenantOptions { token_lifetime: 30 * DAY, ..TenantOptions::default() },
        )
        .unwrap();
        let provider = |at: usize| {
            let rotation = match at {
                0 => Rotation::Single,
                _ if setup.keeps_old => Rotation::KeepOld,
                _ => Rotation::None,
            };
            let rules = TokenRules {
                rotation,
                grace: if at == 0 { setup.grace } else { Duration::ZERO },
                reuse_ends_family: setup.reuse_ends_family,
                repeats_unchanged: false,
                replaced_after: Duration::ZERO,
                old_access_token: OldAccessToken::Lives,
                lifetime: Some(setup.lifetime),
            };
            let mark = format!("-{}", CONNECTIONS[at]);
            let options = ProviderOptions { rules, mark, ..ProviderOptions::of(Dialect::OAuth2) };
            FakeProvider::new(clock.clone(), options).unwrap()
        };
        let providers = [provider(0), provider(1)];
        let mut ledger = Ledger::default();
        for (user, id) in USERS.iter().enumerate() {
            let refresh_token = format!("first-{user}");
            let identity = json!({
                "provider": CONNECTIONS[side(user)], "connection": CONNECTIONS[side(user)], "user_id": user.to_string(),
                "isSocial": true, "access_token": format!("expired-{user}"), "expires_in": 60,
                "refresh_token": refresh_token,
            });
            let login = "2027-01-01T00:00:00.000Z";
            assert!(tenant.put_user(json!({"user_id": id, "last_login": login, "identities": [identity]})));
            ledger.refresh.insert(refresh_token, user);
        }
        providers.iter().zip(CONNECTIONS).for_each(|(provider, name)| {
            assert_eq!(provider.adopt(&tenant, name), 2);
        });
        let line = Line {
            ledger: Arc::new(Mutex::new(ledger)),
            life: 0,
            tenant,
            providers,
            clock,
            timeout: 5 * S,
            lifetime: setup.lifetime,
        };
        let disk = DiskOfLife { disk: Disk::formatted(), life: 0, present: Arc::default() };
        let life = Arc::new(Life::begin(setup, &line, &disk).unwrap());
        let game = Game { setup, tally, line, truth: Arc::default() };
        Self { game, disk, life, lookups: JoinSet::new() }
    }

    fn look(&mut self, user: usize, callers: usize, fresh: bool) {
        for _ in 0..callers {
            let asked = Asked { user, since: self.game.now(), life: self.game.line.life };
            let life = Arc::clone(&self.life);
            let query = Query {
                user: UserId::parse(USERS[user]).unwrap(),
                selector: Selector::default(),
                options: LookupOptions { fresh, ..LookupOptions::default() },
            };
            self.lookups.spawn(async move {
                let outcome = timeout(PATIENCE, life.cache.look_up(query, Flow::Uid(user as u32))).await;
                (asked, outcome.ok())
            });
        }
    }

    fn judge(&self, (asked, outcome): (Asked, Option<super::judge::Outcome>)) {
        if let Err(why) = asked.judge(&self.game, outcome) {
            self.game.line.ledger().broken.push(why);
        }
    }

    /// Waits for every lookup under way.
    async fn answers(&mut self) {
        while let Some(done) = self.lookups.join_next().await {
            self.judge(done.unwrap());
        }
    }

    async fn look_and_wait(&mut self, user: usize) {
        self.look(user, 1, false);
        self.answers().await;
    }

    /// Until the token that was handed out last has expired, and `off` more.
    async fn expiry(&mut self, user: usize, off: i64) {
        let last = self.game.truth().last[user].as_ref().map(|(.., expires)| *expires);
        if let Some(expires) = last {
            let wait = i64::try_from(expires.saturating_sub(self.game.now()).as_millis()).unwrap() + off;
            sleep(Duration::from_millis(u64::try_from(wait).unwrap_or(0))).await;
        }
    }

    pub async fn step(&mut self, step: &Step) {
        let line = self.game.line.clone();
        let provider = |single: &bool| &line.providers[usize::from(!single)];
        let id = |user: &usize| UserId::parse(USERS[*user]).unwrap();
        match step {
            Step::Look(user, callers, waits) => {
                self.look(*user, *callers, false);
                if *waits {
                    self.answers().await;
                }
            }
            Step::Fresh(user) => {
                self.look(*user, 1, true);
                self.answers().await;
            }
            Step::Expiry(user, off) => {
                self.expiry(*user, *off).await;
                self.look_and_wait(*user).await;
            }
            Step::Report(user) => {
                let last = self.game.truth().last[*user].as_ref().map(|(_, tag, _)| *tag);
                if let Some(tag) = last {
                    // What it comes to is for the other histories.
                    drop(self.life.cache.report(Flow::Uid(9), &id(user), tag, &Selector::default()));
                }
            }
            Step::Login(user, refresh_token) => self.log_in(*user, *refresh_token),
            Step::Revoke(user) => self.game.provider(*user).revoke(USERS[*user]),
            Step::Purge(user) => self.life.cache.purge(&id(user)),
            Step::PurgeAll => self.life.cache.purge_all(),
            Step::Forget(user) => {
                let forgotten = self.life.cache.forget(&id(user)).await.is_ok();
                self.life.cache.purge(&id(user));
                self.forgets(forgotten, |other| other == *user);
            }
            Step::ForgetAll => {
                let forgotten = self.life.cache.forget_all().await.is_ok();
                self.life.cache.purge_all();
                self.forgets(forgotten, |_| true);
            }
            Step::Pass(span) => sleep(*span).await,
            Step::Provider(single, fault, 0) => provider(single).fault(fault.clone()),
            Step::Provider(single, fault, times) => provider(single).fault_next(*times, fault.clone()),
            Step::Unreachable(single) => provider(single).refuse_connections(true),
            Step::ClearProvider(single) => provider(single).clear(),
            Step::WrongSecret(single, is_wrong) => {
                let secret = if *is_wrong { "another" } else { SECRET };
                provider(single).set_client_secrets([Secret::new(secret)]);
            }
            Step::Auth0(fault) => line.tenant.fault(Endpoint::User, fault.clone()),
            Step::ClearAuth0 => line.tenant.clear_all(),
            Step::Restart => {
                drop(timeout(PATIENCE, self.life.chains.close()).await);
                let may_lose = self.game.truth().accidents > 0;
                self.begins_again(may_lose, Survivors::All);
            }
            Step::Crash(survivors) => {
                self.game.truth().accidents += 1;
                self.game.tally.count(|tally| &tally.crashes);
                self.begins_again(true, *survivors);
            }
            Step::Disk(call, failure) => {
                self.game.truth().accidents += 1;
                self.disk.disk.fail_at(*call, *failure);
            }
            Step::HealDisk => self.disk.disk.heal(),
        }
        while let Some(done) = self.lookups.try_join_next() {
            self.judge(done.unwrap());
        }
    }

    fn log_in(&self, user: usize, refresh_token: LoginRefreshToken) {
        let (game, now) = (&self.game, self.game.now());
        let before = game.stored(user);
        let issued = game.provider(user).log_in(
            &game.line.tenant,
            USERS[user],
            CONNECTIONS[side(user)],
            refresh_token,
        );
        let Some(issued) = issued else { return };
        let mut ledger = game.line.ledger();
        ledger.access.insert(issued.access_token, Known { user, expires: now + game.setup.lifetime });
        ledger.refresh.insert(issued.refresh_token, user);
        drop(ledger);
        if game.stored(user) != before {
            game.truth().stored_since[user] = now;
        }
    }

    fn forgets(&self, forgotten: bool, is_meant: impl Fn(usize) -> bool) {
        if forgotten {
            self.game.tally.count(|tally| &tally.forgotten);
            self.game.line.ledger().forgets(is_meant);
        }
    }

    /// Another life of the daemon. Clients of this one are left without an answer.
    fn begins_again(&mut self, may_lose: bool, survivors: Survivors) {
        while let Some(done) = self.lookups.try_join_next() {
            self.judge(done.unwrap());
        }
        self.lookups.abort_all();
        self.lookups = JoinSet::new();
        self.disk = self.disk.next(|disk| disk.power_on(survivors));
        let mut ledger = self.game.line.ledger();
        ledger.crashes(may_lose);
        let life = ledger.life;
        drop(ledger);
        self.game.line.life = life;
        match Life::begin(self.game.setup, &self.game.line, &self.disk) {
            Some(life) => self.life = Arc::new(life),
            None => self.game.line.ledger().broken.push("the state file cannot be opened".into()),
        }
    }

    /// Which rule has been broken, if one has.
    pub fn judged(&self) -> Result<(), String> {
        self.game.line.ledger().broken.first().map_or(Ok(()), |why| Err(why.clone()))
    }

    /// Once everything is well again, what is said is judged once more; and after a login everybody has a token, and
    /// another one after that.
    pub async fn ends(mut self) -> Result<(), String> {
        self.answers().await;
        self.judged()?;
        let line = self.game.line.clone();
        line.tenant.clear_all();
        for provider in &line.providers {
            provider.clear();
            provider.set_client_secrets([Secret::new(SECRET)]);
        }
        self.disk.disk.heal();
        drop(timeout(PATIENCE, self.life.chains.close()).await);
        let may_lose = self.game.truth().accidents > 0;
        self.begins_again(may_lose, Survivors::All);
        sleep(1_400 * S).await;
        for user in 0..USERS.len() {
            self.expiry(user, 1).await;
            self.look_and_wait(user).await;
        }
        self.judged()?;
        for user in 0..USERS.len() {
            self.log_in(user, LoginRefreshToken::New);
        }
        sleep(60 * S).await;
        for (user, name) in USERS.iter().enumerate() {
            for _ in 0..2 {
                self.game.truth().last[user] = None;
                self.look_and_wait(user).await;
                self.judged()?;
                if self.game.truth().last[user].is_none() {
                    return Err(format!("{name} has logged in, and is given no token"));
                }
                self.expiry(user, 1).await;
            }
        }
        self.count();
        Ok(())
    }

    fn count(&self) {
        let (ledger, tally) = (self.game.line.ledger(), self.game.tally);
        let single = ledger.sent.iter().filter(|sent| sent.user < 2);
        let is_unknown = |sent: &&super::ledger::Sent| sent.end == End::Unknown || sent.may_be_lost;
        tally.sent.fetch_add(ledger.sent.len() as u64, Ordering::Relaxed);
        tally.unknown.fetch_add(single.clone().filter(is_unknown).count() as u64, Ordering::Relaxed);
        let mut tokens: Vec<_> =
            single.filter(|sent| sent.end != End::WithoutEffect).map(|sent| &sent.token).collect();
        let all = tokens.len();
        tokens.sort();
        tokens.dedup();
        tally.retries.fetch_add((all - tokens.len()) as u64, Ordering::Relaxed);
    }
}
