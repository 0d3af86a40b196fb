//! Whose turn it is: the most urgent first, and flows of the same priority one after the other. Pure.
//!
//! Each flow has its own queue, and those that wait stand in a ring: whichever has gone steps back behind the others. So
//! what one flow asks for lets each of the others through once for every one of its own, however long its queue is.
//! Fair queuing by time stamps would come to the same while all wait; but stamps are given out on arrival, so a flow
//! whose requests gave up would go on paying for queue that it never had, and stamps have to be tidied away. Here there
//! is nothing but those who wait.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::domain::priority::{Flow, Priority};

/// One request that waits. Later ones have higher numbers.
pub type Ticket = u64;

/// Those who wait.
#[derive(Debug, Default)]
pub struct FairQueue {
    /// By priority; none without anybody.
    rings: BTreeMap<Priority, Ring>,
}

#[derive(Debug, Default)]
struct Ring {
    /// Whose turn comes when; each flow that waits, once.
    order: VecDeque<Flow>,
    queues: BTreeMap<Flow, BTreeSet<Ticket>>,
}

impl FairQueue {
    /// `ticket` waits, also in the queue of `flow`.
    pub fn join(&mut self, priority: Priority, flow: Flow, ticket: Ticket) {
        let ring = self.rings.entry(priority).or_default();
        let queue = ring.queues.entry(flow).or_default();
        if queue.is_empty() {
            ring.order.push_back(flow);
        }
        queue.insert(ticket);
    }

    /// `ticket` does not wait any more; `flows` are those in whose queue it did.
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

    /// Who is next.
    pub fn next(&self) -> Option<Ticket> {
        let ring = self.rings.values().next()?;
        ring.queues.get(ring.order.front()?)?.first().copied()
    }

    /// Whoever is next goes: that was its flow's turn.
    pub fn take(&mut self) {
        if let Some(mut ring) = self.rings.first_entry() {
            ring.get_mut().order.rotate_left(1);
        }
    }

    /// How many wait in the queue of `flow`.
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

    /// The next so many to go, of tickets that each wait for one flow.
    fn go(queue: &mut FairQueue, flow_of: impl Fn(Ticket) -> Flow, many: usize) -> Vec<Ticket> {
        let mut gone = Vec::new();
        while let Some(ticket) = queue.next().filter(|_| gone.len() < many) {
            queue.take();
            let priority = *queue.rings.keys().next().unwrap();
            queue.leave(priority, &[flow_of(ticket)], ticket);
            gone.push(ticket);
        }
        gone
    }

    #[test]
    fn who_comes_with_one_waits_for_one_of_those_who_have_five_hundred() {
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
        assert_eq!(rest.iter().filter(|ticket| flow(**ticket) == C).count(), 0, "it has had all its own");
        assert_eq!(rest.len(), 900 + 100 - 80, "and nobody is forgotten");
        assert!(queue.rings.is_empty(), "nor anything kept");
    }

    #[test]
    fn urgency_goes_before_any_turn() {
        let mut queue = FairQueue::default();
        queue.join(Priority::Caller, A, 1);
        queue.join(Priority::Management, Flow::Daemon, 2);
        assert_eq!(queue.next(), Some(2));
        queue.take();
        queue.leave(Priority::Management, &[Flow::Daemon], 2);
        assert_eq!(queue.next(), Some(1));
    }

    #[test]
    fn what_two_flows_wait_for_goes_in_the_turn_of_either() {
        let mut queue = FairQueue::default();
        (0..100).for_each(|ticket| queue.join(Priority::Caller, A, ticket));
        queue.join(Priority::Caller, B, 99);
        assert_eq!(queue.next(), Some(0));
        queue.take();
        queue.leave(Priority::Caller, &[A], 0);
        assert_eq!(queue.next(), Some(99), "the last of one flow is the first of the other");
        queue.take();
        queue.leave(Priority::Caller, &[A, B], 99);
        assert_eq!((queue.next(), queue.waiting(Priority::Caller, A)), (Some(1), 98));
    }

    #[test]
    fn who_gives_up_has_had_no_turn() {
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
