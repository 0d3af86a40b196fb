//! Heads of requests and what becomes of them, as bytes that hyper reads and as parts that it never hands over.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::Empty;
use hyper::body::{Body, Incoming};
use hyper::header::CONNECTION;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use super::*;

type Checked = Result<BodyFraming, FramingFault>;

/// What the check says of each request that hyper hands to a service, and the status line of every answer. The service
/// closes the connection after a fault, as the proxied routes do.
async fn seen(raw: &str) -> (Vec<Checked>, String) {
    let (mut client, server) = duplex(64 * 1024);
    let checked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&checked);
    let service = service_fn(move |request: Request<Incoming>| {
        let (head, body) = request.into_parts();
        let outcome = check(&head, body.size_hint().exact());
        log.lock().unwrap().push(outcome);
        let mut response = Response::new(Empty::<Bytes>::new());
        if outcome.is_err_and(FramingFault::ends_connection) {
            response.headers_mut().insert(CONNECTION, "close".parse().unwrap());
        }
        async move { Ok::<_, Infallible>(response) }
    });
    client.write_all(raw.as_bytes()).await.unwrap();
    client.shutdown().await.unwrap();
    // A malformed head ends the connection with an error, after hyper has answered 400.
    let _ended = http1::Builder::new().half_close(true).serve_connection(TokioIo::new(server), service).await;
    let mut answers = String::new();
    client.read_to_string(&mut answers).await.unwrap();
    let statuses: Vec<_> =
        answers.lines().filter_map(|line| line.strip_prefix("HTTP/1.")).map(|line| &line[2..5]).collect();
    let checked = checked.lock().unwrap().clone();
    (checked, statuses.join(" "))
}

