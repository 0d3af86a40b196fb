//! The application's credentials, and the requests to the token endpoint that it authenticates with them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use form_urlencoded::Serializer;
use http_body_util::Full;
use hyper::header::{ACCEPT, AUTHORIZATION, CONNECTION, CONTENT_TYPE, HeaderValue, USER_AGENT};
use hyper::{Method, Request};
use serde::Serialize;

use crate::config::{Client, ClientTable, Credential};
use crate::domain::error::{Failure, Refusal};
use crate::domain::freshness::Timestamp;
use crate::secret::Secret;
use crate::signing::{NotSigned, SigningKey};
use crate::transport::Transport;

use super::wire::AGENT;

/// The value of `client_assertion_type` (RFC 7523 §2.2).
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// The lifetime of an assertion, as Auth0 recommends it. Its limit is five minutes.
const ASSERTION_LIFETIME: Duration = Duration::from_secs(60);

/// A client id with what it authenticates with, and what Auth0 has said about it. Clones share the latter.
#[derive(Clone)]
pub struct Credentials {
    table: ClientTable,
    id: Arc<str>,
    credential: Credential,
    /// Presents the certificate, if it is one.
    transport: Option<Arc<dyn Transport>>,
    standing: Arc<Standing>,
}

#[derive(Debug, Default)]
struct Standing {
    /// Whether Auth0 has ever accepted the credentials.
    worked: AtomicBool,
    /// Whether the log says that Auth0 refuses them.
    refusal_logged: AtomicBool,
}

/// The token endpoint as a request names it.
#[derive(Clone, Copy, Debug)]
pub struct TokenEndpoint<'a> {
    /// The endpoint's URL.
    pub url: &'a str,
    /// The tenant's issuer, which is the audience of assertions: `https://DOMAIN/`.
    pub issuer: &'a str,
}

/// What the credentials add to a request.
#[derive(Default)]
struct Proof {
    /// Fields of the form.
    fields: Vec<(&'static str, Secret)>,
    /// The `Authorization` header, marked as sensitive.
    authorization: Option<HeaderValue>,
}

/// The claims of an assertion. Without `iat` and `nbf`, because Auth0 refuses a token whose `iat` is more than ten
/// seconds ahead of its clock, and does not require either.
#[derive(Serialize)]
struct Assertion<'a> {
    iss: &'a str,
    sub: &'a str,
    /// One text: Auth0 refuses a list, and the URL of the token endpoint.
    aud: &'a str,
    exp: i64,
    jti: String,
}

impl Credentials {
    /// The credentials that the table of `client` names, in the order in which they are tried. What is known about those of
    /// `known` that are equal is kept. A certificate is presented through a transport like `transport`.
    pub fn of(client: &Client, transport: &Arc<dyn Transport>, known: &[Self]) -> Vec<Self> {
        let credentials = client.next.iter().chain([&client.credential]);
        let id: Arc<str> = client.id.as_str().into();
        credentials
            .map(|credential| {
                let same = known.iter().find(|known| known.credential == *credential && known.id == id);
                let certificate = match credential {
                    Credential::TlsClientAuth(certificate) => Some(certificate),
                    _ => None,
                };
                Self {
                    table: client.table,
                    id: Arc::clone(&id),
                    credential: credential.clone(),
                    transport: certificate.and_then(|certificate| transport.presenting(certificate)),
                    standing: same.map(|same| Arc::clone(&same.standing)).unwrap_or_default(),
                }
            })
            .collect()
    }

    /// The transport that presents the certificate, if it is one.
    pub fn transport(&self) -> Option<&Arc<dyn Transport>> {
        self.transport.as_ref()
    }

    /// What the application authenticates with.
    pub fn credential(&self) -> &Credential {
        &self.credential
    }

    /// The table that they are from.
    pub fn table(&self) -> ClientTable {
        self.table
    }

    /// The client id.
    pub fn client_id(&self) -> &str {
        &self.id
    }

    /// The key that signs JWTs, if there is one.
    pub fn signing_key(&self) -> Option<&SigningKey> {
        self.credential.signing_key().map(|key| &**key)
    }

