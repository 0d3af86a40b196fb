//! Divides the limit of file descriptors among the listeners. No I/O and no clock.
//!
//! An accepted connection takes a descriptor. Without a free one the daemon could neither ask Auth0, read a file nor
//! answer a probe. Its own descriptors are therefore reserved first.

use std::collections::HashSet;
use std::fmt;

use crate::admin;
use crate::config::{Config, Listener};
use crate::listener::max_refusals;
use crate::transport::streaming::MOST_IDLE;

/// Descriptors of the daemon itself: listeners, runtime, signals, logs, watches, files, name resolution.
const OWN: u64 = 64;

/// Descriptors for each concurrent request to Auth0: its connection, and one that is being made or is idle.
const PER_REQUEST: u64 = 2;

/// Descriptors for each proxied call: its client's connection, which is not among `max_connections` meanwhile, and the
/// provider's.
const PER_STREAM: u64 = 2;

/// Minimum number of connections of a listener, whose limit is divided among uids by halves and quarters.
const FEWEST: usize = 8;

/// The descriptors that a configuration needs, and their division under the limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptors {
    limit: u64,
    reserved: u64,
    wanted: u64,
    /// The limits of each listener, in order.
    pub listeners: Vec<ListenerLimits>,
    /// How many idle connections are kept to each host that calls go to; at most [`MOST_IDLE`].
    pub idle_per_host: usize,
}

/// What may be open of one listener at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenerLimits {
    /// Maximum number of connections, without those of proxied calls.
    pub connections: usize,
    /// Maximum number of proxied calls.
    pub streams: usize,
}

impl ListenerLimits {
    /// The limits that are configured.
    pub fn of(listener: &Listener) -> Self {
        Self { connections: listener.max_connections, streams: listener.max_streams }
    }
}

impl Descriptors {
    /// Divides `limit` descriptors among what `config` needs. Idle connections to the hosts of calls take at most an
    /// eighth of what the daemon itself leaves, unless everything fits. Streams take at most half of the rest, and both
    /// nothing where the configuration has no proxied API: a reload that adds the first one does not divide anew.
    pub fn within(limit: u64, config: &Config) -> Self {
        let of_listeners: Vec<_> = config.listeners.iter().map(ListenerLimits::of).collect();
        let admin = if config.admin.address.is_some() { admin::MAX_DESCRIPTORS } else { 0 };
        Self::divide(limit, &of_listeners, config.upstream.max_concurrency, admin, hosts(config))
    }

    fn divide(
        limit: u64,
        of_listeners: &[ListenerLimits],
        requests: u32,
        admin: usize,
        hosts: usize,
    ) -> Self {
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let of_requests = u64::from(requests).saturating_mul(PER_REQUEST);
        let own = OWN.saturating_add(of_requests).saturating_add(count(admin));
        let sum = |of: &dyn Fn(&ListenerLimits) -> u64| {
            of_listeners.iter().fold(0, |sum: u64, each| sum.saturating_add(of(each)))
        };
        let of_streams =
            if hosts > 0 { sum(&|each| count(each.streams).saturating_mul(PER_STREAM)) } else { 0 };
        let with_refusals = |each: usize| count(each).saturating_add(count(max_refusals(each)));
        let wanted = sum(&|each| with_refusals(each.connections));
        let left = limit.saturating_sub(own);
        let spare = left.saturating_sub(of_streams).saturating_sub(wanted);
        let for_idle = spare.max(left / 8);
        let idle_per_host = part(for_idle, 1, count(hosts)).min(MOST_IDLE);
        let left = left.saturating_sub(count(idle_per_host.saturating_mul(hosts)));
        let for_streams = of_streams.min(left / 2);
        let for_connections = left - for_streams;
        let connections = |each: usize| {
            if wanted <= for_connections {
                return each;
            }
            let share = part(for_connections, with_refusals(each), wanted);
            // Connections and their refusals together are the share. Refusals are a quarter of the connections, up to a
            // maximum.
            let connections = (share / 5 * 4).max(share.saturating_sub(max_refusals(usize::MAX)));
            connections.max(FEWEST).min(each)
        };
        let streams = |each: usize| match for_streams < of_streams {
            true => part(for_streams, count(each), of_streams).clamp(1, each.max(1)),
            false => each,
        };
        let limits = |each: &ListenerLimits| ListenerLimits {
            connections: connections(each.connections),
            streams: streams(each.streams),
        };
        let listeners = of_listeners.iter().map(limits).collect();
        let of_idle = count(MOST_IDLE.saturating_mul(hosts));
        let reserved = own.saturating_add(of_streams).saturating_add(of_idle);
        Self { limit, reserved, wanted, listeners, idle_per_host }
    }

    /// Returns a warning with advice, if not everything that is configured fits.
    pub fn warning(&self) -> Option<Warning<'_>> {
        let fits = self.wanted.saturating_add(self.reserved) <= self.limit;
        (!fits).then_some(Warning(self))
    }
}

/// The number of hosts that calls go to, each of which has idle connections of its own.
fn hosts(config: &Config) -> usize {
    let of_apis: HashSet<_> = config.proxied_apis.iter().map(|api| &api.authority).collect();
    of_apis.len() + usize::from(config.management_api.is_some())
}

/// The part of `whole` that `share` has of `all`. In 128 bits, because a limit may be as large as 64 bits allow. The result
/// is at most `share`, which fits.
fn part(whole: u64, share: u64, all: u64) -> usize {
    let part = u128::from(whole) * u128::from(share) / u128::from(all.max(1));
    usize::try_from(part).unwrap_or(usize::MAX)
}

