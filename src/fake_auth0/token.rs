//! `POST /oauth/token`, the client-credentials grant.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::header::{self, HeaderMap};
use hyper::{Method, Request, Response, StatusCode};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use crate::domain::freshness::Moment;

use super::fault::Plan;
use super::options::ClientAuth;
use super::reply::{self, Refusal, oauth_error};
use super::state::State;

const CLIENT_GRANT: &str = "You need to create a \"client-grant\" associated to this API. \
                            See: https://auth0.com/docs/api/v2#!/Client_Grants/post_client_grants";
const NO_AUDIENCE: &str = "No audience parameter was provided, and no default audience has been configured";

/// Answers a grant. `host` is the requested domain, which becomes the issuer.
pub(super) fn answer(
    state: &mut State,
    plan: &Plan,
    host: &str,
    request: &Request<Bytes>,
    now: Moment,
) -> Response<Bytes> {
    if request.method() != Method::POST {
        return reply::route_not_found();
    }
    let mut response = match grant(state, plan, host, request, now) {
        Ok(body) => reply::json(StatusCode::OK, &body),
        Err(refusal) => *refusal,
    };
    set_headers(&mut response, state, now);
    response
}

fn grant(
    state: &mut State,
    plan: &Plan,
    host: &str,
    request: &Request<Bytes>,
    now: Moment,
) -> Result<Value, Refusal> {
    let parameters = Parameters::read(request)?;
    match parameters.get("grant_type") {
        Some("client_credentials") => {}
        Some(other) => return Err(unsupported(other)),
        None => return Err(missing("grant_type")),
    }
    authenticate(state, &parameters, request.headers())?;
    let audience = authorize(state, &parameters)?;

    if let Some(Err(retry_after)) = state.quota.as_mut().map(|quota| quota.take(now)) {
        return Err(reply::quota_exceeded(retry_after).into());
    }

    let scope = scope(state, parameters.get("scope"));
    let lifetime = state.options.token_lifetime;
    let expires = if plan.jwt_expired { now.wall.before(lifetime) } else { now.wall.after(lifetime) };
    let client_id = &state.options.client_id;
    let claims = json!({
        "iss": format!("https://{host}/"),
        "sub": format!("{client_id}@clients"),
        "aud": audience,
        "iat": now.wall.as_secs(),
        "exp": expires.as_secs(),
        "scope": scope,
        "gty": "client-credentials",
        "azp": client_id,
        // Auth0's default profile has no `jti`. Without it, all grants within one second would be the same token, and a
        // test in virtual time could not distinguish them.
        "jti": format!("demo-{}", state.tokens_issued),
    });
    let token = state.keys.sign(&claims).map_err(|_| internal_error())?;
    state.issued(&token);

    let token = format!("{token}{}", plan.token_ends_in);
    let mut body = json!({ "access_token": token, "scope": scope, "token_type": "Bearer" });
    if let (Some(expires_in), Some(body)) = (plan.expires_in(lifetime.as_secs()), body.as_object_mut()) {
        body.insert("expires_in".into(), expires_in);
    }
    Ok(body)
}

/// Authenticates the application. The error is the same for a wrong id and a wrong secret.
fn authenticate(state: &State, parameters: &Parameters, headers: &HeaderMap) -> Result<(), Refusal> {
    let basic = headers.get(header::AUTHORIZATION).map(|value| basic(value.to_str().unwrap_or_default()));
    let posted = parameters.get("client_secret").is_some();
    let (id, secret, method) = match (basic, posted) {
        (Some(_), true) => return Err(invalid("Only one client authentication method may be used")),
        (Some(Some((id, secret))), false) => (id, secret, ClientAuth::SecretBasic),
        (Some(None), false) => return Err(client_refused()),
        (None, _) => {
            let id = parameters.get("client_id").ok_or_else(|| missing("client_id"))?;
            let secret = parameters.get("client_secret").unwrap_or_default();
            (id.to_owned(), secret.to_owned(), ClientAuth::SecretPost)
        }
    };
    let allowed = state.options.client_auth;
    if allowed != ClientAuth::Any && allowed != method {
        return Err(client_refused());
    }
    if id != state.options.client_id || secret != state.options.client_secret.expose() {
        return Err(oauth_error(StatusCode::UNAUTHORIZED, "access_denied", "Unauthorized").into());
    }
    Ok(())
}

