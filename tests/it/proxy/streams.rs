//! Bodies that come piece by piece.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use cloakroom::fake_auth0::users;
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::management::desk;
use super::refusals::raw;
use super::*;

/// Longer than anything takes.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The answer to a call, whose body is still to be read.
pub async fn open(counter: &Counter, tail: &str) -> hyper::Response<Incoming> {
    let stream = UnixStream::connect(&counter.world.socket).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    #[expect(clippy::disallowed_methods, reason = "a test's own connection")]
    tokio::spawn(connection);
    let request = Request::get(path(users::GOOGLE, tail)).header("host", "localhost");
    let request = request.header("cloakroom-request", "true").body(Empty::<Bytes>::new()).unwrap();
    sender.send_request(request).await.unwrap()
}

#[tokio::test]
async fn each_frame_of_an_event_stream_is_handed_on_at_once_and_a_client_that_leaves_ends_it() {
    let counter = Counter::new().await;
    let mut answer = open(&counter, "/events").await;
    assert_eq!(answer.status(), 200);
    for text in ["one", "two"] {
        while counter.api.emit(text) == 0 {
            tokio::task::yield_now().await;
        }
        let frame = timeout(PATIENCE, answer.body_mut().frame()).await.unwrap().unwrap().unwrap();
        let frame = frame.into_data().unwrap();
        assert!(String::from_utf8_lossy(&frame).contains(text), "{frame:?}");
    }
    drop(answer);
    let left = counter.api.until(|calls| calls[0].closed_by_client_at.is_some());
    timeout(PATIENCE, left).await.unwrap();
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_broken_off() {
    let options = ApiOptions { dialect: ApiDialect::Google, ..ApiOptions::default() };
    let counter = Counter::with(options, "", ALL).await;
    // The beginning of a refusal is read before it is handed on.
    for (tail, status) in [
        ("/cut?after=1000&bytes=5000", 200),
        ("/cut?after=1000&bytes=5000&chunked", 200),
        ("/cut?after=1000&bytes=5000&status=403", 403),
        ("/cut?after=1000&chunked&status=403", 403),
    ] {
        let answer = open(&counter, tail).await;
        assert_eq!(answer.status(), status, "{tail}");
        assert!(answer.into_body().collect().await.is_err(), "{tail}");
    }
}

#[tokio::test]
async fn an_answer_beyond_the_limit_is_broken_off() {
    let counter = Counter::with(ApiOptions::default(), "response_bytes = \"64KiB\"", ALL).await;
    for tail in ["/download?bytes=65537", "/download?bytes=65537&chunked"] {
        let answer = open(&counter, tail).await;
        assert_eq!(answer.status(), 200);
        assert!(answer.into_body().collect().await.is_err(), "{tail}");
    }
    let whole = open(&counter, "/download?bytes=65536&chunked").await.into_body().collect().await.unwrap();
    assert_eq!(whole.to_bytes().len(), 65_536);
}

/// A client that finds nothing at all may take the connection for an old one, and make the call again.
#[tokio::test]
async fn an_answer_that_is_broken_off_at_once_shows_its_head() {
    let counter = Counter::with(ApiOptions::default(), "response_bytes = \"1KiB\"", ALL).await;
    for tail in ["/download?bytes=2000", "/download?bytes=2000&chunked", "/cut?after=0&bytes=50"] {
        let path = path(users::GOOGLE, tail);
        let head = format!("GET {path} HTTP/1.1\r\nhost: a\r\ncloakroom-request: true\r\n\r\n");
        let answer = raw(&counter.world, &head).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{tail}: {answer}");
        assert!(answer.contains("cloakroom-upstream: 1\r\n") && !answer.ends_with("\r\n0\r\n\r\n"), "{tail}");
    }
}

#[tokio::test]
async fn a_large_answer_is_whole() {
    let counter = Counter::new().await;
    let answer = open(&counter, "/download?bytes=10000000").await;
    assert_eq!(answer.headers()["content-length"], "10000000");
    let mut body = answer.into_body();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        length += frame.unwrap().into_data().unwrap().len();
    }
    assert_eq!(length, 10_000_000);
}

#[tokio::test]
async fn a_call_whose_answer_does_not_come_is_given_up() {
    let counter =
        Counter::with(ApiOptions::default(), "head_timeout = \"1s\"\nidle_timeout = \"1s\"", ALL).await;
    let got = counter.get(users::GOOGLE, "/stall").await;
    assert_eq!(got.problem(), (504, "provider_timeout".into()));
    let answer = open(&counter, "/stall-body?after=10").await;
    assert!(answer.into_body().collect().await.is_err());
}

#[tokio::test]
async fn a_body_that_stops_coming_is_answered_and_the_key_is_named() {
    let counter = Counter::with(ApiOptions::default(), "idle_timeout = \"1s\"", ALL).await;
    let path = path(users::GOOGLE, "/upload");
    let head =
        format!("PUT {path} HTTP/1.1\r\nhost: a\r\ncloakroom-request: true\r\ncontent-length: 10\r\n\r\nabc");
    let answer = timeout(PATIENCE, raw(&counter.world, &head)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("\"request_timeout\""), "{answer}");
    assert!(answer.contains("idle_timeout of the [[proxy]]"), "{answer}");
}

