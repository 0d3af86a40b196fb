//! The HTTP client of a running daemon: one request per connection, with limits on time and size.
//!
//! The errors are for a person at a terminal. Each names the cause and the fix.

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

use super::problem_text;
use super::socket_permissions::Access;
use super::text::visible;

/// Timeout from connecting to the last byte. Longer than the slowest lookup: `tenant.request_timeout` is at most 60 s,
/// and the daemon's own error explains more.
const TIMEOUT: Duration = Duration::from_secs(70);

/// Timeout of a probe. Probes never wait for Auth0, so a daemon that takes longer is stuck.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// Maximum size of an answer, far above any of the daemon's. It limits what another program at the socket can send.
const MAX_BODY: usize = 1024 * 1024;

/// Maximum length of a socket's path in the kernel.
const MAX_PATH: usize = 107;

/// A client of the daemon at a socket.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
}

/// A 2xx answer. It has no `Debug`, because its body may contain a token.
pub struct Answer {
    socket: PathBuf,
    body: Bytes,
}

/// The result of a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Whether the probe passed.
    pub passed: bool,
    /// The reason, in one line.
    pub reason: String,
}

/// Why a request has no successful answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The path does not exist.
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
    /// The socket exists, but no process listens on it.
    #[error("no process listens at {}: the daemon that made this socket has ended; start cloakroom again", .socket.display())]
    Dead {
        /// The socket's path.
        socket: PathBuf,
    },
    /// The kernel denies the connection.
    #[error("permission denied at {}: {access}", .socket.display())]
    Denied {
        /// The socket's path.
        socket: PathBuf,
        /// The reason, as far as it is known.
        access: Access,
    },
    /// Connecting failed for another reason.
    #[error("cannot connect to {}: {cause}", .socket.display())]
    Io {
        /// The socket's path.
        socket: PathBuf,
        /// The kernel's error.
        cause: io::Error,
    },
    /// The path is not a socket, or another program answers.
    #[error("what is at {} is not cloakroom: {what}; --socket or CLOAKROOM_SOCKET says where to look", .socket.display())]
    NotCloakroom {
        /// The socket's path.
        socket: PathBuf,
        /// The evidence.
        what: String,
    },
    /// The path is too long for a socket.
    #[error("the socket's path is longer than {MAX_PATH} bytes, the maximum for a socket: {}", .socket.display())]
    PathTooLong {
        /// The socket's path.
        socket: PathBuf,
    },
    /// The daemon answered with an error.
    #[error("{}", problem_text::event(.problem))]
    Problem {
        /// The error.
        problem: Box<Problem>,
        /// Seconds after which a retry may succeed.
        retry_after: Option<u64>,
    },
    /// No complete answer came in time.
    #[error("the daemon at {} did not answer within {} s: `cloakroom healthcheck --live` tells whether it is stuck", .socket.display(), .after.as_secs())]
    TimedOut {
        /// The socket's path.
        socket: PathBuf,
        /// The timeout.
        after: Duration,
    },
}

impl Client {
    /// Makes a client of the daemon at `socket`.
    pub fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }

    /// Sends a GET request for `path`, which includes the query.
    pub async fn get(&self, path: &str) -> Result<Answer, ClientError> {
        self.ask(Method::GET, path).await
    }

    /// Sends a POST request without a body.
    pub async fn post(&self, path: &str) -> Result<Answer, ClientError> {
        self.ask(Method::POST, path).await
    }

    /// Sends a DELETE request.
    pub async fn delete(&self, path: &str) -> Result<Answer, ClientError> {
        self.ask(Method::DELETE, path).await
    }

    /// Requests one of the probes, such as `/readyz`.
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
                // The socket's queue is full, and the kernel has no notification for when it no longer is.
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
            // An error here also fails the exchange below, which reports it.
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
                self.not_cloakroom("it is a file or a directory, not a socket")
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
    /// Parses the body as `T`.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, ClientError> {
        // The parser's error could quote the body, which may contain a token.
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

    /// With paused time, tokio advances to the next timer when nothing else can run, so this test does not wait.
    #[tokio::test(start_paused = true)]
    async fn a_request_to_a_stuck_daemon_times_out() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("s");
        // The kernel connects clients without an accept.
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