    /// Notes that Auth0 has accepted them. Returns whether it had before.
    pub fn works(&self) -> bool {
        self.standing.refusal_logged.store(false, Ordering::Relaxed);
        self.standing.worked.swap(true, Ordering::Relaxed)
    }

    /// Whether Auth0 has ever accepted them.
    pub fn have_worked(&self) -> bool {
        self.standing.worked.load(Ordering::Relaxed)
    }

    /// Whether a refusal of them is to be logged: once, until they are accepted.
    pub fn is_refusal_news(&self) -> bool {
        !self.standing.refusal_logged.swap(true, Ordering::Relaxed)
    }

    /// The failure of a request with these credentials. A refusal of the client names what to check about them.
    pub fn explain(&self, failure: Failure) -> Failure {
        if self.table == ClientTable::ManagementApi {
            return explain_management_api(failure);
        }
        let Failure::Denied(Refusal::Credentials { status }) = failure else { return failure };
        Failure::Denied(match &self.credential {
            Credential::SecretPost(_) | Credential::SecretBasic(_) => Refusal::Credentials { status },
            Credential::PrivateKeyJwt(key) => Refusal::Key { status, kid: key.kid().into() },
            Credential::TlsClientAuth(_) => Refusal::Certificate { status },
        })
    }

    /// A request with the parameters `fields` to the token endpoint, authenticated with these credentials. `now` is the
    /// time by the tenant's clock. Each request has an assertion of its own, because Auth0 accepts one once.
    ///
    /// # Errors
    /// The key cannot sign, or the request cannot be built.
    pub fn request(
        &self,
        endpoint: TokenEndpoint<'_>,
        fields: &[(&str, &str)],
        now: Timestamp,
    ) -> Result<Request<Full<Bytes>>, Failure> {
        let proof = self.proof(endpoint.issuer, now).map_err(|NotSigned| Failure::NotSigned)?;
        let body = form(fields, &proof);
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(endpoint.url)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(ACCEPT, "application/json")
            .header(USER_AGENT, AGENT);
        if let Some(authorization) = proof.authorization {
            // A header that was sent stays in the connection's buffer until the next one or until the connection is
            // closed. A body does not.
            request = request.header(AUTHORIZATION, authorization).header(CONNECTION, "close");
        }
        request.body(Full::from(body)).map_err(|_| Failure::NotSigned)
    }

    /// The proof that a request carries.
    fn proof(&self, issuer: &str, now: Timestamp) -> Result<Proof, NotSigned> {
        let id = ("client_id", Secret::new(&*self.id));
        Ok(match &self.credential {
            Credential::SecretPost(secret) => {
                Proof { fields: vec![id, ("client_secret", Secret::clone(secret))], authorization: None }
            }
            // RFC 6749 §2.3.1: both halves are form-encoded first, so that a colon in the id does not end it.
            Credential::SecretBasic(secret) => {
                let pair = Secret::new(format!("{}:{}", encode(&self.id), encode(secret.expose())));
                let header = Secret::new(format!("Basic {}", STANDARD.encode(pair.expose())));
                // Base64 is always a valid header value.
                let authorization = HeaderValue::from_str(header.expose()).ok().map(|mut value| {
                    value.set_sensitive(true);
                    value
                });
                Proof { fields: Vec::new(), authorization }
            }
            Credential::PrivateKeyJwt(key) => {
                let assertion = Assertion {
                    iss: &self.id,
                    sub: &self.id,
                    aud: issuer,
                    exp: now.after(ASSERTION_LIFETIME).as_secs(),
                    jti: jti()?,
                };
                let assertion = key.sign(None, &assertion)?;
                let kind = ("client_assertion_type", Secret::new(ASSERTION_TYPE));
                Proof { fields: vec![id, kind, ("client_assertion", assertion)], authorization: None }
            }
            Credential::TlsClientAuth(_) => Proof { fields: vec![id], authorization: None },
        })
    }
}