#[tokio::test]
async fn heads_are_judged_as_hyper_hands_them_over() {
    use BodyFraming::{Chunked, Length};
    use FramingFault as Fault;
    let none = BodyFraming::None;
    // Method and version, further headers, body; the verdict.
    let table: &[(&str, &str, &str, Checked)] = &[
        ("GET 1.1", "", "", Ok(none)),
        ("HEAD 1.1", "", "", Ok(none)),
        ("POST 1.1", "", "", Ok(none)),
        ("POST 1.0", "", "", Err(Fault::Http10)),
        ("POST 1.1", "Content-Length: 0", "", Ok(Length(0))),
        ("POST 1.1", "Content-Length: 5", "12345", Ok(Length(5))),
        ("POST 1.0", "Content-Length: 5", "12345", Err(Fault::Http10)),
        ("GET 1.1", "Content-Length: 5", "12345", Ok(Length(5))),
        ("DELETE 1.1", "Content-Length: 5", "12345", Ok(Length(5))),
        ("HEAD 1.1", "Content-Length: 0", "", Ok(Length(0))),
        ("HEAD 1.1", "Content-Length: 5", "12345", Err(Fault::HeadBody)),
        ("POST 1.1", "Content-Length: 5\r\nContent-Length: 5", "12345", Ok(Length(5))),
        ("POST 1.1", "Transfer-Encoding: chunked", "0\r\n\r\n", Ok(Chunked)),
        ("PATCH 1.1", "Transfer-Encoding: CHUNKED", "0\r\n\r\n", Ok(Chunked)),
        ("POST 1.1", "Transfer-Encoding: gzip, chunked", "0\r\n\r\n", Err(Fault::TransferEncoding)),
        ("POST 1.1", "Transfer-Encoding: chunked, chunked", "0\r\n\r\n", Err(Fault::TransferEncoding)),
        ("POST 1.1", "Transfer-Encoding: ,chunked", "0\r\n\r\n", Err(Fault::TransferEncoding)),
        (
            "POST 1.1",
            "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
            "",
            Err(Fault::TransferEncoding),
        ),
        (
            "POST 1.1",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            "",
            Err(Fault::TransferEncoding),
        ),
        ("GET 1.1", "Transfer-Encoding: chunked", "0\r\n\r\n", Err(Fault::ChunkedBody)),
        ("HEAD 1.1", "Transfer-Encoding: chunked", "0\r\n\r\n", Err(Fault::ChunkedBody)),
        ("DELETE 1.1", "Transfer-Encoding: chunked", "0\r\n\r\n", Err(Fault::ChunkedBody)),
        ("OPTIONS 1.1", "Transfer-Encoding: chunked", "0\r\n\r\n", Err(Fault::ChunkedBody)),
        ("GET 1.1", "Connection: close", "", Ok(none)),
        ("GET 1.1", "Connection: keep-alive, X-A, TE", "", Ok(none)),
        ("GET 1.1", "Connection: , ,", "", Ok(none)),
        ("GET 1.1", "Connection: x-a, authorization", "", Err(Fault::ConnectionNames)),
        ("GET 1.1", "Connection: x-a\r\nConnection: HOST", "", Err(Fault::ConnectionNames)),
        ("GET 1.1", "Connection: Content-Length", "", Err(Fault::ConnectionNames)),
        ("GET 1.1", "Connection: Cloakroom-Request", "", Err(Fault::ConnectionNames)),
        ("GET 1.1", "Connection: close, x a", "", Err(Fault::ConnectionOption)),
        ("GET 1.1", "Connection: é", "", Err(Fault::ConnectionOption)),
        ("GET 1.1", "Connection: Upgrade\r\nUpgrade: websocket", "", Err(Fault::Upgrade)),
        ("GET 1.1", "Connection: upgrade", "", Err(Fault::Upgrade)),
        ("GET 1.1", "Upgrade: h2c", "", Err(Fault::Upgrade)),
        ("GET 1.0", "Upgrade: h2c", "", Err(Fault::Upgrade)),
        ("POST 1.1", "X-HTTP-Method-Override: DELETE", "", Err(Fault::MethodOverride)),
        ("POST 1.1", "x-http-method: DELETE", "", Err(Fault::MethodOverride)),
        ("POST 1.1", "X-METHOD-OVERRIDE: POST", "", Err(Fault::MethodOverride)),
        ("POST 1.1", "Expect: 100-continue", "", Ok(none)),
        ("POST 1.1", "Expect: 100-Continue", "", Ok(none)),
        ("POST 1.1", "Expect: 100-continue, x", "", Err(Fault::Expect)),
        ("POST 1.1", "Expect: 100-continue\r\nExpect: x", "", Err(Fault::Expect)),
        ("POST 1.1", "Expect: x", "", Err(Fault::Expect)),
        ("TRACE 1.1", "", "", Err(Fault::Method)),
        ("trace 1.1", "", "", Err(Fault::Method)),
        ("TRACK 1.1", "", "", Err(Fault::Method)),
    ];
    for (line, headers, body, expected) in table {
        let (method, version) = line.split_once(' ').unwrap();
        let headers = if headers.is_empty() { String::new() } else { format!("{headers}\r\n") };
        let raw = format!("{method} /x HTTP/{version}\r\nHost: a\r\n{headers}\r\n{body}");
        assert_eq!(seen(&raw).await, (vec![*expected], "200".into()), "{raw}");
    }
}