/// The warning, which prints as one sentence.
#[derive(Clone, Copy, Debug)]
pub struct Warning<'a>(&'a Descriptors);

impl fmt::Display for Warning<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Descriptors { limit, reserved, wanted, listeners, .. } = self.0;
        let connections: usize = listeners.iter().map(|listener| listener.connections).sum();
        let needed = wanted.saturating_add(*reserved);
        write!(
            f,
            "file descriptors are limited to {limit}, and {needed} are needed: {wanted} for max_connections of all \
             listeners and for refusals beyond, {reserved} for Auth0, proxied calls, files and probes; the listeners take {connections} \
             connections together: raise LimitNOFILE= in the unit, or the container's limit of open files, or lower max_connections and max_streams"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 16 requests, 32 probes; calls go to one host, and without streams to none.
    fn divide(limit: u64, connections: &[usize], streams: usize) -> Descriptors {
        let of: Vec<_> =
            connections.iter().map(|each| ListenerLimits { connections: *each, streams }).collect();
        Descriptors::divide(limit, &of, 16, 32, usize::from(streams > 0))
    }

    fn connections(divided: &Descriptors) -> Vec<usize> {
        divided.listeners.iter().map(|listener| listener.connections).collect()
    }

    #[test]
    fn limits_that_fit_are_kept_and_others_are_divided() {
        let divided = |limit, listeners: &[usize]| divide(limit, listeners, 0);
        // 64 of its own, 32 for Auth0, 32 for probes; 128 refusals for each listener.
        let fits = divided(2432, &[1024, 1024]);
        assert_eq!((connections(&fits).as_slice(), fits.warning().is_none()), (&[1024, 1024][..], true));
        let short = divided(2431, &[1024, 1024]);
        assert_eq!((connections(&short).as_slice(), short.warning().is_none()), (&[1023, 1023][..], false));
        assert_eq!(connections(&divided(528, &[3000, 1000, 4])), [232, 84, 4], "less than the fewest");
        assert_eq!(connections(&divided(20, &[1024, 2])), [8, 2], "the daemon still works");
        assert_eq!(connections(&divided(u64::MAX, &[65_536; 3])), [65_536; 3], "without a limit");
    }

    #[test]
    fn connections_and_their_refusals_never_take_what_is_reserved() {
        for listeners in [&[1024, 1024][..], &[65_536, 1024], &[300], &[9, 7]] {
            for limit in 128..4096 {
                let divided = connections(&divide(limit, listeners, 0));
                let taken: usize = divided.iter().map(|each| each + max_refusals(*each)).sum();
                // If the minimum does not fit, the daemon exceeds the share: it is of more use than without
                // connections.
                let is_least = divided.contains(&FEWEST);
                assert!(is_least || u64::try_from(taken).unwrap() + 128 <= limit, "{limit} {listeners:?}");
            }
        }
    }

    #[test]
    fn streams_take_at_most_half_of_what_the_daemon_itself_leaves() {
        let divided = |limit| divide(limit, &[1024], 256).listeners;
        // 64 of its own, 32 for Auth0, 32 for probes; 32 idle connections; two for each of 256 streams.
        assert_eq!(divided(160 + 512 + 1152), [ListenerLimits { connections: 1024, streams: 256 }]);
        assert_eq!(divided(160 + 512 + 576), [ListenerLimits { connections: 460, streams: 256 }]);
        assert_eq!(divided(160 + 512), [ListenerLimits { connections: 204, streams: 128 }]);
        assert_eq!(divided(16), [ListenerLimits { connections: 8, streams: 1 }], "the daemon still works");
    }

    #[test]
    fn idle_connections_to_hosts_are_fewer_where_they_do_not_fit() {
        let of = [ListenerLimits { connections: 64, streams: 16 }];
        let divided = |limit, hosts| Descriptors::divide(limit, &of, 16, 32, hosts);
        // 128 of the daemon's, 80 connections with their refusals, 32 for streams, 32 for each of 14 hosts.
        let fits = divided(128 + 80 + 32 + 448, 14);
        assert_eq!((fits.idle_per_host, &fits.listeners[..], fits.warning().is_none()), (32, &of[..], true));
        let short = divided(128 + 80 + 32 + 447, 14);
        assert_eq!((short.idle_per_host, &short.listeners[..]), (31, &of[..]));
        assert!(short.warning().is_some());
        assert_eq!(divided(400, 14).idle_per_host, 11);
        assert_eq!(divided(128, 14).idle_per_host, 0, "each call has a connection of its own");
        assert_eq!(divided(u64::MAX, 14).idle_per_host, MOST_IDLE);
        for (limit, hosts) in (300..1024).flat_map(|limit| [1, 3, 14, 100].map(|hosts| (limit, hosts))) {
            let Descriptors { listeners, idle_per_host, .. } = divided(limit, hosts);
            let ListenerLimits { connections, streams } = listeners[0];
            let taken = 128 + connections + max_refusals(connections) + 2 * streams + hosts * idle_per_host;
            assert!(u64::try_from(taken).unwrap() <= limit, "{limit} {hosts}");
        }
    }

    #[test]
    fn the_warning_names_the_numbers() {
        let text = divide(256, &[1024, 1024], 0).warning().unwrap().to_string();
        for number in ["256", "2432", "2304", "128", "96 connections", "LimitNOFILE="] {
            assert!(text.contains(number), "{number}: {text}");
        }
    }
}
