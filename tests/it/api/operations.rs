//! The routes of operators: probes, status, metrics and the description.

use std::time::Duration;

use cloakroom::api::metrics::METRICS;
use cloakroom::fake_auth0::{Endpoint, Fault, TenantOptions, WaitHint, users};
use cloakroom::telemetry::StateStanding;
use serde_json::json;

use super::world;
use crate::support::world::World;

/// Metrics that have samples only where the configuration has a `[[connection]]` or `[state]`.
const WITHOUT_SAMPLES: [&str; 13] = [
    "cloakroom_calls_total",
    "cloakroom_call_head_duration_seconds",
    "cloakroom_call_sent_bytes_total",
    "cloakroom_call_received_bytes_total",
    "cloakroom_call_repetitions_total",
    "cloakroom_management_api_token_valid",
    "cloakroom_management_api_scope_refused",
    "cloakroom_client_certificate_expiry_timestamp_seconds",
    "cloakroom_source_requests_total",
    "cloakroom_state_usable",
    "cloakroom_state_records",
    "cloakroom_state_unwritten",
    "cloakroom_state_oldest_unwritten_seconds",
];

#[tokio::test(start_paused = true)]
async fn probes_tell_started_and_ready_apart() {
    let world = World::simulated(TenantOptions::default(), "").await;
    world.tenant.fault(Endpoint::Token, Fault::Edge503Html);
    assert!(world.look_up(users::GOOGLE).await.is_err());
    let probe = async |path| {
        let got = world.send("GET", path, &[]).await;
        (got.status.as_u16(), String::from_utf8(got.body.to_vec()).unwrap())
    };
    assert_eq!(probe("/livez").await, (200, "live\n".into()));
    let (status, line) = probe("/startupz").await;
    assert_eq!(status, 503);
    assert!(line.starts_with("not started: no Management token: unexpected status 503 from Auth0"), "{line}");
    assert_eq!(probe("/readyz").await.0, 503);

    world.tenant.clear_all();
    tokio::time::sleep(Duration::from_secs(60)).await;
    world.ready().await;
    assert_eq!(probe("/startupz").await, (200, "started\n".into()));
    assert_eq!(probe("/readyz").await, (200, "ready\n".into()));

    let calls = world.tenant.calls().len();
    world.tenant.fault(Endpoint::Token, Fault::Edge503Html);
    tokio::time::sleep(Duration::from_secs(86_400 * 2)).await;
    assert_eq!(probe("/startupz").await.0, 200, "once started, always started");
    assert_eq!(probe("/readyz").await.0, 503);
    let grants = world.tenant.calls().len() - calls;
    probe("/readyz").await;
    assert_eq!(world.tenant.calls().len() - calls, grants, "no probe calls upstream");
}

