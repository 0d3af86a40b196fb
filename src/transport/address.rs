//! Which addresses are public: what a name of the public internet may resolve to.
//!
//! A name that an attacker controls can be made to resolve to an address inside of the network, or to the metadata
//! service of a cloud. So addresses are judged when they are connected to, and not when the configuration is read.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use hyper::Uri;

/// The addresses that a connector connects to.
#[derive(Clone, Debug)]
pub enum Reach {
    /// Any address.
    Any,
    /// Public addresses, and any address of the authorities in `except`.
    Public {
        /// `host` or `host:port`, as URIs have them.
        except: Arc<[Arc<str>]>,
    },
}

/// A name has addresses, and none of them is public.
#[derive(Debug, thiserror::Error)]
#[error("the name has no public address")]
pub struct NoPublicAddress;

impl Reach {
    /// Whether only public addresses of `uri` are connected to.
    pub fn is_public_only(&self, uri: &Uri) -> bool {
        let Self::Public { except } = self else { return false };
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        !except.iter().any(|known| **known == *authority)
    }
}

/// Whether `address` is public: globally reachable by the registries of special-purpose addresses (RFC 6890), and no
/// multicast. An IPv6 address that has an IPv4 address in it is public if that is.
///
/// <https://www.iana.org/assignments/iana-ipv4-special-registry>,
/// <https://www.iana.org/assignments/iana-ipv6-special-registry>
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let is_special = match address.octets() {
        // "This network", private, shared (RFC 6598), loopback, link-local.
        [0 | 10 | 127, ..] | [100, 64..=127, ..] | [169, 254, ..] | [172, 16..=31, ..] | [192, 168, ..] => {
            true
        }
        // IETF protocol assignments, documentation, 6to4 relays, benchmarking.
        [192, 0, 0 | 2, _] | [192, 88, 99, _] | [198, 18 | 19, ..] | [198, 51, 100, _] | [203, 0, 113, _] => {
            true
        }
        // What a machine in Azure reaches its host's services by, the metadata that is for it alone among them.
        [168, 63, 129, 16] => true,
        // Multicast, reserved, broadcast.
        [224..=255, ..] => true,
        _ => false,
    };
    !is_special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let last = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match address.segments() {
        // NAT64 (RFC 6052) and 6to4 (RFC 3056).
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => last(high, low),
        [0x2002, high, low, ..] => last(high, low),
        // Protocol assignments with Teredo and ORCHID, documentation (RFC 3849, RFC 9637).
        [0x2001, 0..=0x1ff, ..] | [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => false,
        // Global unicast is 2000::/3 (RFC 4291 §2.4); unspecified, loopback, IPv4-mapped, NAT64 for local use, unique
        // local, link-local and multicast addresses are outside of it.
        [0x2000..=0x3fff, ..] => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_internet_routes_is_public() {
        for text in [
            "8.8.8.8",
            "1.1.1.1",
            "172.15.0.1",
            "172.32.0.1",
            "100.63.0.1",
            "100.128.0.1",
            "192.0.1.1",
            "223.255.255.1",
            "2607:f8b0::1",
            "2a00:1450::1",
            "64:ff9b::808:808",
            "2002:808:808::1",
        ] {
            assert!(is_public(text.parse().unwrap()), "{text}");
        }
        for text in [
            "127.0.0.1",
            "127.1.2.3",
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "169.254.169.254",
            "168.63.129.16",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "192.0.0.1",
            "192.0.2.1",
            "192.88.99.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.1.1.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:169.254.169.254",
            "::ffff:8.8.8.8",
            "::7f00:1",
            "fd00::1",
            "fc00::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b::7f00:1",
            "64:ff9b:1::808:808",
            "2002:7f00:1::1",
            "2002:a00:1::1",
            "2001::1",
            "2001:10::1",
            "2001:db8::1",
            "3fff::1",
            "100::1",
            "5f00::1",
        ] {
            assert!(!is_public(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn the_exception_is_for_one_authority() {
        let reach = Reach::Public { except: Arc::from(["internal.example:8443".into()]) };
        let is_public_only = |uri: &str| reach.is_public_only(&uri.parse().unwrap());
        assert!(!is_public_only("https://internal.example:8443/a"));
        for uri in
            ["https://internal.example/a", "https://other.example:8443/", "https://x.internal.example:8443/"]
        {
            assert!(is_public_only(uri), "{uri}");
        }
        assert!(!Reach::Any.is_public_only(&"https://other.example/".parse().unwrap()));
    }
}
