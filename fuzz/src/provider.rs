//! What an identity provider's token endpoint, or a host in its place, may answer.

use std::sync::Arc;

use cloakroom::config::{Refresh, TokenEndpoint};
use cloakroom::domain::provider::{Endpoint, PROVIDERS, Provider};
use cloakroom::domain::retry::LONGEST_ASKED_FOR;
use cloakroom::domain::source::{IssuedToken, OverReason, Processed, Redemption, SourceFailure};
use cloakroom::providers::wire;
use cloakroom::secret::Secret;
use serde_json::Value;

use crate::holds;
use crate::upstream::{Input, exchange_at, tells_nothing};

/// An answer to a redemption. In the input's first line the provider's name follows the status.
pub fn answer(data: &[u8]) {
    let Input { asked, answer } = Input::read(data);
    let provider = Provider::named(asked).unwrap_or(&PROVIDERS[0]);
    let status = answer.status.as_u16();
    let redemption = wire::redemption(&client(provider), &answer, exchange_at(0));
    match &redemption {
        Redemption::Issued { token, refresh_token } => {
            assert!((200..300).contains(&status));
            is_what_was_sent(token, refresh_token.as_ref(), &answer.body);
            return;
        }
        Redemption::Over(reason) => {
            let refuses = matches!(status, 100..500) && status != 408 && status != 429;
            assert!(refuses && !answer.status.is_redirection(), "{status} {reason:?}");
            assert!(names_a_reason(provider, *reason, &answer.body), "{reason:?}");
        }
        Redemption::Misconfigured(fault) => {
            assert!(status < 500 && status != 429 && !answer.status.is_redirection());
            tells_nothing(fault);
        }
        Redemption::Failed { failure, retry_after, processed } => {
            tells_nothing(failure);
            assert!(*retry_after <= LONGEST_ASKED_FOR);
            let is_throttled = matches!(failure, SourceFailure::Throttled { .. });
            match status {
                429 => assert!(is_throttled && *processed == Processed::No),
                408 | 500.. => assert_eq!(*processed, Processed::Unknown),
                300..400 => assert_eq!(*processed, Processed::No),
                _ => {}
            }
        }
    }
    assert!(!holds(format!("{redemption:?}").as_bytes(), b"canary"));
}

fn client(provider: &'static Provider) -> Refresh {
    let url = match provider.token_endpoint {
        Endpoint::At(url) => url,
        Endpoint::Like(_) => "https://provider.example/token",
    };
    Refresh {
        provider,
        client_id: "client".to_owned(),
        secret: Arc::new(Secret::new("secret")),
        secret_file: "/run/secret".into(),
        previous_secret: None,
        previous_secret_file: None,
        token_endpoint: TokenEndpoint::parse(url).unwrap(),
        client_auth: provider.client_auth,
        scope: None,
        rotation: provider.rotation,
        grace: provider.grace,
    }
}

/// No token but one that was sent, and no later expiry.
fn is_what_was_sent(token: &IssuedToken, refresh_token: Option<&Secret>, body: &[u8]) {
    let access_token = token.access_token.expose();
    assert!(!access_token.is_empty() && access_token.bytes().all(|byte| byte.is_ascii_graphic()));
    assert!(refresh_token.is_none_or(|token| !token.is_empty()));
    let scopes = token.scopes.iter().flat_map(|scopes| scopes.split(' '));
    assert!(scopes.into_iter().all(|scope| !scope.is_empty() && !scope.contains([',', '\n', '\t'])));
    // What no type of JSON holds is passed over, and a form is no JSON: then nothing is compared.
    let Ok(body) = serde_json::from_slice::<Value>(body) else { return };
    let of_user = &body["authed_user"];
    let from =
        if sent(&of_user["access_token"]).is_some_and(|text| !text.is_empty()) { of_user } else { &body };
    assert_eq!(sent(&from["access_token"]).as_deref(), Some(access_token));
    let successor = sent(&from["refresh_token"]).filter(|text| !text.is_empty());
    assert_eq!(refresh_token.map(|token| token.expose().to_owned()), successor);
    // Larger numbers are dates.
    if let (Some(span), Some(stated)) =
        (token.expires_in, from["expires_in"].as_f64().filter(|secs| *secs < 1e9))
    {
        assert!(span.as_secs_f64() <= stated, "{span:?} {stated}");
    }
}

/// A text, or a number that stands for one. A text with U+007F is none: the daemon fills texts that it cannot read with
/// it.
fn sent(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => (!text.contains('\u{7f}')).then(|| text.clone()),
        Value::Number(number) if !number.is_f64() => Some(number.to_string()),
        _ => None,
    }
}

/// Whether the answer has a word by which a provider may end a refresh token or ask for the user, written out here once
/// more. A word of another provider is none.
fn names_a_reason(provider: &Provider, reason: OverReason, body: &[u8]) -> bool {
    let words: &[&str] = match (provider.name, reason) {
        (_, OverReason::ConsentRequired) => &["consent_required", "65001", "65004", "90094"],
        (_, OverReason::ReauthenticationRequired) => &[
            "interaction_required",
            "login_required",
            "invalid_rapt",
            "rapt_required",
            "basic_action",
            "additional_action",
            "message_only",
            "user_password_expired",
            "50055",
            "50144",
            "50072",
            "50074",
            "50076",
            "50078",
            "50079",
            "50158",
            "53000",
            "53001",
            "53002",
            "53003",
            "53004",
        ],
        ("github", OverReason::RefreshRefused) => &["bad_refresh_token"],
        ("slack", OverReason::RefreshRefused) => &["invalid_refresh_token"],
        ("hubspot", OverReason::RefreshRefused) => &["BAD_REFRESH_TOKEN", "invalid_grant"],
        ("bitbucket" | "linkedin" | "zoom", OverReason::RefreshRefused) => {
            &["invalid_grant", "invalid_request"]
        }
        ("salesforce", OverReason::RefreshRefused) => &["invalid_grant", "inactive_user"],
        ("oauth2", OverReason::RefreshRefused) => &["invalid_grant", "OAuthException"],
        (_, OverReason::RefreshRefused) => &["invalid_grant"],
        _ => &[],
    };
    // An escape may stand for any letter. Numbers can be written with an exponent or a fraction.
    let is_escaped = body.iter().any(|byte| b"\\%".contains(byte));
    let is_of_entra = provider.name == "microsoft" && holds(body, b"error_codes");
    words.iter().any(|word| holds(body, word.as_bytes())) || is_escaped || is_of_entra
}
