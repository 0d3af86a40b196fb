//! Where connections come in: nobody is dropped for want of room before it is known who that is.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::domain::policy::Caller;

use super::peer::ListenerTerms;
use super::room::{Place, Room, Seat};
use super::tally::{Tally, TurnedAway};
use super::turnstile::{Group, step_back};

/// After an accept that failed for want of descriptors or memory: give the other connections time to end.
const AFTER_A_FAILED_ACCEPT: Duration = Duration::from_millis(100);

/// After so many connections whatever else is ready goes first. They are accepted in one go because every connection
/// that came before is in the way of whose turn it would be, and who made which is known only then.
const IN_ONE_GO: usize = 8;

/// How many connections are open, at a time, only for being told that there is no room for them. Beyond that, or where one
/// uid has half of these, they are closed without a word.
const MAX_REFUSALS: usize = 128;

/// What happens with every other connection is worth one line a minute.
const BETWEEN_LINES: Duration = Duration::from_secs(60);

/// At the end, when nobody can find the socket any more: for how long the kernel's queue has to be empty before
/// there is nobody left in it. Whoever is between finding the file and joining the queue takes microseconds.
const AFTER_THE_LAST_COMER: Duration = Duration::from_millis(10);

/// Where connections come in.
pub(super) struct Door {
    listener: UnixListener,
    room: Arc<Room>,
    refusals: Arc<Room>,
    /// Accepted since everything else that was ready went first.
    accepted: usize,
    terms: watch::Receiver<Arc<ListenerTerms>>,
    tally: Arc<Tally>,
    /// Says that there is no room for somebody.
    full: Seldom,
    /// Says that descriptors or memory are short. That lasts longer than any one wait for a connection does: each
    /// caller that leaves makes room for the next, and then it is short again.
    short: Seldom,
}

/// A connection that was accepted.
pub(super) enum Arrival {
    /// It is served.
    Admitted(Guest),
    /// It is told that there is no room for it, and keeps a seat for that long.
    Refused(UnixStream, Seat),
}

/// Somebody who is in.
pub(super) struct Guest {
    pub stream: UnixStream,
    pub caller: Caller,
    pub group: Group,
    pub seat: Seat,
}

impl Door {
    /// A door to this much room.
    pub fn new(
        listener: UnixListener,
        max_connections: usize,
        terms: watch::Receiver<Arc<ListenerTerms>>,
        tally: Arc<Tally>,
    ) -> Self {
        let (room, refusals) = (Room::new(max_connections), Room::new(MAX_REFUSALS));
        let (full, short) = (Seldom::default(), Seldom::default());
        Self { listener, room, refusals, accepted: 0, terms, tally, full, short }
    }

    /// The next connection. Room first, and only then a connection: where everything is taken, those that have to wait do
    /// so in the kernel's queue. May be dropped at any time.
    pub async fn next(&mut self) -> Arrival {
        loop {
            let place = self.room.place().await;
            if self.accepted >= IN_ONE_GO {
                // There may be any number of them, and those who are in are waiting. Nobody is dropped here: nobody has
                // been accepted.
                step_back().await;
                self.accepted = 0;
            }
            let (stream, caller) = self.accept().await;
            self.accepted = self.accepted.saturating_add(1);
            if let Some(arrival) = self.admit(place, stream, caller) {
                return arrival;
            }
        }
    }

    /// The same until nobody has come for a moment.
    pub async fn next_of_the_last(&mut self) -> Option<Arrival> {
        loop {
            let place = self.room.place().await;
            let last = tokio::time::timeout(AFTER_THE_LAST_COMER, self.accept());
            let (stream, caller) = last.await.ok()?;
            if let Some(arrival) = self.admit(place, stream, caller) {
                return Some(arrival);
            }
        }
    }

    /// What becomes of a connection; nothing if it cannot even be told that there is no room.
    fn admit(&mut self, place: Place, stream: UnixStream, caller: Caller) -> Option<Arrival> {
        let terms = self.terms.borrow();
        let (standing, group) = (terms.policy.standing(caller), Group::of(caller, &terms.policy));
        drop(terms);
        if let Some(seat) = self.room.seat(place, caller, standing) {
            return Some(Arrival::Admitted(Guest { stream, caller, group, seat }));
        }
        self.tally.turned_away(TurnedAway::Limit);
        if self.full.is_due() {
            tracing::warn!(
                uid = caller.uid,
                "A connection is refused: its uid has too many, or those of other uids together"
            );
        }
        let place = self.refusals.free_place()?;
        let seat = self.refusals.seat(place, caller, standing)?;
        Some(Arrival::Refused(stream, seat))
    }

    /// The next connection and who is at its other end. Cannot fail: one caller's trouble is its own, and running
    /// out of descriptors pauses the loop but never ends it.
    async fn accept(&mut self) -> (UnixStream, Caller) {
        loop {
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionAborted => continue,
                Err(error) => {
                    self.tally.turned_away(TurnedAway::Resources);
                    if self.short.is_due() {
                        tracing::warn!(%error, "No connection can be accepted; trying again");
                    }
                    tokio::time::sleep(AFTER_A_FAILED_ACCEPT).await;
                    continue;
                }
            };
            match stream.peer_cred() {
                Ok(peer) => return (stream, Caller { uid: peer.uid(), gid: peer.gid() }),
                Err(error) => {
                    self.tally.turned_away(TurnedAway::Unnamed);
                    tracing::warn!(%error, "A connection whose caller the kernel does not name is closed");
                }
            }
        }
    }
}

/// Says something at most once a minute.
#[derive(Default)]
struct Seldom(Option<Instant>);

impl Seldom {
    fn is_due(&mut self) -> bool {
        let now = Instant::now();
        let due = self.0.is_none_or(|last| now.duration_since(last) >= BETWEEN_LINES);
        if due {
            self.0 = Some(now);
        }
        due
    }
}
