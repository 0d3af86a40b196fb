//! What a hit allocates, beside what hyper does for any request, so that a change that costs some is noticed.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests stop at the first surprise"
)]

mod support {
    pub mod configuration;
    pub mod exchange;
    pub mod in_memory;
}

use std::convert::Infallible;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;

use allocation_counter::measure;
use bytes::Bytes;
use cloakroom::fake_auth0::TenantOptions;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use support::in_memory;
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::sync::oneshot;

const REQUEST: &[u8] = b"GET /v1/users/google-oauth2%7C103547991597142817347/token HTTP/1.1\r\n\
    Host: cloakroom\r\nCloakroom-Request: true\r\n\r\n";

/// Before anything is counted: buffers have grown by then, and whoever asks is a hit.
const WARM: usize = 1_000;

/// What moka does every now and then is in it.
const COUNTED: usize = 10_000;

/// Beyond what hyper makes for a request and an answer that is ready: the user's id, the request's, the age, and what head
/// and body are written in.
const MOST: f64 = 3.5;

#[test]
fn a_hit_allocates_hardly_more_than_any_request() {
    let bare = per_request(bare_hyper);
    let own = per_request(async || {
        let (tenant, [clock, _]) = in_memory::tenant(TenantOptions::default());
        let (directory, config) = in_memory::configure("tenant.example", &tenant, None, "");
        let running = in_memory::start(&config, &tenant, &clock).await;
        running.services().management.bearer().await.unwrap();
        (running.sockets[0].clone(), (running, directory))
    });
    println!("allocations per request: bare hyper {bare:.2}, a hit {own:.2}");
    assert!(bare >= 1.0, "hyper's own are counted: {bare}");
    assert!(own - bare <= MOST, "a hit {own}, and hyper's own are {bare}");
}

/// Allocations of the thread that serves what `start` starts, for each request of one connection that is kept.
fn per_request<T>(start: impl AsyncFnOnce() -> (PathBuf, T)) -> f64 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (socket, server) = runtime.block_on(start());
    let (is_warm, warm) = oneshot::channel();
    let (go, may_go) = mpsc::channel();
    let (is_done, done) = oneshot::channel();
    let client = thread::spawn(move || {
        let mut stream = UnixStream::connect(socket).unwrap();
        (0..WARM).for_each(|_| ask(&mut stream));
        is_warm.send(()).unwrap();
        may_go.recv().unwrap();
        (0..COUNTED).for_each(|_| ask(&mut stream));
        is_done.send(()).unwrap();
    });
    runtime.block_on(warm).unwrap();
    go.send(()).unwrap();
    let counted = measure(|| runtime.block_on(done).unwrap());
    client.join().unwrap();
    drop(server);
    counted.count_total as f64 / COUNTED as f64
}

fn ask(stream: &mut UnixStream) {
    stream.write_all(REQUEST).unwrap();
    let (mut answer, mut length) = ([0; 4096], 0);
    loop {
        length += stream.read(answer.get_mut(length..).unwrap()).unwrap();
        let text = std::str::from_utf8(answer.get(..length).unwrap()).unwrap();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        assert!(head.starts_with("HTTP/1.1 200 "), "{text}");
        let declared = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        if body.len() == declared.parse::<usize>().unwrap() {
            return;
        }
    }
}

/// A server that has its answer ready.
async fn bare_hyper() -> (PathBuf, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("socket");
    cloakroom::task::spawn("bare hyper", serve_bare(UnixListener::bind(&socket).unwrap()));
    (socket, directory)
}

async fn serve_bare(listener: UnixListener) {
    let (stream, _) = listener.accept().await.unwrap();
    let service = service_fn(async |_: Request<Incoming>| {
        let mut response = Response::new(Full::new(Bytes::from_static(b"{\"access_token\":\"ya29\"}")));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Ok::<_, Infallible>(response)
    });
    http1::Builder::new().serve_connection(TokioIo::new(stream), service).await.unwrap();
}
