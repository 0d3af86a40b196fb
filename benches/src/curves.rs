//! How cost and memory grow, and what happens once: starts, misses, crowds.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::load::{Answers, Protocol};
use crate::subject::{Subject, Way};
use crate::subjects::{Crowd, Ground, request_for};
use crate::{called, load, many, saturate};

/// What was measured.
pub struct Curves {
    pub users: Vec<Remembered>,
    /// Bytes of an identity's token, texts that are kept of each user, resident bytes for each.
    pub payloads: Vec<(usize, usize, f64)>,
    /// Lookups of one user, and of as many users, at the same time.
    pub crowds: [Crowd; 2],
    /// Connections, microseconds of processor time per hit.
    pub connections: Vec<(usize, f64)>,
    /// Milliseconds from starting the program to its socket, and to its first Management token; medians.
    pub start: (f64, f64),
    /// Microseconds that a miss takes beyond what Auth0 takes; the median.
    pub miss: f64,
    /// Bytes of the program.
    pub binary: u64,
}

/// What it costs to remember so many users.
pub struct Remembered {
    pub users: usize,
    /// Microseconds of processor time per hit at [`RATE`], and where the daemon is saturated.
    pub cpu: f64,
    pub saturated: f64,
    /// Bytes for each of them.
    pub resident: f64,
}

/// Requests a second: about as often as h2load asks, which asks all of its callers' users in the same order, so that
/// each would be found where the one before has just looked.
pub const RATE: f64 = 50_000.0;

const USERS: [usize; 3] = [1_000, 100_000, 1_000_000];
const CONNECTIONS: [usize; 3] = [1, 32, 1_000];
/// Google's tokens have some two hundred bytes, Entra's often two thousand.
const TOKENS: [usize; 4] = [50, 200, 1_000, 2_000];
const CROWD: usize = 10_000;
const STARTS: usize = 15;
const ROUNDS: usize = 5;

pub fn measure(ground: &Ground) -> Curves {
    let binary = std::fs::metadata(&ground.cloakroom).unwrap().len();
    let start = starts(ground);
    let miss = ground.miss_overhead();
    let subject = ground.cloakroom("connections", "events = \"notable\"");
    let cpu = in_turns(&CONNECTIONS, |connections| called(&subject, *connections));
    let connections: Vec<_> = CONNECTIONS.into_iter().zip(cpu).collect();
    drop(subject);
    let users = users(ground);
    let base = base(ground);
    let payloads = TOKENS.map(|token| {
        let subject = many_users(ground, USERS[1], token);
        (token, many::texts(token), (subject.resident() as f64 - base) / USERS[1] as f64)
    });
    let crowds = crowds(ground);
    Curves { users, payloads: payloads.into(), crowds, connections, start, miss, binary }
}

/// What it costs to remember as many users as in each of [`USERS`].
pub fn users(ground: &Ground) -> Vec<Remembered> {
    let base = base(ground);
    let subjects = USERS.map(|users| many_users(ground, users, many::TOKEN));
    let cpu = in_turns(&subjects, |subject| load(subject, 32, Some(RATE)).0);
    let saturated = in_turns(&subjects, |subject| saturate(subject, 32).0);
    let all = USERS.into_iter().zip(&subjects).zip(cpu.into_iter().zip(saturated));
    all.map(|((users, subject), (cpu, saturated))| {
        let resident = (subject.resident() as f64 - base) / users as f64;
        Remembered { users, cpu, saturated, resident }
    })
    .collect()
}

/// What the daemon takes when it remembers hardly anybody.
fn base(ground: &Ground) -> f64 {
    many_users(ground, 1, many::TOKEN).resident() as f64
}

/// Cold lookups of one user, and of as many users, at the same time.
pub fn crowds(ground: &Ground) -> [Crowd; 2] {
    [vec![many::user(0); CROWD], (0..CROWD).map(many::user).collect()].map(|users| ground.crowd(&users))
}

/// A daemon that remembers as many users, with tokens of this length.
fn many_users(ground: &Ground, users: usize, token: usize) -> Subject {
    let socket = ground.directory.path().join(format!("many-{users}-{token}.sock"));
    // All over the cache, in no order, and more of them than a processor's own caches hold.
    let requests = (0..8192).map(|step| request_for(&many::user(step * 7919 % users)));
    let protocol = Protocol { requests: requests.collect(), answers: Answers::Http(200) };
    let own = std::env::current_exe().unwrap();
    let arguments = ["many", socket.to_str().unwrap(), &users.to_string(), &token.to_string()];
    Subject::start("many", socket.clone(), protocol, Way::AsItIs, &own, &arguments)
}

fn starts(ground: &Ground) -> (f64, f64) {
    let mut listening = Vec::new();
    let mut ready = Vec::new();
    for _ in 0..STARTS {
        let (socket, mut command) = ground.command("start");
        std::fs::remove_file(&socket).ok();
        let begun = Instant::now();
        let mut child = command.spawn().unwrap();
        until(|| std::os::unix::net::UnixStream::connect(&socket).is_ok());
        listening.push(begun.elapsed().as_secs_f64() * 1e3);
        until(|| is_ready(&socket));
        ready.push(begun.elapsed().as_secs_f64() * 1e3);
        child.kill().unwrap();
        child.wait().unwrap();
    }
    (middle(listening), middle(ready))
}

fn is_ready(socket: &Path) -> bool {
    use std::io::{Read, Write};
    let mut stream = std::os::unix::net::UnixStream::connect(socket).unwrap();
    stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.starts_with("HTTP/1.1 200")
}

fn until(mut holds: impl FnMut() -> bool) {
    while !holds() {
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// The medians of what is measured of each, in rounds, because a machine is another one a minute later.
fn in_turns<T>(all: &[T], mut measure: impl FnMut(&T) -> f64) -> Vec<f64> {
    let mut values = vec![Vec::new(); all.len()];
    for _ in 0..ROUNDS {
        all.iter().zip(&mut values).for_each(|(one, values)| values.push(measure(one)));
    }
    values.into_iter().map(middle).collect()
}

/// The median.
pub fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
