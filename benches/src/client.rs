//! A bare hyper client: the part of a proxied call that any client pays for, with the same runtime and the same TLS.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{AUTHORIZATION, HOST, USER_AGENT};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// What the client asks, and through how many connections.
pub struct Asked<'a> {
    /// `localhost:PORT`.
    pub host: &'a str,
    /// The certificate of the authority that vouches for it.
    pub ca: &'a Path,
    pub target: &'a str,
    pub token: &'a str,
    pub connections: usize,
    pub span: Duration,
}

/// Asks through connections that are kept, for `span`, and prints the microseconds of processor time per answer.
pub fn run(asked: &Asked<'_>) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().event_interval(8).build().unwrap();
    runtime.block_on(async {
        let answered = Arc::new(AtomicU64::new(0));
        for sender in connect(asked).await {
            let (request, answered) = (request(asked), Arc::clone(&answered));
            tokio::spawn(async move { ask(sender, request, &answered).await });
        }
        // Every connection's buffers have grown by then.
        tokio::time::sleep(asked.span / 4).await;
        let before = (crate::subject::own_cpu(), answered.load(Ordering::Relaxed));
        tokio::time::sleep(asked.span).await;
        let used = crate::subject::own_cpu() - before.0;
        let answered = answered.load(Ordering::Relaxed) - before.1;
        println!("{}", used.as_secs_f64() * 1e6 / answered as f64);
    });
}

async fn connect(asked: &Asked<'_>) -> Vec<SendRequest<Empty<Bytes>>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(asked.ca).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(config.with_root_certificates(roots).with_no_client_auth());
    let mut senders = Vec::new();
    for _ in 0..asked.connections {
        let stream = TcpStream::connect(asked.host).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let stream = TlsConnector::from(Arc::clone(&config)).connect(name, stream).await.unwrap();
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        senders.push(sender);
    }
    senders
}

/// The request as the daemon sends it for h2load.
fn request(asked: &Asked<'_>) -> Request<Empty<Bytes>> {
    Request::get(asked.target)
        .header(HOST, asked.host)
        .header(USER_AGENT, "h2load nghttp2/1.52.0")
        .header(AUTHORIZATION, format!("Bearer {}", asked.token))
        .body(Empty::new())
        .unwrap()
}

/// Asks again and again, and reads each answer to its end.
async fn ask(mut sender: SendRequest<Empty<Bytes>>, request: Request<Empty<Bytes>>, answered: &AtomicU64) {
    loop {
        sender.ready().await.unwrap();
        let response = sender.send_request(request.clone()).await.unwrap();
        assert_eq!(response.status(), 200);
        let mut body = response.into_body();
        while let Some(frame) = body.frame().await {
            frame.unwrap();
        }
        answered.fetch_add(1, Ordering::Relaxed);
    }
}
