//! Restrictions of the installed systemd unit, which apply to the daemon and not to `check`.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::transport::resolver;

/// The directories that systemd searches for units, in ascending order of precedence (systemd.unit(5)).
const DIRECTORIES: [&str; 5] = [
    "/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/usr/local/lib/systemd/system",
    "/run/systemd/system",
    "/etc/systemd/system",
];

const UNIT: &str = "cloakroom.service";

/// A warning about a name server that the installed unit blocks for the daemon, with the fix.
pub fn unreachable_name_server() -> Option<String> {
    let server = resolver::link_local().filter(|server| denies(&installed(), *server))?;
    Some(format!(
        "the name server {server} in /etc/resolv.conf is link-local, and IPAddressDeny= in {UNIT} blocks it for the \
         daemon, though not for this command: add the drop-in link-local-resolver.conf with that address"
    ))
}

/// A warning about a state file that the installed unit keeps the daemon from writing, with the fix.
pub fn read_only_state(path: &Path) -> Option<String> {
    is_read_only(&installed(), path).then(|| {
        format!(
            "state.path: {UNIT} keeps the daemon from writing to {}; use a path below /var/lib/cloakroom, or add a drop-in \
             with ReadWritePaths=",
            path.parent().unwrap_or(path).display()
        )
    })
}

/// Whether `unit` lets the daemon write nothing beside `path` (systemd.exec(5)).
fn is_read_only(unit: &str, path: &Path) -> bool {
    let values = |directive: &str| {
        let values =
            unit.lines().filter_map(move |line| line.trim().strip_prefix(directive)?.strip_prefix('='));
        values.flat_map(str::split_ascii_whitespace).map(str::to_owned).collect::<Vec<_>>()
    };
    let states = values("StateDirectory").into_iter().map(|name| Path::new("/var/lib").join(name));
    // A minus in front only says that the path may be absent, a plus that it is below RootDirectory=.
    let others =
        values("ReadWritePaths").into_iter().map(|path| PathBuf::from(path.trim_start_matches(['-', '+'])));
    let mut writable = states.chain(others);
    values("ProtectSystem").iter().any(|value| value == "strict")
        && !writable.any(|above| path.starts_with(above))
}

/// The text of the unit with the highest precedence, followed by its drop-ins.
fn installed() -> String {
    let unit = DIRECTORIES
        .iter()
        .rev()
        .find_map(|directory| fs::read_to_string(Path::new(directory).join(UNIT)).ok());
    let mut drop_ins: Vec<PathBuf> = DIRECTORIES
        .iter()
        .filter_map(|directory| fs::read_dir(Path::new(directory).join(format!("{UNIT}.d"))).ok())
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "conf"))
        .collect();
    drop_ins.sort_by(|one, other| one.file_name().cmp(&other.file_name()));
    let drop_ins = drop_ins.iter().filter_map(|path| fs::read_to_string(path).ok());
    unit.into_iter().chain(drop_ins).map(|text| text + "\n").collect()
}

/// Whether `unit` denies `server`. An allowed address takes precedence over a denied one (systemd.resource-control(5)).
fn denies(unit: &str, server: IpAddr) -> bool {
    let listed = |directive: &str, words: &[&str]| {
        let values = unit.lines().filter_map(|line| line.trim().strip_prefix(directive)?.strip_prefix('='));
        // An empty value empties the list.
        let list = values.fold(Vec::new(), |mut list, value| {
            if value.trim().is_empty() {
                list.clear();
            }
            list.extend(value.split_ascii_whitespace());
            list
        });
        let is_server = |word: &&str| word.split('/').next().is_some_and(|word| word.parse() == Ok(server));
        list.iter().any(|word| words.contains(word) || is_server(word))
    };
    // Networks that contain every link-local server, as the unit denies them or a drop-in allows them.
    let networks = ["any", "link-local", "169.254.0.0/16", "fe80::/64", "fe80::/10"];
    listed("IPAddressDeny", &networks) && !listed("IPAddressAllow", &networks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_packaged_unit_lets_the_state_be_written_where_its_drop_in_has_it() {
        let unit = include_str!("../../../systemd/cloakroom.service");
        assert!(!is_read_only(unit, Path::new("/var/lib/cloakroom/state")));
        assert!(is_read_only(unit, Path::new("/srv/state")));
        assert!(!is_read_only(&format!("{unit}\nReadWritePaths=-/srv\n"), Path::new("/srv/state")));
        assert!(!is_read_only("", Path::new("/srv/state")), "no unit is installed");
        let drop_in = include_str!("../../../systemd/drop-ins/state.conf");
        assert!(drop_in.contains("CLOAKROOM_STATE__PATH=%S/cloakroom/state\n"), "below the StateDirectory=");
    }

    #[test]
    fn the_packaged_unit_denies_what_its_drop_in_allows() {
        let aws: IpAddr = "169.254.169.253".parse().unwrap();
        let unit = include_str!("../../../systemd/cloakroom.service");
        let drop_in = include_str!("../../../systemd/drop-ins/link-local-resolver.conf");
        assert!(denies(unit, aws));
        assert!(!denies(&format!("{unit}\n{drop_in}"), aws));
        assert!(denies(&format!("{unit}\n{drop_in}"), "fe80::1".parse().unwrap()), "another address");
        assert!(!denies(&format!("{unit}\nIPAddressDeny=\n"), aws), "the list is emptied");
        assert!(!denies("", aws), "no unit is installed");
    }
}
