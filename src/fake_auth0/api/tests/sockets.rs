//! Tests of the simulated API by TLS on loopback: raw bytes, connections, and clients that hang up.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::*;

struct Served {
    api: FakeApi,
    listening: Listening,
}

fn served() -> Served {
    let api = FakeApi::new(Clock::system(), ApiOptions::default()).unwrap();
    api.accept(TOKEN);
    let listening = api.listen(CertificateKind::Good).unwrap();
    Served { api, listening }
}

impl Served {
    async fn connect(&self) -> TlsStream<TcpStream> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.listening.ca_pem().as_bytes()).unwrap()).unwrap();
        let config =
            ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
        let config = config.with_safe_default_protocol_versions().unwrap();
        let config = config.with_root_certificates(roots).with_no_client_auth();
        let tcp = TcpStream::connect(("127.0.0.1", self.listening.port())).await.unwrap();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        connector.connect("localhost".try_into().unwrap(), tcp).await.unwrap()
    }

    /// Sends one request and reads until the server closes; an error that ends the answer is no failure.
    async fn exchange(&self, request: &str) -> String {
        let mut tls = self.connect().await;
        tls.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        drop(tls.read_to_end(&mut answer).await);
        String::from_utf8_lossy(&answer).into_owned()
    }
}

/// A request's head, with fields for a closing connection.
fn head(line: &str, fields: &str) -> String {
    format!("{line} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n{fields}\r\n")
}

#[tokio::test]
async fn a_request_is_logged_byte_for_byte_and_connections_are_counted() {
    let served = served();
    let mut tls = served.connect().await;
    let first =
        head("POST /echo/a%2Fb?|x={1}", "X-Two: b\r\nx-one:  a \r\nX-TWO: c\r\nContent-Length: 3\r\n");
    let second = head("GET /echo/second", "Connection: close\r\n");
    tls.write_all(format!("{first}abc").as_bytes()).await.unwrap();
    let mut answer = [0; 4096];
    let read = tls.read(&mut answer).await.unwrap();
    assert!(answer[..read].starts_with(b"HTTP/1.1 200"));
    served.api.until(|calls| calls.iter().all(|call| call.ended_at.is_some())).await;
    tls.write_all(second.as_bytes()).await.unwrap();
    drop(tls.read_to_end(&mut Vec::new()).await);

    let calls = served.api.calls();
    assert_eq!((calls[0].target(), calls[0].method.as_str()), ("/echo/a%2Fb?|x={1}".into(), "POST"));
    let names: Vec<_> = calls[0].fields.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["Host", "Authorization", "X-Two", "x-one", "X-TWO", "Content-Length"]);
    assert_eq!(
        (calls[0].all("x-two"), calls[0].field("x-one")),
        (vec!["b".into(), "c".into()], Some("a".into()))
    );
    assert_eq!((calls[1].target(), calls[1].fields.len()), ("/echo/second".into(), 3));
    assert_eq!((calls[0].connection, calls[1].connection), (Some(1), Some(1)));
    assert!(served.exchange(&head("GET /me", "Connection: close\r\n")).await.contains("John Doe"));
    assert_eq!(served.api.connections(), 2);
}

#[tokio::test]
async fn a_body_in_several_parts_is_hashed_and_the_next_head_is_told_from_it() {
    let served = served();
    let mut tls = served.connect().await;
    let upload = head("PUT /upload", "Transfer-Encoding: chunked\r\n");
    tls.write_all(format!("{upload}5\r\nGET /\r\n").as_bytes()).await.unwrap();
    served.api.until(|calls| calls.iter().any(|call| call.body_bytes == 5)).await;
    tls.write_all(b"4\r\n\r\n\r\n\r\n0\r\n\r\n").await.unwrap();
    served.api.until(|calls| calls.iter().any(|call| call.ended_at.is_some())).await;
    tls.write_all(head("GET /me", "Connection: close\r\n").as_bytes()).await.unwrap();
    drop(tls.read_to_end(&mut Vec::new()).await);
    let calls = served.api.calls();
    assert_eq!((calls[0].body_bytes, calls[0].body_is_complete), (9, true));
    assert_eq!(calls[1].target(), "/me");
}

