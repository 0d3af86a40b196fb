//! The audit log: one line for each event worth one, apart from the log and from its level.
//!
//! Whoever answers a request only puts the event into a queue of bounded length. A thread of its own hashes, formats
//! and writes, so that no output, however slow, is waited for. What does not fit or cannot be written is lost, counted,
//! said in the log at most once a minute, and told by the next line that can be written. Refusals that come fast share a
//! line, so that a uid that is refused can neither fill the output nor take the room of other events.

use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::config::{self, AuditEvents};
use crate::domain::freshness::Moment;
use crate::domain::policy::{Caller, Operation};
use crate::domain::user::UserId;
use crate::secret::Tag;

use super::UserNames;
use super::writer::{self, NotTaken, Queue, Work};

mod folding;
mod journal;
mod line;
mod losses;
mod output;
mod stream;

use folding::{Folding, SECOND, Verdict};
use losses::Losses;
use output::Output;
pub use output::OutputError;

/// Lines that may wait to be written. With the longest of all user ids they take some eight MiB.
const QUEUE: usize = 4096;

/// Something that happened to a request.
#[derive(Clone, Debug)]
pub struct Event {
    /// When it was decided.
    pub at: Moment,
    /// Path of the socket.
    pub listener: Arc<str>,
    /// Who asked; `None` where the event stands for requests of several.
    pub caller: Option<Caller>,
    /// The process that connected, if the kernel can name it here. May be another one's by now.
    pub pid: Option<u32>,
    /// What was asked for; `None` where no route with an operation was.
    pub operation: Option<Operation>,
    /// Whom it is about; `None` where that is nobody or everybody, or no id.
    pub user: Option<UserId>,
    /// The connection of the token that was handed out, or else the one that was asked for.
    pub connection: Option<Name>,
    /// What came of it.
    pub outcome: &'static str,
    /// The answer's status.
    pub status: u16,
    /// The answer's code, if it is a problem.
    pub code: Option<&'static str>,
    /// Where the answer came from, if it is a lookup's.
    pub cache: Option<&'static str>,
    /// Names the token that was handed out, or reported.
    pub fingerprint: Option<Tag>,
    /// As in the answer.
    pub request_id: String,
    /// The caller's own trace, if it said one.
    pub trace: Option<TraceId>,
    /// From the head of the request to the answer's decision.
    pub took: Duration,
    /// How many requests it stands for. The rest is of the first of them.
    pub count: u64,
    /// When the last of them was decided, if it stands for those that came too fast for a line each.
    pub until: Option<Moment>,
}

/// A connection's name as a line may hold it, whoever made it up: as long as Auth0's names get, and nothing but
/// printable ASCII, of which they are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name(String);

impl Name {
    const LONGEST: usize = 128;

    /// Cuts `text`, and replaces what no name holds by U+FFFD.
    pub fn new(text: &str) -> Self {
        let printable = |c: char| if (' '..='~').contains(&c) { c } else { char::REPLACEMENT_CHARACTER };
        Self(text.chars().take(Self::LONGEST).map(printable).collect())
    }
}

/// The trace that a caller's request is a part of, as W3C Trace Context has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceId(pub u128);

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// The audit log. One instance serves the whole daemon.
pub struct Audit {
    /// An [`AuditEvents`], by its place among [`EVENTS`].
    events: AtomicU8,
    /// `None` where nothing was to be written at the start.
    queue: Option<Queue<Box<Event>>>,
    losses: Arc<Losses>,
    folding: Arc<Mutex<Folding>>,
}

