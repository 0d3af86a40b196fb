//! Holds what the package installs to the program: the configuration that an operator finds, and the units.
//!
//! That they work is shown by `tests/host`, where a systemd runs them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use cloakroom::config::schema::{self, DefaultValue, Key};
use cloakroom::config::{self, Config, Env};

use crate::repository::{read, root};

const CONFIGURATION: &str = "docs/cloakroom.toml";

// The configuration.

#[test]
fn as_installed_the_configuration_lacks_what_only_the_operator_knows() {
    let place = Place::new();
    let installed = place.at_home(&read(CONFIGURATION));
    let problems = config::parse("cloakroom.toml", &installed, &Env::default()).unwrap_err().to_string();
    let about =
        |key: &str| problems.lines().filter(|line| line.contains(&format!("{key}: required"))).count();
    assert_eq!((about("tenant.domain"), about("tenant.client.id")), (1, 1), "{problems}");
    assert_eq!(problems.matches("tenant.").count(), 2, "{problems}");
}

#[test]
fn filled_in_it_is_the_defaults_and_one_rule() {
    let place = Place::new();
    let filled = place.at_home(&set(&read(CONFIGURATION), is_required));
    let minimal = place.at_home(
        "tenant.domain = \"acme.eu.auth0.com\"\n\
         tenant.client.id = \"your-client-id\"\n\
         tenant.client.secret_file = \"/etc/cloakroom/client_secret\"\n\
         [[listener]]\n[[listener.allow]]\ngid = \"cloakroom-clients\"\n",
    );
    assert_eq!(shown(load(&filled)), shown(load(&minimal)));
}

#[test]
fn its_comments_show_every_default() {
    let place = Place::new();
    let text = read(CONFIGURATION);
    let filled = set(&text, is_required);
    let has_default = |key: &Key| matches!(key.default, DefaultValue::Value(_)) && !is_left_out(key);
    let defaults = set(&text, |key| is_required(key) || has_default(key));
    assert!(defaults.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase())).count() > 30);
    assert_eq!(shown(load(&place.at_home(&defaults))), shown(load(&place.at_home(&filled))));
}

/// The file has one value for each key, and so has the environment: the rule for names of variables, applied to all.
#[test]
fn every_key_is_the_same_from_the_file_and_from_the_environment() {
    let place = Place::new();
    // These go with other values of `auth`, and there can be only one of `secret` and `secret_file`.
    let others = ["secret", "key_file", "next_key_file", "signing_alg", "certificate_file", "token_host"];
    let is_wanted = |key: &Key| {
        // Token Vault needs such an `auth`, and calls need such `operations`.
        let tables = ["tenant.client", "management_api"];
        let is_other =
            tables.iter().any(|table| others.iter().any(|other| key.path == format!("{table}.{other}")));
        !is_other && !key.path.starts_with("vault.") && key.path != "listener.allow.calls"
    };
    let from_file = load(&place.at_home(&set(&read(CONFIGURATION), is_wanted)));
    let variables = schema::keys().filter(|key| is_wanted(key)).map(|key| {
        let path = key.path.replace("listener.", "listener.0.").replace("allow.", "allow.0.");
        let path = path.replace("connection.", "connection.0.");
        let path = path.strip_prefix("proxy.").map_or(path.clone(), |name| format!("proxy.0.{name}"));
        let value = match key.default {
            DefaultValue::Value(_) if is_left_out(key) && key.example.is_some() => key.example.unwrap(),
            DefaultValue::Value(value) => value,
            DefaultValue::Absent(_) | DefaultValue::Required(_) => key.example.unwrap(),
        };
        let in_quotes = place.at_home(&format!("{value:?}"));
        (schema::variable(&path), in_quotes.replace('"', ""))
    });
    let env: Env = variables.collect();
    let from_environment = config::parse("none", "", &env).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(shown(from_environment.config), shown(from_file));
}

/// Files and accounts that the configuration names, somewhere else than where it says.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let certificate = rcgen::generate_simple_self_signed(vec!["corp".to_owned()]).unwrap();
        for (name, content) in [
            ("ca.pem", certificate.cert.pem().as_str()),
            ("client_secret", "canary\n"),
            ("management_api_secret", "canary\n"),
            ("user-key", "a key of some length\n"),
            ("google_secret", "canary\n"),
            ("google_secret.previous", "older\n"),
            ("state-key", &"01".repeat(32)),
        ] {
            let file = directory.path().join(name);
            fs::write(&file, content).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o400)).unwrap();
        }
        Self(directory)
    }

    fn at_home(&self, text: &str) -> String {
        let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
        let within = |name: &str| self.0.path().join(name).display().to_string();
        // A text, and no user.
        let text = text.replace("audit_context = \"cloakroom\"", "audit_context = 'cloakroom'");
        text.replace("/etc/cloakroom/client_secret", &within("client_secret"))
            .replace("/etc/cloakroom/management_api_secret", &within("management_api_secret"))
            .replace("/etc/ssl/corp-ca.pem", &within("ca.pem"))
            .replace("/etc/cloakroom/user-key", &within("user-key"))
            .replace("/etc/cloakroom/google_secret", &within("google_secret"))
            .replace("/etc/cloakroom/state_key", &within("state-key"))
            .replace("\"cloakroom-clients\"", &gid.to_string())
            .replace("\"cloakroom\"", &uid.to_string())
            .replace("\"web\"", &gid.to_string())
    }
}

