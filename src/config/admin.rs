//! `[admin]`: where probes and metrics can be read over TCP.

use std::net::SocketAddr;

use super::layer::Value;

use super::Admin;
use super::problem::Checked;
use super::reader::Reader;
use super::values::{Parsed, boolean, line};

const ADDRESS: &str = "admin.address";

/// `[admin]`; off without an address.
pub(super) fn read(reader: &mut Reader) -> Checked<Admin> {
    let address = reader.optional(ADDRESS, parse_address);
    let allow_remote = reader.setting("admin.allow_remote", false, boolean);
    let (address, allow_remote) = (address?, allow_remote?);
    if address.is_none() && allow_remote.value {
        return Err(reader.refuse(&allow_remote, format!("means nothing without {ADDRESS}")));
    }
    if let Some(address) = &address {
        // Whoever reaches it learns how much the daemon has to do, and nothing about anybody; still, that is for the
        // operator to decide.
        if !address.value.ip().is_loopback() && !allow_remote.value {
            let text = "can be reached from other machines: name a loopback address such as 127.0.0.1:9464, or set \
                        admin.allow_remote = true";
            return Err(reader.refuse(address, text));
        }
    }
    Ok(Admin { address: address.map(|address| address.value) })
}

fn parse_address(value: &Value) -> Parsed<SocketAddr> {
    let example = "must be an IP address and a port, such as \"127.0.0.1:9464\" or \"[::1]:9464\"";
    let address: SocketAddr = line(value)?.parse().map_err(|_| example.to_owned())?;
    if address.port() == 0 {
        return Err("must name a port; 0 is none".to_owned());
    }
    Ok(address)
}