/// A restart would lose refresh tokens that are in memory alone, and valid tokens are served.
#[tokio::test(start_paused = true)]
async fn a_state_file_that_cannot_be_used_is_told_and_leaves_the_daemon_ready() {
    let world = world().await;
    assert_eq!(world.get("/v1/status").await.json()["state"], json!(null));
    let standing = StateStanding {
        trouble: Some("its file system is read-only".into()),
        records: 3,
        unwritten: 1,
        oldest_unwritten: Some(world.clock.now()),
    };
    world.running.services().counters.state.set(Some(standing));
    tokio::time::sleep(Duration::from_secs(90)).await;
    let probe = world.send("GET", "/readyz", &[]).await;
    let said = "ready, but the state file cannot be used: its file system is read-only\n";
    assert_eq!((probe.status.as_u16(), &*probe.body), (200, said.as_bytes()));
    let status = world.get("/v1/status").await.json();
    assert_eq!(status["ready"], true);
    assert_eq!(
        status["state"],
        json!({
            "trouble": "its file system is read-only", "records": 3, "unwritten": 1,
            "oldest_unwritten_seconds": 90,
        })
    );
    let sentence = world.running.services().sentence();
    assert!(sentence.contains("; the state file cannot be used: its file system is read-only"), "{sentence}");
    assert_eq!(world.get(&World::path(users::GOOGLE)).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn status_tells_everything_but_tokens_and_users() {
    let world = world().await;
    for path in [World::path(users::GOOGLE), World::path(users::GOOGLE), World::path("auth0|nobody")] {
        world.get(&path).await;
    }
    let got = world.get("/v1/status").await;
    let status = got.json();
    assert_eq!((&status["ready"], &status["draining"]), (&json!(true), &json!(false)));
    assert_eq!(status["lookups"], json!({"hit": 1, "miss": 1, "stale": 0, "negative": 1, "error": 0}));
    assert_eq!(
        status["upstream"],
        json!({
            "token_requests": 1, "user_requests": 2, "key_requests": 0, "exchange_requests": 0, "failures": 0,
            "last_failure": null, "flights_joined": 0, "gate_closed_for": null, "waiting": 0, "ratelimit_remaining": 49, "thrifty": false,
            "clock_skew_seconds": 0.0,
        })
    );
    assert_eq!(status["cache"]["entries"], 2);
    assert_eq!(status["cache"]["max_bytes"], 64 << 20);
    assert_eq!(status["management_token"]["scopes"], json!(["read:users", "read:user_idp_tokens"]));
    assert_eq!(status["management_token"]["expires_at"], "2026-11-23T10:00:00Z");
    assert_eq!(status["listeners"][0]["connections"], 1);
    let text = String::from_utf8(got.body.to_vec()).unwrap();
    let token = world.tenant.user(users::GOOGLE).unwrap()["identities"][0]["access_token"].clone();
    for secret in [token.as_str().unwrap(), "103547991597142817347", "demo-client-secret", "eyJ"] {
        assert!(!text.contains(secret), "{secret}");
    }
}

#[tokio::test(start_paused = true)]
async fn metrics_tell_the_same_as_status_and_no_user() {
    let world = world().await;
    for path in [World::path(users::GOOGLE), World::path(users::GOOGLE), World::path("auth0|nobody")] {
        world.get(&path).await;
    }
    let got = world.send("GET", "/metrics", &[]).await;
    assert_eq!(got.status, 200, "as the probes, without the request header");
    let text = String::from_utf8(got.body.to_vec()).unwrap();
    for line in [
        r#"cloakroom_lookups_total{outcome="hit"} 1.0"#,
        r#"cloakroom_lookups_total{outcome="negative"} 1.0"#,
        r#"cloakroom_upstream_requests_total{endpoint="token",result="200"} 1.0"#,
        r#"cloakroom_upstream_requests_total{endpoint="user",result="404"} 1.0"#,
        r#"cloakroom_management_token_refreshes_total{result="success"} 1.0"#,
        "cloakroom_management_token_valid 1.0",
        "cloakroom_upstream_gate_closed 0.0",
        "cloakroom_upstream_ratelimit_remaining 49.0",
        "cloakroom_clock_skew_seconds 0.0",
        "cloakroom_cache_entries 2.0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
    }
    assert!(!text.contains("103547991597142817347") && !text.contains("nobody"), "{text}");
    world.tenant.fault(Endpoint::User, Fault::RateLimited(WaitHint::Seconds(9)));
    world.get(&World::path(users::JOHN)).await;
    let text = String::from_utf8(world.send("GET", "/metrics", &[]).await.body.to_vec()).unwrap();
    assert!(text.contains("cloakroom_upstream_gate_closed 1.0"), "{text}");
}

/// Each has its type, and a sample from the start or after what makes one.
#[tokio::test(start_paused = true)]
async fn every_metric_there_is_has_its_type_in_either_format() {
    let world = world().await;
    for path in [World::path(users::GOOGLE), World::path("auth0|nobody"), "/v1/nowhere".into()] {
        world.get(&path).await;
    }
    world.send("GET", &World::path(users::GOOGLE), &[]).await;
    let read = |accept: &'static str| {
        let world = &world;
        async move {
            let got = world.send("GET", "/metrics", &[("accept", accept)]).await;
            let kind = got.header("content-type").unwrap().to_owned();
            (String::from_utf8(got.body.to_vec()).unwrap(), kind)
        }
    };
    let (plain, kind) = read("text/plain").await;
    assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8");
    let (open, kind) = read("application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.1").await;
    assert_eq!(kind, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(open.ends_with("\n# EOF\n") && !plain.contains("# EOF"));

    let known: std::collections::BTreeMap<_, _> =
        METRICS.iter().map(|metric| (metric.exposed_name(), metric.kind.as_str())).collect();
    let types: std::collections::BTreeMap<_, _> = plain
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .map(|(name, kind)| (name.to_owned(), kind))
        .collect();
    assert_eq!(types, known, "what is served (left) and the table (right)");
    for metric in METRICS {
        let samples = plain.lines().filter_map(|line| line.strip_prefix(metric.exposed_name().as_str()));
        for labels in samples.filter_map(|rest| rest.strip_prefix('{')?.split_once("} ")) {
            let names: Vec<_> = labels.0.split(',').filter_map(|label| label.split_once("=\"")).collect();
            let names: Vec<_> = names.into_iter().map(|(name, _)| name).collect();
            assert_eq!(names, metric.labels.iter().map(|label| label.name).collect::<Vec<_>>(), "{metric:?}");
        }
    }
    for (name, kind) in types {
        let sample = if kind == "histogram" { format!("{name}_count") } else { name.clone() };
        let is_there = plain.lines().any(|line| line.starts_with(&sample));
        assert_eq!(is_there, !WITHOUT_SAMPLES.contains(&&*name), "samples of {name}");
        assert!(open.contains(&format!("# TYPE {} {kind}\n", name.trim_end_matches("_total"))), "{name}");
    }
    for line in [
        r#"cloakroom_responses_total{route="/v1/users/{user_id}/token",status="200"} 1.0"#,
        r#"cloakroom_responses_total{route="/v1/users/{user_id}/token",status="403"} 1.0"#,
        r#"cloakroom_responses_total{route="/v1/users/{user_id}/token",status="404"} 1.0"#,
        r#"cloakroom_responses_total{route="none",status="404"} 1.0"#,
        r#"cloakroom_denied_total{reason="request_header_required"} 1.0"#,
        r#"cloakroom_lookup_duration_seconds_count{outcome="miss"} 1"#,
        r#"cloakroom_upstream_request_duration_seconds_count{endpoint="user"} 2"#,
    ] {
        assert!(plain.lines().any(|found| found == line), "{line} in\n{plain}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_description_of_all_this_is_served() {
    let world = world().await;
    let got = world.get("/openapi.json").await;
    assert_eq!(got.status, 200);
    assert!(got.json()["openapi"].as_str().is_some_and(|version| version.starts_with("3.")));
}
