//! A bare hyper server: what cloakroom stands on, with the same runtime and an answer of the same size, and nothing else.

use std::convert::Infallible;
use std::path::Path;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, body::Incoming};
use hyper_util::rt::TokioIo;

/// Serves for ever.
pub fn serve(socket: &Path, length: usize) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().event_interval(8).build().unwrap();
    let body = Bytes::from(vec![b'x'; length]);
    runtime.block_on(async {
        std::fs::remove_file(socket).ok();
        let listener = tokio::net::UnixListener::bind(socket).unwrap();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let body = body.clone();
            tokio::spawn(async move {
                let answer = service_fn(move |_: Request<Incoming>| {
                    let mut response = Response::new(Full::new(body.clone()));
                    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                    async move { Ok::<_, Infallible>(response) }
                });
                http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await.ok();
            });
        }
    });
}
