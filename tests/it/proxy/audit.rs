//! The audit lines of calls, and what metrics count of them.

use std::time::Duration;

use cloakroom::fake_auth0::users;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::time::{sleep, timeout};

use super::management::desk;
use super::streams::{PATIENCE, open};
use super::*;
use crate::support::audit_lines::{gist, lines, number};

/// Further tables behind that of the `[[proxy]]`.
const AUDITED: &str = "[audit]\noutput = \"{dir}/audit.log\"\n[log]\nuser_ids = \"plain\"\n";

async fn audited(calls: &[&str]) -> Counter {
    Counter::with(ApiOptions::default(), AUDITED, calls).await
}

/// The audit log's text after the end of the daemon.
async fn text_at_the_end(counter: Counter) -> String {
    let directory = counter.world.directory;
    counter.world.running.stop().await;
    std::fs::read_to_string(directory.path().join("audit.log")).unwrap()
}

/// The lines about calls, after the end of the daemon.
async fn lines_at_the_end(counter: Counter) -> Vec<Value> {
    let directory = counter.world.directory;
    counter.world.running.stop().await;
    let all = lines(&directory.path().join("audit.log"));
    all.into_iter().filter(|line| line["operation"] == "proxy").collect()
}

async fn metrics(counter: &Counter) -> String {
    String::from_utf8(counter.world.get("/metrics").await.body.to_vec()).unwrap()
}

/// The sample of `cloakroom_calls_total` with these labels.
fn calls(status: &str, verdict: &str, end: &str, count: usize) -> String {
    format!(
        "cloakroom_calls_total{{connection=\"google-oauth2\",api=\"api\",status={status:?},verdict={verdict:?},end={end:?}}} {count}.0"
    )
}

fn expect(metrics: &str, samples: &[String]) {
    for sample in samples {
        assert!(metrics.lines().any(|line| line == sample), "{sample} in\n{metrics}");
    }
}

#[tokio::test]
async fn a_line_says_which_call_was_made_and_how_it_ended() {
    let counter = audited(&["POST api/upload/*", "POST api/upload", "GET api/**"]).await;
    let token = counter.world.get(&World::path(users::GOOGLE)).await.json();
    let path = path(users::GOOGLE, "/upload?q=canary-query");
    let headers = [("cloakroom-request", "true"), ("x-canary-header", "canary-header")];
    let sent = counter.world.send_with("POST", &path, &headers, "canary-body!").await;
    assert_eq!(sent.status, 200, "{sent:?}");
    let refused = counter.get(users::GOOGLE, "/refuse/standard-scope?canary-query").await;
    assert_eq!(refused.header("cloakroom-verdict").map(|verdict| &verdict[..13]), Some("missing_scope"));
    let metrics = metrics(&counter).await;
    expect(&metrics, &[calls("2xx", "none", "whole", 1), calls("4xx", "missing_scope", "whole", 1)]);
    let of_api = "{connection=\"google-oauth2\",api=\"api\"}";
    let received = sent.body.len() + refused.body.len();
    expect(
        &metrics,
        &[
            format!("cloakroom_call_sent_bytes_total{of_api} 12.0"),
            format!("cloakroom_call_received_bytes_total{of_api} {received}.0"),
            format!("cloakroom_call_repetitions_total{of_api} 0.0"),
            format!("cloakroom_call_head_duration_seconds_count{of_api} 2"),
            "cloakroom_streams 0.0".into(),
            format!("cloakroom_max_streams {MAX_STREAMS}.0"),
        ],
    );
    let text = text_at_the_end(counter).await;
    for hidden in ["canary", "/upload?", "refuse", token["access_token"].as_str().unwrap()] {
        assert!(!text.contains(hidden), "{hidden} in {text}");
    }
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [_lookup, sent_line, refused_line] = lines.as_slice() else { panic!("{text}") };
    assert_eq!(gist(sent_line), ["proxy", "answered", "-", "hit", users::GOOGLE, "google-oauth2"]);
    let uid = nix::unistd::geteuid().as_raw();
    assert_eq!((number(sent_line, "uid"), number(sent_line, "status")), (u64::from(uid), 200));
    assert_eq!(
        (&sent_line["fingerprint"], &sent_line["source"]),
        (&token["fingerprint"], &json!("identities"))
    );
    assert_eq!(sent_line["request_id"], sent.header("cloakroom-request-id").unwrap());
    let head = number(&sent_line["call"], "head_microseconds");
    assert!(0 < head && head <= number(sent_line, "microseconds"), "{sent_line}");
    assert_eq!(
        sent_line["call"],
        json!({
            "api": "api", "method": "POST", "pattern": "POST api/upload", "verdict": null, "repeated": false,
            "head_microseconds": head, "bytes_sent": 12, "bytes_received": sent.body.len(), "end": "whole",
        })
    );
    let call = &refused_line["call"];
    assert_eq!((number(refused_line, "status"), &call["verdict"]), (403, &json!("missing_scope")));
    assert_eq!((&call["pattern"], &call["bytes_sent"]), (&json!("GET api/**"), &json!(0)));
}

