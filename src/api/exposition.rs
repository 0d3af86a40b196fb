//! The text of `/metrics`. It is cached, so that writing it takes a bounded share of the thread's time, however often
//! and through whichever listener clients ask for it.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use crate::clock::Clock;

/// Writing may take one part in this many of the time: it costs as much as dozens of hits, and every client may ask.
const ONE_PART_IN: u32 = 20;

/// How much of that may be used ahead of time, so that occasional scrapes get current values.
const AHEAD: Duration = Duration::from_secs(1);

/// The oldest text that is served, even if writing takes a larger share then.
const OLDEST: Duration = Duration::from_secs(1);

/// The last text.
#[derive(Debug, Default)]
pub struct Exposition(Mutex<Written>);

#[derive(Debug, Default)]
struct Written {
    /// The text in Prometheus' older format.
    plain: Bytes,
    open_metrics: Bytes,
    share: Share,
}

/// The moment, on the elapsed clock, until which the time that writing has taken is its share.
#[derive(Debug, Default)]
struct Share(Duration);

impl Exposition {
    /// The text in OpenMetrics or in the older format. If a new one is due, `render` writes it as OpenMetrics.
    pub fn text(&self, clock: &Clock, is_open_metrics: bool, render: impl FnOnce() -> String) -> Bytes {
        let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let begun = clock.now();
        if written.share.is_due(begun.elapsed) {
            let text = render();
            (written.plain, written.open_metrics) = (plain(&text).into(), text.into());
            written.share.note(begun.elapsed, clock.since(begun));
        }
        if is_open_metrics { written.open_metrics.clone() } else { written.plain.clone() }
    }
}

impl Share {
    fn is_due(&self, now: Duration) -> bool {
        self.0 <= now.saturating_add(AHEAD)
    }

    fn note(&mut self, begun: Duration, took: Duration) {
        let paid = self.0.max(begun).saturating_add(took.saturating_mul(ONE_PART_IN));
        self.0 = paid.min(begun.saturating_add(AHEAD).saturating_add(OLDEST));
    }
}

/// Translates OpenMetrics to the older format, which names a counter by its sample, `…_total`, and has no end mark.
fn plain(text: &str) -> String {
    let of_counters: Vec<_> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter")).collect();
    let mut plain = String::with_capacity(text.len() + 1024);
    for line in text.lines().filter(|line| *line != "# EOF") {
        let head = line.strip_prefix("# ").and_then(|rest| {
            let (keyword, rest) = rest.split_once(' ')?;
            let (name, rest) = rest.split_once(' ')?;
            of_counters.contains(&name).then_some((keyword, name, rest))
        });
        match head {
            Some((keyword, name, rest)) => plain.extend(["# ", keyword, " ", name, "_total ", rest, "\n"]),
            None => plain.extend([line, "\n"]),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Under constant demand, if writing takes this long: how often the text is written in ten seconds, and the age of
    /// the oldest text that is served.
    fn flooded(took: Duration) -> (u32, Duration) {
        let (mut share, mut times, mut oldest) = (Share::default(), 0, Duration::ZERO);
        let (mut now, mut written) = (Duration::from_secs(100), Duration::from_secs(100));
        while now < Duration::from_secs(110) {
            if share.is_due(now) {
                share.note(now, took);
                (times, written, now) = (times + 1, now, now + took);
            }
            oldest = oldest.max(now - written);
            now += Duration::from_micros(50);
        }
        (times, oldest)
    }

    #[test]
    fn writing_takes_a_twentieth_of_the_time_however_often_it_is_asked_for() {
        let (times, oldest) = flooded(Duration::from_millis(1));
        assert!((500..=560).contains(&times), "{times}");
        assert!(oldest <= Duration::from_millis(25), "{oldest:?}");
        // Where a text would be older than a second, it is written once a second.
        let (times, oldest) = flooded(Duration::from_millis(80));
        assert!((9..=12).contains(&times), "{times}");
        assert!(oldest <= OLDEST + Duration::from_millis(1), "{oldest:?}");
    }

    #[test]
    fn occasional_scrapes_get_current_values() {
        let (mut share, mut now) = (Share::default(), Duration::from_secs(5));
        for _ in 0..40 {
            assert!(share.is_due(now), "{now:?}");
            share.note(now, Duration::from_millis(1));
            now += Duration::from_millis(1);
        }
    }

    #[test]
    fn the_older_format_names_counters_by_their_samples() {
        let open = "# HELP a_b Help: a_b b.\n# TYPE a_b counter\na_b_total 1\n# HELP c C.\n# TYPE c gauge\nc 2\n# EOF\n";
        let old = "# HELP a_b_total Help: a_b b.\n# TYPE a_b_total counter\na_b_total 1\n# HELP c C.\n# TYPE c gauge\nc 2\n";
        assert_eq!(plain(open), old);
    }
}
