//! Streamed exchanges with a TLS server that is written byte for byte.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{Empty, Full};
use hyper::body::{Body, Frame};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::config::Proxy;

use super::*;

mod heads;

/// Longer than anything takes that does not hang.
const LONG: Duration = Duration::from_secs(30);

/// A TLS server, and the transport that trusts it.
struct Peer {
    listener: TcpListener,
    acceptor: TlsAcceptor,
    authority: String,
    transport: Arc<dyn StreamingTransport>,
}

impl Peer {
    async fn new() -> Self {
        Self::within(|_| Reach::Any).await
    }

    async fn within(reach: impl FnOnce(&str) -> Reach) -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".into()]).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let certificate = made.cert.der().clone();
        let tls = tls.unwrap().with_no_client_auth().with_single_cert(vec![certificate.clone()], key);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let authority = listener.local_addr().unwrap().to_string();
        let settings = TransportSettings {
            table: "providers",
            extra_roots: &[certificate],
            proxy: &Proxy::default(),
            is_absolute: false,
            connect_timeout: LONG,
            request_timeout: LONG,
        };
        let transport = build_streaming(&settings, reach(&authority), MOST_IDLE).unwrap();
        Self { listener, acceptor: TlsAcceptor::from(Arc::new(tls.unwrap())), authority, transport }
    }

    async fn accept(&self) -> TlsStream<TcpStream> {
        let (stream, _) = self.listener.accept().await.unwrap();
        self.acceptor.accept(stream).await.unwrap()
    }

    fn request(&self, method: &str, target: &str, body: StreamBody) -> Request<StreamBody> {
        let uri = format!("https://{}{target}", self.authority);
        Request::builder().method(method).uri(uri).body(body).unwrap()
    }

    /// What becomes of a GET that is answered with `answer`, on a connection of its own.
    async fn answered(&self, answer: &str) -> (Result<Response<StreamBody>, Failure>, String) {
        let serve = async {
            let mut stream = self.accept().await;
            let head = head(&mut stream).await;
            // The client may have closed the connection.
            stream.write_all(answer.as_bytes()).await.ok();
            stream.shutdown().await.ok();
            head
        };
        timeout(LONG, async { tokio::join!(self.transport.open(self.request("GET", "/", empty())), serve) })
            .await
            .unwrap()
    }
}

fn empty() -> StreamBody {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

fn whole(text: &'static str) -> StreamBody {
    Full::from(text).map_err(|never| match never {}).boxed_unsync()
}

/// The head of the next request.
async fn head(stream: &mut TlsStream<TcpStream>) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// A body without an end, and what learns that it was dropped.
struct Endless(Option<oneshot::Sender<()>>);

impl Endless {
    fn watched() -> (StreamBody, oneshot::Receiver<()>) {
        let (sender, dropped) = oneshot::channel();
        (Self(Some(sender)).boxed_unsync(), dropped)
    }
}

impl Drop for Endless {
    fn drop(&mut self) {
        self.0.take().unwrap().send(()).ok();
    }
}

impl Body for Endless {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b'u'; 16 * 1024])))))
    }
}

/// A body that gives the pieces that a test sends it, and waits between them.
struct Stepped {
    pieces: mpsc::UnboundedReceiver<&'static str>,
    _dropped: Endless,
}

impl Stepped {
    fn watched() -> (mpsc::UnboundedSender<&'static str>, StreamBody, oneshot::Receiver<()>) {
        let ((sender, dropped), (pieces, received)) = (oneshot::channel(), mpsc::unbounded_channel());
        let body = Self { pieces: received, _dropped: Endless(Some(sender)) };
        (pieces, body.boxed_unsync(), dropped)
    }
}

impl Body for Stepped {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.pieces.poll_recv(cx).map(|piece| piece.map(|piece| Ok(Frame::data(piece.into()))))
    }
}

#[tokio::test]
async fn the_target_is_sent_byte_for_byte() {
    let peer = Peer::new().await;
    for target in [
        "/",
        "/a|b/%7c?x=%2E%2E/../&",
        "/google-oauth2%7C1%2F2/?",
        "/a/b:batchUpdate?$top=1&a=b+c&d={e}",
        "/me/drive/root:/x.txt:/content?a=%zz~@",
    ] {
        let serve = async {
            let mut stream = peer.accept().await;
            let head = head(&mut stream).await;
            stream.write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n").await.unwrap();
            head
        };
        let (answer, head) = tokio::join!(peer.transport.open(peer.request("GET", target, empty())), serve);
        assert_eq!(answer.unwrap().status(), 204);
        assert_eq!(head, format!("GET {target} HTTP/1.1\r\nhost: {}\r\n\r\n", peer.authority));
    }
}

