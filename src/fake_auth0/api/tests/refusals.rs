//! Tests of the refusals: each provider has the four kinds, in a form that parses.

use super::*;
use crate::domain::verdict::{Dialect, Sample, Verdict, judge, reads_body};
use crate::fake_auth0::api::refusals::KINDS;

#[tokio::test(start_paused = true)]
async fn each_provider_refuses_a_dead_token_a_missing_scope_a_burst_and_by_policy() {
    let api = api();
    for dialect in ApiDialect::ALL {
        for refusal in ["dead", "scope", "rate", "policy"] {
            let kind = format!("{}-{refusal}", dialect.name());
            // Facebook says what its policies refuse as what lacks a permission.
            let has_it = KINDS.contains(&kind.as_str());
            assert!(has_it || kind == "facebook-policy", "{kind}");
        }
    }
    for kind in KINDS {
        let answer = api.answer(get(&format!("/refuse/{kind}"))).await;
        let (status, is_json) = (answer.status(), field(&answer, "content-type"));
        let is_json = is_json.is_some_and(|content_type| content_type.starts_with("application/json"));
        assert_eq!(status == StatusCode::OK, kind.starts_with("slack-") && !kind.ends_with("rate"), "{kind}");
        let body = body(answer).await;
        assert!(!is_json || serde_json::from_slice::<Value>(&body).is_ok(), "{kind}: {body:?}");
    }
    assert_eq!(api.answer(get("/refuse/unknown")).await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test(start_paused = true)]
async fn the_refusals_differ_where_the_providers_do() {
    let api = api();
    let answer = async |kind: &str| api.answer(get(&format!("/refuse/{kind}"))).await;
    let status = async |kind: &str| answer(kind).await.status().as_u16();
    assert_eq!((status("dropbox-scope").await, status("dropbox-dead").await), (401, 401));
    assert_eq!((status("salesforce-policy").await, status("salesforce-dead").await), (401, 401));
    assert_eq!((status("facebook-dead").await, status("github-scope").await), (400, 404));
    let claims = field(&answer("microsoft-claims").await, "www-authenticate").unwrap();
    assert!(claims.contains("error=\"insufficient_claims\"") && claims.contains("claims=\"eyJ"));
    let reset = field(&answer("github-rate").await, "x-ratelimit-reset").unwrap();
    assert_eq!(reset, (START.as_secs() + 60).to_string());
    let granted = json(answer("bitbucket-scope").await).await;
    assert_eq!(granted["error"]["detail"]["required"][0], "account");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_comes_after_the_body_was_read() {
    let api = api();
    let posted = request("POST", "/refuse/google-scope").body(Full::new(Bytes::from("abc"))).unwrap();
    assert_eq!(api.answer(posted).await.status(), StatusCode::FORBIDDEN);
    assert_eq!((api.calls()[0].body_bytes, api.calls()[0].body_is_complete), (3, true));
}

/// The refusals were written without a look at what reads them, so that a misunderstanding shows here.
#[tokio::test(start_paused = true)]
async fn the_daemon_reads_each_refusal_as_what_it_is() {
    let api = api();
    for kind in KINDS {
        let answer = api.answer(get(&format!("/refuse/{kind}"))).await;
        let mut words = kind.split('-');
        let (provider, refusal) = (words.next().unwrap(), words.next().unwrap());
        let dialect = Dialect::parse(provider).unwrap();
        let (parts, body) = answer.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let headers = |name: &str| parts.headers.get_all(name).iter().map(|value| value.as_bytes()).collect();
        let (status, content_type) = (parts.status.as_u16(), parts.headers.get("content-type"));
        let content_type = content_type.map(|value| value.to_str().unwrap());
        let is_read = reads_body(dialect, status, content_type, false, Some(body.len() as u64));
        let sample = Sample { status, headers: &headers, body: is_read.then_some(&body) };
        let verdict = judge(dialect, &sample);
        let fits = match (refusal, *kind) {
            // No right of the REST API, which is a scope of Salesforce's.
            (_, "salesforce-policy") => matches!(verdict, Some(Verdict::MissingScope { .. })),
            // A right that the user lacks.
            (_, "salesforce-scope") => verdict.is_none(),
            ("dead", _) => matches!(verdict, Some(Verdict::TokenDead { .. })),
            ("scope" | "app", _) => matches!(verdict, Some(Verdict::MissingScope { .. })),
            ("rate", _) => matches!(verdict, Some(Verdict::RateLimited { .. })),
            ("claims", _) => verdict == Some(Verdict::ClaimsChallenge),
            ("policy" | "other" | "not", _) => verdict.is_none(),
            _ => false,
        };
        assert!(fits, "{kind}: {verdict:?}");
    }
}
