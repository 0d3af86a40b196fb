//! Successful answers in each provider's dialect.

use bytes::Bytes;
use hyper::{Response, StatusCode};
use serde_json::{Map, Value, json};

use crate::domain::freshness::Moment;
use crate::fake_auth0::fault::ExpiresIn;
use crate::fake_auth0::reply;

use super::dialect::Dialect;
use super::family::Issued;
use super::fault::{Change, as_plain_text};

/// The answer that brings `issued`.
pub(super) fn success(
    dialect: Dialect,
    issued: &Issued,
    states_refresh_token: bool,
    scopes: &[String],
    changes: &[Change],
    now: Moment,
) -> Response<Bytes> {
    let scopes = scopes.iter().map(String::as_str).collect::<Vec<_>>();
    let mut body = members(dialect, issued, &scopes, now);
    if states_refresh_token {
        body.insert("refresh_token".into(), issued.refresh_token.clone().into());
    }
    changes.iter().for_each(|change| apply(*change, &mut body, issued, &scopes));
    let mut response = match changes.contains(&Change::FormEncoded) {
        true => {
            reply::with_type(StatusCode::OK, "application/x-www-form-urlencoded; charset=utf-8", form(&body))
        }
        false => reply::json(StatusCode::OK, &Value::Object(body)),
    };
    if changes.contains(&Change::PlainText) {
        as_plain_text(&mut response);
    }
    response
}

/// The members of an answer, without the refresh token.
fn members(dialect: Dialect, issued: &Issued, scopes: &[&str], now: Moment) -> Map<String, Value> {
    let token = &issued.access_token;
    let spaced = scopes.join(" ");
    let body = match dialect {
        Dialect::Google | Dialect::Okta => json!({
            "access_token": token, "scope": spaced, "token_type": "Bearer", "id_token": "demo-id-token",
        }),
        Dialect::Spotify | Dialect::Atlassian | Dialect::Xero | Dialect::OAuth2 => {
            json!({ "access_token": token, "scope": spaced, "token_type": "Bearer" })
        }
        Dialect::Microsoft => json!({
            "token_type": "Bearer", "scope": spaced, "ext_expires_in": issued.expires_in, "access_token": token,
        }),
        Dialect::Github => json!({
            "access_token": token, "refresh_token_expires_in": 15_897_600, "token_type": "bearer",
            "scope": scopes.join(","),
        }),
        Dialect::Gitlab => json!({
            "access_token": token, "token_type": "Bearer", "scope": spaced, "created_at": now.wall.as_secs(),
        }),
        Dialect::Bitbucket => json!({
            "scope": spaced, "access_token": token, "token_type": "bearer", "state": "refresh_token",
        }),
        Dialect::Slack => json!({
            "ok": true, "app_id": "A0DEMO", "access_token": token, "token_type": "user",
            "scope": scopes.join(","), "user_id": "U0DEMO", "team": { "id": "T0DEMO", "name": "demo" },
            "enterprise": null, "is_enterprise_install": false,
        }),
        Dialect::Salesforce => json!({
            "access_token": token, "signature": "ZGVtbw==", "scope": spaced,
            "instance_url": "https://demo.my.salesforce.com",
            "id": "https://login.salesforce.com/id/00Ddemo/005demo", "token_type": "Bearer",
            "issued_at": now.wall.as_millis().to_string(),
        }),
        Dialect::LinkedIn => json!({
            "access_token": token, "refresh_token_expires_in": 31_535_999, "scope": spaced,
        }),
        Dialect::Dropbox => json!({ "access_token": token, "token_type": "bearer" }),
        Dialect::Box => json!({ "access_token": token, "restricted_to": [], "token_type": "bearer" }),
        Dialect::Zoom => json!({
            "access_token": token, "token_type": "bearer", "scope": spaced, "api_url": "https://api.zoom.us",
        }),
        Dialect::Hubspot => json!({ "token_type": "bearer", "access_token": token }),
        Dialect::QuickBooks => json!({
            "x_refresh_token_expires_in": 8_726_400, "access_token": token, "token_type": "bearer",
        }),
    };
    let mut body = match body {
        Value::Object(body) => body,
        _ => Map::new(),
    };
    if let Some(seconds) = issued.expires_in {
        body.insert("expires_in".into(), seconds.into());
    }
    body
}

fn apply(change: Change, body: &mut Map<String, Value>, issued: &Issued, scopes: &[&str]) {
    match change {
        Change::ExpiresIn(kind) => {
            let stated = match kind {
                ExpiresIn::Zero => Some(json!(0)),
                ExpiresIn::Negative => Some(json!(-1)),
                ExpiresIn::Missing => None,
                ExpiresIn::Text => Some(json!(issued.expires_in.unwrap_or(3_599).to_string())),
                ExpiresIn::Huge => Some(json!(1e18)),
            };
            body.remove("expires_in");
            body.extend(stated.map(|stated| ("expires_in".to_owned(), stated)));
        }
        Change::NoRefreshToken => drop(body.remove("refresh_token")),
        Change::SameRefreshToken => {
            body.insert("refresh_token".into(), issued.refresh_token.clone().into());
        }
        Change::CommaScopes => drop(body.insert("scope".into(), scopes.join(",").into())),
        Change::ScopesMember => {
            body.remove("scope");
            body.insert("scopes".into(), scopes.join(" ").into());
        }
        Change::NoScope => drop(body.remove("scope")),
        Change::NoAccessToken => drop(body.remove("access_token")),
        Change::AuthedUser => {
            let mut inner = Map::new();
            for name in ["access_token", "refresh_token", "expires_in", "scope", "token_type"] {
                inner.extend(body.remove(name).map(|value| (name.to_owned(), value)));
            }
            inner.insert("id".into(), "U0DEMO".into());
            body.insert("authed_user".into(), Value::Object(inner));
        }
        Change::FormEncoded | Change::PlainText => {}
    }
}

fn form(body: &Map<String, Value>) -> String {
    let mut form = form_urlencoded::Serializer::new(String::new());
    for (name, value) in body {
        match value {
            Value::String(text) => form.append_pair(name, text),
            other => form.append_pair(name, &other.to_string()),
        };
    }
    form.finish()
}
