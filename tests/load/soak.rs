//! A soak: the real binary, two thousand users, callers who prefer some of them, a tenant that limits to ten requests
//! per second, and faults that come and go. `make soak` is an hour of it; by itself the test takes a minute.
//!
//! The tenant is in this process and goes by the true time, so that every answer can be judged: whose token it is,
//! whether it was alive, and whether a lookup was refused for which a token was held.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use cloakroom::clock::Clock;
use cloakroom::domain::freshness::{Moment, Timestamp};
use cloakroom::fake_auth0::{Endpoint, Fault, RateLimit, Tenant, TenantOptions, WaitHint};
use fastrand::Rng;
use nix::sys::signal::Signal;

use crate::alone;
use crate::memory::memory;
use crate::support::caller::{Caller, Heard, token_path};
use crate::support::deployment::{Deployment, logged_in};

const USERS: usize = 2_000;
const CALLERS: u64 = 24;

/// What the tenant allows.
const LIMIT: RateLimit = RateLimit { per_second: 10, burst: 10 };

/// What the daemon may spend. A bucket bounds what is sent, not what arrives: requests that were held up on the way
/// arrive together. In any span of t seconds no more arrive than were sent in it, `burst + 8 t`, and were under way
/// before, `max_concurrency`; that is 8 + 8 t, where the tenant takes 10 + 10 t.
const SETTINGS: &str = "connect_timeout = \"500ms\"\nrequest_timeout = \"1s\"\n\
    [upstream]\nrequests_per_second = 8\nburst = 4\nmax_concurrency = 4\n\
    [cache]\nmin_ttl = \"2s\"\nmax_ttl = \"30s\"\nmax_stale = \"25s\"\n\
    [cache.negative]\nuser_not_found = \"20s\"\nno_token = \"20s\"\nlogin_required = \"8s\"";
const MIN_TTL: Duration = Duration::from_secs(2);
const SERVABLE_FOR: Duration = Duration::from_secs(30 + 25);

/// Each fault lasts for a while, and then there is peace for a while.
const FAULT: Duration = Duration::from_secs(4);
const PEACE: Duration = Duration::from_secs(8);

const GOOGLE: &str = "google-oauth2";
const GITHUB: &str = "github";

/// What a user is, by the last digit of its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Logged in for the day.
    Lasting,
    /// Its tokens die within half a minute; it logs in again before or after that.
    Mortal,
    /// The same, with two identities that carry a token each.
    Linked,
    /// Its identity carries no token.
    Tokenless,
    /// There is no such user.
    Unknown,
}

impl Kind {
    fn of(number: usize) -> Self {
        match number % 10 {
            1 | 4 | 7 => Self::Mortal,
            3 => Self::Linked,
            5 => Self::Tokenless,
            9 => Self::Unknown,
            _ => Self::Lasting,
        }
    }

    fn connections(self) -> &'static [&'static str] {
        match self {
            Self::Lasting | Self::Mortal => &[GOOGLE],
            Self::Linked => &[GOOGLE, GITHUB],
            Self::Tokenless | Self::Unknown => &[],
        }
    }

    /// What may be answered where it is not a token and not that Auth0 cannot be asked.
    fn facts(self) -> &'static [&'static str] {
        match self {
            Self::Lasting => &[],
            Self::Mortal | Self::Linked => &["login_required"],
            Self::Tokenless => &["no_token"],
            Self::Unknown => &["user_not_found"],
        }
    }

    fn lifetime(self, number: usize) -> i64 {
        if self == Self::Lasting { 86_400 } else { 6 + (number % 25) as i64 }
    }
}

/// Auth0 cannot be asked, or not now. For a lookup with nothing in hand that is an answer.
const UNAVAILABLE: [&str; 6] = [
    "upstream_unavailable",
    "upstream_rate_limited",
    "upstream_timeout",
    "upstream_error",
    "overloaded",
    "management_token_unavailable",
];

fn name(number: usize) -> String {
    format!("google-oauth2|soak-{number}")
}

/// A token says whose it is.
fn token(number: usize, connection: &str, login: usize) -> String {
    format!("{number}.{connection}.{login}")
}

