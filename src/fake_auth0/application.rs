//! How the application authenticates at the Authentication API: with a secret, an assertion or a certificate.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::{Request, StatusCode, header};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use crate::domain::freshness::Moment;

use super::clients::Client;
use super::options::ClientAuth;
use super::parameters::Parameters;
use super::peer_certificate::PeerCertificate;
use super::reply::{Refusal, invalid, missing, oauth_error};
use super::state::State;

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// The longest client id in an assertion, in characters.
const LONGEST_ID: usize = 64;

impl State {
    /// The application with this id, which is one of the tenant's.
    fn client(&self, id: &str) -> Client {
        let further = self.applications.get(id).map(|application| &application.scopes);
        Client { id: id.to_owned(), scopes: further.unwrap_or(&self.options.scopes).clone() }
    }
}

/// Authenticates the application. The error is the same for a wrong id and a wrong secret, and the same for every fault
/// of an assertion. `host` is the requested domain. The further applications may use a secret in either place, or an
/// assertion with a key that is registered.
pub(super) fn authenticate(
    state: &mut State,
    host: &str,
    parameters: &Parameters,
    request: &Request<Bytes>,
    now: Moment,
) -> Result<Client, Refusal> {
    let basic = request.headers().get(header::AUTHORIZATION);
    let basic = basic.map(|value| basic_pair(value.to_str().unwrap_or_default()));
    let (posted, assertion) = (parameters.get("client_secret"), parameters.get("client_assertion"));
    if [basic.is_some(), posted.is_some(), assertion.is_some()].into_iter().filter(|is| *is).count() > 1 {
        return Err(invalid("Only one client authentication method may be used"));
    }
    let allowed = state.options.client_auth;
    if let Some(assertion) = assertion {
        let issuers = [host, &state.domain()].map(|domain| format!("https://{domain}/"));
        let State { assertions, client_keys, options, applications, .. } = state;
        let further = parameters.get("client_id").filter(|named| applications.contains_key(*named));
        let id = further.unwrap_or(&options.client_id).to_owned();
        let is_valid = assertions.judge(client_keys, assertion, &id, &issuers, now.wall).is_ok();
        let is_type = parameters.get("client_assertion_type") == Some(ASSERTION_TYPE);
        let is_id = parameters.get("client_id").is_none_or(|named| named == id) && id.len() <= LONGEST_ID;
        let is_allowed = further.is_some() || allowed == ClientAuth::PrivateKeyJwt;
        return match is_valid && is_type && is_id && is_allowed {
            true => Ok(state.client(&id)),
            false => Err(client_refused()),
        };
    }
    let presented = request.extensions().get::<PeerCertificate>();
    state.presented.extend(presented.map(|PeerCertificate(certificate)| certificate.clone()));
    let is_any = allowed == ClientAuth::Any && presented.is_some();
    let is_further = parameters.get("client_id").is_some_and(|id| state.applications.contains_key(id));
    if is_any || (allowed == ClientAuth::TlsClientAuth && !is_further && basic.is_none()) {
        let id = state.options.client_id.clone();
        let is_id = parameters.get("client_id").is_some_and(|named| named == id);
        let is_only = basic.is_none() && posted.is_none();
        return match is_id && is_only && presented.is_some_and(|certificate| certificate.is_of(&id)) {
            true => Ok(state.client(&id)),
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
    if let Some(application) = state.applications.get(&id) {
        return match secret == application.secret.expose() {
            true => Ok(state.client(&id)),
            false => Err(oauth_error(StatusCode::UNAUTHORIZED, "access_denied", "Unauthorized").into()),
        };
    }
    if allowed != ClientAuth::Any && allowed != method {
        return Err(client_refused());
    }
    if id != state.options.client_id || secret != state.options.client_secret.expose() {
        return Err(oauth_error(StatusCode::UNAUTHORIZED, "access_denied", "Unauthorized").into());
    }
    Ok(state.client(&id))
}

/// The applications, as the Management API lists them.
pub(super) fn clients(state: &State, with_secrets: bool) -> Value {
    let options = &state.options;
    let own = std::iter::once((&options.client_id, &options.client_secret));
    let further = state.applications.iter().map(|(id, application)| (id, &application.secret));
    let described = own.chain(further).map(|(id, secret)| {
        let mut client = json!({
            "client_id": id, "name": id, "app_type": "non_interactive", "global": false, "is_first_party": true,
        });
        if let Some(client) = client.as_object_mut().filter(|_| with_secrets) {
            client.insert("client_secret".into(), secret.expose().into());
        }
        client
    });
    described.collect()
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
