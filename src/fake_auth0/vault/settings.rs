//! The settings of Token Vault: what the application may exchange, and from where.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

/// The settings of the application and the tenant that an exchange depends on, besides the application's keys. The
/// default is an application that was never set up for Token Vault, as Auth0 creates it.
#[derive(Clone, Debug)]
pub struct VaultSettings {
    /// Whether the application has the Token Vault grant type.
    pub grant_type_allowed: bool,
    /// Whether the application is OIDC conformant. A Machine to Machine application that Auth0's Management API creates
    /// is not.
    pub oidc_conformant: bool,
    /// Whether the application is first party.
    pub first_party: bool,
    /// Addresses and CIDR ranges that requests may come from: `ip_allowlist` of the privileged access.
    pub ip_allowlist: Vec<String>,
    /// Scopes by connection: `grants` of the privileged access.
    pub grants: BTreeMap<String, BTreeSet<String>>,
    /// Connections that are enabled for the application.
    pub enabled: BTreeSet<String>,
    /// Whether the tenant's policy asks every login for a second factor.
    pub always_mfa: bool,
    /// What separates scopes in answers. Auth0 passes on how the provider wrote them.
    pub scope_separator: &'static str,
    /// The address that requests come from, because in memory they come from none.
    pub caller: IpAddr,
}

impl Default for VaultSettings {
    fn default() -> Self {
        Self {
            grant_type_allowed: false,
            oidc_conformant: false,
            first_party: true,
            ip_allowlist: Vec::new(),
            grants: BTreeMap::new(),
            enabled: BTreeSet::new(),
            always_mfa: false,
            scope_separator: " ",
            caller: IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7)),
        }
    }
}

impl VaultSettings {
    /// Sets everything as the privileged exchange needs it for these connections, each with these scopes. The keys of
    /// subject tokens are [registered](super::super::Tenant::register_key) besides.
    pub fn allow(&mut self, connections: &[&str], scopes: &[&str]) {
        self.grant_type_allowed = true;
        self.oidc_conformant = true;
        self.ip_allowlist = vec![self.caller.to_string()];
        let scopes: BTreeSet<_> = scopes.iter().map(|&scope| scope.to_owned()).collect();
        for &connection in connections {
            self.grants.insert(connection.to_owned(), scopes.clone());
            self.enabled.insert(connection.to_owned());
        }
    }

    /// Whether requests may come from the address that they come from.
    pub fn admits_caller(&self) -> bool {
        self.ip_allowlist.iter().any(|range| contains(range, self.caller))
    }
}

/// Whether `range`, an address or a CIDR range, contains `address`. A range that cannot be read contains none.
fn contains(range: &str, address: IpAddr) -> bool {
    let (base, length) = match range.split_once('/') {
        Some((base, length)) => (base, length.parse().ok()),
        None => (range, Some(u32::MAX)),
    };
    let bits = |address| match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()), 32_u32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    };
    let (Ok(base), Some(length)) = (base.parse(), length) else { return false };
    let ((base, width), (address, other)) = (bits(base), bits(address));
    // A shift by the full width is the range of all addresses.
    let hidden = width.saturating_sub(length);
    width == other && (base ^ address).checked_shr(hidden).unwrap_or(0) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_contain_their_addresses_alone() {
        for (range, address, is_inside) in [
            ("203.0.113.7", "203.0.113.7", true),
            ("203.0.113.7", "203.0.113.8", false),
            ("203.0.113.0/24", "203.0.113.255", true),
            ("203.0.113.0/24", "203.0.114.0", false),
            ("0.0.0.0/0", "198.51.100.1", true),
            ("0.0.0.0/0", "::1", false),
            ("2001:db8::/32", "2001:db8:1::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("::/0", "2001:db9::1", true),
            ("203.0.113.0/x", "203.0.113.7", false),
            ("anywhere", "203.0.113.7", false),
        ] {
            assert_eq!(contains(range, address.parse().unwrap()), is_inside, "{range} {address}");
        }
    }
}