/// What is true of one user.
#[derive(Default)]
struct Truth {
    /// When the tokens of each login die.
    deaths: Vec<Timestamp>,
    /// Until when the daemon has to go on answering what it once answered, by connection.
    held_until: BTreeMap<&'static str, Moment>,
}

struct Soak {
    tenant: Tenant,
    clock: Clock,
    users: Vec<Mutex<Truth>>,
    /// How often users up to each are asked for, of all.
    popularity: Vec<f64>,
    over: AtomicBool,
}

/// What one caller has seen.
#[derive(Default)]
struct Seen {
    /// Answers by `Cloakroom-Cache`, and by code.
    outcomes: BTreeMap<String, u64>,
    expired: Vec<String>,
    anothers: Vec<String>,
    needless: Vec<String>,
    wrong: Vec<String>,
    /// In microseconds: answers from the cache.
    hits: Vec<u32>,
    stale: Vec<u32>,
}

impl Soak {
    fn new(tenant: Tenant) -> Self {
        // Zipf's law: the second is asked for half as often as the first, the third a third as often; but steeper.
        let mut sum = 0.0;
        let mut popularity: Vec<f64> = (1..=USERS)
            .map(|rank| {
                sum += (rank as f64).powf(-1.6);
                sum
            })
            .collect();
        popularity.iter_mut().for_each(|share| *share /= sum);
        let users = (0..USERS).map(|_| Mutex::default()).collect();
        let this = Self { tenant, clock: Clock::system(), users, popularity, over: AtomicBool::new(false) };
        (0..USERS).for_each(|number| this.log_in(number));
        this
    }

