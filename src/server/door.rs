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
use super::turnstile::step_back;

/// After an accept that failed for want of descriptors or memory: give the other connections time to end.
const AFTER_A_FAILED_ACCEPT: Duration = Duration::from_millis(100);

/// What happens with every other connection is worth one line a minute.
const BETWEEN_LINES: Duration = Duration::from_secs(60);

/// At the end, when nobody can find the socket any more: for how long the kernel's queue has to be empty before
/// there is nobody left in it. Whoever is between finding the file and joining the queue takes microseconds.
const AFTER_THE_LAST_COMER: Duration = Duration::from_millis(10);

/// Where connections come in.
pub(super) struct Door {
    listener: UnixListener,
    room: Arc<Room>,
    terms: watch::Receiver<Arc<ListenerTerms>>,
    tally: Arc<Tally>,
    /// Says that there is no room for somebody.
    full: Seldom,
    /// Says that descriptors or memory are short. That lasts longer than any one wait for a connection does: each
    /// caller that leaves makes room for the next, and then it is short again.
    short: Seldom,
}

/// Somebody who is in.
pub(super) struct Guest {
    pub stream: UnixStream,
    pub caller: Caller,
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
        let room = Room::new(max_connections);
        Self { listener, room, terms, tally, full: Seldom::default(), short: Seldom::default() }
    }

    /// The next connection for which there is room. Room first, and only then a connection: those that have to
    /// wait do so in the kernel's queue. May be dropped at any time.
    pub async fn next(&mut self) -> Guest {
        loop {
            let place = self.room.place().await;
            // There may be any number of them, and those who are in are waiting. Nobody is dropped here: nobody has
            // been accepted.
            step_back().await;
            let (stream, caller) = self.accept().await;
            if let Some(guest) = self.admit(place, stream, caller) {
                return guest;
            }
        }
    }

    /// The same until nobody has come for a moment.
    pub async fn next_of_the_last(&mut self) -> Option<Guest> {
        loop {
            let place = self.room.place().await;
            let last = tokio::time::timeout(AFTER_THE_LAST_COMER, self.accept());
            let (stream, caller) = last.await.ok()?;
            if let Some(guest) = self.admit(place, stream, caller) {
                return Some(guest);
            }
        }
    }

    fn admit(&mut self, place: Place, stream: UnixStream, caller: Caller) -> Option<Guest> {
        let standing = self.terms.borrow().policy.standing(caller);
        let seat = self.room.seat(place, caller, standing);
        if seat.is_none() {
            self.tally.turned_away(TurnedAway::Limit);
            if self.full.is_due() {
                tracing::warn!(
                    uid = caller.uid,
                    "A connection is closed at once: its uid has too many, or those of other uids together"
                );
            }
        }
        seat.map(|seat| Guest { stream, caller, seat })
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
