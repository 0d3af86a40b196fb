//! The real binary under clocks that lie: its wall clock stepped by a day while it runs, and the whole of it frozen
//! until what it holds has died. What it answers is held against the tenant, which goes by the true time.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use cloakroom::clock::Clock;
use cloakroom::domain::freshness::Timestamp;
use cloakroom::fake_auth0::{Endpoint, Fault, TenantOptions};
use nix::sys::signal::Signal;

use crate::support::caller::{Caller, Heard, token_path};
use crate::support::deployment::{Deployment, logged_in};
use crate::support::process::Daemon;
use crate::support::required::everything_is_required;

const DAY: i64 = 86_400;

/// Tokens are good to their last millisecond, and dead ones may be asked about again a second later. Answers are kept
/// for long, so that nothing but an expiry makes the daemon ask.
const SETTINGS: &str = "request_timeout = \"10s\"\n[cache]\nmin_ttl = \"0s\"\nmax_ttl = \"10m\"\n\
                        [cache.negative]\nlogin_required = \"1s\"";

/// libfaketime adds its offset in floating point, so that the daemon's clock may read a millisecond less than the true
/// one. That matters when the token expires, and where whole seconds are cut off.
const FAKED_WITHIN: Duration = Duration::from_millis(2);

/// A daemon, the tenant, and what is true of the tokens.
struct Lying {
    deployment: Deployment,
    daemon: Daemon,
    clock: Clock,
    /// When each token dies, by the true time.
    deaths: HashMap<String, Timestamp>,
}

impl Lying {
    fn new(options: TenantOptions, environment: &[(&str, &str)]) -> Self {
        let deployment = Deployment::with(options, SETTINGS);
        Self::start(deployment, environment)
    }

    fn start(deployment: Deployment, environment: &[(&str, &str)]) -> Self {
        let mut daemon = Daemon::spawn_in(&deployment.config(), &deployment.socket(), environment);
        daemon.until("it is ready", |daemon| daemon.run(&["healthcheck"]).0 == 0);
        Self { deployment, daemon, clock: Clock::system(), deaths: HashMap::new() }
    }

    fn log_in(&mut self, user: &str, token: &str, lifetime: i64) {
        let now = self.clock.now().wall;
        let (profile, death) = logged_in(user, &[("google-oauth2", token)], lifetime, now);
        self.deaths.insert(token.to_owned(), death);
        assert!(self.deployment.tenant.put_user(profile));
    }

    fn ask(&self, user: &str) -> Caller {
        let mut caller = Caller::new(&self.daemon.socket);
        caller.ask(&token_path(user));
        caller
    }

    /// The answer to a lookup, after the one check that matters. `since`: when it can have been given at the earliest.
    fn hear(&self, mut caller: Caller, since: Timestamp) -> Heard {
        let heard = caller.hear();
        if let Some(token) = heard.token() {
            let death = self.deaths[token];
            let is_live = death > since || since.since(death) < FAKED_WITHIN;
            assert!(is_live, "{token} expired at {death:?}, and was served after {since:?}: {heard:?}");
            let left = Duration::from_secs(heard.body["expires_in"].as_u64().unwrap());
            assert!(
                left <= death.since(since) + FAKED_WITHIN,
                "{token}: more is promised than there is: {heard:?}"
            );
        }
        heard
    }

    fn look_up(&self, user: &str) -> Heard {
        let since = self.clock.now().wall;
        self.hear(self.ask(user), since)
    }

