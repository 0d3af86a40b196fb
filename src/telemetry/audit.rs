//! The audit log: one line for each auditable event, independent of the log and of its level.
//!
//! A request handler only puts the event into a bounded queue. A dedicated thread hashes, formats and writes, so that
//! requests never wait for a slow output. An event that does not fit into the queue or cannot be written is lost. Lost
//! lines are counted, reported in the log at most once a minute, and reported by the next line that is written.
//! Frequent refusals share a line, so that a uid that is refused can neither fill the output nor displace other events.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::config::{self, AuditEvents};
use crate::domain::freshness::Moment;

use super::UserNames;
use super::writer::{self, NotTaken, Queue, Work};

mod event;
mod folding;
mod journal;
mod line;
mod losses;
mod output;
mod output_error;
mod stream;

pub use event::{CallEvent, Event, Name, TraceId};
pub use output_error::OutputError;

use folding::{Folding, SECOND, Verdict};
use losses::Losses;
use output::Output;

/// Capacity of the queue, in lines. With user ids of the maximum length they take about eight MiB.
const QUEUE: usize = 4096;

/// The audit log. The daemon has one.
pub struct AuditLog {
    /// Index into [`EVENTS`] of the configured [`AuditEvents`].
    events: AtomicU8,
    /// `None` if `audit.events` was `none` at the start.
    queue: Option<Queue<Box<Event>>>,
    losses: Arc<Losses>,
    folding: Arc<Mutex<Folding>>,
}

impl AuditLog {
    /// Opens the output and starts the thread that writes; does neither if `audit.events` is `none`.
    ///
    /// # Errors
    /// The output cannot be used.
    pub fn start(settings: &config::Audit, names: UserNames) -> Result<Self, OutputError> {
        match settings.events {
            AuditEvents::None => Ok(Self {
                events: AtomicU8::new(index(AuditEvents::None)),
                queue: None,
                losses: Arc::default(),
                folding: Arc::default(),
            }),
            events => Self::to(Output::open(&settings.output)?, events, names),
        }
    }

    fn to(output: Output, events: AuditEvents, names: UserNames) -> Result<Self, OutputError> {
        let (queue, receiving) = writer::queue(QUEUE);
        let (losses, folding) = (Arc::new(Losses::default()), Arc::new(Mutex::default()));
        let work = AuditWriter {
            output,
            names,
            losses: Arc::clone(&losses),
            folding: Arc::clone(&folding),
            reported: 0,
        };
        receiving.start("audit", work).map_err(OutputError::Thread)?;
        Ok(Self { events: AtomicU8::new(index(events)), queue: Some(queue), losses, folding })
    }

    /// Returns whether such an event gets a line. For most lookups it does not, and then no event is built.
    pub fn takes(&self, is_notable: bool) -> bool {
        match EVENTS.get(usize::from(self.events.load(Ordering::Relaxed))) {
            Some(AuditEvents::All) => true,
            Some(AuditEvents::Notable) => is_notable,
            Some(AuditEvents::None) | None => false,
        }
    }

    /// Changes which events get a line. Opens no output: if `audit.events` was `none` at the start, later events are
    /// lost.
    pub fn reconfigure(&self, events: AuditEvents) {
        self.events.store(index(events), Ordering::Relaxed);
    }

    /// Queues the event that `event` builds, if such an event gets a line. Does not block.
    pub fn write(&self, is_notable: bool, event: impl FnOnce() -> Event) {
        if !self.takes(is_notable) {
            return;
        }
        let event = Box::new(event());
        let at = event.at;
        if let Err(why) = self.put(event) {
            self.lose(&why, at);
        }
    }

    /// Queues the event of a request of `uid` that was refused with `code`, or only counts it if there are many.
    pub fn refused(&self, uid: u32, code: &'static str, now: Moment, event: impl FnOnce() -> Event) {
        if !self.takes(true) {
            return;
        }
        let mut folding = self.folding.lock().unwrap_or_else(PoisonError::into_inner);
        match folding.judge(uid, code, now) {
            Verdict::Fold(key) => folding.fold(key, now, event),
            Verdict::Line => match self.put(Box::new(event())) {
                Ok(()) => {}
                Err(NotTaken::Full(event)) => {
                    folding.dequeued(1);
                    let key = folding.key(uid, code);
                    folding.fold(key, now, || *event);
                }
                Err(why) => {
                    folding.dequeued(1);
                    self.lose(&why, now);
                }
            },
        }
    }

    fn put(&self, event: Box<Event>) -> Result<(), NotTaken<Box<Event>>> {
        match &self.queue {
            Some(queue) => queue.put(event),
            None => Err(NotTaken::Closed(event)),
        }
    }

    fn lose(&self, why: &NotTaken<Box<Event>>, at: Moment) {
        let why = match why {
            NotTaken::Full(_) => "they come faster than they can be written",
            NotTaken::Closed(_) => "the audit log is closed",
        };
        self.losses.add(1, at, &why);
    }

    /// Number of lines that were lost.
    pub fn lost(&self) -> u64 {
        self.losses.total()
    }

    /// Writes what is queued, for at most `timeout`, and closes the log. Blocks. Returns whether every event was
    /// written or counted as lost. Later events are lost.
    pub fn close(&self, timeout: Duration) -> bool {
        let is_over = self.queue.as_ref().is_none_or(|queue| queue.close(timeout));
        let uncounted = self.folding.lock().unwrap_or_else(PoisonError::into_inner).due(None);
        for folded in uncounted {
            self.losses.add(folded.count, folded.at, &"the audit log is closed");
        }
        is_over
    }
}

const EVENTS: [AuditEvents; 3] = [AuditEvents::None, AuditEvents::Notable, AuditEvents::All];

