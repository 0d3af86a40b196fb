//! The transport for production: HTTP/1.1 over TLS, with connections kept alive.

use std::error::Error;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::header::{ACCEPT_ENCODING, HeaderValue};
use hyper::{Request, Response, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{CaptureConnection, capture_connection};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;

use crate::config::Proxy;
use crate::domain::error::Failure;
use crate::signing::ClientCertificate;

use super::address::Reach;
use super::causes::{Causes, broken, host};
use super::connect::Timed;
use super::maybe_proxied::MaybeProxied;
use super::read_bounds::{READ_BUFFER, ReadBounds};
use super::response::Answer;
use super::{Seen, Sending, Transport, body_reading, tls};

/// How long an idle connection is kept. Auth0 closes its side after about a minute.
const POOL_IDLE: Duration = Duration::from_secs(45);

/// How many idle connections are kept. A burst that needs more opens more. A network that drops connections without
/// closing them can break no more idle ones than these.
const MOST_IDLE: usize = 4;

/// How hosts are reached.
pub struct TransportSettings<'a> {
    /// The table of the configuration that has these settings, for error texts.
    pub table: &'static str,
    /// Certificates that are trusted besides the platform's.
    pub extra_roots: &'a [CertificateDer<'static>],
    /// The proxy, and the hosts that are reached without it.
    pub proxy: &'a Proxy,
    /// Whether names are resolved without the search domains of this machine.
    pub is_absolute: bool,
    /// Time limit for name resolution, TCP, a proxy's CONNECT and the TLS handshake together.
    pub connect_timeout: Duration,
    /// Time limit for one request.
    pub request_timeout: Duration,
}

/// Why the transport cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The certificate authorities cannot be used.
    #[error(transparent)]
    Tls(#[from] tls::TlsError),
    /// The proxy's address cannot be used.
    #[error("the proxy's address cannot be used: {table}.proxy takes http://[user:password@]host[:port]")]
    Proxy {
        /// The table of the configuration.
        table: &'static str,
    },
}

/// The transport for production: HTTP/1.1 over TLS, connections kept alive.
///
/// HTTP/1.1 only: a budget is a few requests per second, and HTTP/2 would double the code that a peer can reach.
struct Https {
    /// Before a certificate of the client is added.
    tls: ClientConfig,
    connect_timeout: Duration,
    connector: Connector,
    /// Reuses connections.
    pooled: RwLock<HttpsClient>,
    /// Opens a connection for each request.
    anew: HttpsClient,
    causes: Causes,
    request_timeout: Duration,
}

pub(super) type Connector = Timed<HttpsConnector<MaybeProxied>>;
type HttpsClient = Client<Connector, Full<Bytes>>;

/// Builds the transport that `settings` describe.
pub fn build(settings: &TransportSettings<'_>) -> Result<Arc<dyn Transport>, TransportError> {
    let TransportSettings { table, is_absolute, connect_timeout, request_timeout, .. } = *settings;
    let tls = tls::client_config(settings.extra_roots, table)?;
    let route = MaybeProxied::new(settings.proxy, is_absolute, Reach::Any)
        .map_err(|_| TransportError::Proxy { table })?;
    Ok(Arc::new(Https::new(tls, None, route, connect_timeout, request_timeout)))
}

/// A client that keeps this many idle connections to a host.
pub(super) fn client<B>(connector: Connector, most_idle: usize) -> Client<Connector, B>
where
    B: Body + Send,
    B::Data: Send,
{
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(POOL_IDLE)
        .pool_max_idle_per_host(most_idle)
        .http1_read_buf_exact_size(READ_BUFFER)
        .build(connector)
}

/// Sends `request` and returns the answer once its head was read. `connection` is what captures the request's connection.
pub(super) async fn head<B>(
    client: &Client<Connector, B>,
    causes: &Causes,
    mut request: Request<B>,
    connection: &CaptureConnection,
) -> Result<Response<Incoming>, Failure>
where
    B: Body<Data = Bytes, Error: Error + Send + Sync> + Send + Unpin + 'static,
{
    let uri = request.uri().clone();
    let enough = body_reading::count_interim(&mut request);
    let response = tokio::select! {
        response = client.request(request) => response.map_err(|error| causes.classify(&error, &uri))?,
        () = enough.notified() => return Err(Failure::Malformed { what: body_reading::INTERIM }),
    };
    if let Some(bounds) = response.extensions().get::<ReadBounds>() {
        if bounds.has_grown() {
            connection.connection_metadata().as_ref().inspect(|connected| connected.poison());
        }
        bounds.head_is_read();
    }
    Ok(response)
}

impl Transport for Https {
    fn send(&self, request: Request<Full<Bytes>>) -> Sending<'_> {
        let client = self.pooled.read().unwrap_or_else(PoisonError::into_inner).clone();
        self.send_through(client, request)
    }

    fn send_anew(&self, request: Request<Full<Bytes>>) -> Sending<'_> {
        self.send_through(self.anew.clone(), request)
    }

    fn retire(&self) {
        let client = client(self.connector.clone(), MOST_IDLE);
        *self.pooled.write().unwrap_or_else(PoisonError::into_inner) = client;
    }

    fn presenting(&self, certificate: &Arc<ClientCertificate>) -> Option<Arc<dyn Transport>> {
        let (tls, route) = (self.tls.clone(), self.causes.route.clone());
        let presenting = Self::new(tls, Some(certificate), route, self.connect_timeout, self.request_timeout);
        Some(Arc::new(presenting))
    }
}

