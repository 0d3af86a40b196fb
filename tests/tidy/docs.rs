//! Holds README, the lookup guide, the change log and `openapi.json` to the program that they describe.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests stop at the first surprise"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use clap::CommandFactory;
use cloakroom::cli::{Cli, DEFAULT_SOCKET};
use cloakroom::config::{self, Env};
use hyper::StatusCode;
use serde_json::Value;

// README's configuration.

#[test]
fn the_configuration_by_example_is_right_and_its_values_are_the_defaults() {
    let place = Files::new();
    let example = place.at_home(&block("README.md", "toml"));
    let shown = loaded(&example, &Env::default());
    let required = ["tenant.domain", "tenant.client.id", "tenant.client.secret_file"];
    let minimal: Vec<_> = settings(&example)
        .into_iter()
        .filter(|setting| required.contains(&&*setting.path))
        .map(|setting| format!("{} = {}", setting.path, setting.value))
        .collect();
    assert_eq!(minimal.len(), required.len());
    assert_eq!(shown, loaded(&minimal.join("\n"), &Env::default()), "README's values are not the defaults");
}

#[test]
fn the_configuration_by_example_has_every_key_there_is() {
    let shown: BTreeSet<_> =
        settings(&block("README.md", "toml")).into_iter().map(|setting| setting.path).collect();
    assert_eq!(shown, known_keys());
}

#[test]
fn keys_without_a_default_are_as_right_as_the_others() {
    let place = Files::new();
    let example = place.at_home(&block("README.md", "toml"));
    let all = uncommented(&example, |key| key != "secret");
    loaded(&all, &Env::default());
    let secret: Vec<_> = uncommented(&example, |key| key == "secret")
        .lines()
        .filter(|line| !line.starts_with("secret_file"))
        .map(str::to_owned)
        .collect();
    let warned = config::parse("cloakroom.toml", &secret.join("\n"), &Env::default()).unwrap();
    assert_eq!(warned.warnings.len(), 1, "{:?}", warned.warnings);
}

/// The rule that README gives for the names of variables, applied to every key in its example.
#[test]
fn every_key_can_come_from_the_environment() {
    let place = Files::new();
    let example = place.at_home(&block("README.md", "toml"));
    let variables: Env = settings(&example)
        .into_iter()
        .filter(|setting| setting.path != "tenant.client.secret")
        .map(|setting| {
            let path = setting.path.replace("listener.", "listener.0.").replace("allow.", "allow.0.");
            let name = format!("CLOAKROOM_{}", path.replace('.', "__").to_uppercase());
            let list = setting.value.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
            (name, list.unwrap_or(&setting.value).replace('"', ""))
        })
        .collect();
    let from_file = loaded(&uncommented(&example, |key| key != "secret"), &Env::default());
    assert_eq!(loaded("", &variables), from_file);
}

/// Files that the example names, somewhere else than where it says.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let certificate = rcgen::generate_simple_self_signed(vec!["corp".to_owned()]).unwrap();
        fs::write(directory.path().join("ca.pem"), certificate.cert.pem()).unwrap();
        fs::write(directory.path().join("secret"), "canary\n").unwrap();
        fs::write(directory.path().join("user-key"), "a key of some length\n").unwrap();
        for name in ["secret", "user-key"] {
            fs::set_permissions(directory.path().join(name), fs::Permissions::from_mode(0o600)).unwrap();
        }
        Self(directory)
    }

    fn at_home(&self, example: &str) -> String {
        let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
        let within = |name: &str| self.0.path().join(name).display().to_string();
        let swaps = [
            ("/run/secrets/auth0-client-secret", within("secret")),
            ("/etc/ssl/corp-ca.pem", within("ca.pem")),
            ("/etc/cloakroom/user-key", within("user-key")),
            ("\"cloakroom\"", uid.to_string()),
            ("\"web\"", gid.to_string()),
        ];
        swaps.iter().fold(example.to_owned(), |text, (from, to)| {
            assert!(text.contains(from), "{from}");
            text.replace(from, to)
        })
    }
}

struct Setting {
    path: String,
    value: String,
}

/// Every key of the example, those that are commented out included.
fn settings(example: &str) -> Vec<Setting> {
    let mut table = String::new();
    let mut found = Vec::new();
    for line in example.lines() {
        if let Some(name) = line.trim_start_matches("# ").strip_prefix('[') {
            table = format!("{}.", name.trim_start_matches('[').split(']').next().unwrap());
        } else if let Some((key, rest)) = line.trim_start_matches("# ").split_once('=') {
            let value = match rest.trim().strip_prefix('"') {
                Some(text) => format!("\"{}\"", text.split('"').next().unwrap()),
                None => rest.split('#').next().unwrap().trim().to_owned(),
            };
            found.push(Setting { path: format!("{table}{}", key.trim()), value });
        }
    }
    found
}

