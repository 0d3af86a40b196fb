//! Divides the limit of file descriptors among the listeners. No I/O and no clock.
//!
//! An accepted connection takes a descriptor. Without a free one the daemon could neither ask Auth0, read a file nor
//! answer a probe. Its own descriptors are therefore reserved first.

use std::fmt;

use crate::admin;
use crate::config::Config;
use crate::listener::max_refusals;

/// Descriptors of the daemon itself: listeners, runtime, signals, logs, watches, files, name resolution.
const OWN: u64 = 64;

/// Descriptors for each concurrent request to Auth0: its connection, and one that is being made or is idle.
const PER_REQUEST: u64 = 2;

/// Descriptors for each call of another API: its connection there, and one that is being made or is idle.
const PER_STREAM: usize = 2;

/// Minimum number of connections of a listener, whose limit is divided among uids by halves and quarters.
const FEWEST: usize = 8;

/// The descriptors that a configuration needs, and their division under the limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptors {
    limit: u64,
    reserved: u64,
    wanted: u64,
    /// Maximum number of connections of each listener, in order.
    pub connections: Vec<usize>,
    /// Maximum number of calls of other APIs in progress on each listener, in order; 0 if there are no such calls.
    pub streams: Vec<usize>,
}

/// What a listener is configured to take.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    connections: usize,
    streams: usize,
}

impl Descriptors {
    /// Divides `limit` descriptors among what `config` needs.
    pub fn within(limit: u64, config: &Config) -> Self {
        let has_calls = config.has_calls();
        let wanted = config.listeners.iter().map(|listener| Wanted {
            connections: listener.max_connections,
            streams: if has_calls { listener.max_streams } else { 0 },
        });
        let of_listeners: Vec<_> = wanted.collect();
        let admin = if config.admin.address.is_some() { admin::MAX_DESCRIPTORS } else { 0 };
        Self::divide(limit, &of_listeners, config.upstream.max_concurrency, admin)
    }

    fn divide(limit: u64, of_listeners: &[Wanted], requests: u32, admin: usize) -> Self {
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let of_requests = u64::from(requests).saturating_mul(PER_REQUEST);
        let reserved = OWN.saturating_add(of_requests).saturating_add(count(admin));
        let with_refusals = |each: usize| count(each).saturating_add(count(max_refusals(each)));
        let of_streams = |each: usize| count(each.saturating_mul(PER_STREAM));
        let wanted = of_listeners.iter().fold(0, |sum: u64, each| {
            sum.saturating_add(with_refusals(each.connections)).saturating_add(of_streams(each.streams))
        });
        let left = limit.saturating_sub(reserved);
        // 128 bits, because a limit may be as large as 64 bits allow. The result is at most `wanted`, which fits.
        let share_of = |each: u64| {
            let share = u128::from(left) * u128::from(each) / u128::from(wanted.max(1));
            usize::try_from(share).unwrap_or(usize::MAX)
        };
        let connections = |each: usize| {
            if wanted <= left {
                return each;
            }
            let share = share_of(with_refusals(each));
            // Connections and their refusals together are the share. Refusals are a quarter of the connections, up to a
            // maximum.
            let connections = (share / 5 * 4).max(share.saturating_sub(max_refusals(usize::MAX)));
            connections.max(FEWEST).min(each)
        };
        let streams = |each: usize| {
            if wanted <= left { each } else { (share_of(of_streams(each)) / PER_STREAM).max(1).min(each) }
        };
        let streams = of_listeners.iter().map(|each| streams(each.streams)).collect();
        let connections = of_listeners.iter().map(|each| connections(each.connections)).collect();
        Self { limit, reserved, wanted, connections, streams }
    }

    /// Returns a warning with advice, if not everything that is configured fits.
    pub fn warning(&self) -> Option<Warning<'_>> {
        let fits = self.wanted.saturating_add(self.reserved) <= self.limit;
        (!fits).then_some(Warning(self))
    }
}

/// The warning, which prints as one sentence.
#[derive(Clone, Copy, Debug)]
pub struct Warning<'a>(&'a Descriptors);

