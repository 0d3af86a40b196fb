//! Tests of the simulated API: routes without a socket in virtual time here, and by TLS on loopback in `sockets`.

use http_body_util::{BodyExt, Empty, Full};
use serde_json::Value;

use super::*;
use crate::domain::freshness::Timestamp;
use crate::fake_auth0::options::TenantOptions;
use crate::fake_auth0::users;

mod bodies;
mod refusals;
mod sockets;

const START: Timestamp = Timestamp::from_secs(1_800_000_000);
const SECOND: Duration = Duration::from_secs(1);
const TOKEN: &str = "demo-token";

fn api() -> FakeApi {
    let api = FakeApi::new(Clock::simulated(START), ApiOptions::default()).unwrap();
    api.accept(TOKEN);
    api
}

fn get(target: &str) -> Request<Empty<Bytes>> {
    request("GET", target).body(Empty::new()).unwrap()
}

fn request(method: &str, target: &str) -> hyper::http::request::Builder {
    let request = Request::builder().method(method).uri(target).header("host", "api.example");
    request.header("authorization", format!("Bearer {TOKEN}"))
}

async fn body(response: Response<ApiBody>) -> Bytes {
    response.into_body().collect().await.unwrap().to_bytes()
}

async fn json(response: Response<ApiBody>) -> Value {
    serde_json::from_slice(&body(response).await).unwrap()
}

fn field(response: &Response<ApiBody>, name: &str) -> Option<String> {
    response.headers().get(name).map(|value| value.to_str().unwrap().to_owned())
}

#[tokio::test(start_paused = true)]
async fn pages_link_to_the_next_one_on_their_own_host() {
    let api = api();
    let first = api.answer(get("/items")).await;
    assert_eq!(field(&first, "link").unwrap(), "<https://api.example/items?page=2>; rel=\"next\"");
    assert_eq!(json(first).await[1]["id"], 2);
    let last = api.answer(get("/items?page=3")).await;
    assert_eq!(field(&last, "link"), None);
    assert_eq!(json(last).await.as_array().unwrap().len(), 2);
    let all = api.answer(get("/items?page=1&links=all")).await;
    assert_eq!(field(&all, "link").unwrap().matches("rel=").count(), 4);
    assert_eq!(json(api.answer(get("/items?page=4")).await).await, serde_json::json!([]));
}