/// The example with those of its commented keys set that `wanted` picks.
fn uncommented(example: &str, wanted: impl Fn(&str) -> bool) -> String {
    let line = |line: &str| match line.strip_prefix("# ") {
        Some(rest) if rest.starts_with('[') && wanted("uid") => format!("{rest}\n"),
        Some(rest) if rest.split_once('=').is_some_and(|(key, _)| wanted(key.trim())) => format!("{rest}\n"),
        _ => format!("{line}\n"),
    };
    example.lines().map(line).collect()
}

/// What the configuration says, as text; there is no other way to compare two, and no secret in this one. Where a rule
/// stands is left out.
fn loaded(text: &str, env: &Env) -> String {
    let loaded =
        config::parse("cloakroom.toml", text, env).unwrap_or_else(|problems| panic!("{problems}\n{text}"));
    let mut config = loaded.config;
    config.listeners.iter_mut().flat_map(|listener| &mut listener.allow).for_each(|rule| rule.origin = None);
    format!("{config:#?}")
}

/// From the list that the configuration itself is held against.
fn known_keys() -> BTreeSet<String> {
    let source = read("src/config/schema.rs");
    let list = source.split("const TABLES").nth(1).unwrap().split("\n];").next().unwrap();
    let mut keys = BTreeSet::new();
    for table in list.split("Table {").skip(1) {
        let path = match table.split("path:").nth(1).unwrap().trim() {
            quoted if quoted.starts_with('"') => quoted.split('"').nth(1).unwrap(),
            name if name.starts_with("ALLOW") => "listener.allow",
            _ => "listener",
        };
        for key in table.split("(\"").skip(1) {
            keys.insert(format!("{path}.{}", key.split('"').next().unwrap()));
        }
    }
    assert!(keys.len() > 25, "{keys:?}");
    keys
}

// README's commands.

#[test]
fn the_commands_and_their_options_are_those_there_are() {
    let mut listed: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in rows(&part("README.md", "## Running it")) {
        for command in row[0].split('`').filter_map(|text| text.strip_prefix("cloakroom ")) {
            let mut words = command.split(|c: char| !c.is_ascii_alphanumeric() && !"-_".contains(c));
            let options = listed.entry(words.next().unwrap().to_owned()).or_default();
            options.extend(words.filter_map(|word| word.strip_prefix("--")).map(str::to_owned));
        }
    }
    let mut defined = BTreeMap::new();
    for command in Cli::command().get_subcommands() {
        let is_client = command.get_arguments().any(|argument| argument.get_id() == "path");
        let long = command.get_arguments().filter_map(|argument| argument.get_long());
        // That client commands take --socket is said once, below the table.
        let options: BTreeSet<_> = long
            .filter(|option| *option != "help" && !(is_client && *option == "socket"))
            .map(str::to_owned)
            .collect();
        defined.insert(command.get_name().to_owned(), options);
    }
    assert_eq!(listed, defined, "README's commands (left) and the program's (right)");
    assert!(read("README.md").contains(&format!("`CLOAKROOM_SOCKET`, then `{DEFAULT_SOCKET}`")));
}

// The interface.

#[test]
fn errors_are_the_same_in_the_code_in_readme_and_in_the_description() {
    let in_code = codes_of_the_server();
    assert!(in_code.len() > 15, "{in_code:?}");
    let table = part("README.md", "## HTTP interface");
    let in_readme: BTreeSet<_> = rows(&table)
        .into_iter()
        .filter(|row| row.len() == 4)
        .map(|row| (row[0].parse::<u16>().unwrap(), row[1].trim_matches('`').to_owned()))
        .collect();
    assert_eq!(in_readme, in_code, "README (left) and reply.rs (right)");

    let described = description();
    let names: BTreeSet<_> = described["components"]["schemas"]["Problem"]["properties"]["code"]["enum"]
        .as_array()
        .unwrap()
        .iter()
        .map(|code| code.as_str().unwrap().to_owned())
        .collect();
    assert_eq!(names, in_code.iter().map(|(_, code)| code.clone()).collect(), "openapi.json and reply.rs");

    // And each stands in an answer of its status.
    for (path, method, operation) in operations(&described) {
        for (status, response) in operation["responses"].as_object().unwrap() {
            let response = resolved(&described, response);
            let Some(status) = status.parse::<u16>().ok().filter(|_| is_problem(response)) else { continue };
            let text = response["description"].as_str().unwrap();
            for code in
                text.split(|c: char| !c.is_ascii_lowercase() && c != '_').filter(|word| word.len() > 3)
            {
                assert!(in_code.contains(&(status, code.to_owned())), "{method} {path}: {status} {code}");
            }
        }
    }
}

