//! Callers as services are: they do something with an answer before they ask again. So a server has time to fall asleep,
//! and pays for waking up. Played by programs that others measure servers with, on the load's processor, which they inherit.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::load::Answers;
use crate::subject::Subject;

/// redis-benchmark is told how often to ask, not for how long; this takes it some seconds.
const ASKED_OF_REDIS: u64 = 200_000;

/// Has `connections` callers ask `subject` for about `span`, each for the same again and again: how often they were
/// answered.
///
/// # Panics
/// If one of them was not, or not as it should be.
pub fn ask(subject: &Subject, connections: usize, span: Duration) -> u64 {
    match subject.protocol.answers {
        Answers::Http(status) => h2load(subject, connections, span, status),
        Answers::Redis => redis_benchmark(&subject.socket, connections),
    }
}

fn h2load(subject: &Subject, connections: usize, span: Duration, status: u16) -> u64 {
    assert_eq!(status / 100, 2, "h2load tells classes of status codes");
    let request = std::str::from_utf8(&subject.protocol.requests[0]).unwrap();
    let (line, fields) = request.trim_end().split_once("\r\n").unwrap();
    let path = line.split(' ').nth(1).unwrap();
    let mut command = Command::new("h2load");
    command.arg("--h1").arg(format!("--clients={connections}")).arg(format!("--duration={}", span.as_secs()));
    fields.split("\r\n").filter(|field| !field.starts_with("Host")).for_each(|field| {
        command.args(["--header", field]);
    });
    command.arg(format!("--base-uri=unix:{}", subject.socket.display()));
    let said = said_by(command.arg(format!("http://cloakroom{path}")));
    // `requests: 7 total, 7 started, 7 done, 7 succeeded, 0 failed, 0 errored, 0 timeout`
    let [done, succeeded, failed] = ["done", "succeeded", "failed"].map(|what| number_before(&said, what));
    assert!(done > 0 && done == succeeded && failed == 0, "{said}");
    done
}

fn redis_benchmark(socket: &Path, connections: usize) -> u64 {
    let mut command = Command::new("redis-benchmark");
    command.arg("-s").arg(socket).arg("-c").arg(connections.to_string());
    command.arg("-n").arg(ASKED_OF_REDIS.to_string()).args(["-e", "-q", "GET", "user"]);
    let said = said_by(&mut command);
    assert!(said.contains("requests per second") && !said.contains("rror"), "{said}");
    ASKED_OF_REDIS
}

fn said_by(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The number that stands before this word.
fn number_before(text: &str, word: &str) -> u64 {
    let words: Vec<_> = text.split([' ', ',', '\n']).filter(|word| !word.is_empty()).collect();
    let at = words.iter().position(|other| *other == word).unwrap_or_else(|| panic!("no {word}: {text}"));
    words[at - 1].parse().unwrap()
}