    /// Looks up until `token` is answered, as it has to be sooner or later. Nothing dead is, meanwhile.
    fn look_up_until(&self, user: &str, token: &str) {
        for _ in 0..600 {
            if self.look_up(user).token() == Some(token) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("{token} is never served\n{}", self.daemon.log());
    }

    /// Until `token` is dead. Looks `user` up all the while, across the very instant.
    fn outlive(&self, user: &str, token: &str) {
        while self.clock.now().wall <= self.deaths[token] {
            self.look_up(user);
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Its holder is told to log in, and that nothing was held back: Auth0 has the dead token still.
    fn is_dead(&self, user: &str, token: &str) {
        let heard = self.look_up(user);
        assert_eq!((heard.status, heard.code()), (410, "login_required"), "{heard:?}");
        assert_eq!(self.deployment.tenant.user(user).unwrap()["identities"][0]["access_token"], token);
    }
}

/// Debian's build of libfaketime for programs with threads; `None` where it is missing and may be.
fn libfaketime() -> Option<PathBuf> {
    let directories = std::fs::read_dir("/usr/lib").unwrap().map(|entry| entry.unwrap().path());
    let found =
        directories.map(|path| path.join("faketime/libfaketimeMT.so.1")).find(|library| library.exists());
    assert!(found.is_some() || !everything_is_required(), "libfaketime is missing; run tests/install.sh");
    if found.is_none() {
        eprintln!("skipped: libfaketime is missing; run tests/install.sh");
    }
    found
}

/// A daemon whose wall clock, and nothing else, is as far off as a file says.
struct Stepped {
    lying: Lying,
    offset: PathBuf,
}

impl Stepped {
    fn start() -> Option<Self> {
        let library = libfaketime()?;
        let deployment = Deployment::with(TenantOptions::default(), SETTINGS);
        let offset = deployment.directory.path().join("offset");
        std::fs::write(&offset, "+0\n").unwrap();
        let environment = [
            ("LD_PRELOAD", library.to_str().unwrap()),
            ("FAKETIME_TIMESTAMP_FILE", offset.to_str().unwrap()),
            ("FAKETIME_NO_CACHE", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
            ("NO_FAKE_STAT", "1"),
        ];
        let lying = Lying::start(deployment, &environment);
        Some(Self { lying, offset })
    }

    /// The daemon's wall clock is this many seconds ahead from now on.
    fn step(&self, seconds: i64) {
        let next = self.offset.with_extension("next");
        std::fs::write(&next, format!("{seconds:+}\n")).unwrap();
        // At once: half a file would be another time.
        std::fs::rename(next, &self.offset).unwrap();
    }

    /// The fake works, or nothing here proves anything: an answer of now carries the wrong date, and the clock that
    /// counts how long the daemon has run does not.
    fn is_off_by(&self, heard: &Heard, seconds: i64) {
        let dated = Timestamp::parse(heard.body["fetched_at"].as_str().unwrap()).unwrap();
        let off = dated.as_secs() - self.lying.clock.now().wall.as_secs();
        assert!((off - seconds).abs() < 3_600, "off by {off} s, not by {seconds} s: {heard:?}");
        let status = Caller::new(&self.lying.daemon.socket).get("/v1/status");
        assert!(status.body["uptime_seconds"].as_i64().unwrap() < 3_600, "{status:?}");
    }

    fn end(mut self) {
        self.lying.daemon.signal(Signal::SIGTERM);
        assert_eq!(self.lying.daemon.wait().code(), Some(0), "{}", self.lying.daemon.log());
    }
}

#[test]
fn a_wall_clock_that_is_set_back_a_day_revives_nothing() {
    let Some(mut stepped) = Stepped::start() else { return };
    stepped.lying.log_in("google-oauth2|before", "held-before", 3);
    stepped.lying.log_in("google-oauth2|lasting", "lasting", 3_600);
    assert_eq!(stepped.lying.look_up("google-oauth2|before").token(), Some("held-before"));
    assert_eq!(stepped.lying.look_up("google-oauth2|lasting").token(), Some("lasting"));

    stepped.step(-DAY);
    let lasting = stepped.lying.look_up("google-oauth2|lasting");
    assert_eq!((lasting.token(), lasting.header("cloakroom-cache")), (Some("lasting"), Some("hit")));
    stepped.lying.outlive("google-oauth2|before", "held-before");
    stepped.lying.is_dead("google-oauth2|before", "held-before");

    // Learned while the clock is wrong, which by that clock lives for another day.
    stepped.lying.log_in("google-oauth2|during", "held-during", 4);
    let during = stepped.lying.look_up("google-oauth2|during");
    assert_eq!(during.token(), Some("held-during"));
    stepped.is_off_by(&during, -DAY);
    stepped.lying.outlive("google-oauth2|during", "held-during");
    stepped.lying.is_dead("google-oauth2|during", "held-during");

    // It goes on working, and does when the clock is right again.
    stepped.lying.log_in("google-oauth2|during", "next", 3_600);
    stepped.lying.look_up_until("google-oauth2|during", "next");
    stepped.step(0);
    stepped.lying.look_up_until("google-oauth2|during", "next");
    stepped.lying.is_dead("google-oauth2|before", "held-before");
    stepped.end();
}

#[test]
fn a_wall_clock_that_is_set_forward_a_day_and_back_revives_nothing() {
    let Some(mut stepped) = Stepped::start() else { return };
    stepped.lying.log_in("google-oauth2|before", "held-before", 3);
    stepped.lying.log_in("google-oauth2|lasting", "lasting", 3_600);
    // The provider tells no expiry of this one, so no clock can make it look dead.
    let (mut endless, _) =
        logged_in("google-oauth2|endless", &[("google-oauth2", "endless")], 0, Timestamp::from_secs(0));
    endless["identities"][0].as_object_mut().unwrap().remove("expires_in");
    assert!(stepped.lying.deployment.tenant.put_user(endless));
    assert_eq!(stepped.lying.look_up("google-oauth2|before").token(), Some("held-before"));
    assert_eq!(stepped.lying.look_up("google-oauth2|lasting").token(), Some("lasting"));

    stepped.step(DAY);
    let endless = Caller::new(&stepped.lying.daemon.socket).get(&token_path("google-oauth2|endless"));
    assert_eq!(endless.token(), Some("endless"));
    stepped.is_off_by(&endless, DAY);
    // By that clock it is dead: too early is allowed, too late is not.
    assert_eq!(stepped.lying.look_up("google-oauth2|lasting").status, 410);
    stepped.lying.outlive("google-oauth2|before", "held-before");
    stepped.lying.is_dead("google-oauth2|before", "held-before");

    stepped.step(0);
    stepped.lying.is_dead("google-oauth2|before", "held-before");
    stepped.lying.look_up_until("google-oauth2|lasting", "lasting");

    // Forward and back again within one token's life: what is held is dead when it dies, not a day later.
    stepped.lying.log_in("google-oauth2|across", "across", 3);
    stepped.lying.look_up_until("google-oauth2|across", "across");
    stepped.step(DAY);
    stepped.lying.look_up("google-oauth2|across");
    stepped.step(-DAY);
    stepped.lying.outlive("google-oauth2|across", "across");
    stepped.lying.is_dead("google-oauth2|across", "across");
    stepped.end();
}

/// What a laptop's lid or a paused virtual machine does, as far as a process can tell: nothing runs, clocks go on.
#[test]
fn a_token_that_expired_while_the_daemon_was_frozen_is_not_served() {
    let lifetime = Duration::from_secs(3);
    let options = TenantOptions { token_lifetime: lifetime, ..TenantOptions::default() };
    let mut lying = Lying::new(options, &[]);
    lying.log_in("google-oauth2|held", "held", 3);
    assert_eq!(lying.look_up("google-oauth2|held").token(), Some("held"));
    lying.log_in("google-oauth2|later", "later", 3_600);
    let before = lying.deployment.tenant.calls_to(Endpoint::Token).len();

    lying.daemon.signal(Signal::SIGSTOP);
    // They are asked while it is frozen, when the token is alive still, and answered when it is not.
    let waiting = [lying.ask("google-oauth2|held"), lying.ask("google-oauth2|later")];
    std::thread::sleep(lifetime + Duration::from_secs(1));
    let thawed = lying.clock.now().wall;
    assert!(lying.deaths["held"] < thawed);
    lying.daemon.signal(Signal::SIGCONT);
    let [held, later] = waiting.map(|caller| lying.hear(caller, thawed));
    assert_eq!((held.status, held.code()), (410, "login_required"), "{held:?}");
    assert_eq!(later.token(), Some("later"), "{later:?}");
    lying.is_dead("google-oauth2|held", "held");

    // The Management token died as well. Auth0 never saw it again: the next one was obtained first.
    let calls = lying.deployment.tenant.calls();
    assert!(lying.deployment.tenant.calls_to(Endpoint::Token).len() > before);
    let refused: Vec<_> = calls.iter().filter(|call| call.status.is_some_and(|s| s == 401)).collect();
    assert!(refused.is_empty(), "{refused:#?}");
    let after: Vec<_> =
        calls.iter().filter(|call| call.at.wall >= thawed).map(|call| call.endpoint).collect();
    assert_eq!(after.first(), Some(&Endpoint::Token), "{calls:#?}");
}

/// The answer was on its way when the daemon was frozen, and its token dead when it was read.
#[test]
fn an_answer_that_is_read_after_a_freeze_is_as_old_as_its_question() {
    let mut lying = Lying::new(TenantOptions::default(), &[]);
    lying.log_in("google-oauth2|late", "late", 3);
    lying.deployment.tenant.fault(Endpoint::User, Fault::LateAnswer(Duration::from_millis(500)));
    let waiting = lying.ask("google-oauth2|late");
    let tenant = lying.deployment.tenant.clone();
    lying.daemon.until("Auth0 is asked", |_| !tenant.calls_to(Endpoint::User).is_empty());
    lying.daemon.signal(Signal::SIGSTOP);
    std::thread::sleep(Duration::from_secs(4));
    let thawed = lying.clock.now().wall;
    assert!(lying.deaths["late"] < thawed);
    lying.daemon.signal(Signal::SIGCONT);
    let late = lying.hear(waiting, thawed);
    assert_eq!((late.status, late.code()), (410, "login_required"), "{late:?}");
    lying.is_dead("google-oauth2|late", "late");
}