impl Audit {
    /// Opens the output and starts the thread that writes. Opens and starts nothing where there is nothing to write.
    ///
    /// # Errors
    /// The output cannot be used.
    pub fn start(settings: &config::Audit, names: UserNames) -> Result<Self, OutputError> {
        match settings.events {
            AuditEvents::None => Ok(Self {
                events: AtomicU8::new(place(AuditEvents::None)),
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
        let work =
            Writer { output, names, losses: Arc::clone(&losses), folding: Arc::clone(&folding), told: 0 };
        receiving.start("audit", work).map_err(OutputError::Thread)?;
        Ok(Self { events: AtomicU8::new(place(events)), queue: Some(queue), losses, folding })
    }

    /// Whether an event has a line. Most lookups end with this `false`, and then nothing more is done about them.
    pub fn takes(&self, is_notable: bool) -> bool {
        match EVENTS.get(usize::from(self.events.load(Ordering::Relaxed))) {
            Some(AuditEvents::All) => true,
            Some(AuditEvents::Notable) => is_notable,
            Some(AuditEvents::None) | None => false,
        }
    }

    /// Writes these from now on. Nothing is opened for it: where there was nothing to write at the start, what is to be
    /// written now is lost.
    pub fn reconfigure(&self, events: AuditEvents) {
        self.events.store(place(events), Ordering::Relaxed);
    }

    /// Writes what `event` makes, if such an event has a line. Waits for nothing.
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

    /// Writes what `event` makes of a request of `uid` that was refused with `code`, or counts it, where many come.
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
                    folding.left(1);
                    let key = folding.key(uid, code);
                    folding.fold(key, now, || *event);
                }
                Err(why) => {
                    folding.left(1);
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

    /// Lines that were not written.
    pub fn lost(&self) -> u64 {
        self.losses.total()
    }

    /// Writes what waits, for at most this long, and ends. Blocks. Returns whether everything was written or counted
    /// as lost; what is tried later is lost.
    pub fn close(&self, patience: Duration) -> bool {
        let is_over = self.queue.as_ref().is_none_or(|queue| queue.close(patience));
        let uncounted = self.folding.lock().unwrap_or_else(PoisonError::into_inner).due(None);
        for folded in uncounted {
            self.losses.add(folded.count, folded.at, &"the audit log is closed");
        }
        is_over
    }
}

const EVENTS: [AuditEvents; 3] = [AuditEvents::None, AuditEvents::Notable, AuditEvents::All];

fn place(events: AuditEvents) -> u8 {
    EVENTS.iter().zip(0..).find(|(known, _)| **known == events).map_or(0, |(_, place)| place)
}

/// The other end of the queue.
struct Writer {
    output: Output,
    names: UserNames,
    losses: Arc<Losses>,
    folding: Arc<Mutex<Folding>>,
    /// How many lost lines the lines that were written have told of.
    told: u64,
}

impl Work<Box<Event>> for Writer {
    /// Writes `batch`, and the counts of refusals that are due: by its moment, or all of them where nothing has come.
    fn write(&mut self, batch: &[Box<Event>]) {
        let due = {
            let mut folding = self.folding.lock().unwrap_or_else(PoisonError::into_inner);
            folding.left(batch.iter().filter(|event| event.code.is_some()).count());
            folding.due(batch.last().map(|event| event.at))
        };
        let events = || batch.iter().map(|event| &**event).chain(&due);
        let Some(first) = events().next() else { return };
        let lost = self.losses.total().saturating_sub(self.told);
        let lines = events().enumerate().map(|(index, event)| {
            // The first one tells of those that should have come before it.
            line::Line::new(event, &self.names, if index == 0 { lost } else { 0 })
        });
        let (written, outcome) = self.output.write(lines, first.at);
        if written > 0 {
            self.told = self.told.saturating_add(lost);
        }
        match outcome {
            Ok(()) => self.losses.end(),
            Err(why) => {
                let unwritten = events().skip(written).map(|event| event.count);
                self.losses.add(unwritten.fold(0, u64::saturating_add), first.at, &why);
            }
        }
    }

    /// A second, while something may become due.
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
            status: 200,
            code: None,
            cache: Some("miss"),
            fingerprint: None,
            request_id: request_id.into(),
            trace: None,
            took: Duration::from_micros(1234),
            count: 1,
            until: None,
        }
    }

    #[test]
    fn an_event_that_is_not_written_is_not_even_made() {
        let made = |events| {
            let (reader, pipe) = std::io::pipe().unwrap();
            let audit = Audit::to(Output::Stream(Stream::of_pipe(pipe)), events, names()).unwrap();
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
    fn a_reader_that_does_not_read_keeps_nobody_waiting() {
        let (mut reader, pipe) = std::io::pipe().unwrap();
        let audit = Audit::to(Output::Stream(Stream::of_pipe(pipe)), AuditEvents::All, names()).unwrap();
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
        assert_eq!(text.lines().count(), sent - 100, "what was taken is still written");
    }

    #[test]
    fn what_was_lost_is_told_by_the_next_line() {
        let (reader, pipe) = std::io::pipe().unwrap();
        let audit = Audit::to(Output::Stream(Stream::of_pipe(pipe)), AuditEvents::All, names()).unwrap();
        let mut sent: u64 = 0;
        while audit.lost() < 100 {
            audit.write(true, || event(&sent.to_string()));
            sent += 1;
        }
        let mut lines = BufReader::new(reader).lines().map(|line| line.unwrap());
        let read = |line: String| serde_json::from_str::<Value>(&line).unwrap()["lost"].as_u64().unwrap();
        // All that was taken, so that there is room for one more.
        let told: u64 = lines.by_ref().take((sent - 100) as usize).map(read).sum();
        audit.write(true, || event("next"));
        let last = read(lines.next().unwrap());
        assert_eq!((told + last, audit.lost()), (100, 100));
        assert!(audit.close(Duration::from_secs(10)));
        assert_eq!(lines.count(), 0);
    }

    #[test]
    fn names_of_connections_are_short_and_printable_whoever_made_them_up() {
        assert_eq!(Name::new("google-oauth2"), Name("google-oauth2".into()));
        assert_eq!(Name::new("a\nb\u{9b}c\u{202e}\u{0}"), Name("a\u{fffd}b\u{fffd}c\u{fffd}\u{fffd}".into()));
        assert_eq!(Name::new(&"x".repeat(1 << 14)).0.len(), 128);
    }
}
