//! An API that listens in the test's own process, a configuration that leads the real binary to it, and a client that
//! calls it.

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use cloakroom::clock::Clock;
use cloakroom::domain::user::UserId;
use cloakroom::fake_auth0::api::{ApiOptions, FakeApi};
use cloakroom::fake_auth0::{CertificateKind, Listening, TenantOptions, users};
use tokio::runtime::Runtime;

use super::deployment::Deployment;

/// Longer than the daemon takes for anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// Rules for every call.
pub const ALL: &str = "[\"GET api/**\", \"PUT api/**\"]";

/// An API that listens, and a daemon's configuration that leads to it.
pub struct Api {
    pub api: FakeApi,
    listening: Listening,
    _runtime: Runtime,
}

impl Api {
    pub fn listen() -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let guard = runtime.enter();
        let options = ApiOptions { accepts_any: true, ..ApiOptions::default() };
        let api = FakeApi::new(Clock::system(), options).unwrap();
        let listening = api.listen(CertificateKind::Good).unwrap();
        drop(guard);
        Self { api, listening, _runtime: runtime }
    }

    /// The host with its port.
    pub fn host(&self) -> &str {
        self.listening.domain()
    }

    /// The certificate of the authority that vouches for it.
    pub fn ca_pem(&self) -> &str {
        self.listening.ca_pem()
    }

    /// A deployment whose clients may make these calls.
    pub fn deployment(&self, settings: &str, calls: &str) -> Deployment {
        self.deployment_for(&[(nix::unistd::geteuid().as_raw(), calls)], settings, "mode = \"0600\"")
    }

    /// A deployment in which the clients under each uid may make the calls beside it, with further keys of the listener.
    pub fn deployment_for(&self, rules: &[(u32, &str)], settings: &str, listener: &str) -> Deployment {
        let rule = |(uid, calls): &(u32, &str)| {
            format!("[[listener.allow]]\nuid = {uid}\noperations = [\"proxy\", \"token\"]\ncalls = {calls}\n")
        };
        let settings = format!(
            "{settings}[providers]\nca_file = \"{{dir}}/api.pem\"\n\
             [[proxy]]\nconnection = \"google-oauth2\"\nname = \"api\"\nurl = \"https://{}\"\nallow_private = true\n\
             request_bytes = \"2GiB\"\nresponse_bytes = \"2GiB\"\n\
             [[listener]]\npath = \"{{dir}}/run/api.sock\"\n{listener}\n{}",
            self.host(),
            rules.iter().map(rule).collect::<String>(),
        );
        let pem = self.ca_pem().to_owned();
        Deployment::with_files(TenantOptions::default(), &settings, |_, directory| {
            fs::write(directory.join("api.pem"), pem).unwrap();
        })
    }
}

/// A client's connection with a call under way.
pub struct Call(pub BufReader<UnixStream>);

impl Call {
    pub fn begin(socket: &Path, method: &str, tail: &str, fields: &str) -> Self {
        let stream = UnixStream::connect(socket).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let user = UserId::parse(users::GOOGLE).unwrap().to_path_segment();
        let mut call = Self(BufReader::new(stream));
        let head = format!(
            "{method} /v1/users/{user}/proxy/google-oauth2/api{tail} HTTP/1.1\r\nhost: localhost\r\n\
             cloakroom-request: true\r\n{fields}\r\n"
        );
        call.0.get_mut().write_all(head.as_bytes()).unwrap();
        call
    }

    pub fn get(socket: &Path, tail: &str) -> Self {
        Self::begin(socket, "GET", tail, "")
    }

    /// The status; the rest of the head is skipped.
    pub fn status(&mut self) -> u16 {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(self.0.read_line(&mut head).unwrap(), 0, "{head:?}");
        }
        head[9..12].parse().unwrap()
    }

    /// Reads on until this text has come.
    pub fn until(&mut self, text: &str) {
        let mut line = String::new();
        while !line.contains(text) {
            line.clear();
            assert_ne!(self.0.read_line(&mut line).unwrap(), 0, "{text} has not come");
        }
    }

    /// Reads what is left; whether the body came to its end, which is a chunk without bytes.
    pub fn ends_well(&mut self) -> bool {
        let mut rest = Vec::new();
        match self.0.read_to_end(&mut rest) {
            Ok(_) => rest.ends_with(b"0\r\n\r\n"),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
            Err(error) => panic!("{error}"),
        }
    }
}
