//! Each dialect: what its provider answers to a redemption, and why it refuses one.

use super::*;

/// A dialect's five answers as its documentation has them.
struct Expected {
    dialect: Dialect,
    /// Members of a successful answer that others do not have or write differently.
    success: &'static str,
    dead: (u16, &'static str),
    client: (u16, &'static str),
    passing: (u16, &'static str),
}

const EXPECTED: [Expected; 18] = [
    Expected {
        dialect: Dialect::Google,
        success: r#"{"expires_in":3599,"scope":"https://www.googleapis.com/auth/calendar.readonly openid email"}"#,
        dead: (400, r#"{"error":"invalid_grant","error_description":"Token has been expired or revoked."}"#),
        client: (401, r#"{"error":"invalid_client"}"#),
        passing: (500, r#"{"error":"internal_failure"}"#),
    },
    Expected {
        dialect: Dialect::Microsoft,
        success: r#"{"ext_expires_in":3599,"scope":"User.Read Calendars.Read openid"}"#,
        dead: (400, r#"{"error":"invalid_grant","error_codes":[700082],"timestamp":"2027-01-15 08:00:00Z"}"#),
        client: (401, r#"{"error":"invalid_client","error_codes":[7000215]}"#),
        passing: (503, r#"{"error":"temporarily_unavailable","error_codes":[90033]}"#),
    },
    Expected {
        dialect: Dialect::Github,
        success: r#"{"expires_in":28800,"scope":"","token_type":"bearer"}"#,
        dead: (200, r#"{"error":"bad_refresh_token"}"#),
        client: (200, r#"{"error":"incorrect_client_credentials"}"#),
        passing: (502, ""),
    },
    Expected {
        dialect: Dialect::Gitlab,
        success: r#"{"expires_in":7200,"created_at":1800000000}"#,
        dead: (400, r#"{"error":"invalid_grant"}"#),
        client: (401, r#"{"error":"invalid_client"}"#),
        passing: (429, ""),
    },
    Expected {
        dialect: Dialect::Bitbucket,
        success: r#"{"expires_in":7200,"scope":"account repository"}"#,
        dead: (400, r#"{"error":"invalid_grant","error_description":"Invalid refresh_token"}"#),
        client: (400, r#"{"error":"unauthorized_client"}"#),
        passing: (502, ""),
    },
    Expected {
        dialect: Dialect::Slack,
        success: r#"{"ok":true,"expires_in":43200,"scope":"chat:write,users:read","token_type":"user"}"#,
        dead: (200, r#"{"ok":false,"error":"invalid_refresh_token"}"#),
        client: (200, r#"{"ok":false,"error":"bad_client_secret"}"#),
        passing: (200, r#"{"ok":false,"error":"internal_error"}"#),
    },
    Expected {
        dialect: Dialect::Salesforce,
        success: r#"{"issued_at":"1800000000000","instance_url":"https://demo.my.salesforce.com"}"#,
        dead: (400, r#"{"error":"invalid_grant","error_description":"expired access/refresh token"}"#),
        client: (400, r#"{"error":"invalid_client"}"#),
        passing: (400, r#"{"error":"unknown_error","error_description":"retry your request"}"#),
    },
    Expected {
        dialect: Dialect::LinkedIn,
        success: r#"{"expires_in":5184000,"scope":"r_basicprofile"}"#,
        dead: (400, r#"{"error":"invalid_grant"}"#),
        client: (401, r#"{"error":"invalid_client"}"#),
        passing: (503, r#"{"error":"temporarily_unavailable"}"#),
    },
    Expected {
        dialect: Dialect::Dropbox,
        success: r#"{"expires_in":14400,"token_type":"bearer"}"#,
        dead: (400, r#"{"error":"invalid_grant"}"#),
        client: (400, r#"{"error":"invalid_client"}"#),
        passing: (429, r#"{"error":{"reason":{".tag":"too_many_requests"},"retry_after":300}}"#),
    },
    Expected {
        dialect: Dialect::Box,
        success: r#"{"expires_in":3600,"restricted_to":[]}"#,
        dead: (400, r#"{"error":"invalid_grant","error_description":"Refresh token has expired"}"#),
        client: (400, r#"{"error":"invalid_client"}"#),
        passing: (503, r#"{"code":"unavailable"}"#),
    },
    Expected {
        dialect: Dialect::Zoom,
        success: r#"{"expires_in":3599,"scope":"user:read meeting:read"}"#,
        dead: (400, r#"{"reason":"Invalid Token!","error":"invalid_grant"}"#),
        client: (401, r#"{"error":"invalid_client"}"#),
        passing: (429, r#"{"code":429}"#),
    },
    Expected {
        dialect: Dialect::Spotify,
        success: r#"{"expires_in":3600}"#,
        dead: (400, r#"{"error":"invalid_grant"}"#),
        client: (400, r#"{"error":"invalid_client"}"#),
        passing: (503, r#"{"error":"temporarily_unavailable"}"#),
    },
    Expected {
        dialect: Dialect::Okta,
        success: r#"{"expires_in":3600,"scope":"openid offline_access"}"#,
        dead: (400, r#"{"error":"invalid_grant"}"#),
        client: (401, r#"{"error":"invalid_client"}"#),
        passing: (429, r#"{"errorCode":"E0000047"}"#),
    },
    Expected {
        dialect: Dialect::Atlassian,
        success: r#"{"expires_in":3600}"#,
        dead: (403, r#"{"error":"invalid_grant","error_description":"Unknown or invalid refresh token."}"#),
        client: (401, r#"{"error":"access_denied","error_description":"Unauthorized"}"#),
        passing: (503, r#"{"code":503}"#),
    },
    Expected {
        dialect: Dialect::Hubspot,
        success: r#"{"expires_in":1800}"#,
        dead: (400, r#"{"status":"BAD_REFRESH_TOKEN"}"#),
        client: (400, r#"{"status":"BAD_CLIENT_SECRET"}"#),
        passing: (429, r#"{"status":"error","errorType":"RATE_LIMIT"}"#),
    },
    Expected {
        dialect: Dialect::Xero,
        success: r#"{"expires_in":1800}"#,
        dead: (400, r#"{"error":"invalid_grant"}"#),
        client: (400, r#"{"error":"invalid_client"}"#),
        passing: (503, ""),
    },
    Expected {
        dialect: Dialect::QuickBooks,
        success: r#"{"expires_in":3600,"x_refresh_token_expires_in":8726400}"#,
        dead: (400, r#"{"error":"invalid_grant"}"#),
        client: (401, r#"{"error":"invalid_client"}"#),
        passing: (503, ""),
    },
    Expected {
        dialect: Dialect::OAuth2,
        success: r#"{"expires_in":3600,"token_type":"Bearer","scope":"profile documents"}"#,
        dead: (400, r#"{"error":"invalid_grant"}"#),
        client: (401, r#"{"error":"invalid_client"}"#),
        passing: (503, r#"{"error":"temporarily_unavailable"}"#),
    },
];

/// Asserts that the answer has this status and these members; without members, that it is no JSON object.
fn assert_has(reply: &Reply, (expected, members): (u16, &str), what: Dialect) {
    assert_eq!(status(reply), expected, "{what:?}: {:?}", reply.response.body());
    let Ok(members) = serde_json::from_str::<Value>(members) else {
        assert!(serde_json::from_slice::<Value>(reply.response.body()).is_err(), "{what:?}");
        return;
    };
    let body = body(reply);
    for (name, value) in members.as_object().unwrap() {
        assert_eq!(&body[name], value, "{what:?} {name}: {body}");
    }
}

#[tokio::test(start_paused = true)]
async fn every_dialect_answers_as_its_provider_does() {
    let all: Vec<_> = EXPECTED.iter().map(|expected| expected.dialect).collect();
    assert_eq!(all, Dialect::ALL);
    for Expected { dialect, success, dead, client, passing } in &EXPECTED {
        let provider = provider(*dialect);
        let consent = provider.consent(USER);

        provider.fault_next(1, ProviderFault::Refused(Refused::Unavailable));
        assert_has(&redeem(&provider, &consent.refresh_token).await, *passing, *dialect);
        let form = [("grant_type", "refresh_token"), ("refresh_token", &*consent.refresh_token)];
        let wrong = request_of(&provider, &provider.client().0, "wrong", &form);
        assert_has(&provider.answer(wrong).await, *client, *dialect);

        let reply = redeem(&provider, &consent.refresh_token).await;
        assert_has(&reply, (200, success), *dialect);
        let token = body(&reply)["access_token"].as_str().unwrap().to_owned();
        assert!(provider.is_alive(&token), "{dialect:?}");
        assert_eq!(body(&reply).get("expires_in").is_none(), *dialect == Dialect::Salesforce);
        let rotates = dialect.rules().rotation != Rotation::None;
        let repeats = dialect.rules().repeats_unchanged;
        assert_eq!(body(&reply).get("refresh_token").is_some(), rotates || repeats, "{dialect:?}");
        assert_ne!(token, consent.access_token);

        provider.fault_next(1, ProviderFault::Changed(Change::NoRefreshToken));
        let kept = next(&reply, &consent.refresh_token);
        let without = redeem(&provider, &kept).await;
        assert_eq!((status(&without), body(&without).get("refresh_token")), (200, None), "{dialect:?}");
        assert!(provider.is_redeemable(&kept), "{dialect:?}: what is not replaced stays valid");

        provider.revoke(USER);
        assert_has(&redeem(&provider, &kept).await, *dead, *dialect);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_authenticates_as_its_provider_demands() {
    for dialect in Dialect::ALL {
        let provider = provider(dialect);
        let consent = provider.consent(USER);
        let form = [("grant_type", "refresh_token"), ("refresh_token", &*consent.refresh_token)];
        let by = |auth| {
            let options = ProviderOptions { client_auth: auth, ..ProviderOptions::of(dialect) };
            FakeProvider::new(Clock::simulated(START), options).unwrap()
        };
        // The request is sent as the dialect has it; the provider accepts only the other way.
        let other = match dialect.client_auth() {
            ClientAuth::SecretBasic => ClientAuth::SecretPost,
            _ => ClientAuth::SecretBasic,
        };
        let strict = by(other);
        let consent = strict.consent(USER);
        let refused = strict.answer(redemption(&strict, &consent.refresh_token)).await;
        let code = strict.redemptions().pop().unwrap();
        assert!(matches!(code.answer, Answered::Refusal(_)) && code.secret.is_none(), "{dialect:?}");
        assert!(!String::from_utf8_lossy(refused.response.body()).contains("access_token"), "{dialect:?}");

        let _ = provider.answer(request_of(&provider, "another", "demo-connection-secret", &form)).await;
        assert_eq!(provider.redemptions().pop().unwrap().secret, None, "{dialect:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_request_authenticates_in_one_way() {
    let options = ProviderOptions { client_auth: ClientAuth::Any, ..ProviderOptions::of(Dialect::Spotify) };
    let provider = FakeProvider::new(Clock::simulated(START), options).unwrap();
    let consent = provider.consent(USER);
    let by_header = redemption(&provider, &consent.refresh_token);
    let mut in_both = by_header.clone();
    let form = String::from_utf8(by_header.body().to_vec()).unwrap();
    *in_both.body_mut() =
        format!("{form}&client_id=demo-connection&client_secret=demo-connection-secret").into();
    assert_eq!(body(&provider.answer(in_both.clone()).await)["error"], "invalid_client");
    assert_eq!(status(&provider.answer(by_header).await), 200);
    in_both.headers_mut().remove(header::AUTHORIZATION);
    assert_eq!(status(&provider.answer(in_both).await), 200);
}

#[tokio::test(start_paused = true)]
async fn two_secrets_are_accepted_while_one_is_replaced() {
    let provider = provider(Dialect::Google);
    let consent = provider.consent(USER);
    let form = [("grant_type", "refresh_token"), ("refresh_token", &*consent.refresh_token)];
    let secrets = async |names: &[&str]| {
        provider.forget_redemptions();
        for name in names {
            let _ = provider.answer(request_of(&provider, "demo-connection", name, &form)).await;
        }
        provider.redemptions().iter().map(|record| record.secret).collect::<Vec<_>>()
    };
    provider.set_client_secrets([Secret::new("new"), Secret::new("old")]);
    assert_eq!(secrets(&["old", "new", "older"]).await, [Some(1), Some(0), None]);
    provider.set_client_secrets([Secret::new("new")]);
    assert_eq!(secrets(&["old", "new"]).await, [None, Some(0)]);
}

#[tokio::test(start_paused = true)]
async fn requests_that_are_no_redemption_are_refused() {
    let provider = provider(Dialect::OAuth2);
    let consent = provider.consent(USER);
    let token = &*consent.refresh_token;
    for (form, code) in [
        (&[("refresh_token", token)][..], "invalid_request"),
        (&[("grant_type", "refresh_token")], "invalid_request"),
        (&[("grant_type", "password"), ("refresh_token", token)], "unsupported_grant_type"),
        (&[("grant_type", "refresh_token"), ("refresh_token", token), ("scope", "admin")], "invalid_scope"),
    ] {
        let reply = provider.answer(request(&provider, form)).await;
        assert_eq!((status(&reply), &body(&reply)["error"]), (400, &code.into()), "{form:?}");
    }
    let narrow =
        [("grant_type", "refresh_token"), ("refresh_token", token), ("scope", "profile offline_access")];
    let reply = provider.answer(request(&provider, &narrow)).await;
    assert_eq!((status(&reply), &body(&reply)["scope"]), (200, &"profile offline_access".into()));
    assert_eq!(provider.redemptions().pop().unwrap().scope.as_deref(), Some("profile offline_access"));

    let logged = provider.redemptions().len();
    let genuine = || redemption(&provider, token);
    let mut get = genuine();
    *get.method_mut() = hyper::Method::GET;
    let mut elsewhere = genuine();
    *elsewhere.uri_mut() = "/token".parse().unwrap();
    let mut json = genuine();
    json.headers_mut().insert(header::CONTENT_TYPE, "application/json".parse().unwrap());
    for stray in [get, elsewhere, json] {
        assert_eq!(status(&provider.answer(stray).await), 404);
    }
    assert_eq!((provider.strays(), provider.redemptions().len()), (3, logged));
}

#[tokio::test(start_paused = true)]
async fn github_answers_a_client_that_does_not_ask_for_json_with_a_form() {
    let provider = provider(Dialect::Github);
    let consent = provider.consent(USER);
    let mut request = redemption(&provider, &consent.refresh_token);
    request.headers_mut().remove(header::ACCEPT);
    let reply = provider.answer(request).await;
    assert!(reply.response.headers()[header::CONTENT_TYPE].to_str().unwrap().contains("form"));
    let form: std::collections::HashMap<_, _> =
        form_urlencoded::parse(reply.response.body()).into_owned().collect();
    assert!(provider.is_alive(&form["access_token"]) && provider.is_redeemable(&form["refresh_token"]));
    assert_eq!(form["expires_in"], "28800");
}
