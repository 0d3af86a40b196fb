//! Frequent refusals: the first ones of a uid and a code in each second get a line each, the others share one line with
//! their count.

use std::collections::HashMap;
use std::time::Duration;

use crate::domain::freshness::Moment;

use super::event::Event;

/// How many refusals of one uid and code get a line of their own each second.
const LINES_A_SECOND: u32 = 10;

/// How many pairs of uid and code are counted separately. Refusals of further pairs are counted by code alone.
const PAIRS: usize = 256;

/// How many lines in the queue may be refusals, so that there is room for other events.
pub const IN_QUEUE: usize = 1024;

/// How long refusals are counted before the count is written.
pub const SECOND: Duration = Duration::from_secs(1);

/// Identifies refusals that are counted together: those of one uid and code, or of one code once there are [`PAIRS`].
type Key = (Option<u32>, &'static str);

/// Whether a refusal gets a line of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The refusal gets a line of its own.
    Line,
    /// The refusal is only counted.
    Fold(Key),
}

/// Counts of recent refusals. Bounded by [`PAIRS`].
#[derive(Debug, Default)]
pub struct Folding {
    pairs: HashMap<Key, Pair>,
    /// How many lines in the queue are refusals.
    waiting: usize,
}

#[derive(Debug)]
struct Pair {
    /// Start of the second in which `lines` are counted.
    since: Moment,
    lines: u32,
    /// The first refusal without a line of its own; its `count` is the number of them.
    folded: Option<Event>,
}

impl Folding {
    /// Decides whether a refusal of `uid` with `code` gets a line of its own. If it does, but the queue is full, the
    /// caller passes it to [`Folding::fold`] with the key from [`Folding::key`].
    pub fn judge(&mut self, uid: u32, code: &'static str, now: Moment) -> Verdict {
        let key = self.key(uid, code);
        let pair = self.pairs.entry(key).or_insert(Pair { since: now, lines: 0, folded: None });
        if pair.since.age(now) >= SECOND {
            (pair.since, pair.lines) = (now, 0);
        }
        if pair.lines >= LINES_A_SECOND || self.waiting >= IN_QUEUE {
            return Verdict::Fold(key);
        }
        pair.lines = pair.lines.saturating_add(1);
        self.waiting = self.waiting.saturating_add(1);
        Verdict::Line
    }

    /// Returns the key that refusals of `uid` with `code` are counted by.
    pub fn key(&self, uid: u32, code: &'static str) -> Key {
        let own = (Some(uid), code);
        match self.pairs.contains_key(&own) || self.pairs.len() < PAIRS {
            true => own,
            false => (None, code),
        }
    }

    /// Counts a refusal that has no line of its own. Calls `event` for the first only.
    pub fn fold(&mut self, key: Key, now: Moment, event: impl FnOnce() -> Event) {
        let pair = self.pairs.entry(key).or_insert(Pair { since: now, lines: 0, folded: None });
        match &mut pair.folded {
            Some(folded) => {
                folded.count = folded.count.saturating_add(1);
                folded.until = Some(now);
            }
            None => {
                let mut event = Event { until: Some(now), ..event() };
                if key.0.is_none() {
                    (event.caller, event.pid, event.user, event.connection) = (None, None, None, None);
                    event.call = None;
                }
                pair.folded = Some(event);
            }
        }
    }

    /// Notes that `lines` refusals have left the queue.
    pub fn dequeued(&mut self, lines: usize) {
        self.waiting = self.waiting.saturating_sub(lines);
    }

    /// Takes the counts that are at least a second old at `now`; all counts if it is `None`. Drops pairs that have no
    /// count and had no line for a second.
    pub fn due(&mut self, now: Option<Moment>) -> Vec<Event> {
        let is_over = |since: Moment| now.is_none_or(|now| since.age(now) >= SECOND);
        let counted = self.pairs.values_mut();
        let due = counted.filter_map(|pair| pair.folded.take_if(|folded| is_over(folded.at))).collect();
        self.pairs.retain(|_, pair| pair.folded.is_some() || !is_over(pair.since));
        due
    }

    /// Returns whether no pair is counted, so that no count can become due.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{at, event};
    use super::*;
    use crate::domain::policy::Caller;

    fn refused(folding: &mut Folding, uid: u32, code: &'static str, now: Moment) -> bool {
        let verdict = folding.judge(uid, code, now);
        if let Verdict::Fold(key) = verdict {
            let caller = Some(Caller { uid, gid: 100 });
            folding.fold(key, now, || Event { at: now, caller, code: Some(code), ..event("1") });
        }
        folding.dequeued(1);
        verdict == Verdict::Line
    }

    #[test]
    fn each_second_ten_of_a_uid_and_code_have_lines_and_the_others_one_together() {
        let mut folding = Folding::default();
        for second in 0..3 {
            let lines = (0..1000).filter(|_| refused(&mut folding, 1, "forbidden", at(second))).count();
            assert_eq!(lines, 10);
        }
        assert!(
            refused(&mut folding, 2, "forbidden", at(2)) && refused(&mut folding, 1, "rate_limited", at(2))
        );
        let due = folding.due(Some(at(2)));
        let [folded] = due.as_slice() else { panic!("{due:?}") };
        assert_eq!((folded.count, folded.at, folded.until), (3 * 990, at(0), Some(at(2))));
        assert!(folding.due(Some(at(4))).is_empty(), "counted once");
        assert!(folding.is_empty(), "nothing is kept of it");
    }

    #[test]
    fn a_count_waits_a_second_and_no_longer() {
        let mut folding = Folding::default();
        for _ in 0..11 {
            refused(&mut folding, 1, "forbidden", at(5));
        }
        assert!(folding.due(Some(at(5))).is_empty() && !folding.is_empty());
        assert_eq!(folding.due(Some(at(6))).iter().map(|folded| folded.count).collect::<Vec<_>>(), [1]);
        for _ in 0..11 {
            refused(&mut folding, 1, "forbidden", at(6));
        }
        assert_eq!(folding.due(None).len(), 1, "at once, where nothing more comes");
    }

    #[test]
    fn more_uids_than_are_told_apart_are_counted_without_one_and_nothing_is_lost() {
        let mut folding = Folding::default();
        let uids = 10_000;
        let lines = (0..uids).filter(|uid| refused(&mut folding, *uid, "forbidden", at(0))).count();
        assert_eq!(folding.pairs.len(), PAIRS + 1);
        let due = folding.due(None);
        let counted: u64 = due.iter().map(|folded| folded.count).sum();
        assert_eq!(lines as u64 + counted, u64::from(uids));
        assert!(due.iter().all(|folded| folded.caller.is_none() && folded.user.is_none()));
    }

    #[test]
    fn refusals_take_a_part_of_the_queue_and_no_more() {
        let mut folding = Folding::default();
        let lines = (0..10_000).filter(|uid| folding.judge(uid % 200, "forbidden", at(0)) == Verdict::Line);
        assert_eq!(lines.count(), IN_QUEUE);
        folding.dequeued(1);
        assert_eq!(folding.judge(200, "forbidden", at(0)), Verdict::Line);
    }
}
