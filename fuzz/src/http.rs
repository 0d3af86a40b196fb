//! Answers of the daemon, taken apart and held to its tables.

use std::collections::BTreeMap;

use cloakroom::api::error::Code;
use cloakroom::api::types::Problem;
use serde_json::Value;

/// The members that every problem has.
const USUAL: [&str; 6] = ["type", "title", "status", "code", "detail", "request_id"];

/// Whether an answer of the interface may have this status.
fn is_known(status: u16) -> bool {
    matches!(status, 200 | 204 | 503) || Code::ALL.iter().any(|code| code.spec().status.as_u16() == status)
}

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

    /// Holds it to the tables. A request by HEAD was answered without a body.
    pub fn is_as_documented(&self, was_head: bool) {
        assert!(is_known(self.status), "{self:?}");
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
        let spec = Code::parse(&problem.code).map(Code::spec).expect("a code of the table");
        assert_eq!((spec.status.as_u16(), spec.title), (self.status, problem.title.as_str()), "{problem:?}");
        assert_eq!(problem.kind, format!("urn:cloakroom:problem:{}", problem.code));
        assert_eq!((problem.status, problem.request_id.as_str()), (self.status, id));
        assert!(!problem.detail.is_empty(), "{problem:?}");
        assert_eq!(self.header("retry-after").is_some(), spec.retry_after.is_some(), "{self:?}");
        for name in ["www-authenticate", "allow"] {
            let is_due = spec.header.is_some_and(|header| header.eq_ignore_ascii_case(name));
            assert_eq!(self.header(name).is_some(), is_due, "{self:?}");
        }
        let members = serde_json::from_slice::<Value>(&self.body).unwrap();
        let further = members.as_object().unwrap().keys().filter(|name| !USUAL.contains(&name.as_str()));
        assert!(further.clone().all(|name| spec.members.contains(&name.as_str())), "{problem:?}");
        assert_eq!(problem.parameter.is_some(), problem.code == "invalid_request", "{problem:?}");
        assert_eq!(problem.problems.is_some(), problem.code == "invalid_configuration", "{problem:?}");
    }
}
