//! The configurations that pages show: each is one that the daemon accepts. And what the guide to renewal says of
//! built-in providers.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use cloakroom::config::{self, Env};
use cloakroom::domain::provider::{Endpoint, PROVIDERS};
use cloakroom::domain::source::Rotation;

use crate::repository::{files, read};

/// The tables that stand before a block that does not show them.
const TENANT: [(&str, &str); 2] = [
    ("[tenant]\n", "domain = \"acme.eu.auth0.com\"\n"),
    ("[tenant.client]\n", "id = \"your-client-id\"\nsecret_file = \"/etc/cloakroom/client_secret\"\n"),
];

/// Where pages have files with secrets.
const FILES: &str = "/etc/cloakroom/";

#[test]
fn configurations_that_pages_show_are_accepted() {
    let directory = tempfile::tempdir().unwrap();
    let mut wrong = Vec::new();
    let mut seen = 0;
    for page in files("docs/guides").into_iter().chain(["README.md".to_owned()]) {
        let text = read(&page);
        for block in text.split("```toml\n").skip(1) {
            seen += 1;
            let block = block.split("```").next().unwrap();
            if let Err(problems) = accepted(block, directory.path()) {
                wrong.push(format!("{page}:\n{block}\n{problems}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert!(seen >= 8, "{seen} blocks");
}

#[test]
fn a_wrong_configuration_on_a_page_is_noticed() {
    let directory = tempfile::tempdir().unwrap();
    assert!(accepted("[[listener]]\nmode = \"0600\"\n", directory.path()).is_ok());
    assert!(
        accepted("[[listener]]\nmod = \"0600\"\n", directory.path()).unwrap_err().contains("unknown key")
    );
    assert!(accepted("[tenant]\n", directory.path()).is_err());
}

#[test]
fn the_guide_has_what_is_built_in_for_every_provider() {
    let text = read("docs/guides/renewal.md");
    let rows = text.lines().skip_while(|line| !line.starts_with("| `provider` | host |")).skip(2);
    let rows: Vec<_> = rows.take_while(|line| line.starts_with('|')).collect();
    let expected = PROVIDERS.iter().map(|provider| {
        let host = match provider.token_endpoint {
            Endpoint::At(url) => format!("`{}`", url.split('/').nth(2).unwrap()),
            Endpoint::Like(_) => "that of `token_endpoint`".to_owned(),
        };
        let rotation = match provider.rotation {
            Rotation::None => "none",
            Rotation::KeepOld => "keep_old",
            Rotation::Single => "single",
        };
        let grace = match provider.grace.as_secs() {
            0 => String::new(),
            seconds => format!(" {seconds} s"),
        };
        let auth = provider.client_auth.as_str();
        format!("| `{}` | {host} | `{auth}` | `{rotation}` |{grace} |", provider.name)
    });
    assert_eq!(rows, expected.collect::<Vec<_>>());
}

/// Parses a block, with its files in `directory`. Users and groups become numbers, since this machine may lack them.
fn accepted(block: &str, directory: &Path) -> Result<(), String> {
    let missing = TENANT.iter().filter(|(table, _)| !block.contains(table));
    let mut text = missing.map(|(table, keys)| format!("{table}{keys}")).collect::<String>() + block;
    for name in text.split(FILES).skip(1).map(|rest| rest.split('"').next().unwrap()) {
        write(&directory.join(name), &content(name));
    }
    text = text.replace(FILES, &format!("{}/", directory.display()));
    let lines = text.lines().map(|line| match line.split_once('=') {
        Some((key, _)) if ["uid", "gid"].contains(&key.trim()) => format!("{key}= 33"),
        _ => line.to_owned(),
    });
    let text = lines.collect::<Vec<_>>().join("\n");
    config::parse("page.toml", &text, &Env::default()).map(drop).map_err(|problems| problems.to_string())
}

/// What a file of this name holds.
fn content(name: &str) -> String {
    match name {
        _ if name.contains("state_key") => "00112233445566778899aabbccddeeff".repeat(2),
        "client_certificate.pem" => read("tests/config/good/certificate.pem"),
        "client_certificate_key.pem" => read("tests/config/good/certificate-key.pem"),
        _ if name.ends_with(".pem") => read("tests/config/good/client-key.pem"),
        _ => "a-secret".to_owned(),
    }
}

fn write(path: &Path, content: &str) {
    fs::write(path, content).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}
