//! `[admin]`: where probes and metrics can be read over TCP.

use std::net::SocketAddr;

use super::problem::{Checked, Wrong};
use super::reader::Reader;
use super::reloadable::Reloadable;
use super::schema::Type;
use super::source_values::Value;
use super::values::{Typed, line};

const ADDRESS: &str = "admin.address";

/// `[admin]`.
#[derive(Clone, Copy, Debug)]
pub struct Admin {
    /// The address of probes and metrics; `None` turns them off. A loopback address, unless `allow_remote` is set.
    pub address: Option<SocketAddr>,
}

impl Reloadable for Admin {
    fn restore_fixed(&mut self, running: &Self) {
        *self = *running;
    }
}

/// Reads `[admin]`. Without an address it is off.
pub(super) fn read(reader: &mut Reader) -> Checked<Admin> {
    let address = reader.optional::<SocketAddr>(ADDRESS);
    let allow_remote = reader.setting::<bool>("admin.allow_remote");
    let (address, allow_remote) = (address?, allow_remote?);
    if address.is_none() && allow_remote.value {
        return Err(reader.refuse(&allow_remote, format!("requires {ADDRESS}")));
    }
    if let Some(address) = &address {
        // Metrics show how busy the daemon is, and nothing about users. Whether other machines may see that is the
        // operator's decision.
        if !address.value.ip().is_loopback() && !allow_remote.value {
            let text = "is reachable from other machines; use a loopback address such as 127.0.0.1:9464, or set \
                        admin.allow_remote = true";
            return Err(reader.refuse(address, text));
        }
    }
    Ok(Admin { address: address.map(|address| address.value) })
}

impl Typed for SocketAddr {
    fn parse(takes: Type, value: &Value) -> Result<Self, Wrong> {
        let example = "must be an IP address and a port, such as \"127.0.0.1:9464\" or \"[::1]:9464\"";
        let address: Self = line(takes, value)?.parse().map_err(|_| example)?;
        if address.port() == 0 {
            return Err("must have a port other than 0".into());
        }
        Ok(address)
    }

    fn shown(&self) -> String {
        self.to_string()
    }
}
