//! The request of an exchange: a form with a subject token, signed anew for each attempt.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use serde::Serialize;

use crate::domain::error::Failure;
use crate::domain::freshness::Timestamp;
use crate::domain::user::UserId;
use crate::signing::{NotSigned, SigningKey};

use super::super::credentials::{Credentials, TokenEndpoint, jti};

const GRANT_TYPE: &str = "urn:auth0:params:oauth:grant-type:token-exchange:federated-connection-access-token";
const SUBJECT_TYPE: &str = "urn:ietf:params:oauth:token-type:jwt";
const REQUESTED_TYPE: &str = "http://auth0.com/oauth/token-type/token-vault-access-token";

/// The `typ` of a subject token, by which Auth0 tells it from a client assertion.
const SUBJECT_TYP: &str = "token-vault-req+jwt";

/// The lifetime of a subject token, in seconds. Auth0 refuses an older one, whatever its `exp`.
const LIFETIME: i64 = 60;

/// What an exchange asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    pub user: &'a UserId,
    pub connection: &'a str,
    pub login_hint: Option<&'a str>,
}

/// What one attempt authenticates with: the application's credentials, and the key of the subject token.
#[derive(Clone)]
pub(super) struct Signers {
    pub credentials: Credentials,
    pub subject: Arc<SigningKey>,
}

impl Signers {
    /// Whether both are the same.
    pub fn are(&self, other: &Self) -> bool {
        let ids = [self, other].map(|signers| signers.credentials.client_id());
        let credentials = [self, other].map(|signers| signers.credentials.credential());
        ids[0] == ids[1] && credentials[0] == credentials[1] && self.subject == other.subject
    }
}

/// Every combination of `credentials` with the keys that subject tokens may be signed with, in the order in which they
/// are tried. Without `key`, these are the keys of the credentials; then the combinations of one key for both uses come
/// first, because a new key is usually registered for both at once.
pub(super) fn combinations(credentials: &[Credentials], key: Option<&Arc<SigningKey>>) -> Vec<Signers> {
    let own = || credentials.iter().filter_map(|credentials| credentials.credential().signing_key());
    let keys: Vec<_> = match key {
        Some(key) => vec![key],
        None => own().collect(),
    };
    let all = credentials.iter().flat_map(|credentials| {
        let with =
            |key: &&Arc<SigningKey>| Signers { credentials: credentials.clone(), subject: Arc::clone(key) };
        keys.iter().map(with).collect::<Vec<_>>()
    });
    let (mut same, others): (Vec<_>, Vec<_>) =
        all.partition(|signers| signers.credentials.signing_key() == Some(&*signers.subject));
    same.extend(others);
    same
}

/// The claims of a subject token.
#[derive(Serialize)]
struct Claims<'a> {
    sub: &'a str,
    aud: &'a str,
    iss: &'a str,
    iat: i64,
    exp: i64,
    jti: String,
    audit_context: &'a str,
}

/// The request to `endpoint`. `now` is by the tenant's clock.
///
/// # Errors
/// One of the keys cannot sign.
pub(super) fn request(
    endpoint: TokenEndpoint<'_>,
    wanted: Wanted<'_>,
    signers: &Signers,
    audit_context: &str,
    now: Timestamp,
) -> Result<Request<Full<Bytes>>, Failure> {
    let Signers { credentials, subject } = signers;
    let issued = now.as_secs();
    let claims = Claims {
        sub: wanted.user.as_str(),
        aud: endpoint.issuer,
        iss: credentials.client_id(),
        iat: issued,
        exp: issued.saturating_add(LIFETIME),
        jti: jti().map_err(|NotSigned| Failure::NotSigned)?,
        audit_context,
    };
    let subject = subject.sign(Some(SUBJECT_TYP), &claims).map_err(|NotSigned| Failure::NotSigned)?;
    let mut fields = vec![
        ("grant_type", GRANT_TYPE),
        ("connection", wanted.connection),
        ("subject_token_type", SUBJECT_TYPE),
        ("requested_token_type", REQUESTED_TYPE),
        ("subject_token", subject.expose()),
    ];
    fields.extend(wanted.login_hint.map(|hint| ("login_hint", hint)));
    credentials.request(endpoint, &fields, now)
}
