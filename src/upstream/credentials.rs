//! The application's credentials, and the grant request that it authenticates with them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use form_urlencoded::Serializer;
use http_body_util::Full;
use hyper::header::{ACCEPT, AUTHORIZATION, CONNECTION, CONTENT_TYPE, HeaderValue, USER_AGENT};
use hyper::{Method, Request};

use crate::config::{Client, ClientAuth};
use crate::secret::Secret;

use super::wire::AGENT;

/// A client id with its secret and authentication method.
#[derive(Clone, Debug)]
pub struct Credentials {
    client: Arc<Client>,
    /// Whether Auth0 has ever accepted them.
    worked: Arc<AtomicBool>,
}

/// What the credentials add to a grant request.
struct Proof {
    /// Fields of the form.
    fields: Vec<(&'static str, Secret)>,
    /// The `Authorization` header, marked as sensitive.
    authorization: Option<HeaderValue>,
}

impl Credentials {
    /// The credentials that `[tenant.client]` names.
    pub fn new(client: &Arc<Client>) -> Self {
        Self { client: Arc::clone(client), worked: Arc::default() }
    }

    /// Whether these are the credentials of `client`.
    pub fn are_of(&self, client: &Client) -> bool {
        self.client.has_credentials_of(client)
    }

    /// `client`, sharing the secret of these credentials, so that it is in memory once; `None` if its secret is
    /// another.
    pub fn share(&self, client: &Arc<Client>) -> Option<Arc<Client>> {
        let secret = Some(&self.client.secret).filter(|secret| **secret == client.secret)?;
        Some(Arc::new(Client { secret: Arc::clone(secret), ..Client::clone(client) }))
    }

    /// Notes that Auth0 has accepted them. Returns whether it had before.
    pub fn works(&self) -> bool {
        self.worked.swap(true, Ordering::Relaxed)
    }

    /// Whether Auth0 has ever accepted them.
    pub fn have_worked(&self) -> bool {
        self.worked.load(Ordering::Relaxed)
    }

    /// The request to the tenant at `domain` for a token for `audience`; `None` if it cannot be built.
    pub fn grant_request(&self, domain: &str, audience: &str) -> Option<Request<Full<Bytes>>> {
        let proof = self.proof();
        let body = form(&[("grant_type", "client_credentials"), ("audience", audience)], &proof);
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(format!("https://{domain}/oauth/token"))
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(ACCEPT, "application/json")
            .header(USER_AGENT, AGENT);
        if let Some(authorization) = proof.authorization {
            // A header that was sent stays in the connection's buffer until the next one or until the connection is
            // closed. A body does not.
            request = request.header(AUTHORIZATION, authorization).header(CONNECTION, "close");
        }
        request.body(Full::from(body)).ok()
    }

    /// The proof that a grant request carries. RFC 6749 §2.3.1: either fields of the form, or HTTP Basic with both
    /// halves form-encoded first, so that a colon in the id does not end it.
    fn proof(&self) -> Proof {
        let Client { id, secret, secret_file: _, auth } = &*self.client;
        match auth {
            ClientAuth::SecretPost => Proof {
                fields: vec![
                    ("client_id", Secret::new(id.clone())),
                    ("client_secret", Secret::clone(secret)),
                ],
                authorization: None,
            },
            ClientAuth::SecretBasic => {
                let pair = Secret::new(format!("{}:{}", encode(id), encode(secret.expose())));
                let header = Secret::new(format!("Basic {}", STANDARD.encode(pair.expose())));
                // Base64 is always a valid header value.
                let authorization = HeaderValue::from_str(header.expose()).ok().map(|mut value| {
                    value.set_sensitive(true);
                    value
                });
                Proof { fields: Vec::new(), authorization }
            }
        }
    }
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
    use crate::config;

    fn proof(auth: ClientAuth) -> Proof {
        let text = "[tenant]\ndomain = \"tenant.eu.auth0.com\"\n[tenant.client]\nid = \"id:1\"\nsecret = \"p&ss %:\"\n";
        let mut client = config::parse("test.toml", text, &config::Env::default()).unwrap().config.client;
        Arc::make_mut(&mut client).auth = auth;
        Credentials::new(&client).proof()
    }

    #[test]
    fn post_puts_both_into_the_form() {
        let body = form(&[("grant_type", "client_credentials")], &proof(ClientAuth::SecretPost));
        assert_eq!(body, "grant_type=client_credentials&client_id=id%3A1&client_secret=p%26ss+%25%3A");
    }

    #[test]
    fn basic_encodes_each_half_before_joining_them() {
        let proof = proof(ClientAuth::SecretBasic);
        assert_eq!(form(&[("a", "b")], &proof), "a=b");
        let header = proof.authorization.unwrap();
        assert!(header.is_sensitive());
        let decoded = STANDARD.decode(header.to_str().unwrap().strip_prefix("Basic ").unwrap()).unwrap();
        assert_eq!(String::from_utf8(decoded).unwrap(), "id%3A1:p%26ss+%25%3A");
    }
}
