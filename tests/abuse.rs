//! One uid at its worst against the real binary, while another asks for what is cached: whoever abuses the daemon slows
//! itself only.
//!
//! Both callers are processes under uids of their own, which takes root: this test's own binary, started again. The
//! other's answers are timed before and during each abuse, and the two are compared; no figure is held against a clock.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    missing_docs,
    dead_code,
    reason = "tests stop at the first surprise, read the environment, and use the part of the support that they need"
)]

mod support {
    pub mod caller;
    pub mod deployment;
    pub mod hostile;
    pub mod process;
    pub mod world;
}

use std::fmt;
use std::io::{BufRead, BufReader, Lines, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use cloakroom::demo::users;
use support::caller::Caller;
use support::deployment::Deployment;
use support::process::{Daemon, is_root, memory};

const ABUSER: u32 = 30_001;
const OTHER: u32 = 30_002;

/// What is in this variable makes the test binary a caller; see [`support::hostile`].
const ROLE: &str = "CLOAKROOM_TEST_ROLE";

/// Below this, what a busy machine does to a process is more than what another caller does.
const FLOOR: Duration = Duration::from_millis(1);

/// How much slower the other's answers may get. They should not get slower at all.
const SLOWER: u32 = 3;

/// After the abuse ends.
const RECOVERY: Duration = Duration::from_secs(1);

const MAX_CONNECTIONS: u64 = 512;
const MAX_BYTES: u64 = 8 << 20;

/// `upstream.max_concurrency`: so many connections to the tenant may be kept for a while.
const TO_THE_TENANT: usize = 16;

/// What a connection weighs at the most: what is buffered of it, and its task. In a debug build.
const PER_CONNECTION: u64 = 64 << 10;

/// What churns besides, and what the allocator keeps.
const CHURN: u64 = 4 << 20;

/// Not a test: what the test starts as other uids.
#[test]
fn a_caller_under_another_uid() {
    let Ok(role) = std::env::var(ROLE) else { return };
    support::hostile::play(&role, Path::new("run/api.sock"));
}

/// A process that plays a role, until this is dropped.
struct Player {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Player {
    fn start(stage: &Stage, uid: u32, role: &str) -> Self {
        // Processors are not what callers compete for here: whoever is idle to the scheduler gives way at once, not at the
        // end of its slice, as one with a low priority does.
        let mut command = Command::new("chrt");
        command.args([if uid == ABUSER { "--idle" } else { "--other" }, "0"]).arg(stage.path("caller"));
        command.args(["--exact", "a_caller_under_another_uid", "--nocapture", "--quiet"]);
        command.env_clear().env(ROLE, role).current_dir(stage.deployment.directory.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).uid(uid).gid(uid);
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// The next line that is for us.
    fn says(&mut self) -> String {
        loop {
            let line = self.lines.next().expect("the caller ended").unwrap();
            if let Some(said) = line.strip_prefix("! ") {
                return said.to_owned();
            }
        }
    }

    fn told(&mut self, line: &str) -> String {
        writeln!(self.child.stdin.as_mut().unwrap(), "{line}").unwrap();
        self.says()
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// How the other's lookups went for a while.
#[derive(Clone, Copy, Debug)]
struct Went {
    lookups: u64,
    median: Duration,
    p95: Duration,
    p99: Duration,
    failed: u64,
}

impl fmt::Display for Went {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lookups, median, p95, p99, failed } = self;
        write!(f, "{lookups} lookups, median {median:?}, p95 {p95:?}, p99 {p99:?}, {failed} failed")
    }
}

/// The daemon before anybody abuses it.
struct AtRest {
    resident: u64,
    descriptors: usize,
}

/// A daemon, and the other caller with everything in the cache.
struct Stage {
    deployment: Deployment,
}

impl Stage {
    fn new() -> Self {
        let rule = |uid| format!("[[listener.allow]]\nuid = {uid}\n");
        let deployment = Deployment::new(&format!(
            "[cache]\nmax_bytes = \"8MiB\"\n[[listener]]\npath = \"{{dir}}/run/api.sock\"\nmode = \"0666\"\n\
             max_connections = {MAX_CONNECTIONS}\n{}{}{}",
            rule(ABUSER),
            rule(OTHER),
            rule(0)
        ));
        let stage = Self { deployment };
        std::fs::copy(std::env::current_exe().unwrap(), stage.path("caller")).unwrap();
        std::fs::set_permissions(stage.deployment.directory.path(), PermissionsExt::from_mode(0o755))
            .unwrap();
        stage
    }

    fn path(&self, name: &str) -> PathBuf {
        self.deployment.directory.path().join(name)
    }

    fn start(&self) -> Daemon {
        let daemon = self.deployment.start();
        // Root made the directory of the socket for itself.
        std::fs::set_permissions(self.path("run"), PermissionsExt::from_mode(0o755)).unwrap();
        daemon
    }
}

fn measure(other: &mut Player, what: &str) -> Went {
    let line = other.told(what);
    let numbers: Vec<u64> = line.split(' ').map(|number| number.parse().unwrap()).collect();
    let micros = |n: usize| Duration::from_micros(numbers[n]);
    Went { lookups: numbers[0], median: micros(1), p95: micros(2), p99: micros(3), failed: numbers[4] }
}

fn descriptors(daemon: &Daemon) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap().count()
}

fn connections(socket: &Path) -> u64 {
    let status = Caller::new(socket).get("/v1/status");
    assert_eq!(status.status, 200, "{status:?}");
    status.body["listeners"][0]["connections"].as_u64().unwrap()
}

/// Waits until the daemon is as it was, and says for how long.
fn recovers(daemon: &mut Daemon, descriptors_before: usize) -> Duration {
    let begun = Instant::now();
    let mut caller = UnixStream::connect(&daemon.socket).unwrap();
    caller.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut caller, &mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    // The other's own, and the one that asks; and what is kept for the tenant, which is no caller's.
    daemon.until("connections and descriptors are given back", |daemon| {
        connections(&daemon.socket) <= 2 && descriptors(daemon) <= descriptors_before + 2 + TO_THE_TENANT
    });
    begun.elapsed()
}

/// One kind of abuse, once: how the other's lookups went before it and meanwhile, and how long it took until all was as
/// before. What may never be is asserted here.
fn abused(
    stage: &Stage,
    daemon: &mut Daemon,
    other: &mut Player,
    at_rest: &AtRest,
    role: &str,
) -> ([Went; 2], Duration) {
    let quiet = measure(other, "time 600");
    let mut abuser = Player::start(stage, ABUSER, role);
    let begun = abuser.says();
    let meanwhile = measure(other, "time 1200");
    let (held, resident) = (connections(&daemon.socket), memory(daemon.pid(), "VmRSS:"));
    let done = abuser.told("enough");
    drop(abuser);
    let recovered = recovers(daemon, at_rest.descriptors);
    let after = measure(other, "time 200");
    println!(
        "{role}: {begun}; {done}\n  before:    {quiet}\n  meanwhile: {meanwhile}\n  {held} connections, {} KiB resident, \
         recovered after {recovered:?}",
        resident >> 10
    );
    assert_eq!(quiet.failed + meanwhile.failed + after.failed, 0, "{role}");
    assert!(meanwhile.lookups >= 100, "{role}: enough to judge by: {meanwhile}");
    // Half is the abuser's; the other's own, its new one, and the one that asks.
    assert!(held <= MAX_CONNECTIONS / 2 + 3, "{role}: {held} connections");
    let bound = at_rest.resident + MAX_BYTES + MAX_CONNECTIONS / 2 * PER_CONNECTION + CHURN;
    assert!(resident <= bound, "{role}: {resident} of {bound}");
    ([quiet, meanwhile], recovered)
}

#[test]
fn whoever_abuses_the_daemon_slows_itself_only() {
    if !is_root() {
        return;
    }
    let stage = Stage::new();
    let mut daemon = stage.start();
    let mut other = Player::start(&stage, OTHER, &format!("other {}", users::GOOGLE));
    assert_eq!(other.says(), "ready");
    // Once, for what is allocated once.
    measure(&mut other, "time 500");
    let at_rest = AtRest { resident: memory(daemon.pid(), "VmRSS:"), descriptors: descriptors(&daemon) };
    println!("at rest: {} KiB resident, {} descriptors", at_rest.resident >> 10, at_rest.descriptors);

    let users = std::env::var("CLOAKROOM_ABUSE_USERS").unwrap_or("20000".into());
    let unknown_users = format!("unknown-users {users}");
    for role in [
        "slow-heads",
        "slow-bodies",
        "crumbs",
        "connections 5000",
        "large-heads",
        "garbage",
        "pipelines",
        "deaf",
        &unknown_users,
    ] {
        // What else the machine does is in every figure, so slower is what is slower each time.
        let is_slower = (0..5).all(|_| {
            let ([quiet, meanwhile], recovered) = abused(&stage, &mut daemon, &mut other, &at_rest, role);
            let later = |(quiet, meanwhile): (Duration, Duration)| meanwhile > (quiet * SLOWER).max(FLOOR);
            [(quiet.median, meanwhile.median), (quiet.p95, meanwhile.p95)].into_iter().any(later)
                || recovered > RECOVERY
        });
        assert!(!is_slower, "{role}: the other's answers come later, or it takes too long to recover");
    }
    println!("resident at the most: {} KiB", memory(daemon.pid(), "VmHWM:") >> 10);
    assert!(daemon.log().lines().count() < 50, "{}", daemon.log());
}

/// Those who are connected notice nothing, and the next ones wait no longer than the abuse lasts.
#[test]
fn whoever_takes_all_descriptors_keeps_nobody_from_being_answered_who_is_in() {
    if !is_root() {
        return;
    }
    let stage = Stage::new();
    let script = format!(
        "ulimit -n 64; exec {} serve --config {}",
        env!("CARGO_BIN_EXE_cloakroom"),
        stage.deployment.config().display()
    );
    let socket = stage.deployment.socket();
    let mut daemon = Daemon::of_script(&script, &stage.deployment.config(), &socket);
    daemon.until("it is ready", |daemon| daemon.run(&["healthcheck", "--ready"]).0 == 0);
    std::fs::set_permissions(stage.path("run"), PermissionsExt::from_mode(0o755)).unwrap();
    let mut other = Player::start(&stage, OTHER, &format!("other {}", users::GOOGLE));
    assert_eq!(other.says(), "ready");
    let at_rest = descriptors(&daemon);
    let too_slow = (0..5).all(|_| {
        let quiet = measure(&mut other, "time-kept 1000");
        let mut abuser = Player::start(&stage, ABUSER, "connections 200");
        let begun = abuser.says();
        // Before there is no descriptor left: what is turned away are connections.
        daemon
            .until("connections are short", |daemon| daemon.log().contains("A connection is closed at once"));
        let abused = measure(&mut other, "time-kept 1500");
        drop(abuser);
        let recovered = recovers(&mut daemon, at_rest);
        println!("{begun}\n  before:    {quiet}\n  meanwhile: {abused}\n  recovered after {recovered:?}");
        assert_eq!(quiet.failed + abused.failed, 0);
        abused.median > (quiet.median * SLOWER).max(FLOOR) || recovered > RECOVERY
    });
    // What else the machine does is in every figure.
    assert!(!too_slow, "whoever is in is answered later, or it takes too long to recover");
    sleep(Duration::from_millis(10));
    assert_eq!(measure(&mut other, "time 200").failed, 0, "also over new connections");
    assert!(!daemon.log().contains("No connection can be accepted"), "{}", daemon.log());
}