#[test]
fn retry_after_is_described_and_shown_where_it_is_sent() {
    let described = description();
    let responses = operations(&described)
        .into_iter()
        .flat_map(|(.., operation)| operation["responses"].as_object().unwrap().iter().collect::<Vec<_>>());
    let sent: Vec<_> = responses
        .map(|(status, response)| (status, resolved(&described, response)))
        .filter(|(_, response)| response["headers"]["Retry-After"].is_object())
        .map(|(status, response)| (status, response["description"].as_str().unwrap()))
        .collect();
    for row in rows(&part("README.md", "## HTTP interface")).iter().filter(|row| row.len() == 4) {
        let is_sent =
            sent.iter().any(|(status, codes)| **status == row[0] && codes.contains(row[1].trim_matches('`')));
        assert_eq!(row[2].contains("`Retry-After`"), is_sent, "{row:?}");
    }
}

#[test]
fn routes_are_the_same_in_the_code_in_readme_and_in_the_description() {
    let described = description();
    let described: BTreeSet<_> =
        operations(&described).into_iter().map(|(path, method, _)| format!("{method} {path}")).collect();
    let in_readme: BTreeSet<_> = rows(&part("README.md", "## HTTP interface"))
        .into_iter()
        .filter(|row| row.len() == 2)
        .map(|row| row[0].trim_matches('`').to_owned())
        .collect();
    assert_eq!(in_readme, described, "README (left) and openapi.json (right)");

    let source = read("src/api/route.rs");
    let variants = source.split("pub enum Route").nth(1).unwrap().split("\n}").next().unwrap();
    let in_code: BTreeSet<_> =
        variants.split("/// `").skip(1).map(|rest| rest.split('`').next().unwrap()).collect();
    let paths: BTreeSet<_> = described.iter().map(|route| route.split(' ').nth(1).unwrap()).collect();
    assert_eq!(paths, in_code, "openapi.json (left) and paths.rs (right)");
}

#[test]
fn bodies_are_described_as_they_are() {
    let described = description();
    let schemas = described["components"]["schemas"].as_object().unwrap();
    let bodies = bodies();
    assert_eq!(schemas.keys().collect::<Vec<_>>(), bodies.keys().collect::<Vec<_>>());
    for (name, fields) in bodies {
        let texts = |value: &Value| -> BTreeSet<String> {
            value.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
        };
        let properties: BTreeSet<_> =
            schemas[&name]["properties"].as_object().unwrap().keys().cloned().collect();
        assert_eq!(properties, fields.keys().cloned().collect(), "{name}");
        let required: BTreeSet<_> =
            fields.into_iter().filter(|(_, needed)| *needed).map(|(field, _)| field).collect();
        assert_eq!(texts(&schemas[&name]["required"]), required, "{name}");
    }
}

#[test]
fn the_description_refers_to_nothing_that_is_not_there() {
    fn walk(whole: &Value, value: &Value) {
        match value {
            Value::Object(members) => {
                if let Some(target) = members.get("$ref").and_then(Value::as_str) {
                    assert!(whole.pointer(target.strip_prefix('#').unwrap()).is_some(), "{target}");
                }
                members.values().for_each(|value| walk(whole, value));
            }
            Value::Array(elements) => elements.iter().for_each(|value| walk(whole, value)),
            _ => {}
        }
    }
    let described = description();
    walk(&described, &described);
    assert!(described["openapi"].as_str().unwrap().starts_with("3.1."));
}

/// Status and code of every error that the server can answer, from the only file that chooses them.
fn codes_of_the_server() -> BTreeSet<(u16, String)> {
    let names: BTreeMap<_, _> = (100..600)
        .filter_map(|number| {
            let reason = StatusCode::from_u16(number).ok()?.canonical_reason()?;
            Some((reason.to_uppercase().replace([' ', '-'], "_"), number))
        })
        .collect();
    let source = read("src/api/error.rs") + &read("src/api/error/lookups.rs");
    let kinds = source.split("S::").skip(1).map(|rest| {
        let (status, rest) = rest.split_once(',').unwrap();
        let code = rest.trim_start().strip_prefix('"').unwrap().split('"').next().unwrap();
        (names[status], code.to_owned())
    });
    kinds.collect()
}