    fn truth(&self, number: usize) -> MutexGuard<'_, Truth> {
        self.users[number].lock().unwrap()
    }

    fn draw(&self, random: &mut Rng) -> usize {
        let share = random.f64();
        self.popularity.partition_point(|upto| *upto < share).min(USERS - 1)
    }

    fn log_in(&self, number: usize) {
        let kind = Kind::of(number);
        if kind == Kind::Unknown {
            return;
        }
        let mut truth = self.truth(number);
        let connections = kind.connections().iter().copied();
        let tokens: Vec<_> = connections.map(|at| (at, token(number, at, truth.deaths.len()))).collect();
        let tokens: Vec<_> = tokens.iter().map(|(connection, token)| (*connection, token.as_str())).collect();
        let now = self.clock.now().wall;
        let (profile, death) = logged_in(&name(number), &tokens, kind.lifetime(number), now);
        // Known to be true before the tenant can tell anybody.
        truth.deaths.push(death);
        assert!(self.tenant.put_user(profile));
    }

    /// Users log in: most when their tokens have died, some before.
    fn log_users_in(&self) {
        let mut random = Rng::with_seed(1);
        while !self.over.load(Ordering::Relaxed) {
            let number = if random.bool() { self.draw(&mut random) } else { random.usize(..USERS) };
            if matches!(Kind::of(number), Kind::Mortal | Kind::Linked) {
                let dead = *self.truth(number).deaths.last().unwrap() <= self.clock.now().wall;
                if dead && random.u8(..3) == 0 || random.u8(..20) == 0 {
                    self.log_in(number);
                }
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Faults come and go. Answers the spans in which 429s were made up.
    fn trouble(&self, span: Duration) -> Vec<(Moment, Moment)> {
        let faults = [
            Fault::Edge503Html,
            Fault::StallHeaders,
            Fault::RefuseConnections,
            Fault::RateLimited(WaitHint::Seconds(2)),
        ];
        let begun = self.clock.now();
        let left = || span.saturating_sub(begun.age(self.clock.now()));
        let mut made_up = Vec::new();
        for fault in faults.iter().cycle() {
            thread::sleep(PEACE.min(left()));
            if left() < FAULT {
                break;
            }
            let from = self.clock.now();
            self.tenant.fault(Endpoint::User, fault.clone());
            thread::sleep(FAULT);
            self.tenant.clear_all();
            if matches!(fault, Fault::RateLimited(_)) {
                made_up.push((from, self.clock.now()));
            }
        }
        thread::sleep(left());
        made_up
    }

    fn call(&self, socket: &Path, seed: u64) -> Seen {
        let (mut caller, mut random, mut seen) = (Caller::new(socket), Rng::with_seed(seed), Seen::default());
        while !self.over.load(Ordering::Relaxed) {
            let number = self.draw(&mut random);
            let connection = random.choice(Kind::of(number).connections()).copied().unwrap_or_default();
            let query = match Kind::of(number) {
                Kind::Linked => format!("?connection={connection}"),
                _ => String::new(),
            };
            let held_until = self.truth(number).held_until.get(connection).copied();
            let asked = self.clock.now();
            let begun = std::time::Instant::now();
            let heard = caller.get(&format!("{}{query}", token_path(&name(number))));
            let took = u32::try_from(begun.elapsed().as_micros()).unwrap_or(u32::MAX);
            match heard.status {
                200 => {
                    let state = heard.header("cloakroom-cache").unwrap().to_owned();
                    match state.as_str() {
                        "hit" => seen.hits.push(took),
                        "stale" => seen.stale.push(took),
                        _ => {}
                    }
                    *seen.outcomes.entry(state).or_default() += 1;
                    self.judge(number, connection, &heard, asked, &mut seen);
                }
                _ => {
                    let code = heard.code().to_owned();
                    let now = self.clock.now();
                    if held_until.is_some_and(|held| held.wall > now.wall && held.elapsed > now.elapsed) {
                        seen.needless
                            .push(format!("{number} {connection}: held until {held_until:?}, {heard:?}"));
                    }
                    if !UNAVAILABLE.contains(&code.as_str()) && !Kind::of(number).facts().contains(&&*code) {
                        seen.wrong.push(format!("{number} {:?}: {heard:?}", Kind::of(number)));
                    }
                    *seen.outcomes.entry(code).or_default() += 1;
                }
            }
            thread::sleep(Duration::from_millis(random.u64(5..30)));
        }
        seen
    }

    /// Holds a token that was answered, for a question of `asked`, against the truth.
    fn judge(&self, number: usize, connection: &'static str, heard: &Heard, asked: Moment, seen: &mut Seen) {
        let served = heard.token().unwrap();
        let mine = served.strip_prefix(&format!("{number}.{connection}."));
        let Some(login) = mine.and_then(|login| login.parse::<usize>().ok()) else {
            seen.anothers.push(format!("{number} {connection}: {served}"));
            return;
        };
        let mut truth = self.truth(number);
        let dies = truth.deaths[login];
        // It was answered after it was asked for, so this much was left at most.
        if dies.since(asked.wall) < MIN_TTL {
            seen.expired.push(format!("{number}: died {dies:?}, asked {asked:?}, {heard:?}"));
        }
        // `Age` is rounded down. It counts to the answer, which came after it was asked for.
        let age = Duration::from_secs(heard.header("age").unwrap().parse::<u64>().unwrap() + 1);
        let servable = SERVABLE_FOR.saturating_sub(age);
        let wall = dies.before(MIN_TTL).min(asked.wall.after(servable));
        let held = Moment { wall, elapsed: asked.elapsed + servable };
        let known = truth.held_until.entry(connection).or_insert(held);
        if known.wall < held.wall {
            *known = held;
        }
    }
}

/// The value that this share of `values` does not exceed, in milliseconds.
fn quantile(values: &mut [u32], share: f64) -> String {
    values.sort_unstable();
    let at = ((values.len() as f64 * share) as usize).min(values.len().saturating_sub(1));
    values.get(at).map_or("none".into(), |micros| format!("{:.2} ms", f64::from(*micros) / 1000.0))
}

#[test]
#[ignore = "takes a minute: make soak-minute"]
fn an_hour_or_a_minute_of_everything_serves_nothing_dead_and_stays_within_budget() {
    let _alone = alone();
    let seconds = std::env::var("CLOAKROOM_SOAK_SECONDS").map_or(60, |text| text.parse().unwrap());
    let options = TenantOptions {
        rate_limit: Some(LIMIT),
        token_lifetime: Duration::from_secs(30),
        ..TenantOptions::default()
    };
    let deployment = Deployment::with(options, SETTINGS);
    let soak = Soak::new(deployment.tenant.clone());
    let mut daemon = deployment.start();
    let before = memory(daemon.pid(), "VmRSS:") >> 10;

    let (made_up, callers) = thread::scope(|scope| {
        let (soak, socket) = (&soak, daemon.socket.as_path());
        scope.spawn(|| soak.log_users_in());
        let callers: Vec<_> =
            (0..CALLERS).map(|seed| scope.spawn(move || soak.call(socket, 100 + seed))).collect();
        // A port that accepts again needs a runtime to do it in.
        let guard = deployment.runtime.enter();
        let made_up = soak.trouble(Duration::from_secs(seconds));
        drop(guard);
        soak.over.store(true, Ordering::Relaxed);
        (made_up, callers.into_iter().map(|caller| caller.join().unwrap()).collect::<Vec<_>>())
    });
    let after = memory(daemon.pid(), "VmRSS:") >> 10;

    let mut all = Seen::default();
    for seen in callers {
        seen.outcomes.iter().for_each(|(what, n)| *all.outcomes.entry(what.clone()).or_default() += n);
        all.expired.extend(seen.expired);
        all.anothers.extend(seen.anothers);
        all.needless.extend(seen.needless);
        all.wrong.extend(seen.wrong);
        all.hits.extend(seen.hits);
        all.stale.extend(seen.stale);
    }
    let calls = deployment.tenant.calls();
    let throttled = |call: &&cloakroom::fake_auth0::Call| call.status.is_some_and(|status| status == 429);
    let (planned, over_budget): (Vec<_>, Vec<_>) = calls.iter().filter(throttled).partition(|call| {
        made_up.iter().any(|(from, to)| (from.elapsed..=to.elapsed).contains(&call.at.elapsed))
    });
    let lookups: u64 = all.outcomes.values().sum();
    let count = |what: &str| all.outcomes.get(what).copied().unwrap_or(0);
    let cached = count("hit") + count("stale");
    let grants = calls.iter().filter(|call| call.endpoint == Endpoint::Token).count();
    println!("soaked for {seconds} s");
    println!("lookups: {lookups}");
    println!("  by outcome: {:?}", all.outcomes);
    println!("  with a token from the cache: {:.1} %", 100.0 * cached as f64 / lookups as f64);
    println!("upstream requests: {} ({grants} of them grants)", calls.len());
    println!("429s received: {} (and {} made up)", over_budget.len(), planned.len());
    println!("expired tokens served: {}", all.expired.len());
    println!("lookups that failed although a valid token was held: {}", all.needless.len());
    println!("tokens of another user or connection served: {}", all.anothers.len());
    println!("answers that are not true of the user: {}", all.wrong.len());
    println!("hits: p50 {}, p99 {}", quantile(&mut all.hits, 0.5), quantile(&mut all.hits, 0.99));
    println!("stale: p50 {}, p99 {}", quantile(&mut all.stale, 0.5), quantile(&mut all.stale, 0.99));
    println!("resident memory: {before} KiB before, {after} KiB after");

    for (what, found) in [
        ("expired", &all.expired),
        ("failed though held", &all.needless),
        ("another's", &all.anothers),
        ("not true", &all.wrong),
    ] {
        assert!(found.is_empty(), "{what}: {:#?}\n{}", &found[..found.len().min(5)], daemon.log());
    }
    assert!(over_budget.is_empty(), "{over_budget:#?}");
    // It was a soak: all of it happened.
    assert!(cached > lookups / 4 && calls.len() as u64 > seconds, "{:?}", all.outcomes);
    if seconds >= 60 {
        for what in ["hit", "miss", "stale", "login_required", "no_token", "user_not_found"] {
            assert!(count(what) > 0, "{what}: {:?}", all.outcomes);
        }
        assert!(grants > 2, "{grants}");
    }
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.wait().code(), Some(0), "{}", daemon.log());
}