/// Checks that the application may have a token for the requested audience, which is returned.
fn authorize(state: &State, parameters: &Parameters) -> Result<String, Refusal> {
    let denied =
        |description: &str| Err(oauth_error(StatusCode::FORBIDDEN, "access_denied", description).into());
    if !state.options.grant_type_allowed {
        let body = json!({
            "error": "unauthorized_client",
            "error_description": "Grant type 'client_credentials' not allowed for the client.",
            "error_uri": "https://auth0.com/docs/clients/client-grant-types",
        });
        return Err(reply::json(StatusCode::FORBIDDEN, &body).into());
    }
    match parameters.get("audience") {
        None | Some("") => denied(NO_AUDIENCE),
        Some(audience) if audience != state.audience() => {
            denied(&format!("Service not enabled within domain: {audience}"))
        }
        Some(audience) if !state.options.client_grant => {
            denied(&format!("Client is not authorized to access \"{audience}\". {CLIENT_GRANT}"))
        }
        Some(audience) => Ok(audience.to_owned()),
    }
}

/// Returns every scope of the client grant, or those among them that were requested.
fn scope(state: &State, requested: Option<&str>) -> String {
    let requested: Option<Vec<_>> = requested.map(|requested| requested.split(' ').collect());
    let granted = state.options.scopes.iter().map(String::as_str);
    let scopes: Vec<_> = granted
        .filter(|scope| requested.as_ref().is_none_or(|requested| requested.contains(scope)))
        .collect();
    scopes.join(" ")
}

/// Returns id and secret of a Basic header, whose halves are form-urlencoded before they are joined (RFC 6749 §2.3.1).
fn basic(value: &str) -> Option<(String, String)> {
    let (scheme, encoded) = value.split_once(' ')?;
    let decoded = scheme.eq_ignore_ascii_case("basic").then(|| STANDARD.decode(encoded).ok())??;
    let decoded = String::from_utf8(decoded).ok()?;
    let (id, secret) = decoded.split_once(':')?;
    let plain =
        |half: &str| Some(percent_decode_str(&half.replace('+', " ")).decode_utf8().ok()?.into_owned());
    Some((plain(id)?, plain(secret)?))
}

/// The parameters of a body, which is a form or JSON.
struct Parameters(Vec<(String, String)>);

impl Parameters {
    fn read(request: &Request<Bytes>) -> Result<Self, Refusal> {
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

    fn get(&self, wanted: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str())
    }
}

/// Sets the headers that were recorded on this endpoint's answers, including refusals.
fn set_headers(response: &mut Response<Bytes>, state: &mut State, now: Moment) {
    if let Some(quota) = &mut state.quota {
        reply::set(response, "auth0-client-quota-limit", &quota.header(now));
    }
    let number = state.tokens_issued;
    reply::set(response, "cache-control", "no-store");
    reply::set(response, "pragma", "no-cache");
    reply::set(response, "x-auth0-requestid", &format!("{number:020x}"));
    reply::set(response, "cf-ray", &format!("{number:016x}-FRA"));
    reply::set(response, "x-ratelimit-limit", "30");
    reply::set(response, "x-ratelimit-remaining", "29");
    reply::set(response, "x-ratelimit-reset", &(now.wall.as_secs() + 1).to_string());
    reply::set(
        response,
        "set-cookie",
        "did=s%3Av0%3Ademo; Max-Age=31557600; Path=/; HttpOnly; Secure; SameSite=None",
    );
}

fn invalid(description: &str) -> Refusal {
    oauth_error(StatusCode::BAD_REQUEST, "invalid_request", description).into()
}

fn missing(parameter: &str) -> Refusal {
    invalid(&format!("Missing required parameter: {parameter}"))
}

fn unsupported(grant_type: &str) -> Refusal {
    let description = format!("Unsupported grant type: {grant_type}");
    oauth_error(StatusCode::BAD_REQUEST, "unsupported_grant_type", &description).into()
}

fn client_refused() -> Refusal {
    oauth_error(StatusCode::UNAUTHORIZED, "invalid_client", "Client authentication failed").into()
}

fn internal_error() -> Refusal {
    oauth_error(StatusCode::INTERNAL_SERVER_ERROR, "server_error", "Internal error").into()
}