fn index(events: AuditEvents) -> u8 {
    EVENTS.iter().zip(0..).find(|(known, _)| **known == events).map_or(0, |(_, index)| index)
}

/// Takes events from the queue and writes them.
struct AuditWriter {
    output: Output,
    names: UserNames,
    losses: Arc<Losses>,
    folding: Arc<Mutex<Folding>>,
    /// How many lost lines were reported by written lines.
    reported: u64,
}

impl Work<Box<Event>> for AuditWriter {
    /// Writes `batch`, and the counts of refusals that are due at its moment; all counts if the batch is empty.
    fn write(&mut self, batch: &[Box<Event>]) {
        let due = {
            let mut folding = self.folding.lock().unwrap_or_else(PoisonError::into_inner);
            folding.dequeued(batch.iter().filter(|event| event.code.is_some()).count());
            folding.due(batch.last().map(|event| event.at))
        };
        let events = || batch.iter().map(|event| &**event).chain(&due);
        let Some(first) = events().next() else { return };
        let lost = self.losses.total().saturating_sub(self.reported);
        let lines = events().enumerate().map(|(index, event)| {
            // The first line reports the lines that were lost before it.
            line::AuditLine::new(event, &self.names, if index == 0 { lost } else { 0 })
        });
        let (written, outcome) = self.output.write(lines, first.at);
        if written > 0 {
            self.reported = self.reported.saturating_add(lost);
        }
        match outcome {
            Ok(()) => self.losses.end(),
            Err(why) => {
                let unwritten = events().skip(written).map(|event| event.count);
                self.losses.add(unwritten.fold(0, u64::saturating_add), first.at, &why);
            }
        }
    }

    /// One second while refusals are counted, whose count may become due.
    fn pause(&self) -> Option<Duration> {
        let folding = self.folding.lock().unwrap_or_else(PoisonError::into_inner);
        (!folding.is_empty()).then_some(SECOND)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::io::{BufRead, BufReader, Read};

    use serde_json::Value;

    use super::stream::Stream;
    use super::*;
    use crate::config::UserIds;
    use crate::domain::freshness::Timestamp;
    use crate::domain::policy::{Caller, Operation};
    use crate::domain::user::UserId;
    use crate::secret::TagKey;

    pub fn names() -> UserNames {
        UserNames::new(UserIds::Plain, TagKey::random().unwrap())
    }

    pub fn at(seconds: u64) -> Moment {
        Moment { wall: Timestamp::from_secs(seconds as i64), elapsed: Duration::from_secs(seconds) }
    }

    pub fn event(request_id: &str) -> Event {
        Event {
            at: at(0),
            listener: "/run/api.sock".into(),
            caller: Some(Caller { uid: 1000, gid: 100 }),
            pid: None,
            operation: Some(Operation::Token),
            user: UserId::parse("auth0|jane").ok(),
            connection: Some(Name::new("github")),
            outcome: "answered",
            status: Some(200),
            code: None,
            cache: Some("miss"),
            source: Some("identities"),
            fingerprint: None,
            request_id: request_id.into(),
            trace: None,
            call: None,
            took: Duration::from_micros(1234),
            count: 1,
            until: None,
        }
    }

    #[test]
    fn an_event_that_is_not_written_is_not_even_made() {
        let made = |events| {
            let (reader, pipe) = std::io::pipe().unwrap();
            let audit = AuditLog::to(Output::Stream(Stream::of_pipe(pipe)), events, names()).unwrap();
            let made = Cell::new(0);
            for is_notable in [false, false, true] {
                audit.write(is_notable, || {
                    made.set(made.get() + 1);
                    event("1")
                });
            }
            assert!(audit.close(Duration::from_secs(10)));
            (made.get(), BufReader::new(reader).lines().count())
        };
        assert_eq!(made(AuditEvents::None), (0, 0));
        assert_eq!(made(AuditEvents::Notable), (1, 1));
        assert_eq!(made(AuditEvents::All), (3, 3));
    }

    #[test]
    fn a_reader_that_does_not_read_delays_no_request() {
        let (mut reader, pipe) = std::io::pipe().unwrap();
        let audit = AuditLog::to(Output::Stream(Stream::of_pipe(pipe)), AuditEvents::All, names()).unwrap();
        let mut sent: usize = 0;
        while audit.lost() < 100 {
            audit.write(true, || event(&sent.to_string()));
            sent += 1;
            assert!(sent < 10 * QUEUE, "nothing is ever lost, so memory is not bounded");
        }
        assert!(!audit.close(Duration::from_millis(50)));
        audit.write(true, || event("late"));
        assert_eq!(audit.lost(), 101, "after the end, too, lines are counted");
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text.lines().count(), sent - 100, "every queued line is still written");
    }

    #[test]
    fn lost_lines_are_reported_by_the_next_line() {
        let (reader, pipe) = std::io::pipe().unwrap();
        let audit = AuditLog::to(Output::Stream(Stream::of_pipe(pipe)), AuditEvents::All, names()).unwrap();
        let mut sent: u64 = 0;
        while audit.lost() < 100 {
            audit.write(true, || event(&sent.to_string()));
            sent += 1;
        }
        let mut lines = BufReader::new(reader).lines().map(|line| line.unwrap());
        let read = |line: String| serde_json::from_str::<Value>(&line).unwrap()["lost"].as_u64().unwrap();
        // Reads every line, so that the queue has room for one more.
        let told: u64 = lines.by_ref().take((sent - 100) as usize).map(read).sum();
        audit.write(true, || event("next"));
        let last = read(lines.next().unwrap());
        assert_eq!((told + last, audit.lost()), (100, 100));
        assert!(audit.close(Duration::from_secs(10)));
        assert_eq!(lines.count(), 0);
    }
}
