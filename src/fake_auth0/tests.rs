//! Tests of the tenant without a socket, in virtual time.

use super::*;
use crate::domain::freshness::Timestamp;

const START: Timestamp = Timestamp::from_secs(1_800_000_000);
const MILLI: Duration = Duration::from_millis(1);

fn tenant() -> Tenant {
    Tenant::new(Clock::simulated(START), TenantOptions::default()).unwrap()
}

fn request(method: &str, path: &str, bearer: &str, body: &str) -> Request<Bytes> {
    Request::builder()
        .method(method)
        .uri(path)
        .header("host", "localhost")
        .header("authorization", bearer)
        .header("content-type", "application/json")
        .body(Bytes::from(body.to_owned()))
        .unwrap()
}

async fn grant(tenant: &Tenant) -> Reply {
    let body = json!({
        "grant_type": "client_credentials", "client_id": "demo-client",
        "client_secret": "demo-client-secret", "audience": tenant.audience(),
    });
    let mut request = request("POST", "/oauth/token", "", &body.to_string());
    request.headers_mut().remove("authorization");
    tenant.answer(request).await
}

async fn bearer(tenant: &Tenant) -> String {
    format!("Bearer {}", body(&grant(tenant).await)["access_token"].as_str().unwrap())
}

async fn read(tenant: &Tenant, bearer: &str, user: &str) -> Reply {
    tenant.answer(request("GET", &format!("/api/v2/users/{user}"), bearer, "")).await
}

