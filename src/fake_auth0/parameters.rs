//! The parameters of a request to the Authentication API, from a form or from JSON.

use bytes::Bytes;
use hyper::{Request, header};
use serde_json::Value;

use super::reply::{Refusal, invalid, missing};

/// The parameters of a body, which is a form or JSON.
pub(super) struct Parameters(Vec<(String, String)>);

impl Parameters {
    pub fn read(request: &Request<Bytes>) -> Result<Self, Refusal> {
        let content_type = request.headers().get(header::CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
        match content_type.split(';').next().unwrap_or_default().trim() {
            "application/x-www-form-urlencoded" => {
                Ok(Self(form_urlencoded::parse(request.body()).into_owned().collect()))
            }
            "application/json" => {
                Self::read_json(request.body()).ok_or_else(|| invalid("Invalid request payload JSON format"))
            }
            _ => Err(missing("grant_type")),
        }
    }

    fn read_json(body: &[u8]) -> Option<Self> {
        let body: serde_json::Map<String, Value> = serde_json::from_slice(body).ok()?;
        body.into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| Some((name, value.as_str()?.to_owned())))
            .collect::<Option<_>>()
            .map(Self)
    }

    pub fn get(&self, wanted: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str())
    }
}
