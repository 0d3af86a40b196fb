//! Requests that wait for the rate of a host. Flows take turns, so that a busy uid delays only itself.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use crate::domain::fair_queue::Ticket;
use crate::domain::freshness::Moment;
use crate::domain::priority::Flow;
use crate::flight::Owners;

use super::host::{Closed, Host};

/// The requests to all hosts that wait for their turn.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// How to wake each. Only the next one of a host is woken.
    changes: BTreeMap<Ticket, Arc<Notify>>,
    last: Ticket,
}

/// Access to one host, and to those who wait for it.
pub(super) trait HostAccess {
    /// Calls `act` at this moment, while nothing else does.
    fn with<R>(&self, act: impl FnOnce(&mut Host, &mut Waiting, Moment) -> R) -> R;
}

/// Why a request has no turn.
pub(super) enum NoTurn {
    /// The host has failed, or asks for a pause.
    Closed(Closed),
    /// Too many requests wait. One may be sent after this long.
    Busy(Duration),
}

/// Waits until a request to `host` may be sent, until `latest` at most, in the turns of the flows in `for_whom`.
pub(super) async fn turn(
    host: &impl HostAccess,
    mut for_whom: Owners<Flow>,
    latest: Instant,
) -> Result<(), NoTurn> {
    let left = || latest.saturating_duration_since(Instant::now());
    let mut place = Place::new(host, for_whom.so_far(), left())?;
    while let Some(wait) = place.wait(left())? {
        tokio::select! {
            () = place.change.notified() => {}
            () = for_whom.joined() => place.join(for_whom.so_far()),
            () = sleep(wait) => {}
        }
    }
    Ok(())
}

/// A waiting request in the queues of its flows. Leaves them when it is dropped, however the wait ends.
struct Place<'a, H: HostAccess> {
    host: &'a H,
    flows: Vec<Flow>,
    ticket: Ticket,
    change: Arc<Notify>,
}

impl<'a, H: HostAccess> Place<'a, H> {
    /// A place in the queues of `flows`, if a request of one of them can be sent within `longest`.
    fn new(host: &'a H, flows: Vec<Flow>, longest: Duration) -> Result<Self, NoTurn> {
        let (ticket, change) = host.with(|host, waiting, now| {
            open(host, now)?;
            host.has_room(&flows, longest, now).map_err(NoTurn::Busy)?;
            waiting.last = waiting.last.wrapping_add(1);
            let change = Arc::<Notify>::default();
            waiting.changes.insert(waiting.last, Arc::clone(&change));
            host.join(&flows, waiting.last);
            Ok((waiting.last, change))
        })?;
        Ok(Self { host, flows, ticket, change })
    }

    fn join(&mut self, flows: Vec<Flow>) {
        self.host.with(|host, _, _| host.join(&flows, self.ticket));
        self.flows = flows;
    }

    /// Takes this request's turn. Otherwise returns for how long to wait, `left` at most.
    fn wait(&self, left: Duration) -> Result<Option<Duration>, NoTurn> {
        self.host.with(|host, _, now| {
            open(host, now)?;
            match host.take_turn(self.ticket, now) {
                Ok(()) => Ok(None),
                Err(wait) if left.is_zero() => Err(NoTurn::Busy(wait)),
                Err(wait) => Ok(Some(wait.min(left))),
            }
        })
    }
}

impl<H: HostAccess> Drop for Place<'_, H> {
    fn drop(&mut self) {
        self.host.with(|host, waiting, _| {
            waiting.changes.remove(&self.ticket);
            host.leave(&self.flows, self.ticket);
            if let Some(change) = host.next().and_then(|next| waiting.changes.get(&next)) {
                change.notify_one();
            }
        });
    }
}

fn open(host: &Host, now: Moment) -> Result<(), NoTurn> {
    host.closed(now).map_or(Ok(()), |closed| Err(NoTurn::Closed(closed)))
}
