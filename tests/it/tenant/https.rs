//! An HTTPS client that does no more than it is told: no retries, no redirects, no decompression.

use std::error::Error;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Request, StatusCode, header};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A client of one server, trusting one authority.
pub struct Https {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    domain: String,
}

/// What came back.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

pub type Outcome = Result<Answer, Box<dyn Error + Send + Sync>>;

impl Https {
    pub fn new(domain: &str, ca_pem: &str) -> Self {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        // It would set a timer, which paused time runs to at once.
        http.set_happy_eyeballs_timeout(None);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(trusting(ca_pem))
            .https_only()
            .enable_http1()
            .wrap_connector(http);
        let client = Client::builder(TokioExecutor::new()).retry_canceled_requests(false).build(connector);
        Self { client, domain: domain.to_owned() }
    }

    pub async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Outcome {
        self.send("GET", path, headers, "").await
    }

    pub async fn post_form(&self, path: &str, fields: &[(&str, &str)]) -> Outcome {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        self.send("POST", path, &[("content-type", "application/x-www-form-urlencoded")], &body).await
    }

    pub async fn post_json(&self, path: &str, body: &Value) -> Outcome {
        self.send("POST", path, &[("content-type", "application/json")], &body.to_string()).await
    }

    pub async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Outcome {
        let mut request = Request::builder().method(method).uri(format!("https://{}{path}", self.domain));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.header(header::ACCEPT, "application/json");
        let response = self.client.request(request.body(Full::from(body.to_owned()))?).await?;
        let (parts, body) = response.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(Answer { status: parts.status, headers: parts.headers, body })
    }
}

/// Sends these bytes over TLS and reads until the server closes.
pub async fn raw(listening: &cloakroom::fake_auth0::Listening, request: &str) -> String {
    let connector = tokio_rustls::TlsConnector::from(Arc::new(trusting(listening.ca_pem())));
    let tcp = tokio::net::TcpStream::connect(("127.0.0.1", listening.port())).await.unwrap();
    let mut tls = connector.connect("localhost".try_into().unwrap(), tcp).await.unwrap();
    tls.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    tls.read_to_string(&mut answer).await.unwrap();
    answer
}

fn trusting(ca_pem: &str) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca_pem.as_bytes()).unwrap()).unwrap();
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}
