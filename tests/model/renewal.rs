//! Guarantee 10 against random histories of renewals, in virtual time.
//!
//! The daemon's cache, sources, chains and provider clients run against the simulated tenant and two simulated providers:
//! one whose refresh tokens are for a single use, and one whose are not. The state file is on a disk that fails and
//! loses power, and the daemon crashes and starts again. `ledger` watches the line to the providers; `judge` compares what
//! clients are told with what the providers know.

pub mod judge;
pub mod ledger;
mod life;
pub mod plan;
mod player;

#[path = "../it/state/failing_disk.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod failing_disk;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use plan::History;
use player::Player;

/// What was seen, over all histories: rules that are never tried prove nothing.
#[derive(Default)]
pub struct Tally {
    pub tokens: AtomicU64,
    pub renewed: AtomicU64,
    pub sent: AtomicU64,
    /// Redemptions of a single-use token whose outcome the daemon cannot know.
    pub unknown: AtomicU64,
    pub retries: AtomicU64,
    pub refused: AtomicU64,
    pub lost: AtomicU64,
    pub expired: AtomicU64,
    pub misconfigured: AtomicU64,
    pub unavailable: AtomicU64,
    pub crashes: AtomicU64,
    pub forgotten: AtomicU64,
}

impl Tally {
    pub fn count(&self, counter: impl FnOnce(&Self) -> &AtomicU64) {
        counter(self).fetch_add(1, Ordering::Relaxed);
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [
            ("tokens", &self.tokens),
            ("of them renewed", &self.renewed),
            ("redemptions", &self.sent),
            ("unknown outcomes", &self.unknown),
            ("retries", &self.retries),
            ("refused", &self.refused),
            ("lost", &self.lost),
            ("expired", &self.expired),
            ("misconfigured", &self.misconfigured),
            ("unavailable", &self.unavailable),
            ("crashes", &self.crashes),
            ("purges with credentials", &self.forgotten),
        ];
        let all = all.map(|(name, count)| format!("{} {name}", count.load(Ordering::Relaxed)));
        f.write_str(&all.join(", "))
    }
}

/// `Err` says which rule was broken.
pub fn play(history: &History, tally: &Tally) -> Result<(), String> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    // One thread does all that blocks, in the order in which it is asked for.
    let runtime = runtime.enable_time().start_paused(true).max_blocking_threads(1).build();
    runtime.unwrap().block_on(async {
        let mut player = Player::new(&history.setup, tally);
        for (number, step) in history.steps.iter().enumerate() {
            player.step(step).await;
            player.judged().map_err(|why| format!("step {number}: {why}"))?;
        }
        player.ends().await.map_err(|why| format!("at the end: {why}"))
    })
}
