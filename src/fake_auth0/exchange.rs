//! `POST /oauth/token`, the exchange by which a privileged worker obtains the token of a connected account.
//!
//! Auth0 documents the request and the success, and the codes for accounts without a token. Its other refusals are not
//! documented; those here are what the OAuth RFCs give for the cause (RFC 6749 §5.2, RFC 8693 §2.2.2).

use bytes::Bytes;
use hyper::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};

use crate::domain::freshness::Moment;

use super::application;
use super::fault::Plan;
use super::parameters::Parameters;
use super::reply::{self, Refusal, invalid, missing, oauth_error};
use super::state::State;
use super::token;
use super::vault::{self, Exchange, Expected, NoToken, Vault, VaultSettings};

const GRANT_TYPE: &str = "urn:auth0:params:oauth:grant-type:token-exchange:federated-connection-access-token";
const SUBJECT_TYPE: &str = "urn:ietf:params:oauth:token-type:jwt";
const REQUESTED_TYPE: &str = "http://auth0.com/oauth/token-type/token-vault-access-token";

/// Answers an exchange. `host` is the requested domain.
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
    let mut record = Exchange::default();
    let mut response = match exchange(state, plan, host, request, now, &mut record) {
        Ok(body) => reply::json(StatusCode::OK, &body),
        Err(refusal) => *refusal,
    };
    if !response.status().is_success() {
        let body: Value = serde_json::from_slice(response.body()).unwrap_or_default();
        record.error = body.get("error").and_then(Value::as_str).map(str::to_owned);
    }
    state.vault.log.push(record);
    token::set_headers(&mut response, state, now);
    response
}

fn exchange(
    state: &mut State,
    plan: &Plan,
    host: &str,
    request: &Request<Bytes>,
    now: Moment,
    record: &mut Exchange,
) -> Result<Value, Refusal> {
    let parameters = Parameters::read(request)?;
    let required = |name: &str| parameters.get(name).ok_or_else(|| missing(name));
    required("grant_type")?;
    application::authenticate(state, host, &parameters, request, now)?;
    let [subject_token, subject_type, requested_type, connection] =
        ["subject_token", "subject_token_type", "requested_token_type", "connection"].map(required);
    let (subject_token, connection) = (subject_token?, connection?);
    connection.clone_into(&mut record.connection);
    record.login_hint = parameters.get("login_hint").map(str::to_owned);
    check_application(&state.vault.settings)?;
    if subject_type? != SUBJECT_TYPE || requested_type? != REQUESTED_TYPE {
        return Err(invalid("Invalid subject_token_type or requested_token_type"));
    }
    let issuers = [host, &state.domain()].map(|domain| format!("https://{domain}/"));
    let State { vault, client_keys, options, users, .. } = state;
    let Vault { settings, accounts, log: _, used } = vault;
    let expected =
        Expected { keys: client_keys, client_id: &options.client_id, issuers: &issuers, now: now.wall };
    let subject = vault::judge(subject_token, &expected, used).map_err(|why| {
        record.refused = Some(why);
        invalid("Invalid subject_token")
    })?;
    record.user_id = Some(subject.user_id.clone());
    record.audit_context = Some(subject.audit_context);
    record.jti = Some(subject.jti);
    let scopes = check_access(settings, connection, parameters.get("scope"))?;
    if !users.contains_key(&subject.user_id) {
        return Err(not_found());
    }
    let issued = accounts
        .token(&subject.user_id, connection, parameters.get("login_hint"), now)
        .map_err(|why| if why == NoToken::NotFound { not_found() } else { refresh_failed() })?;
    let scopes = scopes.unwrap_or(issued.scopes).join(settings.scope_separator);
    let mut body = json!({
        "access_token": format!("{}{}", issued.token, plan.token_ends_in),
        "scope": scopes,
        "issued_token_type": REQUESTED_TYPE,
        "token_type": "Bearer",
    });
    if let (Some(expires_in), Some(body)) = (plan.expires_in(issued.expires_in), body.as_object_mut()) {
        body.insert("expires_in".into(), expires_in);
    }
    Ok(body)
}

/// Checks that the application is of a kind that may exchange at all.
fn check_application(settings: &VaultSettings) -> Result<(), Refusal> {
    let unauthorized =
        |description: &str| oauth_error(StatusCode::FORBIDDEN, "unauthorized_client", description).into();
    if !settings.grant_type_allowed {
        return Err(unauthorized(&format!("Grant type '{GRANT_TYPE}' not allowed for the client.")));
    }
    if !settings.oidc_conformant || !settings.first_party {
        return Err(unauthorized("The client must be first party and OIDC conformant"));
    }
    Ok(())
}

/// Checks that the application's privileged access allows the exchange. Returns the scopes that were asked for.
fn check_access(
    settings: &VaultSettings,
    connection: &str,
    scope: Option<&str>,
) -> Result<Option<Vec<String>>, Refusal> {
    let denied = |description: &str| oauth_error(StatusCode::FORBIDDEN, "access_denied", description).into();
    if !settings.admits_caller() {
        return Err(denied("The IP address is not allowed"));
    }
    let Some(granted) = settings.grants.get(connection) else {
        return Err(denied("The connection is not granted"));
    };
    if !settings.enabled.contains(connection) {
        return Err(denied("The connection is not enabled for the client"));
    }
    if settings.always_mfa {
        let description = "Multifactor authentication required";
        return Err(oauth_error(StatusCode::FORBIDDEN, "mfa_required", description).into());
    }
    let asked: Option<Vec<_>> = scope.map(|scope| scope.split(' ').map(str::to_owned).collect());
    match asked.iter().flatten().all(|scope| granted.contains(scope)) {
        true => Ok(asked),
        false => Err(denied("A scope is not granted")),
    }
}

fn not_found() -> Refusal {
    let (code, description) =
        ("federated_connection_refresh_token_not_found", "Federated connection Refresh Token not found.");
    oauth_error(StatusCode::UNAUTHORIZED, code, description).into()
}

fn refresh_failed() -> Refusal {
    let (code, description) = (
        "federated_connection_refresh_token_flow_failed",
        "Refresh Token flow for the Federated Connection failed",
    );
    oauth_error(StatusCode::UNAUTHORIZED, code, description).into()
}