#[tokio::test]
async fn a_repeated_call_has_one_line() {
    let counter = audited(ALL).await;
    let first = counter.world.get(&World::path(users::GOOGLE)).await.json()["access_token"].clone();
    counter.api.revoke(first.as_str().unwrap());
    counter.log_in(users::GOOGLE, "ya29.another");
    assert_eq!(counter.get(users::GOOGLE, "/me").await.status, 200);
    let second = counter.world.get(&World::path(users::GOOGLE)).await.json();
    let metrics = metrics(&counter).await;
    expect(
        &metrics,
        &[
            calls("2xx", "none", "whole", 1),
            "cloakroom_call_repetitions_total{connection=\"google-oauth2\",api=\"api\"} 1.0".into(),
        ],
    );
    let lines = lines_at_the_end(counter).await;
    let [line] = lines.as_slice() else { panic!("{lines:#?}") };
    assert_eq!((&line["call"]["repeated"], &line["call"]["verdict"]), (&json!(true), &Value::Null));
    assert_eq!(line["fingerprint"], second["fingerprint"], "that of the token that was accepted");
}

#[tokio::test]
async fn the_line_of_a_refused_call_shows_connection_api_and_method() {
    let counter = audited(&["GET api/items"]).await;
    for (method, tail, code) in [
        ("GET", "/canary-path", "forbidden"),
        ("DELETE", "/items", "forbidden"),
        ("CANARY", "/items", "forbidden"),
        ("GET", "/items/%2e%2e/canary-path", "ambiguous_path"),
        ("GET", "/items?access_token=canary-query", "credential_in_query"),
    ] {
        let got = counter.call(method, users::GOOGLE, tail).await;
        assert_eq!(got.problem().1, code, "{method} {tail}");
    }
    let other = path(users::GOOGLE, "/items").replace("/api/", "/canary-name/");
    assert_eq!(counter.world.get(&other).await.problem().1, "forbidden");
    assert!(!metrics(&counter).await.contains("cloakroom_calls_total{"), "no rule has permitted a call");
    let text = text_at_the_end(counter).await;
    assert!(!text.contains("canary") && !text.contains("CANARY"), "{text}");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let shown: Vec<_> = lines
        .iter()
        .map(|line| {
            let call = &line["call"];
            assert_eq!(
                (&line["connection"], &line["user"]),
                (&json!("google-oauth2"), &json!(users::GOOGLE))
            );
            assert_eq!((&line["outcome"], &call["pattern"]), (&json!("refused"), &Value::Null));
            ["api", "method", "end"].map(|key| call[key].as_str().unwrap_or("-").to_owned())
        })
        .collect();
    let expected = [
        ["api", "GET", "forbidden"],
        ["api", "DELETE", "forbidden"],
        ["api", "other", "forbidden"],
        ["api", "GET", "ambiguous_path"],
        ["api", "GET", "credential_in_query"],
        ["-", "-", "-"],
    ];
    assert_eq!(shown, expected.map(|line| line.map(str::to_owned)));
}

#[tokio::test]
async fn refusals_that_come_fast_share_lines() {
    let counter = audited(&["GET api/items"]).await;
    for _ in 0..100 {
        assert_eq!(counter.get(users::GOOGLE, "/me").await.problem().1, "forbidden");
    }
    let lines = lines_at_the_end(counter).await;
    assert_eq!(lines.iter().map(|line| number(line, "count")).sum::<u64>(), 100);
    assert!(lines.len() < 100, "{} lines", lines.len());
    assert!(lines.iter().all(|line| line["call"]["api"] == "api" && line["connection"] == "google-oauth2"));
}