fn is_required(key: &Key) -> bool {
    matches!(key.default, DefaultValue::Required(_)) && !is_left_out(key)
}

/// Whether the key is of a table that the file shows as a comment.
fn is_left_out(key: &Key) -> bool {
    ["connection.", "vault.", "proxy.", "management_api."]
        .into_iter()
        .any(|table| key.path.starts_with(table))
}

/// The configuration with those keys set that are commented out and that `wanted` picks.
fn set(text: &str, wanted: impl Fn(&Key) -> bool) -> String {
    let mut table = String::new();
    let mut lines = String::new();
    for line in text.lines() {
        if line.trim_start_matches('#').starts_with('[') {
            table = line.trim_matches(['#', '[', ']']).to_owned();
            let is_set =
                schema::keys().any(|key| key.path == format!("{table}.{}", key.name()) && wanted(key));
            lines.push_str(if is_set { line.trim_start_matches('#') } else { line });
            lines.push('\n');
            continue;
        }
        let key = line
            .strip_prefix('#')
            .and_then(|rest| rest.split_once(" = "))
            .map(|(name, _)| format!("{table}.{name}"));
        let key = key.and_then(|path| schema::keys().find(|key| key.path == path));
        let is_set = key.is_some_and(&wanted);
        lines.push_str(if is_set { &line[1..] } else { line });
        lines.push('\n');
    }
    lines
}

fn load(text: &str) -> Config {
    let loaded = config::parse("cloakroom.toml", text, &Env::default());
    loaded.unwrap_or_else(|problems| panic!("{problems}\n{text}")).config
}

/// As text; there is no other way to compare two. Where a rule stands is left out.
fn shown(mut config: Config) -> String {
    config.listeners.iter_mut().flat_map(|listener| &mut listener.allow).for_each(|rule| rule.origin = None);
    format!("{config:#?}")
}

// The units.

#[test]
fn the_units_of_one_more_tenant_are_the_firsts_but_for_names() {
    for kind in ["service", "socket"] {
        let first = directives(&read(&format!("systemd/cloakroom.{kind}")));
        let another = read(&format!("systemd/cloakroom@.{kind}"))
            .replace("cloakroom@%i.socket", "cloakroom.socket")
            .replace(" --config /etc/cloakroom/%i.toml", "")
            .replace("/etc/cloakroom/%i.secret", "/etc/cloakroom/client_secret")
            .replace("Environment=CLOAKROOM_LISTENER__0__PATH=/run/cloakroom-%i/cloakroom.sock\n", "")
            .replace("cloakroom-%i", "cloakroom")
            .replace("cloakroom for %i", "cloakroom");
        assert_eq!(directives(&another), first, "cloakroom@.{kind}");
    }
}

#[test]
fn the_units_limits_leave_room_for_the_daemons_own() {
    let place = Place::new();
    let config = load(&place.at_home(&set(&read(CONFIGURATION), is_required)));
    let unit = read("systemd/cloakroom.service");
    let number = |directive: &str| -> u64 {
        let found = directives(&unit).into_iter().find_map(|line| {
            line.strip_prefix(&format!("{directive}="))
                .map(|value| value.trim_end_matches(|unit: char| unit.is_alphabetic()).parse().unwrap())
        });
        found.unwrap_or_else(|| panic!("{directive}"))
    };
    // The last redemptions take up to three timeouts more, the last lines of both logs and the last answers 3 s.
    let last = 3 * config.providers.request_timeout + Duration::from_secs(3);
    let end = config.shutdown.min_delay + config.shutdown.deadline + last;
    assert!(Duration::from_secs(number("TimeoutStopSec")) > end);
    assert!(number("LimitNOFILE") > 2 * config.listeners[0].max_connections as u64);
    assert_eq!(number("MemoryMax") * 1024 * 1024, 4 * config.cache.max_bytes);
    let socket = read("systemd/cloakroom.socket");
    let path = format!("ListenStream={}", config.listeners[0].path.display());
    assert!(directives(&socket).contains(&path), "{path}");
}

