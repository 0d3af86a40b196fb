//! Speaks to a running daemon: one request per connection, with bounds on time and size.
//!
//! The errors are for the person at the terminal. Each names the cause and the mend, so that "connection refused"
//! need not be looked up.

use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST, HeaderMap, RETRY_AFTER};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use crate::api::types::Problem;
use crate::task;

use super::access::Access;
use super::exit;
use super::text::visible;

/// Everything, from connecting to the last byte. Longer than a lookup takes at its slowest: `tenant.request_timeout`
/// is 60 s at most, and the daemon explains better than we can.
const TIMEOUT: Duration = Duration::from_secs(70);

/// Probes never wait for Auth0, so a daemon that takes longer is not well.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// Far more than any answer takes; it bounds what something that is no cloakroom may send.
const MAX_BODY: usize = 1024 * 1024;

/// Where the kernel cuts a socket's path off.
const MAX_PATH: usize = 107;

/// A running daemon, by its socket.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
}

/// A 2xx answer. No `Debug`: its body may hold a token.
pub struct Answer {
    socket: PathBuf,
    body: Bytes,
}

/// What a probe said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Whether it passed.
    pub passed: bool,
    /// One line that says why.
    pub reason: String,
}

/// Why there is no answer, or not the one that was hoped for.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nothing has that path.
    #[error("no daemon at {}: is cloakroom running? --socket or CLOAKROOM_SOCKET says where it listens", .socket.display())]
    Absent {
        /// The socket's path.
        socket: PathBuf,
    },
    /// The connection ended too early.
    #[error("the daemon at {} closed the connection before its answer was complete: its log says why", .socket.display())]
    Broken {
        /// The socket's path.
        socket: PathBuf,
    },
    /// A socket that nobody listens on.
    #[error("nobody listens at {}: the daemon that made this socket is gone; start cloakroom again", .socket.display())]
    Dead {
        /// The socket's path.
        socket: PathBuf,
    },
    /// The file system says no.
    #[error("permission denied at {}: {access}", .socket.display())]
    Denied {
        /// The socket's path.
        socket: PathBuf,
        /// Whose it is, and who we are.
        access: Access,
    },
    /// Connecting failed in a way that has no better name.
    #[error("cannot connect to {}: {cause}", .socket.display())]
    Io {
        /// The socket's path.
        socket: PathBuf,
        /// What the kernel said.
        cause: io::Error,
    },
    /// Something answers, or lies there, that is not cloakroom.
    #[error("what is at {} is not cloakroom: {what}; --socket or CLOAKROOM_SOCKET says where to look", .socket.display())]
    NotCloakroom {
        /// The socket's path.
        socket: PathBuf,
        /// How that shows.
        what: String,
    },
    /// The kernel cannot take such a path.
    #[error("the socket's path is longer than {MAX_PATH} bytes, which no socket can be: {}", .socket.display())]
    PathTooLong {
        /// The socket's path.
        socket: PathBuf,
    },
    /// The daemon answered, and explained why not.
    #[error("{}", exit::event(.problem))]
    Problem {
        /// The explanation.
        problem: Box<Problem>,
        /// Seconds after which asking again can help.
        retry_after: Option<u64>,
    },
    /// No complete answer in time.
    #[error("the daemon at {} did not answer within {} s: `cloakroom healthcheck --live` tells whether it is stuck", .socket.display(), .after.as_secs())]
    TimedOut {
        /// The socket's path.
        socket: PathBuf,
        /// How long it had.
        after: Duration,
    },
}

