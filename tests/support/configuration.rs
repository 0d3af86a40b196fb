//! The text of a configuration that leads to a simulated tenant.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use cloakroom::fake_auth0::{ClientKeyPair, Tenant};
use tempfile::TempDir;

/// Writes the files that a configuration for `tenant` at `domain` names into `directory`, and returns the
/// configuration. Keys of `[tenant]` may open `settings`; whole tables follow, among which may be `[tenant.client]`.
pub fn configuration(
    domain: &str,
    tenant: &Tenant,
    ca_pem: Option<&str>,
    directory: &TempDir,
    settings: &str,
) -> String {
    let path = |name: &str| directory.path().join(name);
    write_private(&path("secret"), "demo-client-secret\n");
    if settings.contains("/key.pem") {
        write_keys(directory);
    }
    let ca = ca_pem.map_or(String::new(), |pem| {
        fs::write(path("ca.pem"), pem).unwrap();
        format!("ca_file = {:?}\n", path("ca.pem"))
    });
    let (tenant_keys, tables) = settings.split_once("\n[").map_or_else(
        || if settings.starts_with('[') { ("", settings.to_owned()) } else { (settings, String::new()) },
        |(keys, tables)| match keys.starts_with('[') {
            true => ("", settings.to_owned()),
            false => (keys, format!("[{tables}")),
        },
    );
    let listener = match tables.contains("[[listener]]") {
        true => String::new(),
        false => format!("[[listener]]\npath = {:?}\nmode = \"0600\"\n", path("run/api.sock")),
    };
    let client = match tables.contains("[tenant.client]") {
        true => String::new(),
        false => format!("[tenant.client]\nid = \"demo-client\"\nsecret_file = {:?}\n", path("secret")),
    };
    let tables = tables.replace("{dir}", &directory.path().display().to_string());
    format!(
        "[tenant]\ndomain = {domain:?}\naudience = {:?}\n{ca}{tenant_keys}\n{client}{tables}\n{listener}",
        tenant.audience(),
    )
}

/// Writes two keys for an application into `key.pem` and `next-key.pem`, unless there are some.
fn write_keys(directory: &TempDir) {
    for (index, name) in ["key.pem", "next-key.pem"].into_iter().enumerate() {
        let path = directory.path().join(name);
        if !path.exists() {
            let key = ClientKeyPair::shared(index).unwrap();
            write_private(&path, key.private_pem.expose());
        }
    }
}

/// Writes a file that only its owner may read.
pub fn write_private(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, PermissionsExt::from_mode(0o600)).unwrap();
}
