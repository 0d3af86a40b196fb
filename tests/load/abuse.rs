//! One uid abuses the real binary while another asks for what is cached: the abuser slows only itself.
//!
//! Both clients are processes under their own uids, which takes root: this test's own binary, started again. The other
//! client's answers are timed before and during each abuse, and the two are compared; no figure is held against a
//! clock.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use cloakroom::fake_auth0::users;

use crate::alone;
use crate::memory::memory;
use crate::stage::{
    ABUSER, FLOOR, FLOOR_IN_A_CROWD, FLOOR_OF_NEW, FLOOR_OF_PROBES, MAX_CONNECTIONS, OTHER, Player, SLOWER,
    STRANGER, Stage, Went, is_later, is_slower, measure, other_of,
};
use crate::support::caller::Caller;
use crate::support::process::{Daemon, PROGRAM, is_root};

/// After the abuse ends.
const RECOVERY: Duration = Duration::from_secs(1);
const MAX_BYTES: u64 = 8 << 20;

/// `upstream.max_concurrency`: so many connections to the tenant may be kept for a while.
const TO_THE_TENANT: usize = 16;

/// What a connection weighs at the most: what is buffered of it, and its task. In a debug build.
const PER_CONNECTION: u64 = 64 << 10;

/// What churns besides, and what the allocator keeps.
const CHURN: u64 = 4 << 20;

/// The daemon before anybody abuses it.
struct AtRest {
    resident: u64,
    descriptors: usize,
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
    caller.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    // The other's own, and the one that asks; and what is kept for the tenant, which is no caller's.
    daemon.until("connections and descriptors are given back", |daemon| {
        connections(&daemon.socket) <= 2 && descriptors(daemon) <= descriptors_before + 2 + TO_THE_TENANT
    });
    begun.elapsed()
}

/// One kind of abuse, once: how the other's lookups went before it and meanwhile, over a connection that it keeps and
/// over new ones, and how long it took until all was as before. What may never be is asserted here.
fn abused(
    stage: &Stage,
    daemon: &mut Daemon,
    other: &mut Player,
    at_rest: &AtRest,
    role: &str,
) -> ([Went; 2], [Went; 2], Duration) {
    let quiet_anew = measure(other, "time-new 300");
    let quiet = measure(other, "time 600");
    let mut abuser = Player::start(stage, ABUSER, role);
    let begun = abuser.says();
    let meanwhile_anew = measure(other, "time-new 500");
    let meanwhile = measure(other, "time 1200");
    let (held, resident) = (connections(&daemon.socket), memory(daemon.pid(), "VmRSS:"));
    let done = abuser.told("enough");
    drop(abuser);
    let recovered = recovers(daemon, at_rest.descriptors);
    let after = measure(other, "time 200");
    println!(
        "{role}: {begun}; {done}\n  before:    {quiet}\n  meanwhile: {meanwhile}\n  anew, before:    \
         {quiet_anew}\n  anew, meanwhile: {meanwhile_anew}\n  {held} connections, {} KiB resident, \
         recovered after {recovered:?}",
        resident >> 10
    );
    let failed = quiet_anew.failed + meanwhile_anew.failed;
    assert_eq!(quiet.failed + meanwhile.failed + after.failed + failed, 0, "{role}");
    assert!(meanwhile.lookups >= 100, "{role}: enough to judge by: {meanwhile}");
    // Half is the abuser's; the other's own, its new one, and the one that asks.
    assert!(held <= MAX_CONNECTIONS / 2 + 3, "{role}: {held} connections");
    let bound = at_rest.resident + MAX_BYTES + MAX_CONNECTIONS / 2 * PER_CONNECTION + CHURN;
    assert!(resident <= bound, "{role}: {resident} of {bound}");
    ([quiet, meanwhile], [quiet_anew, meanwhile_anew], recovered)
}

#[test]
fn an_abusive_client_slows_only_itself() {
    if !is_root() {
        return;
    }
    let _alone = alone();
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
            let (kept, anew, recovered) = abused(&stage, &mut daemon, &mut other, &at_rest, role);
            is_later(kept, FLOOR) || is_later(anew, FLOOR_OF_NEW) || recovered > RECOVERY
        });
        assert!(!is_slower, "{role}: the other's answers come later, or it takes too long to recover");
    }
    println!("resident at the most: {} KiB", memory(daemon.pid(), "VmHWM:") >> 10);
    assert!(daemon.log().lines().count() < 50, "{}", daemon.log());
}

/// While it connects, the other has no connection that would show that there is another.
#[test]
fn who_connects_beside_five_hundred_connections_of_a_stranger_is_answered_as_if_alone() {
    if !is_root() {
        return;
    }
    let _alone = alone();
    let stage = Stage::with(2048, "");
    let _daemon = stage.start();
    let mut other = other_of(&stage);
    let slower = is_slower(&stage, &mut other, (STRANGER, "metrics 500"), ("time-new 1500", FLOOR_OF_NEW));
    assert!(!slower, "whoever connects is answered later");
    // Most of those are refused, which is more than to close them.
    let role = (STRANGER, "connections 2000");
    let slower = is_slower(&stage, &mut other, role, ("time-kept 1500", FLOOR_IN_A_CROWD));
    assert!(!slower, "whoever is connected is answered later");
}

