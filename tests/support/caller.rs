//! A caller as services are: plain HTTP/1.1 over the socket, one blocking connection that is kept.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use cloakroom::domain::user::UserId;
use serde_json::Value;

/// Longer than the daemon takes for anything.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Caller {
    stream: BufReader<UnixStream>,
}

/// An answer.
#[derive(Debug)]
pub struct Heard {
    pub status: u16,
    head: String,
    pub body: Value,
}

impl Caller {
    pub fn new(socket: &Path) -> Self {
        Self::connect(socket).unwrap()
    }

    /// Fails where nobody listens.
    pub fn connect(socket: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Sends a request and does not wait for the answer.
    pub fn ask(&mut self, path: &str) {
        self.send(path).unwrap();
    }

    fn send(&mut self, path: &str) -> io::Result<()> {
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\ncloakroom-request: true\r\n\r\n");
        self.stream.get_mut().write_all(request.as_bytes())
    }

    /// Waits for the answer to what was asked.
    pub fn hear(&mut self) -> Heard {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            let read = self.stream.read_line(&mut head).unwrap();
            assert_ne!(read, 0, "the daemon hung up: {head:?}");
        }
        let heard = |body| Heard { status: head[9..12].parse().unwrap(), head: head.clone(), body };
        let length = heard(Value::Null).header("content-length").unwrap().parse().unwrap();
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).unwrap();
        heard(serde_json::from_slice(&body).unwrap())
    }

    pub fn get(&mut self, path: &str) -> Heard {
        self.ask(path);
        self.hear()
    }

    /// The same, or `None` if the daemon has closed the connection before the request.
    pub fn get_unless_closed(&mut self, path: &str) -> Option<Heard> {
        self.send(path).ok()?;
        let begun = self.stream.fill_buf().is_ok_and(|bytes| !bytes.is_empty());
        begun.then(|| self.hear())
    }
}

impl Heard {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// The token, if it is one.
    pub fn token(&self) -> Option<&str> {
        self.body["access_token"].as_str()
    }

    /// The problem's code, or nothing.
    pub fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }
}

/// The path of a token lookup.
pub fn token_path(user: &str) -> String {
    format!("/v1/users/{}/token", UserId::parse(user).unwrap().to_path_segment())
}
