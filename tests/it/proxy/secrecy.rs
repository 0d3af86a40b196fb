//! The token, and what a client sends in a query, a header or a body, reach the API and appear in no log line, metric,
//! audit line, status or error of the daemon.

use bytes::Bytes;
use cloakroom::fake_auth0::api::Canned;
use cloakroom::fake_auth0::users;
use http_body_util::BodyExt;

use super::streams::open;
use super::*;
use crate::support::log::Log;

const TOKEN: &str = "ya29.canary-token-41c7";
const AFTER: &str = "ya29.canary-token-after-9d02";
const QUERY: &str = "canary-query-b3e8";
const PATH: &str = "canary-path-77f1";
const HEADER: &str = "canary-header-0a5d";
const BODY: &str = "canary-body-e26b";
const SAID: &str = "canary-said-by-the-api-5c90";

const CANARIES: [&str; 7] = [TOKEN, AFTER, QUERY, PATH, HEADER, BODY, SAID];

const SETTINGS: &str = "request_bytes = \"16KiB\"\nresponse_bytes = \"16KiB\"\nhead_timeout = \"1s\"\nidle_timeout = \"1s\"\n\
[audit]\nevents = \"all\"\noutput = \"{dir}/audit.log\"\n[log]\nuser_ids = \"plain\"\n";

fn search(place: &str, bytes: &[u8]) {
    for canary in CANARIES {
        let found = bytes.windows(canary.len()).any(|window| window == canary.as_bytes());
        assert!(!found, "{canary} in {place}: {}", String::from_utf8_lossy(bytes));
    }
}

/// A call, whose answer is the daemon's own if and only if it has no `Cloakroom-Upstream`. Returns whether it is its own.
async fn own_answer(counter: &Counter, method: &str, tail: &str, body: &str) -> bool {
    let headers = [("cloakroom-request", "true"), ("x-canary", HEADER), ("authorization", HEADER)];
    let got = counter.world.send_with(method, &path(users::GOOGLE, tail), &headers, body).await;
    let is_own = got.header("cloakroom-upstream").is_none();
    let is_problem =
        got.header("content-type").is_some_and(|kind| kind.starts_with("application/problem+json"));
    assert_eq!(is_own, is_problem, "{tail}: {got:?}");
    if is_own {
        search(tail, &got.body);
        search(tail, format!("{:?}", got.headers).as_bytes());
    }
    is_own
}

#[tokio::test]
async fn nothing_that_a_call_carries_appears_beside_the_call() {
    let (log, _guard) = Log::of_everything();
    let calls = [&["GET api/**", "POST api/**", "PUT api/**"][..], &["DELETE api/items"]].concat();
    let counter = Counter::with(ApiOptions::default(), SETTINGS, &calls).await;
    counter.log_in(users::GOOGLE, TOKEN);
    let with_query = |tail: &str| format!("{tail}{}q={QUERY}", if tail.contains('?') { '&' } else { '?' });
    // What the provider answers.
    for (method, tail) in [
        ("GET", &*format!("/echo/{PATH}")),
        ("GET", "/items?page=1"),
        ("GET", "/headers?reflect"),
        ("GET", "/redirect"),
        ("GET", "/redirect-here"),
        ("GET", "/refuse/standard-scope"),
        ("GET", "/refuse/standard-rate"),
        ("GET", "/status/500"),
        ("POST", "/upload"),
        ("PUT", "/upload"),
    ] {
        let body = if method == "GET" { "" } else { BODY };
        assert!(!own_answer(&counter, method, &with_query(tail), body).await, "{tail}");
    }
    for status in [200_u16, 400, 403, 500] {
        let canned = Canned {
            status: status.try_into().unwrap(),
            headers: [
                "www-authenticate",
                "retry-after",
                "link",
                "location",
                "x-oauth-scopes",
                "cloakroom-verdict",
            ]
            .map(|name| (name, format!("<{SAID}>; error=\"{SAID}\"")))
            .into(),
            body: Bytes::from(format!("{{\"error\":\"{SAID}\",\"message\":\"{SAID}\"}}")),
        };
        counter.api.answer_next(1, &canned);
        assert!(!own_answer(&counter, "GET", &with_query("/me"), "").await, "{status}");
    }
    // What the daemon refuses.
    for (method, tail) in [
        ("GET", format!("/{PATH}/../x")),
        ("GET", format!("/%00{PATH}")),
        ("GET", format!("/{PATH}?access_token={QUERY}")),
        ("GET", format!("/{PATH}?_method={QUERY}")),
        ("DELETE", format!("/{PATH}?{QUERY}")),
        ("TRACE", format!("/{PATH}?{QUERY}")),
        ("GET", with_query("/stall")),
        ("GET", with_query("/hang-up")),
    ] {
        assert!(own_answer(&counter, method, &tail, "").await, "{tail}");
    }
    let large = BODY.repeat(2_000);
    assert!(own_answer(&counter, "PUT", &with_query("/upload"), &large).await);
    // Answers that are broken off.
    for tail in ["/cut?after=1000&bytes=5000", "/download?bytes=20000&chunked", "/stall-body?after=10"] {
        let answer = open(&counter, &with_query(tail)).await;
        assert!(answer.into_body().collect().await.is_err(), "{tail}");
    }
    // A token that is refused and replaced, and one that is refused and not replaced.
    counter.api.revoke(TOKEN);
    counter.log_in(users::GOOGLE, AFTER);
    assert!(!own_answer(&counter, "POST", &with_query("/upload"), BODY).await);
    counter.api.revoke(AFTER);
    assert!(!own_answer(&counter, "POST", &with_query("/upload"), BODY).await);
    counter.api.refuse_connections(true);
    own_answer(&counter, "GET", &with_query("/me"), "").await;

    let seen = counter.api.calls();
    assert!(seen.iter().any(|call| call.field("authorization").is_some_and(|value| value.contains(TOKEN))));
    assert!(seen.iter().any(|call| call.target().contains(QUERY)));
    for place in ["/metrics", "/v1/status", "/readyz"] {
        search(place, &counter.world.get(place).await.body);
    }
    let directory = counter.world.directory;
    counter.world.running.stop().await;
    let audit = std::fs::read(directory.path().join("audit.log")).unwrap();
    let lines = audit.split(|byte| *byte == b'\n').count();
    assert!(lines > 25, "{lines} lines");
    search("the audit log", &audit);
    let text = log.text();
    assert!(text.contains("TRACE"), "{text}");
    search("the log", text.as_bytes());
}
