//! Errors of the daemon's own that a call can have: their codes, and that none of them looks like the provider's.

use std::time::Duration;

use cloakroom::fake_auth0::{Endpoint, Fault, WaitHint, users};
use cloakroom::secret::Secret;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::desk::{Desk, DeskOptions};
use super::management::desk as management_desk;
use super::*;

const HALF_A_MINUTE: WaitHint = WaitHint::Seconds(30);

fn status(status: u16) -> Fault {
    Fault::Status { status, headers: Vec::new(), body: "{}".into() }
}

/// A refusal of the daemon's own, after which the API has seen nothing.
fn assert_own(desk: &Desk, got: &Got, problem: (u16, &str), case: &str) {
    assert_eq!(got.problem(), (problem.0, problem.1.into()), "{case}");
    assert_eq!(got.header("cloakroom-upstream"), None, "{case}");
    assert_eq!(got.header("cloakroom-verdict"), None, "{case}");
    assert!(desk.api.calls().is_empty(), "{case}");
}

#[tokio::test(start_paused = true)]
async fn a_call_without_a_token_has_the_error_of_the_lookup() {
    for (endpoint, fault, problem) in [
        (Endpoint::User, status(500), (503, "upstream_unavailable")),
        (Endpoint::User, Fault::RefuseConnections, (503, "upstream_unavailable")),
        (Endpoint::User, Fault::RateLimited(HALF_A_MINUTE), (503, "upstream_rate_limited")),
        (Endpoint::User, Fault::Redirect("https://elsewhere.example/".into()), (502, "upstream_error")),
        (Endpoint::User, Fault::StallHeaders, (504, "upstream_timeout")),
        (Endpoint::Token, Fault::Unauthorized, (503, "management_token_unavailable")),
    ] {
        let desk = Desk::new(DeskOptions::default()).await;
        let case = format!("{fault:?}");
        desk.world.tenant.fault(endpoint, fault);
        if endpoint == Endpoint::Token {
            desk.world.tenant.revoke_management_tokens();
        }
        let got = desk.call(users::GOOGLE, "/me").await;
        assert_own(&desk, &got, problem, &case);
        assert!(got.retry_after().is_some(), "{case}");
    }
    let desk = Desk::new(DeskOptions::default()).await;
    let got = desk.call(users::EMPTY_TOKEN, "/me").await;
    assert_own(&desk, &got, (404, "no_token"), "an empty token");
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_token_cannot_be_renewed_has_the_error_of_the_source() {
    const RENEWED: &str = "sources = [\"identities\", \"refresh\"]\n[connection.refresh]\nprovider = \"google\"\n\
                           client_id = \"demo-connection\"\nsecret_file = \"{dir}/connection-secret\"";
    let desk = async || Desk::new(DeskOptions { connection: RENEWED, ..DeskOptions::default() }).await;
    let renewed = desk().await;
    assert_eq!(renewed.call(users::EXPIRED, "/me").await.status, 200);

    let with_other_secret = desk().await;
    with_other_secret.provider.set_client_secrets([Secret::new("another")]);
    let got = with_other_secret.call(users::EXPIRED, "/me").await;
    assert_own(&with_other_secret, &got, (502, "source_misconfigured"), "another secret");
    assert_eq!(got.json()["permanent"], true);

    let unreachable = desk().await;
    unreachable.provider.refuse_connections(true);
    let got = unreachable.call(users::EXPIRED, "/me").await;
    assert_own(&unreachable, &got, (503, "provider_unavailable"), "no connection");
    assert!(got.retry_after().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_no_bearer_token_is_answered_501() {
    let desk = Desk::new(DeskOptions::default()).await;
    for (user, tokens) in [
        (
            users::GOOGLE,
            json!({ "access_token": "2244994945-demo", "access_token_secret": "half", "expires_in": 3600 }),
        ),
        (users::JOHN, json!({ "access_token": "ya29.line\nbreak", "expires_in": 3600 })),
    ] {
        assert!(desk.world.tenant.log_in_with(user, GOOGLE, tokens));
        let got = desk.call(user, "/me").await;
        assert_own(&desk, &got, (501, "provider_unsupported"), user);
        assert!(got.detail().contains("OAuth 1"), "{got:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_beyond_the_rate_of_its_rule_is_refused() {
    let desk = Desk::new(DeskOptions { rule: "rate = 2", ..DeskOptions::default() }).await;
    for _ in 0..2 {
        assert_eq!(desk.call(users::GOOGLE, "/me").await.status, 200);
    }
    desk.api.forget_calls();
    let got = desk.call(users::GOOGLE, "/me").await;
    assert_own(&desk, &got, (429, "rate_limited"), "the third call");
    assert_eq!(got.retry_after(), Some(1));
    desk.world.pass(Duration::from_secs(1));
    assert_eq!(desk.call(users::GOOGLE, "/me").await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_no_call_is_refused_before_its_user_is_looked_up() {
    let desk = Desk::new(DeskOptions::default()).await;
    let many: Vec<_> = (0..70).map(|number| (format!("x-{number}"), "1".to_owned())).collect();
    let many: Vec<_> = many.iter().map(|(name, value)| (&**name, &**value)).chain(MEANT.to_vec()).collect();
    let call = path(users::GOOGLE, "/me");
    for (path, headers, problem) in [
        (&*call, &[][..], (403, "request_header_required")),
        (&call, &[("cloakroom-request", "false")], (403, "request_header_required")),
        (&call, &[("cloakroom-request", "true"), ("x-forwarded-for", "1.2.3.4")], (403, "forwarded_request")),
        (
            &call,
            &[("cloakroom-request", "true"), ("cloakroom-identity-user-id", "")],
            (400, "invalid_request"),
        ),
        (&call, &*many, (431, "headers_too_large")),
        (&call.replace("google-oauth2%7C", "%ff"), MEANT, (400, "invalid_request")),
        // Without a path behind the name.
        (call.trim_end_matches("/me"), MEANT, (404, "route_not_found")),
    ] {
        let got = desk.world.send("GET", path, headers).await;
        assert_own(&desk, &got, problem, path);
    }
    assert_eq!(desk.world.user_calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_at_the_end_of_a_shutdown_is_answered_503() {
    let desk = Desk::new(DeskOptions { proxy: "head_timeout = \"5m\"", ..DeskOptions::default() }).await;
    let mut client = desk.begin("GET", "/stall", "\r\n").await;
    desk.until(|_| true).await;
    let Desk { world, api, .. } = desk;
    world.running.stop().await;
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("\"code\":\"draining\""), "{answer}");
    assert!(!answer.contains("cloakroom-upstream"), "{answer}");
    assert!(only(api.calls()).closed_by_client_at.is_some());
}

/// An error of the daemon's own on `/api/v2`: with the four members of Auth0's, and with a code that none of Auth0's has.
fn assert_in_auth0s_shape(got: &Got, (status, code): (u16, &str), case: &str) {
    assert_eq!(got.status, status, "{case}: {got:?}");
    assert_eq!(got.header("cloakroom-upstream"), None, "{case}");
    assert_eq!(got.header("content-type"), Some("application/json; charset=utf-8"), "{case}");
    let body = got.json();
    let names: Vec<_> = body.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names, ["error", "errorCode", "message", "statusCode"], "{case}");
    assert_eq!(
        (&body["statusCode"], &body["errorCode"]),
        (&status.into(), &format!("cloakroom_{code}").into())
    );
}

#[tokio::test]
async fn refusals_of_calls_of_the_management_api_have_auth0s_shape() {
    let world = management_desk(&["read:users"], "calls = [\"GET /**\", \"PATCH /**\"]").await;
    let many: Vec<_> = (0..70).map(|number| (format!("x-{number}"), "1".to_owned())).collect();
    let many: Vec<_> = many.iter().map(|(name, value)| (&**name, &**value)).chain(MEANT.to_vec()).collect();
    let meant = |name, value| [MEANT[0], (name, value)];
    for (method, tail, headers, error) in [
        ("GET", "/users?_method=DELETE", MEANT, (400, "method_override")),
        ("GET", "/users?access_token=x", MEANT, (400, "credential_in_query")),
        ("GET", "/users/..", MEANT, (400, "ambiguous_path")),
        ("GET", "/users", &meant("connection", "authorization"), (400, "invalid_request")),
        ("GET", "/users", &meant("x-http-method-override", "DELETE"), (400, "method_override")),
        ("GET", "/users", &meant("upgrade", "websocket"), (501, "upgrade_unsupported")),
        ("GET", "/users", &meant("origin", "https://page.example"), (403, "forwarded_request")),
        ("GET", "/users", &[], (403, "request_header_required")),
        ("GET", "/users", &many, (431, "headers_too_large")),
        ("DELETE", "/users/auth0%7C1", MEANT, (403, "forbidden")),
        ("TRACE", "/users", MEANT, (405, "method_not_allowed")),
    ] {
        let got = world.send(method, &format!("/api/v2{tail}"), headers).await;
        assert_in_auth0s_shape(&got, error, &format!("{method} {tail}"));
        assert_eq!(got.header("allow").is_some(), method == "TRACE");
    }
    // Refused by its length, before anything of it is read.
    let mut stream = UnixStream::connect(&world.socket).await.unwrap();
    let head = "PATCH /api/v2/users/auth0%7C1 HTTP/1.1\r\nhost: a\r\ncloakroom-request: true\r\n\
                content-length: 1048577\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 413 ") && answer.contains("\"cloakroom_body_too_large\""),
        "{answer}"
    );
    assert!(world.tenant.calls_to(Endpoint::ManagementApi).is_empty());
}

#[tokio::test]
async fn calls_of_the_management_api_that_fail_have_auth0s_shape() {
    let world = management_desk(&["read:users"], "calls = [\"GET /users\"]").await;
    world.tenant.fault_next(Endpoint::ManagementApi, 1, Fault::RefuseConnections);
    let got = world.get("/api/v2/users").await;
    assert_in_auth0s_shape(&got, (503, "upstream_unavailable"), "hang-up");
    assert_eq!(world.get("/api/v2/users").await.status, 200);

    let without_token = management_desk(&["read:users"], "calls = [\"GET /users\"]").await;
    without_token.tenant.register_application("ops", Secret::new("another"), &["read:users"]);
    without_token.tenant.fault(Endpoint::Token, Fault::Unauthorized);
    without_token.tenant.revoke_tokens_of("ops");
    let got = without_token.get("/api/v2/users").await;
    assert_in_auth0s_shape(&got, (503, "management_token_unavailable"), "no token");
    assert!(got.retry_after().is_some(), "{got:?}");
}