fn body(reply: &Reply) -> Value {
    serde_json::from_slice(reply.response.body()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn latency_passes_in_virtual_time_before_or_after_the_work() {
    let tenant = tenant();
    let bearer = bearer(&tenant).await;
    for (fault, sees_the_login) in
        [(Fault::Latency(MILLI * 700), true), (Fault::LateAnswer(MILLI * 700), false)]
    {
        tenant.fault_next(Endpoint::User, 1, fault);
        let asked = tokio::time::Instant::now();
        let before = tenant.user(users::GITHUB).unwrap()["identities"][0]["access_token"].clone();
        let (reply, ()) = tokio::join!(read(&tenant, &bearer, "github%7C583231"), async {
            tokio::time::sleep(MILLI * 300).await;
            tenant.login(users::GITHUB, "github").unwrap();
        });
        assert_eq!(asked.elapsed(), MILLI * 700);
        assert_eq!(body(&reply)["identities"][0]["access_token"] != before, sees_the_login);
    }
}

#[tokio::test(start_paused = true)]
async fn overlaps_are_counted_by_endpoint_and_by_user() {
    let tenant = tenant();
    let bearer = bearer(&tenant).await;
    tenant.fault(Endpoint::User, Fault::Latency(MILLI * 10));
    let _ = tokio::join!(
        read(&tenant, &bearer, "github%7C583231"),
        read(&tenant, &bearer, "twitter%7C2244994945"),
        read(&tenant, &bearer, "github%7C583231"),
    );
    let _ = read(&tenant, &bearer, "github%7C583231").await;
    assert_eq!(tenant.max_concurrent(Endpoint::User), 3);
    assert_eq!(tenant.max_concurrent_for(users::GITHUB), 2);
    assert_eq!(tenant.max_concurrent_for(users::TWITTER), 1);
    assert_eq!(tenant.max_concurrent(Endpoint::Token), 1);
    let overlapped: Vec<_> = tenant.calls_to(Endpoint::User).iter().map(|call| call.overlapped).collect();
    assert_eq!(overlapped, [true, false, true, false]);

    tenant.forget_calls();
    assert_eq!((tenant.calls().len(), tenant.max_concurrent(Endpoint::User)), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_hangs_up_leaves_a_call_without_a_status() {
    let tenant = tenant();
    tenant.fault(Endpoint::Keys, Fault::Latency(Duration::from_secs(60)));
    let asked = tenant.answer(request("GET", "/.well-known/jwks.json", "", ""));
    assert!(tokio::time::timeout(MILLI, asked).await.is_err());
    tenant.clear(Endpoint::Keys);
    let _ = tenant.answer(request("GET", "/.well-known/jwks.json", "", "")).await;
    let seen: Vec<_> = tenant.calls().iter().map(|call| (call.status, call.overlapped)).collect();
    assert_eq!(seen, [(None, false), (Some(StatusCode::OK), false)], "the call has ended");
}

#[tokio::test(start_paused = true)]
async fn the_next_answers_fail_in_order_and_over_a_persistent_fault() {
    let tenant = tenant();
    tenant.fault(Endpoint::Keys, Fault::Empty200);
    tenant.fault_next(Endpoint::Keys, 2, Fault::Edge503Html);
    tenant.fault_next(Endpoint::Keys, 1, Fault::RateLimited(WaitHint::None));
    tenant.fault_next(Endpoint::Keys, 0, Fault::Html200);
    let mut statuses = Vec::new();
    for _ in 0..4 {
        let reply = tenant.answer(request("GET", "/.well-known/jwks.json", "", "")).await;
        statuses.push((reply.response.status().as_u16(), reply.response.body().is_empty()));
    }
    assert_eq!(statuses, [(503, false), (503, false), (429, false), (200, true)]);
    tenant.clear(Endpoint::Keys);
    assert!(!grant(&tenant).await.response.body().is_empty(), "other endpoints are not affected");
}

#[tokio::test(start_paused = true)]
async fn deliveries_are_reported_to_a_transport_without_sockets() {
    let tenant = tenant();
    for (fault, delivery, status) in [
        (Fault::RefuseConnections, Delivery::Refused, None),
        (Fault::ResetWhileReading, Delivery::ResetMidway, Some(200)),
        (Fault::StallHeaders, Delivery::HeadersStall, None),
        (Fault::StallBody, Delivery::BodyStalls, Some(200)),
        (Fault::Truncate, Delivery::Truncated, Some(200)),
    ] {
        tenant.fault_next(Endpoint::Keys, 1, fault);
        let reply = tenant.answer(request("GET", "/.well-known/jwks.json", "", "")).await;
        assert_eq!(reply.delivery, delivery);
        let seen = tenant.calls().pop().unwrap().status;
        assert_eq!(seen.map(|status| status.as_u16()), status, "{delivery:?}");
    }
    tenant.fault(Endpoint::Token, Fault::RefuseConnections);
    let reply = tenant.answer(request("GET", "/.well-known/jwks.json", "", "")).await;
    assert_eq!(reply.delivery, Delivery::Refused, "a persistent refusal applies to the whole tenant");
}

#[tokio::test(start_paused = true)]
async fn a_grant_may_lie_about_its_lifetime() {
    let tenant = tenant();
    for (kind, expected) in [
        (ExpiresIn::Zero, Some("0")),
        (ExpiresIn::Negative, Some("-1")),
        (ExpiresIn::Missing, None),
        (ExpiresIn::Text, Some("\"86400\"")),
        (ExpiresIn::Huge, Some("1e+18")),
    ] {
        tenant.fault_next(Endpoint::Token, 1, Fault::ExpiresIn(kind));
        let reply = grant(&tenant).await;
        let stated = body(&reply).get("expires_in").map(Value::to_string);
        assert_eq!(stated.as_deref(), expected, "{kind:?}");
    }
    tenant.fault_next(Endpoint::Token, 1, Fault::JwtExpInThePast);
    let expired = bearer(&tenant).await;
    assert_eq!(read(&tenant, &expired, "github%7C583231").await.response.status(), 401);
}

#[tokio::test(start_paused = true)]
async fn a_user_token_is_the_users() {
    let tenant = tenant();
    let token = tenant.user_token(users::JOHN, "https://api.example/", Duration::from_secs(60)).unwrap();
    let claims = tenant.state().keys.verify(&token).ok().unwrap();
    assert_eq!(claims["sub"], users::JOHN);
    assert_eq!(claims["aud"], json!(["https://api.example/", "https://localhost/userinfo"]));
    assert_eq!(claims["exp"], START.as_secs() + 60);
}
