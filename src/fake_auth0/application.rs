//! How the application authenticates at the Authentication API: with a secret, an assertion or a certificate.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::{Request, StatusCode, header};
use percent_encoding::percent_decode_str;

use crate::domain::freshness::Moment;

use super::options::ClientAuth;
use super::parameters::Parameters;
use super::peer_certificate::PeerCertificate;
use super::reply::{Refusal, invalid, missing, oauth_error};
use super::state::State;

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// The longest client id in an assertion, in characters.
const LONGEST_ID: usize = 64;

/// Authenticates the application. The error is the same for a wrong id and a wrong secret, and the same for every fault
/// of an assertion. `host` is the requested domain.
pub(super) fn authenticate(
    state: &mut State,
    host: &str,
    parameters: &Parameters,
    request: &Request<Bytes>,
    now: Moment,
) -> Result<(), Refusal> {
    let basic = request.headers().get(header::AUTHORIZATION);
    let basic = basic.map(|value| basic_pair(value.to_str().unwrap_or_default()));
    let (posted, assertion) = (parameters.get("client_secret"), parameters.get("client_assertion"));
    if [basic.is_some(), posted.is_some(), assertion.is_some()].into_iter().filter(|is| *is).count() > 1 {
        return Err(invalid("Only one client authentication method may be used"));
    }
    let allowed = state.options.client_auth;
    if let Some(assertion) = assertion {
        let issuers = [host, &state.domain()].map(|domain| format!("https://{domain}/"));
        let State { assertions, client_keys, options, .. } = state;
        let id = &options.client_id;
        let is_valid = assertions.judge(client_keys, assertion, id, &issuers, now.wall).is_ok();
        let is_type = parameters.get("client_assertion_type") == Some(ASSERTION_TYPE);
        let is_id = parameters.get("client_id").is_none_or(|named| named == id) && id.len() <= LONGEST_ID;
        return match is_valid && is_type && is_id && allowed == ClientAuth::PrivateKeyJwt {
            true => Ok(()),
            false => Err(client_refused()),
        };
    }
    let presented = request.extensions().get::<PeerCertificate>();
    state.presented.extend(presented.map(|PeerCertificate(certificate)| certificate.clone()));
    let is_any = allowed == ClientAuth::Any && presented.is_some();
    if is_any || allowed == ClientAuth::TlsClientAuth {
        let id = &state.options.client_id;
        let is_id = parameters.get("client_id").is_some_and(|named| named == id);
        let is_only = basic.is_none() && posted.is_none();
        return match is_id && is_only && presented.is_some_and(|certificate| certificate.is_of(id)) {
            true => Ok(()),
            false => Err(client_refused()),
        };
    }
    let (id, secret, method) = match basic {
        Some(Some((id, secret))) => (id, secret, ClientAuth::SecretBasic),
        Some(None) => return Err(client_refused()),
        None => {
            let id = parameters.get("client_id").ok_or_else(|| missing("client_id"))?;
            (id.to_owned(), posted.unwrap_or_default().to_owned(), ClientAuth::SecretPost)
        }
    };
    if allowed != ClientAuth::Any && allowed != method {
        return Err(client_refused());
    }
    if id != state.options.client_id || secret != state.options.client_secret.expose() {
        return Err(oauth_error(StatusCode::UNAUTHORIZED, "access_denied", "Unauthorized").into());
    }
    Ok(())
}

/// Records the assertion of a request whose answer a fault replaces.
pub(super) fn overhear(state: &mut State, request: &Request<Bytes>) {
    let parameters = Parameters::read(request).ok();
    if let Some(assertion) = parameters.as_ref().and_then(|all| all.get("client_assertion")) {
        state.assertions.overhear(assertion);
    }
}

/// Returns id and secret of a Basic header, whose halves are form-urlencoded before they are joined (RFC 6749 §2.3.1).
fn basic_pair(value: &str) -> Option<(String, String)> {
    let (scheme, encoded) = value.split_once(' ')?;
    let decoded = scheme.eq_ignore_ascii_case("basic").then(|| STANDARD.decode(encoded).ok())??;
    let decoded = String::from_utf8(decoded).ok()?;
    let (id, secret) = decoded.split_once(':')?;
    let plain =
        |half: &str| Some(percent_decode_str(&half.replace('+', " ")).decode_utf8().ok()?.into_owned());
    Some((plain(id)?, plain(secret)?))
}

fn client_refused() -> Refusal {
    oauth_error(StatusCode::UNAUTHORIZED, "invalid_client", "Client authentication failed").into()
}