#[test]
fn a_hundred_and_fifty_strangers_weigh_no_more_than_one() {
    if !is_root() {
        return;
    }
    let _alone = alone();
    let stage = Stage::with(2048, "");
    let _daemon = stage.start();
    let mut other = other_of(&stage);
    // The strangers' own process is root, which becomes each of them to connect.
    let slower = is_slower(&stage, &mut other, (0, "strangers 150"), ("time-kept 1500", FLOOR_IN_A_CROWD));
    assert!(!slower, "the other's answers come later");
}

/// How long each of some probes takes, in order of time.
fn probes(port: u16) -> Vec<Duration> {
    let probe = |_| {
        let begun = Instant::now();
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        let read = stream.read_to_string(&mut answer);
        assert!(answer.starts_with("HTTP/1.1 200 "), "after {:?}: {read:?} {answer}", begun.elapsed());
        let took = begun.elapsed();
        sleep(Duration::from_millis(20));
        took
    };
    let mut took: Vec<_> = (0..20).map(probe).collect();
    took.sort_unstable();
    took
}

#[test]
fn whoever_abuses_the_listener_for_probes_keeps_neither_probes_nor_lookups_waiting() {
    if !is_root() {
        return;
    }
    let _alone = alone();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let stage = Stage::with(MAX_CONNECTIONS, &format!("[admin]\naddress = \"127.0.0.1:{port}\"\n"));
    let _daemon = stage.start();
    let mut other = other_of(&stage);
    for role in ["admin-pipelines", "admin-kept"] {
        let role = format!("{role} {port}");
        let probes_are_late = (0..3).all(|_| {
            let quiet = probes(port);
            let mut abuser = Player::start(&stage, STRANGER, &role);
            let begun = abuser.says();
            let meanwhile = probes(port);
            println!("{role}: {begun}\n  before:    {quiet:?}\n  meanwhile: {meanwhile:?}");
            let most = |took: &[Duration]| took[took.len() - 1];
            most(&meanwhile) > (most(&quiet) * SLOWER).max(FLOOR_OF_PROBES)
        });
        assert!(!probes_are_late, "{role}: probes are answered later");
        let slower = is_slower(&stage, &mut other, (STRANGER, &role), ("time-kept 1500", FLOOR_IN_A_CROWD));
        assert!(!slower, "{role}: the other's answers come later");
    }
}

/// Whoever has all the connections that it may have is told so over each further one, in a way that arrives, whatever it
/// sends and whenever it reads.
#[test]
fn a_connection_beyond_the_limit_is_told_so_and_then_closed() {
    if !is_root() {
        return;
    }
    let _alone = alone();
    // A quarter of 512 are the places for refusals, of which strangers have 32.
    let stage = Stage::with(512, "");
    let mut daemon = stage.start();
    let at_rest = descriptors(&daemon);
    for (uid, most) in [(ABUSER, 256), (STRANGER, 128)] {
        let mut caller = Player::start(&stage, uid, "beyond");
        assert_eq!(caller.says(), most.to_string());
        for what in ["get", "part of a head", "post", "megabyte", "nothing", "late", "head"] {
            let answer: String = serde_json::from_str(&caller.told(what)).unwrap();
            let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{what}: {answer}"));
            assert!(head.starts_with("HTTP/1.1 503 "), "{what}: {answer}");
            for line in ["connection: close", "retry-after: 1", "content-type: application/problem+json"] {
                assert!(head.lines().any(|found| found == line), "{what}: {line}: {head}");
            }
            if what == "head" {
                assert_eq!(body, "");
                continue;
            }
            let problem: serde_json::Value = serde_json::from_str(body).unwrap();
            assert_eq!((&problem["code"], &problem["status"]), (&"overloaded".into(), &503.into()), "{what}");
            assert!(head.lines().any(|line| line == format!("content-length: {}", body.len())), "{head}");
        }
        let library: String = serde_json::from_str(&caller.told("library")).unwrap();
        assert!(library.starts_with("503 1 {") && library.contains("overloaded"), "{library}");
        assert_eq!(caller.told("crowd"), "\"30\"", "all of them are told");
        // Whoever says nothing takes some descriptors for a moment, and no more.
        caller.told("silent crowd");
        let refused = descriptors(&daemon) - at_rest - most;
        assert!(refused <= 64 + TO_THE_TENANT, "{refused}");
        drop(caller);
        daemon.until("descriptors are given back", |daemon| descriptors(daemon) <= at_rest + TO_THE_TENANT);
    }
    assert_eq!(daemon.log().matches("A connection is refused").count(), 1, "{}", daemon.log());
}

/// Those who are connected notice nothing, and the next ones wait no longer than the abuse lasts.
#[test]
fn whoever_takes_all_descriptors_keeps_nobody_from_being_answered_who_is_in() {
    if !is_root() {
        return;
    }
    let _alone = alone();
    let stage = Stage::new();
    let script =
        format!("ulimit -n 64; exec {} serve --config {}", PROGRAM, stage.deployment.config().display());
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
        daemon.until("connections are short", |daemon| daemon.log().contains("A connection is refused"));
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
