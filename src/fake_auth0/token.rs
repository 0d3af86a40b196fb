//! `POST /oauth/token`: the client-credentials grant, and headers that every grant has.

use bytes::Bytes;
use hyper::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};

use crate::domain::freshness::Moment;

use super::application;
use super::fault::Plan;
use super::parameters::Parameters;
use super::reply::{self, Refusal, missing, oauth_error};
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
    let client = application::authenticate(state, host, &parameters, request, now)?;
    let audience = authorize(state, &parameters)?;

    if let Some(Err(retry_after)) = state.quota.as_mut().map(|quota| quota.take(now)) {
        return Err(reply::quota_exceeded(retry_after).into());
    }

    let scope = scope(&client.scopes, parameters.get("scope"));
    let lifetime = state.options.token_lifetime;
    let expires = if plan.jwt_expired { now.wall.before(lifetime) } else { now.wall.after(lifetime) };
    let client_id = &client.id;
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
    state.issued(client_id, &token);

    let token = format!("{token}{}", plan.token_ends_in);
    let mut body = json!({ "access_token": token, "scope": scope, "token_type": "Bearer" });
    if let (Some(expires_in), Some(body)) = (plan.expires_in(lifetime.as_secs()), body.as_object_mut()) {
        body.insert("expires_in".into(), expires_in);
    }
    Ok(body)
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
fn scope(granted: &[String], requested: Option<&str>) -> String {
    let requested: Option<Vec<_>> = requested.map(|requested| requested.split(' ').collect());
    let granted = granted.iter().map(String::as_str);
    let scopes: Vec<_> = granted
        .filter(|scope| requested.as_ref().is_none_or(|requested| requested.contains(scope)))
        .collect();
    scopes.join(" ")
}

/// Sets the headers that were recorded on this endpoint's answers, including refusals.
pub(super) fn set_headers(response: &mut Response<Bytes>, state: &mut State, now: Moment) {
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

fn unsupported(grant_type: &str) -> Refusal {
    let description = format!("Unsupported grant type: {grant_type}");
    oauth_error(StatusCode::BAD_REQUEST, "unsupported_grant_type", &description).into()
}

fn internal_error() -> Refusal {
    oauth_error(StatusCode::INTERNAL_SERVER_ERROR, "server_error", "Internal error").into()
}
