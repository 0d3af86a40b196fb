//! Answers of the daemon, taken apart and held to its documentation.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use cloakroom::api::types::Problem;
use serde_json::Value;

/// What README promises.
struct Promised {
    statuses: BTreeSet<u16>,
    /// Statuses and codes of errors.
    problems: BTreeSet<(u16, String)>,
}

static PROMISED: LazyLock<Promised> = LazyLock::new(|| {
    let described: Value = serde_json::from_str(include_str!("../../src/api/openapi.json")).unwrap();
    let operations =
        described["paths"].as_object().unwrap().values().flat_map(|path| path.as_object().unwrap().values());
    let responses = operations.filter_map(|operation| operation["responses"].as_object());
    let statuses = responses.flat_map(|all| all.keys().filter_map(|status| status.parse().ok()));
    let rows = include_str!("../../README.md").lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| ")?.split(" | ");
        Some((cells.next()?.parse().ok()?, cells.next()?.trim_matches('`').to_owned()))
    });
    let problems: BTreeSet<(u16, String)> = rows.filter(|(status, _)| *status >= 400).collect();
    assert!(problems.len() > 20, "README is not read as it should be: {problems:?}");
    // Those that every route may answer are `default` in the description.
    let statuses = statuses.chain(problems.iter().map(|(status, _)| *status)).collect();
    Promised { statuses, problems }
});

/// One answer.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Reply {
    /// The answers that stand in `bytes` one behind the other, interim ones left out. Panics where one is not whole,
    /// or is no HTTP.
    pub fn all(mut bytes: &[u8]) -> Vec<Self> {
        let mut replies = Vec::new();
        while !bytes.is_empty() {
            let mut fields = [httparse::EMPTY_HEADER; 32];
            let mut head = httparse::Response::new(&mut fields);
            let Ok(httparse::Status::Complete(length)) = head.parse(bytes) else {
                panic!("no answer: {}", bytes.escape_ascii());
            };
            bytes = &bytes[length..];
            let status = head.code.unwrap();
            if status == 100 {
                assert!(head.headers.is_empty());
                continue;
            }
            let mut headers = BTreeMap::new();
            for field in head.headers.iter() {
                let value = str::from_utf8(field.value).unwrap().to_owned();
                let before = headers.insert(field.name.to_ascii_lowercase(), value);
                assert!(before.is_none(), "{} twice", field.name);
            }
            assert!(!headers.contains_key("transfer-encoding"), "{headers:?}");
            let stated = headers.get("content-length").map(|length| length.parse::<usize>().unwrap());
            assert_eq!(stated.is_none(), status == 204, "{status} {headers:?}");
            // Whoever asked with HEAD is told a length, and given no body. Ours never look like another answer.
            let has_none = bytes.is_empty() || bytes.starts_with(b"HTTP/1.");
            let body = if has_none { &[][..] } else { &bytes[..stated.unwrap_or(0)] };
            bytes = &bytes[body.len()..];
            replies.push(Self { status, headers, body: body.to_vec() });
        }
        replies
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// Holds it to the documentation. Whoever sent HEAD got no bodies.
    pub fn is_as_documented(&self, was_head: bool) {
        assert!(PROMISED.statuses.contains(&self.status), "{self:?}");
        assert_eq!(self.header("cache-control"), Some("no-store"), "{self:?}");
        let id = self.header("cloakroom-request-id").expect("a request id");
        assert!(!id.is_empty());
        if let Some(seconds) = self.header("retry-after") {
            assert!(seconds.parse::<u64>().is_ok_and(|seconds| seconds > 0), "{self:?}");
        }
        if self.body.is_empty() {
            assert!(self.status == 204 || was_head, "{self:?}");
            return;
        }
        match self.header("content-type") {
            Some("application/problem+json") => self.is_a_problem(id),
            Some("application/json") => {
                assert_eq!(self.status, 200, "{self:?}");
                serde_json::from_slice::<Value>(&self.body).unwrap();
            }
            Some("text/plain; charset=utf-8") => {
                assert!(matches!(self.status, 200 | 503) && self.body.ends_with(b"\n"), "{self:?}");
            }
            Some(metrics) if metrics.starts_with("application/openmetrics-text") => {
                assert!(self.status == 200 && self.body.ends_with(b"# EOF\n"), "{self:?}");
            }
            Some("text/plain; version=0.0.4; charset=utf-8") => {
                assert!(self.status == 200 && self.body.ends_with(b"\n"), "{self:?}");
                assert!(!self.body.windows(5).any(|bytes| bytes == b"# EOF"), "{self:?}");
            }
            other => panic!("{other:?}: {}", self.body.escape_ascii()),
        }
    }

    fn is_a_problem(&self, id: &str) {
        let problem: Problem = serde_json::from_slice(&self.body).unwrap();
        assert!(PROMISED.problems.contains(&(self.status, problem.code.clone())), "{problem:?}");
        assert_eq!(problem.kind, format!("urn:cloakroom:problem:{}", problem.code));
        assert_eq!((problem.status, problem.request_id.as_str()), (self.status, id));
        assert!(!problem.title.is_empty() && !problem.detail.is_empty(), "{problem:?}");
        assert_eq!(problem.parameter.is_some(), problem.code == "invalid_request", "{problem:?}");
        assert_eq!(self.header("www-authenticate").is_some(), problem.status == 401, "{self:?}");
        assert_eq!(problem.problems.is_some(), problem.code == "invalid_configuration", "{problem:?}");
        assert_eq!(self.header("allow").is_some(), problem.code == "method_not_allowed", "{self:?}");
    }
}