/// The failure of a request with the credentials of `[management_api]`, whose fix is not one of `[tenant.client]`.
fn explain_management_api(failure: Failure) -> Failure {
    match failure {
        Failure::Denied(Refusal::Credentials { status }) => {
            Failure::Denied(Refusal::ManagementApiClient { status })
        }
        Failure::Denied(Refusal::NoClientGrant { audience }) => {
            Failure::Denied(Refusal::ManagementApiGrant { audience })
        }
        failure => failure,
    }
}

/// A random id for a JWT: 128 bits, as 22 characters.
pub(super) fn jti() -> Result<String, NotSigned> {
    let mut random = [0; 16];
    rand::fill(&mut random).map_err(|_| NotSigned)?;
    Ok(URL_SAFE_NO_PAD.encode(random))
}

fn encode(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// Writes a form body: `grant_type=client_credentials&…`.
fn form(fields: &[(&str, &str)], proof: &Proof) -> String {
    let mut form = Serializer::new(String::new());
    form.extend_pairs(fields);
    form.extend_pairs(proof.fields.iter().map(|(name, value)| (name, value.expose())));
    form.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn credentials(credential: Credential) -> Credentials {
        let table = ClientTable::TenantClient;
        Credentials { table, id: "id:1".into(), credential, transport: None, standing: Arc::default() }
    }

    fn proof(credential: Credential) -> Proof {
        credentials(credential).proof("https://tenant.example/", NOW).unwrap()
    }

    fn secret() -> Arc<Secret> {
        Arc::new(Secret::new("p&ss %:"))
    }

    #[test]
    fn post_puts_both_into_the_form() {
        let body = form(&[("grant_type", "client_credentials")], &proof(Credential::SecretPost(secret())));
        assert_eq!(body, "grant_type=client_credentials&client_id=id%3A1&client_secret=p%26ss+%25%3A");
    }

    #[test]
    fn basic_encodes_each_half_before_joining_them() {
        let proof = proof(Credential::SecretBasic(secret()));
        assert_eq!(form(&[("a", "b")], &proof), "a=b");
        let header = proof.authorization.unwrap();
        assert!(header.is_sensitive());
        let decoded = STANDARD.decode(header.to_str().unwrap().strip_prefix("Basic ").unwrap()).unwrap();
        assert_eq!(String::from_utf8(decoded).unwrap(), "id%3A1:p%26ss+%25%3A");
    }

    #[test]
    fn each_request_has_an_assertion_of_its_own_within_auth0s_limits() {
        // The longest key, with an id and a domain of the longest length.
        let pair = aws_lc_rs::rsa::KeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa4096).unwrap();
        let der = aws_lc_rs::encoding::AsDer::as_der(&pair).unwrap();
        let pem = format!(
            "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----",
            STANDARD.encode(der.as_ref())
        );
        let key = SigningKey::from_pem(pem.as_bytes(), crate::signing::SigningAlg::Ps256).unwrap();
        let credential = Credential::PrivateKeyJwt(Arc::new(key));
        let client = Credentials { id: "i".repeat(64).into(), ..credentials(credential) };
        let issuer = format!("https://{}/", "d".repeat(253));
        let assertions = [0, 1].map(|_| {
            let proof = client.proof(&issuer, NOW).unwrap();
            assert!(proof.authorization.is_none());
            let names: Vec<_> = proof.fields.iter().map(|(name, _)| *name).collect();
            assert_eq!(names, ["client_id", "client_assertion_type", "client_assertion"]);
            proof.fields[2].1.expose().to_owned()
        });
        let claims = assertions.each_ref().map(|assertion| {
            assert!(assertion.len() <= 2048, "{}", assertion.len());
            let payload = URL_SAFE_NO_PAD.decode(assertion.split('.').nth(1).unwrap()).unwrap();
            serde_json::from_slice::<serde_json::Value>(&payload).unwrap()
        });
        assert_ne!(claims[0]["jti"], claims[1]["jti"]);
        let mut first = claims[0].clone();
        assert_eq!(first.as_object_mut().unwrap().remove("jti").unwrap().as_str().unwrap().len(), 22);
        let expected = serde_json::json!({
            "iss": &*client.id, "sub": &*client.id, "aud": issuer, "exp": NOW.as_secs() + 60,
        });
        assert_eq!(first, expected);
    }
}
