//! What each provider's refusals mean, from the simulated API's answer to the client's headers.

use cloakroom::fake_auth0::api::{Canned, REFUSALS};
use cloakroom::fake_auth0::users;
use http_body_util::{BodyExt, Empty};
use hyper::Request;

use super::*;

/// The verdict that the kind's name tells, such as `google-scope`.
fn expected(kind: &str) -> Option<&'static str> {
    match (kind, kind.split('-').nth(1).unwrap()) {
        // No right of the REST API, which is a scope of Salesforce's; and a right that the user lacks.
        ("salesforce-policy", _) => Some("missing_scope"),
        ("salesforce-scope", _) => None,
        (_, "dead") => Some("token_dead"),
        (_, "scope" | "app") => Some("missing_scope"),
        (_, "rate") => Some("rate_limited"),
        (_, "claims") => Some("claims_challenge"),
        _ => None,
    }
}

async fn counter(dialect: ApiDialect) -> Counter {
    Counter::with(ApiOptions { dialect, accepts_any: true, ..ApiOptions::default() }, "", ALL).await
}

/// What the API answers to a client that holds the token itself.
async fn directly(counter: &Counter, kind: &str) -> (u16, bytes::Bytes) {
    let request = Request::get(format!("/refuse/{kind}")).header("authorization", "Bearer any");
    let answer = counter.api.answer(request.body(Empty::<bytes::Bytes>::new()).unwrap()).await;
    (answer.status().as_u16(), answer.into_body().collect().await.unwrap().to_bytes())
}

#[tokio::test]
async fn each_refusal_is_handed_on_as_it_is_and_with_its_meaning() {
    for dialect in ApiDialect::ALL {
        let shared = counter(dialect).await;
        for kind in REFUSALS.iter().filter(|kind| kind.split('-').next() == Some(dialect.name())) {
            let own = if expected(kind) == Some("token_dead") { Some(counter(dialect).await) } else { None };
            let counter = own.as_ref().unwrap_or(&shared);
            let (status, body) = directly(counter, kind).await;
            counter.api.forget_calls();

            let got = counter.get(users::GOOGLE, &format!("/refuse/{kind}")).await;
            assert_eq!(
                (got.status.as_u16(), got.header("cloakroom-upstream")),
                (status, Some("1")),
                "{kind}"
            );
            assert_eq!(got.body, body, "{kind}");
            let verdict = got.header("cloakroom-verdict").map(|value| value.split(';').next().unwrap());
            assert_eq!(verdict, expected(kind), "{kind}");
            let remedy = got.header("cloakroom-remedy");
            let is_curable = matches!(verdict, Some("token_dead" | "claims_challenge"));
            assert!(
                !is_curable || remedy.unwrap().starts_with("connection=google-oauth2&"),
                "{kind}: {remedy:?}"
            );
            counter.only_call();

            // Only a dead token is dropped, and LinkedIn's not right after it came.
            let is_dropped = verdict == Some("token_dead") && dialect != ApiDialect::LinkedIn;
            let next = counter.get(users::GOOGLE, "/me").await;
            assert_eq!(next.status.as_u16(), if is_dropped { 410 } else { 200 }, "{kind}: {next:?}");
        }
    }
}

#[tokio::test]
async fn scopes_that_are_needed_and_held_are_named_and_asked_for_together() {
    let counter = counter(ApiDialect::Bitbucket).await;
    let got = counter.get(users::GOOGLE, "/refuse/bitbucket-scope").await;
    let verdict = got.header("cloakroom-verdict").unwrap();
    assert!(verdict.starts_with("missing_scope; needed=\"account\"; held=\""), "{verdict}");
    let remedy = got.header("cloakroom-remedy").unwrap();
    let asked =
        form_urlencoded::parse(remedy.as_bytes()).find(|(name, _)| name == "connection_scope").unwrap().1;
    let held = verdict.split("held=\"").nth(1).unwrap().split('"').next().unwrap();
    assert!(asked.split(',').any(|scope| scope == "account"), "{asked}");
    assert!(held.split(' ').all(|held| asked.split(',').any(|scope| scope == held)), "{held} {asked}");
}

#[tokio::test]
async fn hostile_words_of_a_provider_do_not_reach_the_verdict() {
    let counter = counter(ApiDialect::Google).await;
    let challenge = "Bearer error=\"insufficient_scope\", scope=\"ok \\\"; held=x, <b> mail.read\"";
    counter.api.answer_next(
        1,
        &Canned {
            status: hyper::StatusCode::FORBIDDEN,
            headers: vec![("www-authenticate", challenge.to_owned())],
            body: vec![b'{'; 9 * 1024].into(),
        },
    );
    let got = counter.get(users::GOOGLE, "/me").await;
    assert_eq!((got.status.as_u16(), got.body.len()), (403, 9 * 1024));
    let verdict = got.header("cloakroom-verdict").unwrap();
    // No word of it is taken for a parameter, or ends the text.
    let parameters: Vec<_> = verdict.split("; ").collect();
    assert!(matches!(parameters[..], ["missing_scope", _, "any_of"]), "{verdict}");
    assert!(parameters[1].starts_with("needed=\"ok "), "{verdict}");
    assert_eq!(verdict.matches('"').count(), 2, "{verdict}");
}

#[tokio::test]
async fn a_compressed_refusal_is_judged_by_its_headers_alone() {
    const PLAIN: &[u8] = br#"{"error":{"errors":[{"reason":"insufficientPermissions"}]}}"#;
    // `PLAIN`, by gzip.
    const COMPRESSED: &[u8] = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\xab\x56\x4a\x2d\x2a\xca\x2f\x52\xb2\xaa\x86\x30\x8a\x95\xac\
        \xa2\xab\x95\x8a\x52\x13\x8b\xf3\xf3\x94\xac\x94\x32\xf3\x8a\x4b\xd3\xd2\x32\x93\x33\x53\xf3\x4a\x02\
        \x52\x8b\x72\x33\x8b\x8b\x33\xf3\xf3\x8a\x95\x6a\x63\x6b\x6b\x01\x13\xa4\xb4\x2a\x3b\x00\x00\x00";
    let challenge =
        || ("www-authenticate", "Bearer error=\"insufficient_scope\", scope=\"mail.read\"".to_owned());
    for (encoding, challenge, body, verdict) in [
        (None, None, PLAIN, Some("missing_scope")),
        (Some("gzip"), None, COMPRESSED, None),
        (Some("gzip"), Some(challenge()), COMPRESSED, Some("missing_scope; needed=\"mail.read\"")),
        // The body is not looked at, so whether it is what the header says makes no difference.
        (Some("gzip"), None, PLAIN, None),
        (Some("br"), Some(challenge()), PLAIN, Some("missing_scope; needed=\"mail.read\"")),
    ] {
        let counter = counter(ApiDialect::Google).await;
        let field = encoding.map(|encoding| ("content-encoding", encoding.to_owned()));
        let headers = field.into_iter().chain(challenge).collect();
        counter
            .api
            .answer_next(1, &Canned { status: hyper::StatusCode::FORBIDDEN, headers, body: body.into() });
        let got = counter.get(users::GOOGLE, "/me").await;
        assert_eq!((got.status.as_u16(), &*got.body), (403, body), "byte for byte");
        assert_eq!(got.header("cloakroom-verdict"), verdict, "{encoding:?}");
        assert_eq!(got.header("content-encoding"), encoding);
        counter.only_call();
    }
}
