//! `make bench`: cloakroom beside what its users would run instead, in one go.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a benchmark stops at the first surprise, and measures time itself"
)]

mod bare;
mod callers;
mod client;
mod curves;
mod instructions;
mod load;
mod many;
mod proxied;
mod report;
mod subject;
mod subjects;

use std::path::Path;
use std::time::Duration;

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use tikv_jemallocator::Jemalloc;
use zeroizing_alloc::ZeroAlloc;

use curves::Remembered;
use report::Row;
use subject::Subject;
use subjects::Ground;

/// The program's own, for the library is measured in this process, too.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<Jemalloc> = ZeroAlloc(Jemalloc);

/// Connections, but where their number is what is measured.
const CONNECTIONS: usize = 32;

/// Long enough for one request to be noise, and short enough for the machine to be the same for everybody in a round.
const SPAN: Duration = Duration::from_secs(2);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["bare-hyper", socket, length] => bare::serve(Path::new(socket), length.parse().unwrap()),
        ["bare-client", host, ca, target, token] => client::run(&client::Asked {
            host,
            ca: Path::new(ca),
            target,
            token,
            connections: CONNECTIONS,
            span: SPAN,
        }),
        ["many", socket, users, token] => {
            many::serve(Path::new(socket), users.parse().unwrap(), token.parse().unwrap());
        }
        ["quick", ref binaries @ ..] => quick(binaries),
        ["instructions", ref binaries @ ..] => {
            for (name, count) in instructions::measure(binaries) {
                println!("{name:40} {count:6.0}");
            }
        }
        ["users", binary] => {
            let ground = Ground::new(Path::new(binary));
            keep_to_own_processor();
            for Remembered { users, cpu, saturated, resident } in curves::users(&ground) {
                println!(
                    "{users:8} users {cpu:6.2} us {saturated:6.2} us saturated {resident:6.0} bytes each"
                );
            }
        }
        ["proxied", binary] => {
            let ground = Ground::new(Path::new(binary));
            keep_to_own_processor();
            print!("{}", report::proxied(&proxied::measure(&ground, 7)));
        }
        ["crowds", binary] => print!("{}", report::crowds(&curves::crowds(&Ground::new(Path::new(binary))))),
        ["order", binary] => instructions::order(binary).iter().for_each(|name| println!("{name}")),
        [binary, rounds] => compare(Path::new(binary), rounds.parse().unwrap()),
        _ => {
            panic!(
                "usage: cloakroom-bench CLOAKROOM ROUNDS | quick CLOAKROOM... | instructions CLOAKROOM... | \
                 users CLOAKROOM | proxied CLOAKROOM | crowds CLOAKROOM | order CLOAKROOM"
            )
        }
    }
}

/// Several builds of the program beside bare hyper, for whoever changes something and wants to know.
fn quick(binaries: &[&str]) {
    let grounds: Vec<_> = binaries.iter().map(|binary| Ground::new(Path::new(binary))).collect();
    let mut subjects = vec![grounds[0].bare_hyper()];
    subjects.extend(grounds.iter().map(|ground| ground.cloakroom("cloakroom", "events = \"notable\"")));
    keep_to_own_processor();
    let mut cpu = vec![[Vec::new(), Vec::new()]; subjects.len()];
    for _ in 0..7 {
        for (subject, cpu) in subjects.iter().zip(&mut cpu) {
            cpu[0].push(called(subject, CONNECTIONS));
            cpu[1].push(saturate(subject, CONNECTIONS).0);
        }
    }
    let middles: Vec<_> = cpu.into_iter().map(|cpu| cpu.map(curves::middle)).collect();
    for ([called, saturated], name) in middles.iter().zip(std::iter::once(&"bare hyper").chain(binaries)) {
        println!(
            "{name:40} {called:6.2} us {:5.2} {saturated:6.2} us saturated {:5.2}",
            called / middles[0][0],
            saturated / middles[0][1]
        );
    }
}

fn compare(binary: &Path, rounds: usize) {
    let ground = Ground::new(binary);
    let audit_log = format!("events = \"all\"\noutput = {:?}", ground.directory.path().join("audit.log"));
    // Before anybody has asked for anything but its one user.
    let subjects = [
        ground.bare_hyper(),
        ground.cloakroom("cloakroom", "events = \"notable\""),
        ground.cloakroom("cloakroom, audit all", &audit_log),
        ground.nginx_return(),
        ground.nginx_cache(),
        ground.redis(),
    ];
    let mut rows: Vec<_> =
        subjects.iter().map(|subject| Row::new(subject.name, subject.resident())).collect();
    keep_to_own_processor();
    for round in 0..=rounds {
        for (subject, row) in subjects.iter().zip(&mut rows) {
            let called = called(subject, CONNECTIONS);
            let (saturated, outcome) = saturate(subject, CONNECTIONS);
            // The first round is for everybody to get warm.
            if round > 0 {
                row.asked([called, saturated], outcome.per_second());
            }
        }
    }
    // Shorter, and more of them: what another machine's neighbour does for some milliseconds is in few of them then.
    for _ in 0..4 * rounds {
        for (subject, row) in subjects.iter().zip(&mut rows) {
            let rate = Some(row.per_second() / 2.0);
            let outcome = load::run(&subject.socket, &subject.protocol, CONNECTIONS, SPAN / 4, rate);
            row.half([0.5, 0.99, 0.999].map(|quantile| outcome.quantile(quantile)));
        }
    }
    drop(subjects);
    let proxied = proxied::measure(&ground, rounds);
    let curves = curves::measure(&ground);
    let instructions = instructions::measure(&[binary.to_str().unwrap()]);
    report::write(&rows, &proxied, &curves, &instructions, &ground);
}

/// Processor time of the server's per request in microseconds, asked by callers that take their time.
fn called(subject: &Subject, connections: usize) -> f64 {
    let before = subject.cpu();
    let answered = callers::ask(subject, connections, SPAN);
    each(subject, before, answered)
}

/// The same when it has all that it can do, and what else came of it.
fn saturate(subject: &Subject, connections: usize) -> (f64, load::Outcome) {
    load(subject, connections, None)
}

/// The same when it is asked so often.
fn load(subject: &Subject, connections: usize, rate: Option<f64>) -> (f64, load::Outcome) {
    let before = subject.cpu();
    let outcome = load::run(&subject.socket, &subject.protocol, connections, SPAN, rate);
    (each(subject, before, outcome.answered), outcome)
}

/// What each of as many answers has cost since the subject had used so much.
fn each(subject: &Subject, before: Duration, answered: u64) -> f64 {
    (subject.cpu() - before).as_secs_f64() * 1e6 / answered as f64
}

/// The load's; whatever is started has the other.
fn keep_to_own_processor() {
    let mut own = CpuSet::new();
    own.set(subject::LOAD).unwrap();
    sched_setaffinity(Pid::from_raw(0), &own).unwrap();
}
