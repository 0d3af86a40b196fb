//! Detects a link-local name server in `/etc/resolv.conf`, which the systemd unit blocks.

use std::net::IpAddr;

const CONFIGURATION: &str = "/etc/resolv.conf";

/// How many name servers the C library uses (resolv.conf(5)).
const MOST_SERVERS: usize = 3;

/// The first name server that has a link-local address, as in some clouds. The packaged unit's
/// `IPAddressDeny=link-local` drops packets to it, so that names are resolved late or never.
pub fn link_local() -> Option<IpAddr> {
    std::fs::read_to_string(CONFIGURATION).ok().and_then(|text| first_link_local(&text))
}

fn first_link_local(text: &str) -> Option<IpAddr> {
    let servers = text.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        // An address may name its interface: `fe80::1%eth0`.
        let address = words.next().filter(|word| *word == "nameserver").and_then(|_| words.next());
        address?.split('%').next()?.parse::<IpAddr>().ok()
    });
    servers.take(MOST_SERVERS).find(|server| match server {
        IpAddr::V4(server) => server.is_link_local(),
        IpAddr::V6(server) => server.is_unicast_link_local(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_local_servers_are_found_where_they_are_asked() {
        let found = |text| first_link_local(text).map(|server| server.to_string());
        assert_eq!(found("nameserver 169.254.169.253\n"), Some("169.254.169.253".into()));
        assert_eq!(
            found("search corp\nnameserver 10.0.0.2\n\tnameserver\tfe80::1%eth0 # the router\n"),
            Some("fe80::1".into())
        );
        for text in [
            "",
            "nameserver",
            "nameserver 127.0.0.53\noptions edns0\n",
            "# nameserver 169.254.169.253\n;nameserver fe80::1\n",
            "nameservers 169.254.169.253\n",
            "nameserver 10.0.0.1\nnameserver 10.0.0.2\nnameserver 10.0.0.3\nnameserver 169.254.169.253\n",
        ] {
            assert_eq!(found(text), None, "{text}");
        }
    }
}
