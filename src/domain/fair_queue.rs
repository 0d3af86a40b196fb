//! A fair queue: the highest priority goes first, and flows of equal priority take turns. No I/O and no clock.
//!
//! Each flow has its own queue, and the flows that wait form a ring. A flow that had its turn moves to the end. So each
//! other flow gets one turn for every turn of a busy flow, however long the busy flow's queue is. Fair queuing by time
//! stamps would give the same order while all requests wait. But stamps are assigned on arrival, so a flow whose
//! requests gave up would keep paying for turns that it never had, and stamps need cleaning up. This queue holds
//! waiting requests and nothing else.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::priority::{Flow, Priority};

/// A waiting request. Later requests have higher numbers.
pub type Ticket = u64;

/// The requests that wait.
#[derive(Debug, Default)]
pub struct FairQueue {
    /// One ring per priority that has waiting requests.
    rings: BTreeMap<Priority, Ring>,
}

#[derive(Debug, Default)]
struct Ring {
    /// The order of turns. Each flow that waits is in it once.
    order: VecDeque<Flow>,
    queues: BTreeMap<Flow, BTreeSet<Ticket>>,
}

impl FairQueue {
    /// Adds `ticket` to the queue of `flow`. A ticket may be in the queues of several flows.
    pub fn join(&mut self, priority: Priority, flow: Flow, ticket: Ticket) {
        let ring = self.rings.entry(priority).or_default();
        let queue = ring.queues.entry(flow).or_default();
        if queue.is_empty() {
            ring.order.push_back(flow);
        }
        queue.insert(ticket);
    }

    /// Removes `ticket` from the queues of `flows`.
    pub fn leave(&mut self, priority: Priority, flows: &[Flow], ticket: Ticket) {
        let Some(ring) = self.rings.get_mut(&priority) else { return };
        for flow in flows {
            let Some(queue) = ring.queues.get_mut(flow) else { continue };
            queue.remove(&ticket);
            if queue.is_empty() {
                ring.queues.remove(flow);
                ring.order.retain(|waiting| waiting != flow);
            }
        }
        if ring.order.is_empty() {
            self.rings.remove(&priority);
        }
    }

    /// The ticket that goes next.
    pub fn next(&self) -> Option<Ticket> {
        let ring = self.rings.values().next()?;
        ring.queues.get(ring.order.front()?)?.first().copied()
    }

    /// The priority of the ticket that goes next.
    pub fn next_priority(&self) -> Option<Priority> {
        self.rings.keys().next().copied()
    }

    /// Ends the turn of the flow that goes next.
    pub fn end_turn(&mut self) {
        if let Some(mut ring) = self.rings.first_entry() {
            ring.get_mut().order.rotate_left(1);
        }
    }

    /// The number of tickets in the queue of `flow`.
    pub fn waiting(&self, priority: Priority, flow: Flow) -> usize {
        self.rings.get(&priority).and_then(|ring| ring.queues.get(&flow)).map_or(0, BTreeSet::len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Flow = Flow::Uid(1);
    const B: Flow = Flow::Uid(2);
    const C: Flow = Flow::Uid(3);

    /// The next `many` tickets to go; each waits for one flow.
    fn go(queue: &mut FairQueue, flow_of: impl Fn(Ticket) -> Flow, many: usize) -> Vec<Ticket> {
        let mut gone = Vec::new();
        while let Some(ticket) = queue.next().filter(|_| gone.len() < many) {
            queue.end_turn();
            let priority = *queue.rings.keys().next().unwrap();
            queue.leave(priority, &[flow_of(ticket)], ticket);
            gone.push(ticket);
        }
        gone
    }

    #[test]
    fn a_single_request_waits_for_one_of_a_flow_that_has_five_hundred() {
        let mut queue = FairQueue::default();
        (0..500).for_each(|ticket| queue.join(Priority::Caller, A, ticket));
        let flow = |ticket| if ticket < 500 { A } else { B };
        assert_eq!(go(&mut queue, flow, 7), [0, 1, 2, 3, 4, 5, 6]);
        queue.join(Priority::Caller, B, 500);
        assert_eq!(go(&mut queue, flow, 3), [7, 500, 8]);
        assert_eq!((queue.waiting(Priority::Caller, A), queue.waiting(Priority::Caller, B)), (491, 0));
    }

    #[test]
    fn three_flows_share_evenly_whatever_each_has() {
        let mut queue = FairQueue::default();
        let flow = |ticket| [A, B, C][(ticket / 1000) as usize];
        for ticket in (0..900).chain(1000..1100).chain(2000..2040) {
            queue.join(Priority::Caller, flow(ticket), ticket);
        }
        let gone = go(&mut queue, flow, 120);
        for shares in gone.chunks(3) {
            assert_eq!(shares.iter().map(|ticket| flow(*ticket)).collect::<Vec<_>>(), [A, B, C]);
        }
        let rest = go(&mut queue, flow, 2000);
        assert_eq!(rest.iter().filter(|ticket| flow(**ticket) == C).count(), 0, "all of its own have gone");
        assert_eq!(rest.len(), 900 + 100 - 80, "and none is forgotten");
        assert!(queue.rings.is_empty(), "nor anything kept");
    }

    #[test]
    fn urgency_goes_before_any_turn() {
        let mut queue = FairQueue::default();
        queue.join(Priority::Caller, A, 1);
        queue.join(Priority::Management, Flow::Daemon, 2);
        assert_eq!(queue.next(), Some(2));
        queue.end_turn();
        queue.leave(Priority::Management, &[Flow::Daemon], 2);
        assert_eq!(queue.next(), Some(1));
    }

    #[test]
    fn what_two_flows_wait_for_goes_in_the_turn_of_either() {
        let mut queue = FairQueue::default();
        (0..100).for_each(|ticket| queue.join(Priority::Caller, A, ticket));
        queue.join(Priority::Caller, B, 99);
        assert_eq!(queue.next(), Some(0));
        queue.end_turn();
        queue.leave(Priority::Caller, &[A], 0);
        assert_eq!(queue.next(), Some(99), "the last of one flow is the first of the other");
        queue.end_turn();
        queue.leave(Priority::Caller, &[A, B], 99);
        assert_eq!((queue.next(), queue.waiting(Priority::Caller, A)), (Some(1), 98));
    }

    #[test]
    fn a_request_that_gives_up_uses_no_turn() {
        let mut queue = FairQueue::default();
        (0..500).for_each(|ticket| queue.join(Priority::Caller, A, ticket));
        (0..500).for_each(|ticket| queue.leave(Priority::Caller, &[A], ticket));
        assert!(queue.rings.is_empty());
        queue.join(Priority::Caller, B, 500);
        queue.join(Priority::Caller, B, 501);
        queue.join(Priority::Caller, A, 502);
        assert_eq!(go(&mut queue, |ticket| if ticket == 502 { A } else { B }, 3), [500, 502, 501]);
    }
}
