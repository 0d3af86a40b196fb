//! Guarantees 1 to 5 and 10 against random histories, in virtual time.
//!
//! A history is a configuration and a list of steps: logins, lookups, reports, purges, faults, clocks that jump.
//! `history` plays it against the daemon's own parts and the simulated tenant; `ledger` watches the line between
//! the two; `truth` knows what the daemon may say. `renewal` has histories of its own, with providers, a state file and
//! crashes. A history that breaks a rule is shrunk and printed.
//!
//! `CLOAKROOM_MODEL_CASES` is how many histories (10 000 unless set), `CLOAKROOM_MODEL_SEED` where they begin (any
//! number; the same one plays the same histories). `make model` plays them; `make mutations` breaks the daemon on
//! purpose, and some history has to notice.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests stop at the first surprise, and this one reads its size and its duration"
)]

#[path = "../support/exchange.rs"]
mod exchange;
mod history;
mod judge;
mod ledger;
mod plan;
mod renewal;
mod truth;

use std::cell::Cell;
use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

/// Histories are independent of each other, so they are played on as many threads as there are processors, in
/// shards of a fixed number: which histories are played does not depend on the machine.
const SHARDS: u64 = 8;

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().expect(variable))
}

#[test]
fn no_history_breaks_a_guarantee() {
    let total = Arc::new(history::Tally::default());
    let cases = number("CLOAKROOM_MODEL_CASES", 10_000);
    let play = |history: &_| history::play(history, &total);
    println!("{}", play_all("histories", cases, plan::histories, play, &*total));
}

/// Fewer of them: each has several lives of the daemon.
#[test]
fn no_history_of_renewals_breaks_a_guarantee() {
    let total = renewal::Tally::default();
    let cases = number("CLOAKROOM_MODEL_CASES", 10_000).div_ceil(10);
    let play = |history: &_| renewal::play(history, &total);
    println!("{}", play_all("histories of renewals", cases, renewal::plan::histories, play, &total));
}

/// Plays so many histories. Returns what was seen in all of them.
fn play_all<S>(
    name: &str,
    cases: u64,
    histories: fn() -> S,
    play_one: impl Fn(&S::Value) -> Result<(), String> + Sync,
    total: &(impl Display + Sync),
) -> String
where
    S: Strategy,
    S::Value: Display,
{
    let seed = number("CLOAKROOM_MODEL_SEED", 1);
    let begun = Instant::now();
    let (next, played) = (AtomicU64::new(0), AtomicU64::new(0));
    let threads = std::thread::available_parallelism().map_or(2, usize::from).min(SHARDS as usize);
    let broken = std::thread::scope(|scope| {
        let work = || -> Option<String> {
            loop {
                let shard = next.fetch_add(1, Ordering::Relaxed);
                if shard >= SHARDS {
                    return None;
                }
                if let Err(why) = play(shard, seed, cases.div_ceil(SHARDS), &played, histories(), &play_one) {
                    // The others have nothing to add.
                    next.store(SHARDS, Ordering::Relaxed);
                    return Some(why);
                }
            }
        };
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().find_map(|thread| thread.join().expect("a shard"))
    });
    if let Some(why) = broken {
        panic!("{why}");
    }
    format!("{} {name} in {:?}: {total}", played.into_inner(), begun.elapsed())
}

fn play<S>(
    shard: u64,
    seed: u64,
    cases: u64,
    played: &AtomicU64,
    histories: S,
    play_one: impl Fn(&S::Value) -> Result<(), String>,
) -> Result<(), String>
where
    S: Strategy,
    S::Value: Display,
{
    let config = Config {
        cases: u32::try_from(cases).expect("so many cases"),
        max_shrink_iters: 2_000,
        failure_persistence: None,
        ..Config::default()
    };
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes[8..].copy_from_slice(&(shard + 1).to_le_bytes());
    // Not the default one, which takes a third of the time to draw histories with.
    let rng = TestRng::from_seed(RngAlgorithm::XorShift, &bytes);
    let first = Cell::new(None);
    let outcome = TestRunner::new_with_rng(config, rng).run(&histories, |history| {
        if first.get().is_none() {
            played.fetch_add(1, Ordering::Relaxed);
        }
        play_one(&history).map_err(|why| {
            first.set(first.get().or(Some(played.load(Ordering::Relaxed))));
            TestCaseError::fail(why)
        })
    });
    outcome.map_err(|error| match error {
        TestError::Fail(why, history) => {
            let after = first.get().unwrap_or_default();
            format!("broken after {after} histories (seed {seed}, shard {shard}):\n{why}\n{history}")
        }
        TestError::Abort(why) => format!("given up: {why}"),
    })
}