#[tokio::test(start_paused = true)]
async fn an_echo_says_what_was_received() {
    let api = api();
    let sent = request("PATCH", "/echo/a%2Fb/..;x?q=%2E&q").header("x-many", "1").header("x-many", "2");
    let answer = json(api.answer(sent.body(Full::new(Bytes::from("abc"))).unwrap()).await).await;
    assert_eq!(answer["method"], "PATCH");
    assert_eq!(answer["target"], "/echo/a%2Fb/..;x?q=%2E&q");
    assert_eq!(answer["body_bytes"], 3);
    assert_eq!(answer["body_sha256"], "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    let names: Vec<_> = answer["headers"].as_array().unwrap().iter().map(|pair| pair[0].clone()).collect();
    assert_eq!(names, ["host", "authorization", "x-many", "x-many"]);
    let call = &api.calls()[0];
    assert_eq!(
        (call.target(), call.all("X-Many")),
        ("/echo/a%2Fb/..;x?q=%2E&q".into(), vec!["1".into(), "2".into()])
    );
    assert_eq!((call.body_bytes, call.body_is_complete, call.bearer().as_deref()), (3, true, Some(TOKEN)));
    assert!(call.ended_at.is_some() && call.closed_by_client_at.is_none());
}

#[tokio::test(start_paused = true)]
async fn only_known_tokens_are_valid() {
    let tenant = Tenant::new(Clock::simulated(START), TenantOptions::default()).unwrap();
    let api = FakeApi::beside(&tenant, ApiOptions { dialect: ApiDialect::GitHub, ..ApiOptions::default() });
    let status = async |authorization: &str| {
        let asked = Request::get("/me").header("authorization", authorization).body(Empty::new()).unwrap();
        api.answer(asked).await.status().as_u16()
    };
    assert_eq!(status("Bearer unknown").await, 401);
    assert_eq!(status("Basic unknown").await, 401);
    assert_eq!(status("Bearer gho_demo-octo").await, 200, "the tenant stores this one");
    let renewed = tenant.login(users::GITHUB, "github").unwrap();
    assert_eq!(status("Bearer gho_demo-octo").await, 401);
    assert_eq!(status(&format!("bearer {renewed}")).await, 200);
    api.revoke(&renewed);
    assert_eq!(status(&format!("Bearer {renewed}")).await, 401);
    api.accept(&renewed);
    assert_eq!(status(&format!("Bearer {renewed}")).await, 200);
    api.accept_any(true);
    assert_eq!(status("Bearer unknown").await, 200);

    api.set_dialect(ApiDialect::Slack);
    let asked = Request::get("/me").body(Empty::<Bytes>::new()).unwrap();
    assert_eq!(json(api.answer(asked).await).await["error"], "token_revoked");
}

#[tokio::test(start_paused = true)]
async fn routes_answer_below_the_prefix_alone() {
    let options = ApiOptions { prefix: "/v1".into(), accepts_any: true, ..ApiOptions::default() };
    let api = FakeApi::new(Clock::simulated(START), options).unwrap();
    assert_eq!(api.answer(get("/v1/me")).await.status(), StatusCode::OK);
    assert_eq!(api.answer(get("/me")).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(api.answer(get("/v1/nothing")).await.status(), StatusCode::NOT_FOUND);
    let posted = request("POST", "/v1/me").body(Empty::<Bytes>::new()).unwrap();
    assert_eq!(field(&api.answer(posted).await, "allow").unwrap(), "GET, HEAD");
}

#[tokio::test(start_paused = true)]
async fn redirects_lead_to_another_host_or_to_an_address_of_this_one() {
    let api = api();
    let away = api.answer(get("/redirect")).await;
    assert_eq!(
        (away.status().as_u16(), field(&away, "location").unwrap().contains("elsewhere")),
        (302, true)
    );
    let here = api.answer(get("/redirect-here")).await;
    assert_eq!(field(&here, "location").unwrap(), "https://api.example/items?page=2");
}

#[tokio::test(start_paused = true)]
async fn header_fields_that_no_proxy_should_pass_on_are_sent_with_their_duplicates() {
    let api = api();
    let answer = api.answer(get("/headers?reflect")).await;
    for name in ["set-cookie", "alt-svc", "strict-transport-security", "access-control-allow-origin", "x-hop"]
    {
        assert!(field(&answer, name).is_some(), "{name}");
    }
    assert_eq!(field(&answer, "cloakroom-verdict").unwrap(), "token_dead");
    assert_eq!(field(&answer, "x-reflected").unwrap(), format!("Bearer {TOKEN}"));
    assert!(field(&answer, "x-reflected-inside").unwrap().contains(TOKEN));
    assert_eq!(answer.headers().get_all("x-many").iter().count(), 2);
    assert_eq!(field(&api.answer(get("/headers")).await, "x-reflected"), None);
}

#[tokio::test(start_paused = true)]
async fn statuses_and_heads_have_no_body() {
    let api = api();
    for target in ["/status/204", "/status/304"] {
        let answer = api.answer(get(target)).await;
        assert!(target.ends_with(answer.status().as_str()));
        assert!(body(answer).await.is_empty());
    }
    let head = request("HEAD", "/download?bytes=70000").body(Empty::<Bytes>::new()).unwrap();
    let answer = api.answer(head).await;
    assert_eq!(field(&answer, "content-length").unwrap(), "70000");
    assert!(body(answer).await.is_empty());
    assert!(api.calls().iter().all(|call| call.ended_at.is_some()));
    let gzip = api.answer(get("/gzip")).await;
    assert_eq!(field(&gzip, "content-encoding").unwrap(), "gzip");
    assert_eq!(body(gzip).await.len(), 40);
}

#[tokio::test(start_paused = true)]
async fn canned_answers_replace_the_next_ones_and_latency_delays_them() {
    let api = api();
    api.set_latency(SECOND);
    let headers = vec![("x-many", "1".to_owned()), ("x-many", "2".to_owned())];
    let canned = Canned { status: StatusCode::BAD_GATEWAY, headers, body: "broken".into() };
    api.answer_next(2, &canned);
    let begun = tokio::time::Instant::now();
    for _ in 0..2 {
        let answer = api.answer(get("/me")).await;
        assert_eq!(answer.headers().get_all("x-many").iter().count(), 2);
        assert_eq!((answer.status(), body(answer).await), (StatusCode::BAD_GATEWAY, "broken".into()));
    }
    assert_eq!(api.answer(get("/me")).await.status(), StatusCode::OK);
    assert_eq!(begun.elapsed(), 3 * SECOND);
    api.answer_next(1, &canned);
    api.clear();
    assert_eq!(api.answer(get("/me")).await.status(), StatusCode::OK);
    assert_eq!(begun.elapsed(), 3 * SECOND);
}