#[tokio::test]
async fn redirects_and_compressed_bodies_are_handed_on_as_they_are() {
    let peer = Peer::new().await;
    let answer = "HTTP/1.1 302 Found\r\nlocation: https://other.example/\r\ncontent-encoding: gzip\r\n\
                  content-length: 4\r\n\r\n\x1f\x00\x08z";
    let (answer, head) = peer.answered(answer).await;
    let answer = answer.unwrap();
    assert_eq!(answer.status(), 302);
    assert_eq!(answer.headers()["content-encoding"], "gzip");
    assert_eq!(&answer.into_body().collect().await.unwrap().to_bytes()[..], b"\x1f\x00\x08z");
    assert!(!head.contains("accept-encoding"), "{head}");
}

/// A server that ignores the body of a `GET` would take it for the next request.
#[tokio::test]
async fn a_connection_ends_with_a_body_that_a_server_may_ignore() {
    let peer = Peer::new().await;
    for (method, has_body, is_last) in [
        ("GET", true, true),
        ("DELETE", true, true),
        ("OPTIONS", true, true),
        ("REPORT", true, true),
        ("GET", false, false),
        ("DELETE", false, false),
        ("POST", true, false),
    ] {
        let serve = async {
            let mut stream = peer.accept().await;
            let first = head(&mut stream).await;
            let mut body = [0; 4];
            if has_body {
                stream.read_exact(&mut body).await.unwrap();
            }
            // The server does not close the connection itself.
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
            let mut next = if is_last { peer.accept().await } else { stream };
            head(&mut next).await;
            next.write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n").await.unwrap();
            first
        };
        let calls = async {
            let body = if has_body { whole("body") } else { empty() };
            let answer = peer.transport.open(peer.request(method, "/", body)).await.unwrap();
            answer.into_body().collect().await.unwrap();
            peer.transport.open(peer.request("GET", "/", empty())).await.unwrap();
        };
        let ((), first) = timeout(LONG, async { tokio::join!(calls, serve) }).await.unwrap();
        assert_eq!(first.contains("connection: close"), is_last, "{method} {has_body}: {first}");
    }
}

#[tokio::test]
async fn a_body_that_is_cut_off_ends_with_an_error() {
    let peer = Peer::new().await;
    for rest in ["content-length: 10\r\n\r\nevil", "transfer-encoding: chunked\r\n\r\n4\r\nevil\r\n"] {
        let (answer, _) = peer.answered(&format!("HTTP/1.1 200 OK\r\n{rest}")).await;
        let error = answer.unwrap().into_body().collect().await.unwrap_err();
        assert_eq!(error, BodyError::Broken, "{rest}");
    }
}

#[tokio::test]
async fn an_answer_beside_an_upload_is_whole_and_its_end_ends_the_upload() {
    const ANSWER: usize = 200_000;
    let peer = Peer::new().await;
    let (body, dropped) = Endless::watched();
    let serve = async {
        let mut stream = peer.accept().await;
        head(&mut stream).await;
        let answer = format!("HTTP/1.1 401 Unauthorized\r\ncontent-length: {ANSWER}\r\n\r\n");
        stream.write_all(answer.as_bytes()).await.unwrap();
        // The upload continues while the answer is sent.
        let mut read = vec![0; 64 * 1024];
        for _ in 0..100 {
            stream.read_exact(&mut read).await.unwrap();
            stream.write_all(&[b'a'; ANSWER / 100]).await.unwrap();
            stream.flush().await.unwrap();
        }
        // Nothing more is read, so that the upload cannot continue.
        stream
    };
    let exchange = async {
        let answer = peer.transport.open(peer.request("POST", "/", body)).await.unwrap();
        assert_eq!(answer.status(), 401);
        answer.into_body().collect().await.unwrap().to_bytes().len()
    };
    let (length, _unread) = timeout(LONG, async { tokio::join!(exchange, serve) }).await.unwrap();
    assert_eq!(length, ANSWER);
    timeout(LONG, dropped).await.unwrap().unwrap();
}