#[tokio::test]
async fn calls_beyond_max_streams_are_refused_while_lookups_are_answered() {
    let counter = Counter::new().await;
    let mut open_calls = Vec::new();
    for _ in 0..MAX_STREAMS {
        open_calls.push(open(&counter, "/events").await);
    }
    assert_eq!(counter.get(users::GOOGLE, "/me").await.problem(), (503, "overloaded".into()));
    assert_eq!(counter.world.get(&World::path(users::GOOGLE)).await.status, 200);
    open_calls.pop();
    let room = async {
        while counter.get(users::GOOGLE, "/me").await.status != 200 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, room).await.unwrap();
}

#[tokio::test]
async fn calls_of_the_management_api_count_as_streams_too() {
    let uid = nix::unistd::geteuid();
    let rule = format!(
        "calls = [\"GET /users\"]\n\
         [[listener]]\npath = \"{{dir}}/run/one.sock\"\nmode = \"0600\"\nmax_streams = 1\n\
         [[listener.allow]]\nuid = {uid}\noperations = [\"management_api\"]\ncalls = [\"PATCH /users/*\"]\n"
    );
    let world = desk(&["update:users"], &rule).await;
    let begin = async || {
        let mut stream = UnixStream::connect(&world.running.sockets[1]).await.unwrap();
        let head = "PATCH /api/v2/users/auth0%7C1 HTTP/1.1\r\nhost: a\r\ncloakroom-request: true\r\n\
                    connection: close\r\ncontent-length: 2\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        stream
    };
    let first = begin().await;
    let streams = || world.running.services().listeners()[1].streams.load(Ordering::Relaxed);
    let is = async |count: u64| {
        let counted = async {
            while streams() != count {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, counted).await.unwrap();
    };
    is(1).await;
    let mut answer = String::new();
    begin().await.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("\"cloakroom_overloaded\""), "{answer}");
    assert!(answer.contains("\r\nretry-after: ") && !answer.contains("cloakroom-upstream"), "{answer}");
    drop(first);
    is(0).await;
}

/// Bytes of a call that is left before its end, and what the API has seen of it by then.
async fn leave(counter: &Counter, request: &str, is_under_way: impl Fn(&[ApiCall]) -> bool) {
    let mut stream = UnixStream::connect(&counter.world.socket).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    timeout(PATIENCE, counter.api.until(is_under_way)).await.unwrap();
    drop(stream);
    // An API that reads a body finds it broken off, and answers into a closed connection.
    let has_left = |call: &ApiCall| call.closed_by_client_at.or(call.ended_at).is_some();
    let left = counter.api.until(|calls| calls.iter().all(has_left));
    timeout(PATIENCE, left).await.unwrap_or_else(|_| panic!("{request:.40}: {:?}", counter.api.calls()));
    let streams = || counter.world.running.services().listeners()[0].streams.load(Ordering::Relaxed);
    timeout(PATIENCE, async {
        while streams() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    counter.api.forget_calls();
}

#[tokio::test]
async fn a_client_that_leaves_frees_the_apis_connection_and_its_place() {
    // No timeout ends the call in the client's place.
    let keys =
        "request_bytes = \"1GiB\"\nresponse_bytes = \"1GiB\"\nhead_timeout = \"5m\"\nidle_timeout = \"5m\"";
    let counter = Counter::with(ApiOptions::default(), keys, ALL).await;
    let request = |method: &str, tail: &str, rest: &str| {
        let path = path(users::GOOGLE, tail);
        format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\ncloakroom-request: true\r\n{rest}")
    };
    let has_come = |calls: &[ApiCall]| calls.len() == 1;
    leave(&counter, &request("GET", "/stall", "\r\n"), has_come).await;
    leave(&counter, &request("GET", "/stall-body?after=10", "\r\n"), |calls| {
        calls.iter().any(|call| call.answer_bytes > 0)
    })
    .await;
    leave(&counter, &request("GET", "/download?bytes=900000000", "\r\n"), |calls| {
        calls.iter().any(|call| call.answer_bytes > 0)
    })
    .await;
    let upload = format!("content-length: 900000000\r\n\r\n{}", "x".repeat(100_000));
    leave(&counter, &request("PUT", "/upload", &upload), |calls| {
        calls.iter().any(|call| call.body_bytes > 0)
    })
    .await;
}

#[tokio::test]
async fn calls_at_the_same_time_leave_their_connections_to_later_ones() {
    const CALLS: usize = 16;
    let counter = Counter::new().await;
    for _ in 0..3 {
        let mut answers = Vec::new();
        for _ in 0..CALLS {
            answers.push(open(&counter, "/events").await);
        }
        assert_eq!(counter.api.event_streams(), CALLS);
        counter.api.end_events();
        for answer in answers {
            timeout(PATIENCE, answer.into_body().collect()).await.unwrap().unwrap();
        }
        // By its answer, the tasks that were woken before it have put their connections back.
        counter.get(users::GOOGLE, "/me").await;
    }
    assert_eq!(counter.api.connections(), CALLS as u64);
}
