//! What README shows, done with the real binary.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use cloakroom::cli::DEFAULT_SOCKET;
use serde_json::Value;

use crate::support::process::PROGRAM;
use crate::support::required::everything_is_required;

// What README shows, done.

#[test]
fn the_demo_prints_what_readme_shows() {
    let demo = Command::new(PROGRAM).args(["demo", "--once"]).output().unwrap();
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

/// The example of the body that the operation takes, or `{}` where the description has none; `None` without a body.
fn body_of(described: &Value, operation: &Value) -> Option<String> {
    let target = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].as_str()?;
    let schema = described.pointer(target.strip_prefix('#')?)?;
    Some(schema.pointer("/examples/0").map_or("{}".into(), Value::to_string))
}

#[test]
fn every_route_described_is_answered_and_the_example_is_true() {
    let demo = Demo::start();
    let described = description();
    for (path, method, operation) in operations(&described) {
        let path = path.replace("{user_id}", "google-oauth2%7C103547991597142817347");
        let body = body_of(&described, operation);
        let (status, answer) = demo.ask(&method, &path, body.as_deref().unwrap_or_default());
        assert!(operation["responses"][status.to_string()].is_object(), "{method} {path}: {status} {answer}");
        // Off unless a rule names it, and the demo has no rules.
        let expected = match &*path {
            "/v1/management-token" => 403..404,
            // It has no configuration that could be read again either.
            "/v1/reload" => 422..423,
            // A body without an example has values that mean nothing.
            _ if body.as_deref() == Some("{}") => 200..500,
            _ => 200..300,
        };
        assert!(expected.contains(&status), "{method} {path}: {status} {answer}");
    }
    assert_eq!(demo.ask("GET", "/openapi.json", "").1, read("src/api/openapi.json"));

    let example: Value = serde_json::from_str(&block("README.md", "json")).unwrap();
    let (_, body) = demo.ask("GET", "/v1/users/google-oauth2%7C103547991597142817347/token", "");
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
        let mut process = Command::new(PROGRAM)
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

    fn ask(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let mut stream = UnixStream::connect(self.socket()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
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
