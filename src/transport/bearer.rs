//! The `Authorization` of a request that carries a token.

use hyper::header::HeaderValue;

use crate::secret::{Secret, SecretStr};

/// The value of `Authorization` for `token` (RFC 6750 §2.1), marked as sensitive; `None` if a header cannot hold it.
pub fn header(token: SecretStr<'_>) -> Option<HeaderValue> {
    let text = Secret::new(format!("Bearer {}", token.expose()));
    let mut authorization = HeaderValue::from_str(text.expose()).ok()?;
    authorization.set_sensitive(true);
    Some(authorization)
}
