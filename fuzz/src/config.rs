//! A configuration file and the environment.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::LazyLock;

use cloakroom::config::{self, Credential, Env, Loaded};
use tempfile::TempDir;
use toml::de::{DeArray, DeTable, DeValue};

/// Stands wherever a value may be a secret. `tests/config/bad/files/secret` holds it, too.
const CANARY: &str = "canary";

/// Parts the file's text from the environment, one `NAME=value` per line.
const ENVIRONMENT: &str = "\n--- environment\n";

/// What fixtures call the directory in which the files are that they name.
const DIRECTORY: &str = "{dir}";

/// Those files, for their owner alone but where their names say otherwise: a secret that others can read is no secret.
static FILES: LazyLock<TempDir> = LazyLock::new(|| {
    let directory = tempfile::tempdir().unwrap();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/config");
    for (from, to) in [("bad/files", "files"), ("good", "")] {
        let to = directory.path().join(to);
        fs::create_dir_all(&to).unwrap();
        for file in fs::read_dir(fixtures.join(from)).unwrap().map(Result::unwrap) {
            let copy = to.join(file.file_name());
            fs::copy(file.path(), &copy).unwrap();
            let is_bad = file.file_name().to_str().unwrap().contains("-for-");
            let mode = if is_bad { 0o646 } else { 0o600 };
            fs::set_permissions(&copy, fs::Permissions::from_mode(mode)).unwrap();
        }
    }
    directory
});

/// The input is a file's text, and after a line `--- environment` the variables.
pub fn read(data: &[u8]) {
    let Ok(input) = std::str::from_utf8(data) else { return };
    // To open what is no file of a disk may have effects.
    if ["/dev", "/proc", "/sys"].iter().any(|place| input.contains(place)) {
        return;
    }
    let input = input.replace(DIRECTORY, FILES.path().to_str().unwrap());
    let (text, variables) = input.split_once(ENVIRONMENT).unwrap_or((&input, ""));
    let variables: Vec<_> = variables.lines().filter_map(|line| line.split_once('=')).collect();
    let env = || -> Env { variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect() };

    let outcome = config::parse("f.toml", text, &env());
    let said: Vec<String> = match &outcome {
        Ok(loaded) => loaded.warnings.clone(),
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
    };
    assert!(outcome.is_ok() || !said.is_empty(), "refused without a reason");
    for line in &said {
        assert!(!line.chars().any(char::is_control), "more than a line, or no text: {line:?}");
    }
    // Names are printed, values never.
    let is_name = variables.iter().any(|(name, _)| name.contains(CANARY)) || names_hold_it(text);
    assert!(is_name || !said.iter().any(|line| line.contains(CANARY)), "a value is printed: {said:?}");
    if let Ok(loaded) = &outcome {
        holds_what_it_promises(loaded);
    }
    let again = config::parse("f.toml", text, &env());
    assert_eq!(format!("{outcome:?}"), format!("{again:?}"), "two readings differ");
}

/// What the types' documentation says.
fn holds_what_it_promises(Loaded { config, .. }: &Loaded) {
    let secret = match &config.client.credential {
        Credential::SecretPost(secret) | Credential::SecretBasic(secret) => secret.expose(),
        Credential::PrivateKeyJwt(_) | Credential::TlsClientAuth(_) => return,
    };
    // Only where it is kept: mutations also write its text where anybody may read it.
    let printed = format!("{:?}", config.client);
    let is_no_secret = secret.len() < 8 || config.client.id.contains(secret);
    assert!(is_no_secret || !printed.contains(secret), "{printed}");

    assert!(!secret.is_empty() && !config.client.id.is_empty() && !config.listeners.is_empty());
    for text in [&*config.tenant.domain, &*config.tenant.audience] {
        assert!(
            !text.is_empty() && !text.contains(|c: char| c.is_control() || c.is_whitespace()),
            "{text:?}"
        );
    }
    assert!(config.tenant.connect_timeout < config.tenant.request_timeout);
    assert!((0.1..=0.95).contains(&config.management.refresh_at));
    assert!((0.0..1.0).contains(&config.cache.refresh_ahead));
    assert!(config.cache.max_ttl > config.tenant.request_timeout);
    assert!(config.upstream.requests_per_second > 0.0 && config.upstream.burst > 0);
    assert!(config.upstream.max_concurrency > 0 && config.runtime.threads > 0);
    for listener in &config.listeners {
        assert!(listener.path.is_absolute() && listener.max_connections > 0 && listener.mode <= 0o777);
        for rule in &listener.allow {
            assert!(rule.uid.is_some() || rule.gid.is_some());
            assert!(!rule.operations.is_empty() && rule.rate.is_none_or(|rate| rate > 0.0));
        }
    }
}

/// Whether some name in `text` holds the canary. What is not TOML has no names.
fn names_hold_it(text: &str) -> bool {
    fn in_table(table: &DeTable<'_>) -> bool {
        table.iter().any(|(name, value)| name.get_ref().contains(CANARY) || in_value(value.get_ref()))
    }
    fn in_array(array: &DeArray<'_>) -> bool {
        array.iter().any(|value| in_value(value.get_ref()))
    }
    fn in_value(value: &DeValue<'_>) -> bool {
        match value {
            DeValue::Table(table) => in_table(table),
            DeValue::Array(array) => in_array(array),
            _ => false,
        }
    }
    DeTable::parse(text).is_ok_and(|document| in_table(document.get_ref()))
}