/// The bodies in `answers.rs`: each one's fields, and whether it is always there.
fn bodies() -> BTreeMap<String, BTreeMap<String, bool>> {
    let source = read("src/api/types.rs");
    let structs = source.split("pub struct ").skip(1).map(|rest| {
        let (head, rest) = rest.split_once('{').unwrap();
        let name = head.split('<').next().unwrap().trim().to_owned();
        let (mut fields, mut needed, mut renamed) = (BTreeMap::new(), true, None);
        for line in rest.split("\n}").next().unwrap().lines().map(str::trim) {
            needed &= !line.contains("skip_serializing_if");
            renamed =
                line.split("rename = \"").nth(1).map(|rest| rest.split('"').next().unwrap()).or(renamed);
            if let Some((field, _)) = line.strip_prefix("pub ").and_then(|field| field.split_once(':')) {
                fields.insert(renamed.take().unwrap_or(field).to_owned(), needed);
                needed = true;
            }
        }
        (name, fields)
    });
    structs.collect()
}

fn description() -> Value {
    serde_json::from_str(&read("src/api/openapi.json")).unwrap()
}

/// Path, method in upper case, and operation.
fn operations(described: &Value) -> Vec<(&String, String, &Value)> {
    let paths = described["paths"].as_object().unwrap().iter();
    paths
        .flat_map(|(path, item)| {
            item.as_object()
                .unwrap()
                .iter()
                .map(move |(method, operation)| (path, method.to_uppercase(), operation))
        })
        .collect()
}

fn resolved<'a>(whole: &'a Value, value: &'a Value) -> &'a Value {
    match value.get("$ref").and_then(Value::as_str) {
        Some(target) => whole.pointer(target.strip_prefix('#').unwrap()).unwrap(),
        None => value,
    }
}

fn is_problem(response: &Value) -> bool {
    response["content"]["application/problem+json"].is_object()
}

#[test]
fn the_version_is_the_same_everywhere() {
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(description()["info"]["version"], version);
    let log = read("CHANGELOG.md");
    let (unreleased, rest) = log.split_once("## [Unreleased]").expect("a place for what comes next");
    assert!(!unreleased.contains("## ["), "what is unreleased comes first");
    // Either it has been released, or it says that it is the one being built.
    let released = rest.split("\n## [").nth(1).map(|rest| rest.split(']').next().unwrap());
    assert_eq!(released.unwrap_or(version), version);
    assert!(
        released.is_some() || rest.contains(&format!(" {version},")),
        "the change log does not know {version}"
    );
}

// What README shows, done.

#[test]
fn the_demo_prints_what_readme_shows() {
    let demo = Command::new(env!("CARGO_BIN_EXE_cloakroom")).args(["demo", "--once"]).output().unwrap();
    assert!(demo.status.success(), "{demo:?}");
    assert_eq!(alike(&String::from_utf8(demo.stdout).unwrap()), alike(&block("README.md", "text")));
}