#[tokio::test]
async fn a_client_that_hangs_up_is_noticed_in_the_head_in_the_body_and_in_an_upload() {
    let served = served();
    let upload = head("PUT /upload?rate=1", "Content-Length: 1000000\r\n") + &"u".repeat(200_000);
    for request in [head("GET /stall", ""), head("GET /stall-body?after=10", ""), upload] {
        let mut tls = served.connect().await;
        tls.write_all(request.as_bytes()).await.unwrap();
        let is_upload = request.starts_with("PUT");
        served.api.until(|calls| calls.len() == 1 && (!is_upload || calls[0].body_bytes > 0)).await;
        assert_eq!(served.api.calls()[0].closed_by_client_at, None);
        drop(tls);
        served.api.until(|calls| calls[0].closed_by_client_at.is_some()).await;
        assert_eq!(served.api.calls()[0].ended_at, None);
        served.api.forget_calls();
    }
}

#[tokio::test]
async fn answers_break_off_within_a_length_and_within_chunks() {
    let served = served();
    let sized = served.exchange(&head("GET /cut?after=100&bytes=500", "")).await;
    let (fields, body) = sized.split_once("\r\n\r\n").unwrap();
    assert!(fields.contains("content-length: 500"), "{fields}");
    assert!(body.chars().count() >= 90);
    let chunked = served.exchange(&head("GET /cut?after=100&chunked", "")).await;
    assert!(chunked.contains("transfer-encoding: chunked") && !chunked.ends_with("0\r\n\r\n"));
    assert_eq!(served.exchange(&head("GET /hang-up", "")).await, "");
    assert!(
        served.api.calls().iter().all(|call| call.ended_at.is_some() && call.closed_by_client_at.is_none())
    );
}

#[tokio::test]
async fn an_early_answer_arrives_while_the_body_is_sent() {
    let served = served();
    let mut tls = served.connect().await;
    let request = head("POST /early?after=10", "Content-Length: 1000000\r\n") + &"u".repeat(1_000);
    tls.write_all(request.as_bytes()).await.unwrap();
    let mut answer = [0; 4096];
    let read = tls.read(&mut answer).await.unwrap();
    assert!(answer[..read].starts_with(b"HTTP/1.1 401"));
    assert!(!served.api.calls()[0].body_is_complete);
}

#[tokio::test]
async fn interim_responses_come_before_the_answer() {
    let served = served();
    let answer = served.exchange(&head("GET /interim?count=2", "Connection: close\r\n")).await;
    assert_eq!(answer.matches("HTTP/1.1 103").count(), 2);
    assert_eq!(answer.matches("HTTP/1.1 200").count(), 1);
    let head_only = served.exchange(&head("HEAD /download?bytes=70000", "Connection: close\r\n")).await;
    assert!(head_only.contains("content-length: 70000") && head_only.ends_with("\r\n\r\n"));
    let none = served.exchange(&head("GET /status/204", "Connection: close\r\n")).await;
    assert!(!none.contains("content-length") && none.ends_with("\r\n\r\n"), "{none}");
    let hop = served.exchange(&head("GET /headers", "Connection: close\r\n")).await;
    for field in ["te: trailers", "upgrade: h2c", "trailer: x-checksum", "keep-alive: timeout=5", "x-hop"] {
        assert!(hop.contains(field), "{field} in {hop}");
    }
}

#[tokio::test]
async fn a_port_that_refuses_accepts_again() {
    let served = served();
    served.api.refuse_connections(true);
    assert!(TcpStream::connect(("127.0.0.1", served.listening.port())).await.is_err());
    served.api.clear();
    assert!(served.exchange(&head("GET /me", "Connection: close\r\n")).await.contains("200 OK"));
}

#[tokio::test]
async fn large_bodies_pass_without_being_held() {
    let served = served();
    let length = 64 * 1024 * 1024;
    let mut tls = served.connect().await;
    let request = head(&format!("GET /download?bytes={length}&chunked"), "Connection: close\r\n");
    tls.write_all(request.as_bytes()).await.unwrap();
    let (mut read, mut buffer) = (0, vec![0; 64 * 1024]);
    loop {
        match tls.read(&mut buffer).await.unwrap() {
            0 => break,
            some => read += some,
        }
    }
    assert!(read > length);
    let upload = head("PUT /upload", &format!("Content-Length: {length}\r\nConnection: close\r\n"));
    let mut tls = served.connect().await;
    tls.write_all(upload.as_bytes()).await.unwrap();
    for _ in 0..length / buffer.len() {
        tls.write_all(&buffer).await.unwrap();
    }
    drop(tls.read_to_end(&mut Vec::new()).await);
    let calls = served.api.calls();
    assert_eq!((calls[0].answer_bytes, calls[1].body_bytes), (length as u64, length as u64));
}