#[tokio::test]
async fn a_client_that_leaves_before_or_within_the_answer_has_a_line() {
    let counter = audited(ALL).await;
    let mut answer = open(&counter, "/events").await;
    while counter.api.emit("one") == 0 {
        tokio::task::yield_now().await;
    }
    http_body_util::BodyExt::frame(answer.body_mut()).await.unwrap().unwrap();
    drop(answer);
    let mut stream = UnixStream::connect(&counter.world.socket).await.unwrap();
    let path = path(users::GOOGLE, "/upload?rate=1");
    let body = "x".repeat(100);
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncloakroom-request: true\r\ncontent-length: 100\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let sent = counter.api.until(|calls| calls.len() == 2 && calls[1].body_bytes > 0);
    timeout(PATIENCE, sent).await.unwrap();
    drop(stream);
    let (within, before) = (calls("2xx", "none", "left", 1), calls("none", "none", "left", 1));
    let counted = async {
        while ![&within, &before].iter().all(|sample| metrics_have(&counter, sample)) {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, counted).await.unwrap();
    let lines = lines_at_the_end(counter).await;
    let shown = lines.iter().map(|line| {
        let call = &line["call"];
        assert_eq!((&call["end"], &call["api"]), (&json!("left"), &json!("api")));
        assert_eq!((&line["user"], &line["connection"]), (&json!(users::GOOGLE), &json!("google-oauth2")));
        (
            line["outcome"].clone(),
            line["status"].clone(),
            number(call, "bytes_sent"),
            call["head_microseconds"].is_u64(),
        )
    });
    assert_eq!(
        shown.collect::<Vec<_>>(),
        [(json!("answered"), json!(200), 0, true), (json!("left"), Value::Null, 100, false)]
    );
}

/// Whether `/metrics` would have this sample.
fn metrics_have(counter: &Counter, sample: &str) -> bool {
    counter.world.running.services().counters.calls.counts().iter().any(|(_, counts)| {
        counts.ended.iter().any(|(key, count)| {
            calls(key.status, key.verdict, key.end, usize::try_from(*count).unwrap()) == sample
        })
    })
}

#[tokio::test]
async fn a_call_without_an_answer_counts_for_its_api() {
    let keys = format!("head_timeout = \"1s\"\n{AUDITED}");
    let counter = Counter::with(ApiOptions::default(), &keys, ALL).await;
    assert_eq!(counter.get(users::GOOGLE, "/stall").await.problem().1, "provider_timeout");
    counter.api.refuse_connections(true);
    assert_eq!(counter.get(users::GOOGLE, "/hang-up").await.problem().1, "provider_unavailable");
    assert_eq!(counter.get(users::EXPIRED, "/me").await.problem().1, "login_required");
    let metrics = metrics(&counter).await;
    let ends = ["provider_timeout", "provider_unavailable", "login_required"];
    expect(&metrics, &ends.map(|end| calls("none", "none", end, 1)));
    let lines = lines_at_the_end(counter).await;
    let shown: Vec<_> =
        lines.iter().map(|line| [&line["outcome"], &line["code"], &line["call"]["end"]]).collect();
    let [timeout, unavailable, login] = ends.map(Value::from);
    let [error, negative] = ["error", "negative"].map(Value::from);
    assert_eq!(
        shown,
        [[&error, &timeout, &timeout], [&error, &unavailable, &unavailable], [&negative, &login, &login]]
    );
    assert!(lines.iter().all(|line| line["call"]["head_microseconds"].is_null()), "{lines:#?}");
}

#[tokio::test]
async fn calls_of_the_management_api_have_lines_and_counts_too() {
    let rule = format!("calls = [\"GET /users/*\"]\n{AUDITED}");
    let world = desk(&["read:users"], &rule).await;
    let path = format!("/api/v2/users/{}", UserId::parse(users::GOOGLE).unwrap().to_path_segment());
    assert_eq!(world.get(&format!("{path}?fields=user_id%2Cidentities")).await.status, 200);
    assert_eq!(world.get("/api/v2/clients?canary-query").await.status, 403);
    let text = String::from_utf8(world.get("/metrics").await.body.to_vec()).unwrap();
    let labels = "connection=\"\",api=\"management_api\",status=\"2xx\",verdict=\"none\",end=\"whole\"";
    expect(&text, &[format!("cloakroom_calls_total{{{labels}}} 1.0")]);
    let directory = world.directory;
    world.running.stop().await;
    let path = directory.path().join("audit.log");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(!text.contains("canary") && !text.contains("fields="), "{text}");
    let lines = lines(&path);
    let shown: Vec<_> = lines
        .iter()
        .map(|line| {
            assert!(line["operation"] == "management_api" && line["connection"].is_null(), "{line}");
            let call = &line["call"];
            let has_user = line["outcome"] == "answered";
            assert_eq!(line["user"].as_str(), has_user.then_some(users::GOOGLE), "{line}");
            [&line["outcome"], &call["api"], &call["method"], &call["pattern"], &call["end"]]
                .map(Value::clone)
        })
        .collect();
    assert_eq!(
        shown,
        [
            ["answered", "management_api", "GET", "GET /users/*", "whole"].map(Value::from),
            ["refused".into(), "management_api".into(), "GET".into(), Value::Null, "forbidden".into()],
        ]
    );
}