#[tokio::test]
async fn connect_is_refused_in_the_form_that_it_has() {
    let (checked, _) = seen("CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(checked, [Err(FramingFault::Method)]);
}

#[tokio::test]
async fn hyper_refuses_what_has_no_safe_reading() {
    for headers in [
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 5, 5",
        "Content-Length: +5",
        "Content-Length: 99999999999999999999",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked,",
        "Transfer-Encoding: chunked, gzip",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip",
        "X-A: b\r\n folded",
        "X-A : b",
        "X-A: \0",
    ] {
        let raw = format!(
            "POST /x HTTP/1.1\r\nHost: a\r\n{headers}\r\n\r\n12345GET /y HTTP/1.1\r\nHost: a\r\n\r\n"
        );
        assert_eq!(seen(&raw).await, (vec![], "400".into()), "{raw}");
    }
    let old = "POST /x HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(seen(old).await, (vec![], "400".into()));
}

/// Where hyper removes the length, the request is read as chunked, and whatever follows is not served.
#[tokio::test]
async fn nothing_is_served_after_a_request_with_both_framings() {
    for headers in
        ["Content-Length: 5\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 5"]
    {
        let next = "GET /y HTTP/1.1\r\nHost: a\r\n\r\n";
        let raw = format!("POST /x HTTP/1.1\r\nHost: a\r\n{headers}\r\n\r\n0\r\n\r\n{next}");
        assert_eq!(seen(&raw).await, (vec![Ok(BodyFraming::Chunked)], "200".into()), "{raw}");
    }
}

#[tokio::test]
async fn nothing_is_served_after_a_refusal_that_leaves_the_next_request_uncertain() {
    let next = "GET /y HTTP/1.1\r\nHost: a\r\n\r\n";
    for headers in [
        "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        "Connection: host\r\n\r\n",
        "Expect: x\r\n\r\n",
    ] {
        let raw = format!("POST /x HTTP/1.1\r\nHost: a\r\n{headers}{next}");
        let (checked, statuses) = seen(&raw).await;
        assert!(matches!(checked[..], [Err(_)]), "{raw}");
        assert_eq!(statuses, "200");
    }
}

/// What hyper takes away or refuses is refused here as well, should another version hand it over.
#[test]
fn heads_that_hyper_does_not_hand_over_are_refused() {
    let check = |headers: &[(&str, &str)], version, length| {
        let mut request = Request::builder().method("POST").version(version);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        check(&request.body(()).unwrap().into_parts().0, length)
    };
    let (chunked, five) = (("transfer-encoding", "chunked"), ("content-length", "5"));
    let v11 = Version::HTTP_11;
    assert_eq!(check(&[chunked, five], v11, None), Err(FramingFault::TwoLengths));
    assert_eq!(check(&[("transfer-encoding", "xchunked")], v11, None), Err(FramingFault::TransferEncoding));
    assert_eq!(check(&[chunked], Version::HTTP_10, None), Err(FramingFault::Http10));
    assert_eq!(check(&[five, ("content-length", "6")], v11, Some(5)), Err(FramingFault::ContentLength));
    for length in ["", "+5", "-5", "5 5", "0x5", "99999999999999999999", "5,6", "5,"] {
        assert_eq!(
            check(&[("content-length", length)], v11, Some(5)),
            Err(FramingFault::ContentLength),
            "{length}"
        );
    }
    assert_eq!(check(&[("content-length", "5, 5")], v11, Some(5)), Ok(BodyFraming::Length(5)));
}

#[test]
fn a_request_that_is_marked_to_have_two_framings_is_refused() {
    let request =
        Request::builder().method("POST").header("transfer-encoding", "chunked").extension(TwoFramings);
    let (head, ()) = request.body(()).unwrap().into_parts();
    assert_eq!(check(&head, None), Err(FramingFault::TwoLengths));
}

#[test]
fn a_head_that_differs_from_the_body_is_refused() {
    let check = |name, value, length| {
        let request = Request::builder().method("POST").header(name, value);
        check(&request.body(()).unwrap().into_parts().0, length)
    };
    let fault = Err(FramingFault::ContentLength);
    assert_eq!(check("x-a", "1", Some(0)), Ok(BodyFraming::None));
    assert_eq!(check("x-a", "1", Some(5)), fault);
    assert_eq!(check("x-a", "1", None), fault);
    assert_eq!(check("content-length", "5", Some(6)), fault);
    assert_eq!(check("content-length", "5", None), fault);
    assert_eq!(check("transfer-encoding", "chunked", Some(5)), fault);
}

#[test]
fn only_a_known_length_is_written() {
    let written = |framing: BodyFraming| {
        let mut headers = HeaderMap::new();
        framing.write(&mut headers);
        headers.get(CONTENT_LENGTH).map(|value| value.to_str().unwrap().to_owned())
    };
    assert_eq!(written(BodyFraming::None), None);
    assert_eq!(written(BodyFraming::Length(0)).as_deref(), Some("0"));
    assert_eq!(written(BodyFraming::Length(5)).as_deref(), Some("5"));
    assert_eq!(written(BodyFraming::Chunked), None);
}