impl fmt::Display for Warning<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Descriptors { limit, reserved, wanted, connections, streams } = self.0;
        let (connections, streams): (usize, usize) = (connections.iter().sum(), streams.iter().sum());
        let needed = wanted.saturating_add(*reserved);
        write!(
            f,
            "file descriptors are limited to {limit}, and {needed} are needed: {wanted} for max_connections {}of all \
             listeners and for refusals beyond, {reserved} for Auth0, files and probes; the listeners take {connections} \
             connections together{}: raise LimitNOFILE= in the unit, or the container's limit of open files, or lower \
             max_connections{}",
            if streams == 0 { "" } else { "and max_streams " },
            if streams == 0 { String::new() } else { format!(" and {streams} calls") },
            if streams == 0 { "" } else { " and max_streams" },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn without_calls(listeners: &[usize]) -> Vec<Wanted> {
        listeners.iter().map(|connections| Wanted { connections: *connections, streams: 0 }).collect()
    }

    #[test]
    fn calls_take_two_descriptors_each_and_are_divided_as_connections_are() {
        let listener = Wanted { connections: 1024, streams: 256 };
        // 64 of its own, 32 for Auth0; 128 refusals and 512 for calls.
        let fits = Descriptors::divide(1760, &[listener], 16, 0);
        assert_eq!((fits.connections.as_slice(), fits.streams.as_slice()), (&[1024][..], &[256][..]));
        let short = Descriptors::divide(928, &[listener], 16, 0);
        assert_eq!((short.connections.as_slice(), short.streams.as_slice()), (&[460][..], &[128][..]));
        let text = short.warning().unwrap().to_string();
        for words in [
            "1664 for max_connections and max_streams",
            "460 connections together and 128 calls",
            "or lower max_connections and max_streams",
        ] {
            assert!(text.contains(words), "{words}: {text}");
        }
        assert_eq!(Descriptors::divide(20, &[listener], 16, 0).streams, [1], "the daemon still works");
    }

    #[test]
    fn limits_that_fit_are_kept_and_others_are_divided() {
        let divided =
            |limit, listeners: &[usize]| Descriptors::divide(limit, &without_calls(listeners), 16, 32);
        // 64 of its own, 32 for Auth0, 32 for probes; 128 refusals for each listener.
        let fits = divided(2432, &[1024, 1024]);
        assert_eq!((fits.connections.as_slice(), fits.warning().is_none()), (&[1024, 1024][..], true));
        let short = divided(2431, &[1024, 1024]);
        assert_eq!((short.connections.as_slice(), short.warning().is_none()), (&[1023, 1023][..], false));
        assert_eq!(divided(528, &[3000, 1000, 4]).connections, [232, 84, 4], "less than the fewest");
        assert_eq!(divided(20, &[1024, 2]).connections, [8, 2], "the daemon still works");
        assert_eq!(divided(u64::MAX, &[65_536; 3]).connections, [65_536; 3], "without a limit");
    }

    #[test]
    fn connections_and_their_refusals_never_take_what_is_reserved() {
        for listeners in [&[1024, 1024][..], &[65_536, 1024], &[300], &[9, 7]] {
            for limit in 128..4096 {
                let divided = Descriptors::divide(limit, &without_calls(listeners), 16, 32);
                let taken: usize = divided.connections.iter().map(|each| each + max_refusals(*each)).sum();
                // If the minimum does not fit, the daemon exceeds the share: it is of more use than without
                // connections.
                let is_least = divided.connections.contains(&FEWEST);
                assert!(is_least || u64::try_from(taken).unwrap() + 128 <= limit, "{limit} {listeners:?}");
            }
        }
    }

    #[test]
    fn the_warning_names_the_numbers() {
        let text =
            Descriptors::divide(256, &without_calls(&[1024, 1024]), 16, 0).warning().unwrap().to_string();
        for number in ["256", "2400", "2304", "96", "128 connections", "LimitNOFILE="] {
            assert!(text.contains(number), "{number}: {text}");
        }
    }
}