/// What is sent in between is not taken for the next request, with whose answer the bounds of heads would begin anew.
#[tokio::test]
async fn a_long_answer_is_whole_although_the_upload_continued_after_its_head() {
    const ANSWER: usize = 200_000;
    let peer = Peer::new().await;
    let (pieces, body, _dropped) = Stepped::watched();
    let serve = async {
        let mut stream = peer.accept().await;
        head(&mut stream).await;
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {ANSWER}\r\n\r\n");
        stream.write_all(answer.as_bytes()).await.unwrap();
        let mut piece = [0; 8];
        stream.read_exact(&mut piece).await.unwrap();
        assert_eq!(&piece, b"3\r\none\r\n");
        stream.write_all(&[b'a'; ANSWER]).await.unwrap();
        stream
    };
    let exchange = async {
        let answer = peer.transport.open(peer.request("POST", "/", body)).await.unwrap();
        pieces.send("one").unwrap();
        answer.into_body().collect().await.map(|body| body.to_bytes().len())
    };
    let (length, _stream) = timeout(LONG, async { tokio::join!(exchange, serve) }).await.unwrap();
    assert_eq!(length, Ok(ANSWER));
}

#[tokio::test]
async fn an_upload_whose_client_is_silent_ends_with_the_answer() {
    let peer = Peer::new().await;
    let (pieces, body, dropped) = Stepped::watched();
    pieces.send("one").unwrap();
    let serve = async {
        let mut stream = peer.accept().await;
        head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        stream
    };
    let opened = async { peer.transport.open(peer.request("POST", "/", body)).await.unwrap() };
    let (answer, mut stream) = timeout(LONG, async { tokio::join!(opened, serve) }).await.unwrap();
    assert_eq!(answer.status(), 413);
    timeout(LONG, dropped).await.unwrap().unwrap();
    timeout(LONG, stream.read_to_end(&mut Vec::new())).await.unwrap().ok();
}

#[tokio::test]
async fn a_call_that_is_given_up_ends_its_connection_although_the_peer_does_not_read() {
    let peer = Peer::new().await;
    let (body, dropped) = Endless::watched();
    let mut opening = peer.transport.open(peer.request("POST", "/", body));
    let _unread = tokio::select! {
        _ = &mut opening => unreachable!(),
        stream = async {
            let mut stream = peer.accept().await;
            head(&mut stream).await;
            // The upload fills what is between the two.
            tokio::time::sleep(Duration::from_millis(200)).await;
            stream
        } => stream,
    };
    drop(opening);
    timeout(LONG, dropped).await.unwrap().unwrap();
}

#[tokio::test]
async fn an_answer_that_is_dropped_before_its_end_closes_its_connection() {
    let peer = Peer::new().await;
    let serve = async {
        let mut stream = peer.accept().await;
        head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\nbeginning").await.unwrap();
        stream
    };
    let opened = async { peer.transport.open(peer.request("GET", "/", empty())).await.unwrap() };
    let (answer, mut stream) = tokio::join!(opened, serve);
    let mut body = answer.into_body();
    body.frame().await.unwrap().unwrap();
    drop(body);
    timeout(LONG, stream.read_to_end(&mut Vec::new())).await.unwrap().ok();
}

#[tokio::test]
async fn a_post_is_not_sent_twice() {
    let peer = Peer::new().await;
    let post = || peer.request("POST", "/", whole("body"));
    let serve = async {
        let mut stream = peer.accept().await;
        let mut body = [0; 4];
        head(&mut stream).await;
        stream.read_exact(&mut body).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
        // The second request comes through the same connection, and is read before that is closed.
        head(&mut stream).await;
        stream.read_exact(&mut body).await.unwrap();
        drop(stream);
        let mut another = peer.accept().await;
        head(&mut another).await
    };
    let calls = async {
        let answer = peer.transport.open(post()).await.unwrap();
        assert_eq!(&answer.into_body().collect().await.unwrap().to_bytes()[..], b"ok");
        peer.transport.open(post()).await.err().unwrap()
    };
    tokio::select! {
        failure = timeout(LONG, calls) => assert!(matches!(failure.unwrap(), Failure::Broken { .. })),
        again = serve => panic!("sent again: {again}"),
    }
}

#[tokio::test]
async fn a_host_without_a_public_address_is_refused_unless_it_is_excepted() {
    let refusing = Peer::within(|_| Reach::Public { except: Arc::from([]) }).await;
    let request = refusing.request("GET", "/", empty());
    let failure = refusing.transport.open(request).await.err().unwrap();
    assert!(matches!(failure, Failure::PrivateAddress { .. }), "{failure}");
    let excepting = Peer::within(|authority| Reach::Public { except: Arc::from([authority.into()]) }).await;
    assert!(excepting.answered("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.0.is_ok());
}
