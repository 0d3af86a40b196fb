//! How cost and memory grow, and what happens once: starts, misses, crowds.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::load::{Answers, Protocol};
use crate::subject::Subject;
use crate::subjects::Ground;
use crate::{many, saturate};

/// What was measured.
pub struct Curves {
    /// Users remembered, microseconds of processor time per hit, resident bytes for each of them.
    pub users: Vec<(usize, f64, f64)>,
    /// Connections, microseconds of processor time per hit.
    pub connections: Vec<(usize, f64)>,
    /// Milliseconds from starting the program to its socket, and to its first Management token; medians.
    pub start: (f64, f64),
    /// Microseconds that a miss takes beyond what Auth0 takes; the median.
    pub miss: f64,
    /// Bytes of the program.
    pub binary: u64,
}

const USERS: [usize; 3] = [1_000, 100_000, 1_000_000];
const CONNECTIONS: [usize; 3] = [1, 32, 1_000];
const STARTS: usize = 15;

pub fn measure(ground: &Ground) -> Curves {
    let binary = std::fs::metadata(&ground.cloakroom).unwrap().len();
    let start = starts(ground);
    let miss = ground.miss_overhead();
    let subject = ground.cloakroom("connections", "events = \"notable\"");
    let connections =
        CONNECTIONS.map(|connections| (connections, median(3, || saturate(&subject, connections).0)));
    drop(subject);
    let mut empty = None;
    let users = USERS.map(|users| {
        let subject = many_users(ground, users);
        let resident = subject.resident() as f64;
        // What the daemon takes without any, from the smallest.
        let base = *empty.get_or_insert(resident - 1_000.0 * 1_024.0);
        let cpu = median(3, || saturate(&subject, 32).0);
        (users, cpu, (resident - base) / users as f64)
    });
    Curves { users: users.into(), connections: connections.into(), start, miss, binary }
}

fn many_users(ground: &Ground, users: usize) -> Subject {
    let socket = ground.directory.path().join(format!("many-{users}.sock"));
    // All over the cache, in no order, and more of them than a processor's own caches hold.
    let requests = (0..8192).map(|step| {
        let user = many::user(step * 7919 % users).replace('|', "%7C");
        format!("GET /v1/users/{user}/token HTTP/1.1\r\nHost: cloakroom\r\nCloakroom-Request: true\r\n\r\n")
            .into_bytes()
    });
    let protocol = Protocol { requests: requests.collect(), answers: Answers::Http(200) };
    let own = std::env::current_exe().unwrap();
    let arguments = ["many", socket.to_str().unwrap(), &users.to_string()];
    Subject::start("many", socket.clone(), protocol, &own, &arguments)
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

fn median(times: usize, measure: impl FnMut() -> f64) -> f64 {
    middle(std::iter::repeat_with(measure).take(times).collect())
}

/// The median.
pub fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
