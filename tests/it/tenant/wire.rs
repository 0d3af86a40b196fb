//! TLS, going away, and every fault.

use std::time::Duration;

use cloakroom::clock::Clock;
use cloakroom::fake_auth0::{CertificateKind, Endpoint, Fault, Tenant, TenantOptions, WaitHint, users};
use serde_json::json;

use super::https::Https;
use super::{START, World, assert_says, world};

#[tokio::test(start_paused = true)]
async fn wrong_certificates_are_wrong_in_their_way() {
    let tenant = Tenant::new(Clock::simulated(START), TenantOptions::default()).unwrap();
    for (kind, expected) in [
        (CertificateKind::Expired, "Expired"),
        (CertificateKind::WrongName, "NotValidForName"),
        (CertificateKind::UnknownIssuer, "UnknownIssuer"),
    ] {
        let listening = tenant.listen(kind).unwrap();
        let error = Https::new(listening.domain(), listening.ca_pem()).get("/", &[]).await.err().unwrap();
        assert!(format!("{error:?}").contains(expected), "{kind:?}: {error:?}");
    }
    let listening = tenant.listen(CertificateKind::Good).unwrap();
    let by_address = format!("127.0.0.1:{}", listening.port());
    assert_eq!(Https::new(&by_address, listening.ca_pem()).get("/", &[]).await.unwrap().status, 404);
}

#[tokio::test(start_paused = true)]
async fn it_goes_away_and_comes_back_on_the_same_port() {
    let World { tenant, listening, https, .. } = world();
    assert_eq!(https.get("/", &[]).await.unwrap().status, 404);
    let port = listening.port();
    listening.stop();
    // The second attempt cannot find the first one's connection alive either.
    for _ in 0..2 {
        assert!(https.get("/", &[]).await.is_err());
    }
    let listening = tenant.listen_on(port, CertificateKind::Good).unwrap();
    assert_eq!(listening.port(), port);
    assert_eq!(https.get("/", &[]).await.unwrap().status, 404, "the same authority vouches for it");
}

#[tokio::test(start_paused = true)]
async fn going_away_ends_what_is_under_way() {
    let World { tenant, listening, https, .. } = world();
    tenant.fault(Endpoint::Keys, Fault::StallHeaders);
    let (answer, ()) = tokio::join!(https.get("/.well-known/jwks.json", &[]), async {
        while tenant.calls().is_empty() {
            tokio::task::yield_now().await;
        }
        listening.stop();
    });
    assert!(answer.is_err());
}

#[tokio::test(start_paused = true)]
async fn refused_connections_are_refused_until_cleared() {
    let world = world();
    assert_eq!(world.https.get("/", &[]).await.unwrap().status, 404);
    world.tenant.fault(Endpoint::Token, Fault::RefuseConnections);
    let fresh = Https::new(world.listening.domain(), world.listening.ca_pem());
    let error = fresh.get("/", &[]).await.err().unwrap();
    assert!(format!("{error:?}").contains("ConnectionRefused"), "{error:?}");
    assert!(world.https.get("/", &[]).await.is_err(), "an open connection is no way around it");
    world.tenant.clear_all();
    assert_eq!(world.https.get("/", &[]).await.unwrap().status, 404);
}

