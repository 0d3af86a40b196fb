//! What tests of the command line stand on: a socket that answers as told, and the real binary.
//!
//! The stand-in says what a daemon in good order never says, or not on demand: every code, answers that are none,
//! a newer daemon's fields. What the real one says is in `commands.rs`.

use std::collections::HashMap;
use std::convert::Infallible;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;

use super::process::PROGRAM;

/// What the stand-in says to one request: status, content type, headers besides, body.
#[derive(Clone)]
pub struct Canned {
    status: u16,
    kind: &'static str,
    header: Option<(&'static str, &'static str)>,
    body: String,
}

pub fn json(body: &str) -> Canned {
    Canned { status: 200, kind: "application/json", header: None, body: body.into() }
}

pub fn plain(status: u16, body: &str) -> Canned {
    Canned { status, kind: "text/plain", header: None, body: body.into() }
}

/// A problem with the members that each has, and those of `more` (JSON members with a comma before each).
pub fn problem(status: u16, code: &str, more: &str) -> Canned {
    let body = format!(
        r#"{{"type":"urn:cloakroom:problem:{code}","title":"The title of {code}","status":{status},"code":"{code}",
            "detail":"the detail of {code}","request_id":"r-1"{more}}}"#
    );
    Canned { status, kind: "application/problem+json", header: None, body }
}

impl Canned {
    /// With this detail instead, which needs no escaping in JSON.
    pub fn saying(mut self, detail: &str) -> Self {
        let (before, rest) = self.body.split_once("\"detail\":\"").unwrap();
        let (_, after) = rest.split_once('"').unwrap();
        self.body = format!("{before}\"detail\":\"{detail}\"{after}");
        self
    }

    pub fn with(mut self, name: &'static str, value: &'static str) -> Self {
        self.header = Some((name, value));
        self
    }
}

/// A directory with a socket in it, which anybody on this machine may enter.
pub struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    pub fn new() -> Self {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
        Self { directory }
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn socket(&self) -> PathBuf {
        self.path().join("cloakroom.sock")
    }

    /// `cloakroom` with these arguments, told where the socket is, and with nothing else in its environment.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(arguments).env_clear().env("CLOAKROOM_SOCKET", self.socket()).stdin(Stdio::null());
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Ran {
        Ran::from(self.command(arguments).output().unwrap())
    }
}

/// What came of a run.
#[derive(Debug)]
pub struct Ran {
    pub exit: Option<i32>,
    pub out: String,
    pub err: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            exit: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Ran {
    /// It ended with `exit`, wrote nothing to standard output, and these texts to standard error.
    #[track_caller]
    pub fn failed(&self, exit: i32, texts: &[&str]) {
        assert_eq!((self.exit, self.out.as_str()), (Some(exit), ""), "{self:?}");
        assert!(self.err.starts_with("error: "), "{self:?}");
        for text in texts {
            assert!(self.err.contains(text), "{text:?} is missing: {self:?}");
        }
    }

    /// It did what it should, and this is all it wrote.
    #[track_caller]
    pub fn printed(&self, out: &str) {
        assert_eq!((self.exit, self.out.as_str(), self.err.as_str()), (Some(0), out, ""));
    }
}

/// Answers at the place's socket until the test ends; each request is `METHOD path?query`.
pub struct StandIn {
    asked: Arc<Mutex<Vec<String>>>,
}

impl StandIn {
    pub fn at(socket: &Path, answers: &[(&str, Canned)]) -> Self {
        let listener = UnixListener::bind(socket).unwrap();
        listener.set_nonblocking(true).unwrap();
        let answers: HashMap<_, _> =
            answers.iter().map(|(request, answer)| ((*request).to_owned(), answer.clone())).collect();
        let asked = Arc::default();
        let log = Arc::clone(&asked);
        std::thread::spawn(move || serve(listener, &answers, &log));
        Self { asked }
    }

    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// One connection after the other is enough: so are the commands.
fn serve(listener: UnixListener, answers: &HashMap<String, Canned>, log: &Mutex<Vec<String>>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = tokio::net::UnixListener::from_std(listener).unwrap();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let service = service_fn(|request| std::future::ready(answer(&request, answers, log)));
            // A client that hangs up early is what some tests are about.
            hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await
                .ok();
        }
    });
}

fn answer(
    request: &Request<Incoming>,
    answers: &HashMap<String, Canned>,
    log: &Mutex<Vec<String>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let asked = format!("{} {}", request.method(), request.uri());
    log.lock().unwrap().push(asked.clone());
    let marked = request.headers().get("Cloakroom-Request").is_some_and(|value| value == "true");
    let canned = match answers.get(&asked) {
        _ if !marked => problem(403, "request_header_required", ""),
        Some(canned) => canned.clone(),
        None => problem(404, "route_not_found", ""),
    };
    let mut response = Response::builder().status(canned.status).header("Content-Type", canned.kind);
    if let Some((name, value)) = canned.header {
        response = response.header(name, value);
    }
    Ok(response.body(Full::from(canned.body)).unwrap())
}
