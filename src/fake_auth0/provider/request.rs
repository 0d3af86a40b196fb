//! A request to a provider's token endpoint, as the provider reads it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::{Method, Request, header};
use percent_encoding::percent_decode_str;

use crate::fake_auth0::options::ClientAuth;
use crate::secret::Secret;

/// A request that has been read.
pub(super) struct TokenRequest {
    /// Whether method, path and type of the body are the token endpoint's.
    pub is_for_endpoint: bool,
    /// Whether the client asks for JSON.
    pub accepts_json: bool,
    credentials: Option<Credentials>,
    parameters: Vec<(String, String)>,
}

/// A client's id and secret, and where they stood.
pub(super) struct Credentials {
    pub id: String,
    pub secret: Secret,
    pub by: ClientAuth,
}

impl TokenRequest {
    pub fn read(request: &Request<Bytes>, path: &str) -> Self {
        let text = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
        let content_type = text(header::CONTENT_TYPE).unwrap_or_default();
        let is_form =
            content_type.split(';').next().unwrap_or_default().trim() == "application/x-www-form-urlencoded";
        let parameters: Vec<(String, String)> = match is_form {
            true => form_urlencoded::parse(request.body()).into_owned().collect(),
            false => Vec::new(),
        };
        let posted = |wanted: &str| parameters.iter().find(|(name, _)| name == wanted).map(|it| it.1.clone());
        let basic = text(header::AUTHORIZATION).map(basic);
        let credentials = match (basic, posted("client_id"), posted("client_secret")) {
            // RFC 6749 §2.3: one method of authentication in a request.
            (Some(_), _, Some(_)) => None,
            (Some(basic), ..) => basic,
            (None, Some(id), Some(secret)) => {
                Some(Credentials { id, secret: Secret::new(secret), by: ClientAuth::SecretPost })
            }
            _ => None,
        };
        Self {
            is_for_endpoint: request.method() == Method::POST && request.uri().path() == path && is_form,
            accepts_json: text(header::ACCEPT).is_some_and(|accept| accept.contains("application/json")),
            credentials,
            parameters,
        }
    }

    pub fn credentials(&self) -> Option<&Credentials> {
        self.credentials.as_ref()
    }

    /// A parameter of the form.
    pub fn get(&self, wanted: &str) -> Option<&str> {
        self.parameters.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str())
    }
}

/// Reads a Basic header, whose halves are form-urlencoded before they are joined (RFC 6749 §2.3.1).
fn basic(value: &str) -> Option<Credentials> {
    let (scheme, encoded) = value.split_once(' ')?;
    let decoded = scheme.eq_ignore_ascii_case("basic").then(|| STANDARD.decode(encoded).ok())??;
    let decoded = String::from_utf8(decoded).ok()?;
    let (id, secret) = decoded.split_once(':')?;
    let plain =
        |half: &str| Some(percent_decode_str(&half.replace('+', " ")).decode_utf8().ok()?.into_owned());
    Some(Credentials { id: plain(id)?, secret: Secret::new(plain(secret)?), by: ClientAuth::SecretBasic })
}