#[test]
fn every_unit_is_installed() {
    let manifest = read("Cargo.toml");
    for entry in fs::read_dir(root().join("systemd")).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        let asset = if entry.path().is_dir() {
            format!("\"systemd/{name}/*.conf\"")
        } else {
            format!("\"systemd/{name}\"")
        };
        assert!(manifest.contains(&asset), "{asset} is not in [package.metadata.deb]");
    }
}

/// systemd sets any variable, and the daemon refuses those of keys that do not exist. Credentials that a drop-in loads are
/// those that its variables name.
#[test]
fn every_drop_in_sets_variables_of_keys_and_loads_the_files_that_they_name() {
    let keys: Vec<_> = schema::keys()
        .map(|key| schema::variable(&key.path.replace("connection.", "connection.0.")))
        .collect();
    let mut set = 0;
    for entry in fs::read_dir(root().join("systemd/drop-ins")).unwrap().map(Result::unwrap) {
        let name = entry.path().display().to_string();
        let lines = directives(&fs::read_to_string(entry.path()).unwrap());
        let after =
            |directive: &'static str| lines.iter().filter_map(move |line| line.strip_prefix(directive));
        let mut named = Vec::new();
        for (variable, value) in after("Environment=").filter_map(|line| line.split_once('=')) {
            assert!(keys.iter().any(|key| key == variable), "{name}: {variable}");
            named.extend(value.strip_prefix("%d/"));
            set += 1;
        }
        let loaded = after("LoadCredential=").filter_map(|line| Some(line.split_once(':')?.0));
        assert_eq!(loaded.collect::<Vec<_>>(), named, "{name}");
    }
    assert!(set > 8, "{set}");
}

// Containers, and other machines.

#[test]
fn the_compose_example_is_a_right_configuration() {
    let compose = read("deploy/compose/compose.yaml");
    let place = Place::new();
    let variable = |line: &str| {
        let (name, value) = line.trim().split_once(": ")?;
        let value = value.trim_matches('"');
        let secret = place.0.path().join("client_secret").display().to_string();
        let value = if value == "/run/secrets/client_secret" { secret } else { value.to_owned() };
        name.starts_with("CLOAKROOM_").then(|| (name.to_owned(), value))
    };
    let env: Vec<_> = compose.lines().filter_map(variable).collect();
    assert!(env.len() >= 4, "{env:?}");
    let env: Env = env.into_iter().collect();
    let loaded = config::parse("compose.yaml", "", &env).unwrap_or_else(|problems| panic!("{problems}"));
    let config = loaded.config;
    // What the rest of it relies on.
    let rule = config.listeners[0].allow[0].uid.unwrap();
    assert!(compose.contains(&format!("user: \"{rule}:{rule}\"")), "the rule is about the application");
    let directory = config.listeners[0].path.parent().unwrap().display().to_string();
    for line in [
        format!("volumes: [\"socket:{directory}\"]"),
        format!("volumes: [\"socket:{directory}:ro\"]"),
        "group_add: [\"10002\"]".to_owned(),
        "file: ./secrets/client_secret".to_owned(),
    ] {
        assert!(compose.contains(&line), "{line}");
    }
    assert!(read("deploy/Dockerfile").contains("USER 10002:10002"), "whose group it is");
    let last = 3 * config.providers.request_timeout + Duration::from_secs(3);
    let end = config.shutdown.min_delay + config.shutdown.deadline + last;
    assert!(Duration::from_secs(35) > end && compose.contains("stop_grace_period: 35s"));
}

/// A program for arm64 that is built for pages of 4 KiB ends at its start where the kernel's are larger. That it runs there
/// takes such a machine.
#[test]
fn the_allocator_is_built_for_the_largest_pages_that_arm64_has() {
    let settings = read(".cargo/config.toml");
    for target in ["AARCH64_UNKNOWN_LINUX_GNU", "AARCH64_UNKNOWN_LINUX_MUSL"] {
        // 2 to the power of 16 are 64 KiB.
        let line = format!("{target}_JEMALLOC_SYS_WITH_LG_PAGE = \"16\"");
        assert!(settings.lines().any(|found| found == line), "{line}");
    }
    // Builds elsewhere read the same settings.
    assert!(read(".dockerignore").lines().any(|line| line == "!.cargo"));
    assert!(
        read("deploy/Dockerfile").contains("COPY . .") && read("deploy/deb/build.sh").contains("cargo build")
    );
}

/// Every line that says something to systemd.
fn directives(unit: &str) -> Vec<String> {
    unit.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect()
}