impl Https {
    fn new(
        tls: ClientConfig,
        certificate: Option<&ClientCertificate>,
        route: MaybeProxied,
        connect_timeout: Duration,
        request_timeout: Duration,
    ) -> Self {
        let used = match certificate {
            Some(certificate) => tls::presenting(tls.clone(), certificate),
            None => tls.clone(),
        };
        let https = HttpsConnectorBuilder::new().with_tls_config(used).https_only().enable_http1();
        let connector = Timed::new(https.wrap_connector(route.clone()), connect_timeout);
        Self {
            tls,
            connect_timeout,
            pooled: RwLock::new(client(connector.clone(), MOST_IDLE)),
            anew: client(connector.clone(), 0),
            connector,
            causes: Causes { route, is_certified: certificate.is_some() },
            request_timeout,
        }
    }

    fn send_through(&self, client: HttpsClient, request: Request<Full<Bytes>>) -> Sending<'_> {
        let uri = request.uri().clone();
        Box::pin(async move {
            match tokio::time::timeout(self.request_timeout, self.exchange(client, request, &uri)).await {
                Ok(outcome) => outcome,
                Err(_) => Err(Failure::TimedOut { host: host(&uri) }),
            }
        })
    }

    async fn exchange(
        &self,
        client: HttpsClient,
        mut request: Request<Full<Bytes>>,
        uri: &Uri,
    ) -> Result<Answer, Failure> {
        // Without this header the server may choose any encoding.
        request.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let connection = capture_connection(&mut request);
        if let Some(seen) = request.extensions().get::<Seen>() {
            seen.connection.set(connection.clone()).ok();
        }
        let (head, body) = head(&client, &self.causes, request, &connection).await?.into_parts();
        // A compressed body could expand to any size.
        if body_reading::is_encoded(&head.headers) {
            return Err(Failure::Malformed { what: "a compressed body that was not asked for" });
        }
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            body: body_reading::whole(body, |error| broken(&error, uri)).await?,
        })
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use crate::secret::Secret;

    use super::*;

    /// A transport through the proxy at `address`.
    fn through(address: &str, no_proxy: &str) -> Arc<dyn Transport> {
        let root = rcgen::generate_simple_self_signed(vec!["corp".into()]).unwrap().cert.der().clone();
        build(&TransportSettings {
            table: "tenant",
            extra_roots: &[root],
            proxy: &Proxy { url: Some(Secret::new(format!("http://{address}"))), no_proxy: no_proxy.into() },
            is_absolute: false,
            connect_timeout: Duration::from_secs(2),
            request_timeout: Duration::from_secs(5),
        })
        .unwrap()
    }

    fn get(uri: &str) -> Request<Full<Bytes>> {
        Request::get(uri).body(Full::default()).unwrap()
    }

    /// The failure of a request through a proxy that answers CONNECT with `answer` and then `hangs` or closes.
    async fn failure(answer: &str, hangs: bool) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let transport = through(&address, "");
        let proxy = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let n = stream.read(&mut request).await.unwrap();
            assert!(request[..n].starts_with(b"CONNECT tenant.example:443 "));
            stream.write_all(answer.as_bytes()).await.unwrap();
            if !hangs {
                stream.shutdown().await.unwrap();
            }
            // Dropping a stream with unread bytes would reset the connection.
            std::future::pending::<()>().await;
        };
        let failure = tokio::select! {
            outcome = transport.send(get("https://tenant.example/")) => outcome.err().unwrap(),
            () = proxy => unreachable!(),
        };
        failure.to_string().replace(&address, "PROXY")
    }

    #[tokio::test(start_paused = true)]
    async fn a_proxy_is_said_to_do_what_it_does() {
        let refused = "the proxy PROXY refuses to connect to Auth0: allow tenant.domain there, and check that \
                       tenant.proxy names an HTTP proxy";
        let slow = "the proxy PROXY was reached, but there was no connection to Auth0 within tenant.connect_timeout: \
                    check that it can reach tenant.domain, or raise that timeout";
        let long = format!("HTTP/1.1 200 OK\r\nx-long: {}\r\n\r\n", "x".repeat(9000));
        for (answer, hangs, text) in [
            ("", true, slow),
            ("HTTP/1.1 200 OK\r\n\r\n", true, slow),
            ("HTTP/1.1 200 OK\r\n\r\n", false, refused),
            ("", false, refused),
            ("HTTP/1.1 403 Forbidden\r\n\r\n", false, refused),
            ("SSH-2.0-OpenSSH_9.2\r\n", false, refused),
            (
                "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n",
                false,
                "the proxy PROXY asks for authentication: give tenant.proxy a user and a password it accepts",
            ),
            (
                &long,
                true,
                "the proxy PROXY sent an invalid response: check that tenant.proxy names an HTTP proxy",
            ),
        ] {
            assert_eq!(failure(answer, hangs).await, text, "{answer:.40} {hangs}");
        }
    }
    /// One transport serves several hosts. The exceptions of the proxy, and the texts of failures, go by the host of
    /// each request.
    #[tokio::test]
    async fn each_request_decides_by_its_own_host() {
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let transport = through(&free.to_string(), "127.0.0.1");
        let failure = |uri: String| {
            let transport = Arc::clone(&transport);
            async move { transport.send(get(&uri)).await.err().unwrap().to_string() }
        };
        let direct = failure(format!("https://{free}/token")).await;
        assert!(direct.starts_with(&format!("nothing listens at {free}:")), "{direct}");
        let proxied = failure("https://tenant.example:8443/".into()).await;
        assert!(proxied.starts_with(&format!("the proxy {free} ")), "{proxied}");
    }
}
