//! What Token Vault, or a server in its place, may answer to an exchange.

use std::time::Duration;

use cloakroom::domain::source::IssuedToken;
use cloakroom::upstream::vault::{ExchangeAnswer, parse_exchange};
use hyper::StatusCode;
use serde_json::Value;

use crate::upstream::{Input, exchange_at, is_public, tells_nothing, text};

/// The codes that are about an account, which only Token Vault has.
const NOT_FOUND: [&str; 2] = ["federated_connection_refresh_token_not_found", "tokenset_not_found"];
const FLOW_FAILED: &str = "federated_connection_refresh_token_flow_failed";

/// An answer to an exchange. In the input's first line what follows the status is ignored.
pub fn exchange(data: &[u8]) {
    let Input { answer, .. } = Input::read(data);
    let body: Option<Value> = serde_json::from_slice(&answer.body).ok();
    let code = body.as_ref().and_then(|body| body["error"].as_str());
    // What no type of JSON holds is passed over. Then nothing is compared.
    let is = |codes: &[&str]| body.is_none() || code.is_some_and(|code| codes.contains(&code));
    match parse_exchange(&answer, exchange_at(0)) {
        Ok(ExchangeAnswer::Issued(token)) => {
            assert_eq!(answer.status, StatusCode::OK);
            is_what_was_sent(&token, body.as_ref());
        }
        Ok(ExchangeAnswer::NotConnected) => assert!(answer.status.is_client_error() && is(&NOT_FOUND)),
        Ok(ExchangeAnswer::NotRefreshed) => assert!(answer.status.is_client_error() && is(&[FLOW_FAILED])),
        Ok(ExchangeAnswer::Refused(fault)) => {
            assert!([400, 401, 403].contains(&answer.status.as_u16()));
            assert!(body.is_none() || code.is_some_and(|code| !code.is_empty()));
            assert!(!is(&[NOT_FOUND[0], NOT_FOUND[1], FLOW_FAILED]) || body.is_none());
            tells_nothing(&fault);
        }
        Err(failure) => is_public(&failure),
    }
}

fn is_what_was_sent(token: &IssuedToken, body: Option<&Value>) {
    let shown = token.access_token.expose();
    assert!(!shown.is_empty() && shown.bytes().all(|byte| byte.is_ascii_graphic()));
    for scope in token.scopes.iter().flat_map(|scopes| scopes.split(' ')) {
        assert!(!scope.is_empty() && !scope.contains([',', '\t', '\r', '\n']), "{scope:?}");
    }
    let Some(body) = body else { return };
    assert_eq!(Some(shown), text(&body["access_token"]).as_deref());
    let stated = body["expires_in"].as_u64().filter(|secs| *secs < 1_000_000_000).map(Duration::from_secs);
    assert!(
        stated.is_none_or(|stated| token.expires_in.is_some_and(|span| span <= stated)),
        "longer than stated"
    );
    let sent = text(&body["scope"]).unwrap_or_default();
    assert!(token.scopes.iter().flat_map(|scopes| scopes.split(' ')).all(|scope| sent.contains(scope)));
}