impl Client {
    /// The daemon that listens at `socket`.
    pub fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }

    /// Asks for `path`, query included.
    pub async fn get(&self, path: &str) -> Result<Answer, ClientError> {
        self.ask(Method::GET, path).await
    }

    /// Posts nothing to `path`.
    pub async fn post(&self, path: &str) -> Result<Answer, ClientError> {
        self.ask(Method::POST, path).await
    }

    /// Deletes what is at `path`.
    pub async fn delete(&self, path: &str) -> Result<Answer, ClientError> {
        self.ask(Method::DELETE, path).await
    }

    /// Asks one of the probes, such as `/readyz`.
    pub async fn probe(&self, path: &str) -> Result<Probe, ClientError> {
        let raw = self.exchange(Method::GET, path, PROBE_TIMEOUT).await?;
        match raw.status {
            StatusCode::OK | StatusCode::SERVICE_UNAVAILABLE if !raw.is_problem => Ok(Probe {
                passed: raw.status == StatusCode::OK,
                reason: first_line(&raw.body).unwrap_or_else(|| "the probe gave no reason".into()),
            }),
            _ => Err(self.failure(&raw)),
        }
    }

    async fn ask(&self, method: Method, path: &str) -> Result<Answer, ClientError> {
        let raw = self.exchange(method, path, TIMEOUT).await?;
        if raw.status.is_success() {
            Ok(Answer { socket: self.socket.clone(), body: raw.body })
        } else {
            Err(self.failure(&raw))
        }
    }

    async fn exchange(&self, method: Method, path: &str, limit: Duration) -> Result<Raw, ClientError> {
        let late = || ClientError::TimedOut { socket: self.socket.clone(), after: limit };
        tokio::time::timeout(limit, async {
            let stream = self.connect().await?;
            self.send(stream, method, path).await
        })
        .await
        .map_err(|_| late())?
    }

    async fn connect(&self) -> Result<UnixStream, ClientError> {
        loop {
            match UnixStream::connect(&self.socket).await {
                Ok(stream) => return Ok(stream),
                // The daemon has more callers waiting than its queue holds, and the kernel offers no way to be
                // told when there is room.
                Err(full) if full.kind() == io::ErrorKind::WouldBlock => {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                Err(cause) => return Err(self.no_connection(cause)),
            }
        }
    }

    async fn send(&self, stream: UnixStream, method: Method, path: &str) -> Result<Raw, ClientError> {
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| self.no_answer(&error))?;
        task::spawn("client connection", async {
            // Whatever breaks here also breaks the exchange below, which tells.
            connection.await.ok();
        });
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, "cloakroom")
            .header("Cloakroom-Request", "true")
            .body(Empty::<Bytes>::new())
            .map_err(|error| self.not_cloakroom(format!("no request can be made for {path}: {error}")))?;
        let response = sender.send_request(request).await.map_err(|error| self.no_answer(&error))?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, MAX_BODY).collect().await.map_err(|error| {
            match error.downcast_ref::<hyper::Error>() {
                Some(error) => self.no_answer(error),
                None => self.not_cloakroom("its answer is larger than 1 MiB"),
            }
        })?;
        Ok(Raw {
            status: head.status,
            is_problem: header(&head.headers, CONTENT_TYPE).is_some_and(|kind| kind.contains("problem+json")),
            retry_after: header(&head.headers, RETRY_AFTER).and_then(|seconds| seconds.parse().ok()),
            body: body.to_bytes(),
        })
    }

    fn no_connection(&self, cause: io::Error) -> ClientError {
        let socket = self.socket.clone();
        match cause.kind() {
            io::ErrorKind::NotFound => ClientError::Absent { socket },
            io::ErrorKind::ConnectionRefused if !is_socket(&socket) => {
                self.not_cloakroom("it is no socket but a file or a directory")
            }
            io::ErrorKind::ConnectionRefused => ClientError::Dead { socket },
            io::ErrorKind::PermissionDenied => {
                ClientError::Denied { access: Access::of(&socket, cause.raw_os_error()), socket }
            }
            _ if socket.as_os_str().len() > MAX_PATH => ClientError::PathTooLong { socket },
            _ => ClientError::Io { socket, cause },
        }
    }

    fn no_answer(&self, error: &hyper::Error) -> ClientError {
        if error.is_parse() {
            self.not_cloakroom("it does not speak HTTP/1.1")
        } else {
            ClientError::Broken { socket: self.socket.clone() }
        }
    }

    fn failure(&self, raw: &Raw) -> ClientError {
        match serde_json::from_slice::<Problem>(&raw.body) {
            Ok(problem) if raw.is_problem => {
                ClientError::Problem { problem: Box::new(problem), retry_after: raw.retry_after }
            }
            _ => self.not_cloakroom(format!("it answers with status {} and no reason", raw.status.as_u16())),
        }
    }

    fn not_cloakroom(&self, what: impl Into<String>) -> ClientError {
        ClientError::NotCloakroom { socket: self.socket.clone(), what: what.into() }
    }
}

impl Answer {
    /// The body, read as `T`.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, ClientError> {
        // The parser's own text could quote the body, and the body may hold a token.
        serde_json::from_slice(&self.body).map_err(|_| ClientError::NotCloakroom {
            socket: self.socket.clone(),
            what: "its answer is not the JSON that was asked for".into(),
        })
    }
}

struct Raw {
    status: StatusCode,
    is_problem: bool,
    retry_after: Option<u64>,
    body: Bytes,
}

fn is_socket(path: &Path) -> bool {
    path.metadata().is_ok_and(|found| found.file_type().is_socket())
}

fn header(headers: &HeaderMap, name: hyper::header::HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

fn first_line(body: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(body);
    let line = text.lines().next()?.trim();
    (!line.is_empty()).then(|| visible(line).into_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    /// Paused, tokio's time jumps to the next timer once nothing else can happen, so nothing is waited for here.
    #[tokio::test(start_paused = true)]
    async fn a_daemon_that_is_stuck_is_given_up_on_in_time() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("s");
        // The kernel connects callers without the listener's doing.
        let _listener = UnixListener::bind(&socket).unwrap();
        let client = Client::new(&socket);

        let started = tokio::time::Instant::now();
        let error = client.get("/v1/status").await.err().unwrap();
        assert!(matches!(error, ClientError::TimedOut { .. }), "{error}");
        assert_eq!(started.elapsed().as_secs(), 70);

        let error = client.probe("/readyz").await.unwrap_err();
        assert!(error.to_string().contains("did not answer within 5 s"), "{error}");
    }

    #[test]
    fn the_reason_of_a_probe_is_one_line_that_drives_no_terminal() {
        assert_eq!(first_line(b"  ready\r\nmore\n").unwrap(), "ready");
        assert_eq!(first_line(b"not \x1b[2J").unwrap(), "not \\u{1b}[2J");
        assert_eq!(first_line(b"\n"), None);
        assert_eq!(first_line(b""), None);
    }
}