/// Without what differs from run to run: ports, directories, durations, dates.
fn alike(output: &str) -> String {
    let word = |word: &str| match word {
        _ if word.contains("/cloakroom-demo-") => "SOCKET".to_owned(),
        // The user's id, and the counts of calls.
        _ if word.contains('%') || word.parse::<u8>().is_ok() => word.to_owned(),
        _ => word
            .split(|c: char| c.is_ascii_digit())
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join("0"),
    };
    let lines = output.trim().lines().map(|line| line.split(' ').map(word).collect::<Vec<_>>().join(" "));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_python_of_the_lookup_guide_gets_a_token() {
    let demo = Demo::start();
    let snippet = block("docs/guides/lookup.md", "python").replace(DEFAULT_SOCKET, &demo.socket());
    let python = Command::new("python3").args(["-c", &snippet]).output();
    let python = match python {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !everything_is_required() => {
            eprintln!("skipped: there is no python3");
            return;
        }
        python => python.expect("python3"),
    };
    assert_eq!(String::from_utf8(python.stdout).unwrap(), "ya29.demo-foo\n", "{:?}", python.stderr);
}

#[test]
fn every_route_described_is_answered_and_the_example_is_true() {
    let demo = Demo::start();
    let described = description();
    for (path, method, operation) in operations(&described) {
        let path = path.replace("{user_id}", "google-oauth2%7C103547991597142817347");
        let (status, body) = demo.ask(&method, &path);
        assert!(operation["responses"][status.to_string()].is_object(), "{method} {path}: {status} {body}");
        // Off unless a rule names it, and the demo has no rules.
        let expected = match &*path {
            "/v1/management-token" => 403..404,
            // It has no configuration that could be read again either.
            "/v1/reload" => 422..423,
            _ => 200..300,
        };
        assert!(expected.contains(&status), "{method} {path}: {status} {body}");
    }
    assert_eq!(demo.ask("GET", "/openapi.json").1, read("src/api/openapi.json"));

    let example: Value = serde_json::from_str(&block("README.md", "json")).unwrap();
    let (_, body) = demo.ask("GET", "/v1/users/google-oauth2%7C103547991597142817347/token");
    let answer: Value = serde_json::from_str(&body).unwrap();
    let varies = ["expires_at", "expires_in", "fetched_at", "fingerprint"];
    for (key, value) in answer.as_object().unwrap() {
        assert!(example.get(key).is_some(), "README's answer lacks {key}");
        assert!(varies.contains(&&**key) || example[key] == *value, "{key}: {value}");
    }
    assert_eq!(answer.as_object().unwrap().len(), example.as_object().unwrap().len());
}

/// `cloakroom demo`, which is a whole daemon, until it is dropped.
struct Demo {
    process: Child,
    directory: tempfile::TempDir,
    /// The header with a user's own token that the demo offers.
    user_token: String,
}

impl Demo {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_cloakroom"))
            .args(["demo", "--socket"])
            .arg(directory.path().join("cloakroom.sock"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Its invitation is the last thing it prints.
        let mut seen = Vec::new();
        let mut out = process.stdout.take().unwrap();
        let mut some = [0; 1024];
        while !String::from_utf8_lossy(&seen).contains("Ctrl-C") {
            let read = out.read(&mut some).unwrap();
            assert_ne!(read, 0, "the demo ended: {}", String::from_utf8_lossy(&seen));
            seen.extend(&some[..read]);
        }
        let seen = String::from_utf8(seen).unwrap();
        let file = seen.split("-H @").nth(1).expect("a header in a file").split(' ').next().unwrap();
        let user_token = fs::read_to_string(file).unwrap().trim().to_owned();
        Self { process, directory, user_token }
    }

    fn socket(&self) -> String {
        self.directory.path().join("cloakroom.sock").display().to_string()
    }

    fn ask(&self, method: &str, path: &str) -> (u16, String) {
        let mut stream = UnixStream::connect(self.socket()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        // The one route that takes a body is told of a token that nobody holds.
        let body = if method == "POST" { r#"{"fingerprint":"AAAAAAAAAAAAAAAA"}"# } else { "" };
        let user_token = &self.user_token;
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nCloakroom-Request: true\r\n{user_token}\r\n\
             Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // In order, so that it takes its directory with it.
        let asked = Command::new("sh").args(["-c", &format!("kill -TERM {}", self.process.id())]).status();
        assert!(asked.is_ok_and(|status| status.success()));
        self.process.wait().unwrap();
    }
}

#[expect(clippy::disallowed_methods, reason = "the one question that tests ask of their environment")]
fn everything_is_required() -> bool {
    ["CI", "CLOAKROOM_REQUIRE_ALL"].iter().any(|name| std::env::var_os(name).is_some())
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The first block of code in a language.
fn block(page: &str, language: &str) -> String {
    let page = read(page);
    let (_, rest) = page.split_once(&format!("\n```{language}\n")).unwrap_or_else(|| panic!("no {language}"));
    rest.split("\n```").next().unwrap().to_owned()
}

/// The part of a page under a heading of the second level.
fn part(page: &str, heading: &str) -> String {
    let page = read(page);
    let (_, rest) = page.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no {heading}"));
    rest.split("\n## ").next().unwrap().to_owned()
}

/// The cells of every row of every table, heads left out.
fn rows(part: &str) -> Vec<Vec<String>> {
    let cells = |line: &str| -> Vec<String> {
        let line = line.trim().trim_start_matches('|').trim_end_matches('|').replace("\\|", "\u{1}");
        line.split('|').map(|cell| cell.trim().replace('\u{1}', "|")).collect()
    };
    let lines: Vec<_> = part.lines().collect();
    let is_rule = |line: &&str| line.starts_with("|--");
    let is_row = |index: usize| {
        lines[index].starts_with('|') && !is_rule(&lines[index]) && !lines.get(index + 1).is_some_and(is_rule)
    };
    (0..lines.len()).filter(|index| is_row(*index)).map(|index| cells(lines[index])).collect()
}