#[tokio::test]
async fn answers_break_off_on_the_wire() {
    let world = world();
    let get = async || world.https.get("/.well-known/jwks.json", &[]).await;
    for (fault, expected) in [
        (Fault::ResetWhileReading, "ConnectionReset"),
        (Fault::Truncate, "UnexpectedEof"),
        (Fault::RefuseConnections, "SendRequest"),
    ] {
        world.tenant.fault_next(Endpoint::Keys, 1, fault.clone());
        let error = get().await.err().unwrap();
        assert!(format!("{error:?}").contains(expected), "{fault:?}: {error:?}");
        assert_eq!(get().await.unwrap().status, 200, "after {fault:?}");
    }
    for fault in [Fault::StallHeaders, Fault::StallBody] {
        world.tenant.fault_next(Endpoint::Keys, 1, fault.clone());
        let waited = tokio::time::timeout(Duration::from_millis(40), get()).await;
        assert!(waited.is_err(), "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn answers_are_replaced_as_asked() {
    let world = world();
    let bearer = world.bearer().await;
    let user = async |fault: Fault| {
        world.tenant.fault_next(Endpoint::User, 1, fault);
        world.user(&bearer, "github%7C583231").await
    };
    let empty = user(Fault::Empty200).await;
    assert_eq!((empty.status.as_u16(), empty.body.len()), (200, 0));
    let portal = user(Fault::Html200).await;
    assert_eq!(portal.header("content-type"), Some("text/html; charset=utf-8"));
    let big = user(Fault::Body(10 << 20)).await;
    assert_eq!((big.body.len(), &big.json()["user_id"]), (10 << 20, &json!(users::GITHUB)));
    let bomb = user(Fault::GzipBomb).await;
    assert_eq!(bomb.header("content-encoding"), Some("gzip"));
    assert!(bomb.body.starts_with(&[0x1f, 0x8b]) && bomb.body.len() < 100_000);
    assert_eq!(user(Fault::WrongContentType).await.header("content-type"), Some("text/plain"));
    let moved = user(Fault::Redirect("http://evil.example/".into())).await;
    assert_eq!((moved.status.as_u16(), moved.header("location")), (302, Some("http://evil.example/")));
    assert_eq!(user(Fault::Unauthorized).await.json()["message"], "Invalid token");
    let edge = user(Fault::Edge503Html).await;
    assert_eq!((edge.status.as_u16(), edge.header("x-ratelimit-limit")), (503, None));
    let page = user(Fault::EdgePage { status: 401, wait: WaitHint::None }).await;
    assert_eq!((page.status.as_u16(), page.header("content-type")), (401, Some("text/html; charset=UTF-8")));
    let gateway = user(Fault::GatewayJson { status: 403 }).await;
    assert_eq!((gateway.status.as_u16(), gateway.json()), (403, json!({ "message": "Forbidden" })));
    let headers = vec![("x-one".into(), "1".into()), ("bad name".into(), "2".into())];
    let any = user(Fault::Status { status: 418, headers, body: "tea".into() }).await;
    assert_eq!((any.status.as_u16(), any.header("x-one"), &any.body[..]), (418, Some("1"), &b"tea"[..]));
    let dated = user(Fault::DateOffset(-3_600)).await;
    assert_eq!(dated.header("date"), Some("Fri, 15 Jan 2027 07:00:00 GMT"));
    assert_eq!(world.user(&bearer, "github%7C583231").await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_429_says_when_to_come_back_in_each_form() {
    let world = world();
    let bearer = world.bearer().await;
    for (hint, retry_after, reset) in [
        (WaitHint::Seconds(7), Some("7"), None),
        (WaitHint::Date(Duration::from_secs(60)), Some("Fri, 15 Jan 2027 08:01:00 GMT"), None),
        (WaitHint::Reset(Duration::from_secs(3_456)), None, Some("1800003456")),
        (WaitHint::None, None, None),
    ] {
        world.tenant.fault_next(Endpoint::User, 1, Fault::RateLimited(hint));
        let answer = world.user(&bearer, "github%7C583231").await;
        assert_eq!(answer.status, 429);
        assert_eq!((answer.header("retry-after"), answer.header("x-ratelimit-reset")), (retry_after, reset));
        assert_eq!(answer.json()["message"], "Global limit has been reached");
    }
    let refused = async |fault: Fault| {
        world.tenant.fault_next(Endpoint::Token, 1, fault);
        world.grant_with(&[]).await
    };
    let description = "Rate limit exceeded. Please retry after some time.";
    let body = json!({ "error": "too_many_requests", "error_description": description });
    assert_says(&refused(Fault::RateLimited(WaitHint::Seconds(1))).await, 429, body);
    let quota = refused(Fault::QuotaExceeded { retry_after: 3_540 }).await;
    assert_eq!(quota.header("retry-after"), Some("3540"));
    let buckets = "b=per_hour;q=10;r=0;t=3540,b=per_day;q=50;r=40;t=43200";
    assert_eq!(quota.header("auth0-client-quota-limit"), Some(buckets));
    let body = json!({ "error": "too_many_requests", "error_description": "Client quota exceeded" });
    assert_says(&quota, 429, body);
    let policy = refused(Fault::PolicyExceeded { retry_after: 9 }).await;
    assert_eq!(policy.header("retry-after"), Some("9"));
    assert_eq!(policy.header("auth0-ratelimit"), Some("client=demo;q=10;t=9;r=0"));
    let body = json!({ "error": "too_many_requests", "error_description": "Rate limit exceeded." });
    assert_says(&policy, 429, body);
    let busy = refused(Fault::EdgePage { status: 503, wait: WaitHint::Date(Duration::from_secs(60)) }).await;
    assert_eq!(busy.header("retry-after"), Some("Fri, 15 Jan 2027 08:01:00 GMT"));
    let broken =
        refused(Fault::TokenEndsIn("\r\n")).await.json()["access_token"].as_str().unwrap().to_owned();
    assert!(broken.starts_with("eyJ") && broken.ends_with("\r\n"));
    assert_eq!(refused(Fault::TooManyAttempts).await.json()["error"], "too_many_attempts");
}

#[tokio::test(start_paused = true)]
async fn a_quota_for_tokens_is_told_before_it_is_spent_and_starts_anew_each_hour() {
    let world = world();
    world.tenant.set_token_quota(Some(2));
    let granted = async || {
        let answer = world.grant_with(&[]).await;
        (answer.status.as_u16(), answer.header("auth0-client-quota-limit").unwrap().to_owned())
    };
    // The tenant's time begins with an hour.
    assert_eq!(granted().await, (200, "b=per_hour;q=2;r=1;t=3600".into()));
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(granted().await, (200, "b=per_hour;q=2;r=0;t=3000".into()));
    assert_eq!(granted().await, (429, "b=per_hour;q=2;r=0;t=3000".into()));
    tokio::time::sleep(Duration::from_secs(3000)).await;
    assert_eq!(granted().await, (200, "b=per_hour;q=2;r=1;t=3600".into()));
}
