//! Forms of answers that any provider may send: lifetimes, scopes, broken bodies, and requests as they are sent.

use cloakroom::config::Refresh;
use cloakroom::domain::provider::ProviderAuth;
use cloakroom::providers::wire;
use cloakroom::secret::Secret;
use http_body_util::BodyExt;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE};
use proptest::prelude::*;

use super::{NOW, answer, read, refresh, said};

fn issued(members: &str) -> String {
    said(&read("oauth2", &answer(200, &[], &format!(r#"{{"access_token":"a"{members}}}"#))))
}

#[test]
fn lifetimes_are_read_as_providers_write_them() {
    let soon = (NOW + 600).to_string();
    for (written, read) in [
        ("3599", "3599"),
        ("\"3599\"", "3599"),
        ("\" 3599 \"", "3599"),
        ("3599.9", "3599"),
        ("1", "1"),
        // Nothing that was just issued has expired: providers whose tokens do not expire write these.
        ("0", "-"),
        ("-1", "-"),
        ("null", "-"),
        ("\"\"", "-"),
        ("\"never\"", "-"),
        ("true", "-"),
        ("{}", "-"),
        ("[3599]", "-"),
        ("1e18", "-"),
        ("1e999", "-"),
        ("-1e999", "-"),
        ("18446744073709551616", "-"),
        // A date instead of a span.
        (&*soon, "600"),
        (&*format!("{soon}000"), "600"),
        ("1000000000", "-"),
    ] {
        let members = format!(r#","expires_in":{written}"#);
        assert_eq!(issued(&members), format!("issued a refresh - expires {read} scopes -"), "{written}");
    }
    assert_eq!(issued(""), "issued a refresh - expires - scopes -");
}

/// A date is judged by the clock that wrote it.
#[test]
fn a_lifetime_that_is_a_date_counts_from_the_answers_own() {
    let body = format!(r#"{{"access_token":"a","expires_in":{}}}"#, NOW + 600);
    let answer = answer(200, &[("date", "Sun, 29 Nov 2026 12:05:00 GMT")], &body);
    assert_eq!(said(&read("oauth2", &answer)), "issued a refresh - expires 300 scopes -");
}

#[test]
fn scopes_are_read_as_providers_write_them() {
    for (members, read) in [
        (r#","scope":"a b""#, "a b"),
        (r#","scope":"a,b,,a""#, "a b"),
        (r#","scope":["a","b"]"#, "a b"),
        (r#","scopes":"a b""#, "a b"),
        (r#","scopes":["a"]"#, "a"),
        (r#","scope":"","scopes":"a""#, "a"),
        (r#","scope":null"#, "-"),
        (r#","scope":7"#, "7"),
        (r#","scope":{"a":1}"#, "-"),
    ] {
        assert_eq!(issued(members), format!("issued a refresh - expires - scopes {read}"), "{members}");
    }
}

#[test]
fn an_empty_refresh_token_is_none_and_any_text_is_one() {
    for (written, read) in
        [("\"\"", "-"), ("null", "-"), ("{}", "-"), ("\"1//0e \u{e9}\"", "1//0e \u{e9}"), ("17", "17")]
    {
        let members = format!(r#","refresh_token":{written}"#);
        assert_eq!(issued(&members), format!("issued a refresh {read} expires - scopes -"), "{written}");
    }
}

/// The provider may have invalidated the refresh token nevertheless.
#[test]
fn a_success_without_a_token_leaves_open_whether_it_was_one() {
    for (body, what) in [
        ("", "an empty body"),
        ("{}", "no access token"),
        ("[]", "no access token"),
        ("null", "no access token"),
        ("not JSON", "no access token"),
        (r#"{"access_token":"a","access_token":"b"}"#, "no access token"),
        (r#"{"access_token":""}"#, "no access token"),
        (r#"{"access_token":null}"#, "no access token"),
        (r#"{"access_token":["a"]}"#, "no access token"),
        (r#"{"access_token":"a b"}"#, "an access token that cannot be sent in a header"),
        (r#"{"access_token":"a\u000d\u000ab"}"#, "an access token that cannot be sent in a header"),
        (r#"{"access_token":"\u00e9"}"#, "an access token that cannot be sent in a header"),
        (r#"{"access_token":"\ud800"}"#, "no access token"),
        ("<a href=\"/login?access_token=a&error=invalid_grant&x\">", "no access token"),
        ("access_token=", "no access token"),
        (r#"{"status":"success","data":{"access_token":"a"}}"#, "no access token"),
        (r#"{"status":200,"data":{"access_token":"a"}}"#, "no access token"),
    ] {
        let meant = said(&read("oauth2", &answer(200, &[], body)));
        assert_eq!(meant, format!("failed malformed: {what}, processed Unknown"), "{body}");
    }
}

#[test]
fn a_page_with_the_words_of_a_refusal_is_not_a_refusal() {
    for body in [
        "<html>error=invalid_grant</html>",
        "<a href=\"?x=1&error=invalid_grant&y\">",
        "error: invalid_grant",
        "\"invalid_grant\"",
        "[{\"error\":\"invalid_grant\"}]",
        "{\"error\":[\"invalid_grant\"]}",
        "{\"error\":{\"error\":\"invalid_grant\"}}",
        "{\"message\":\"invalid_grant\"}",
        "{\"error\":\"invalid_grant\"",
    ] {
        let meant = said(&read("oauth2", &answer(400, &[], body)));
        assert_eq!(meant, "failed status 400, processed No", "{body}");
    }
}

#[test]
fn redirects_are_failures_that_name_what_to_check() {
    let elsewhere = [("location", "https://elsewhere.example/")];
    for status in [301, 302, 303, 307, 308] {
        let body = r#"{"access_token":"a","error":"invalid_grant"}"#;
        let meant = said(&read("google", &answer(status, &elsewhere, body)));
        let what = "a redirect, which is never followed; check token_endpoint";
        assert_eq!(meant, format!("failed malformed: {what}, processed No"), "{status}");
    }
}

async fn sent(refresh: &Refresh) -> (hyper::Request<()>, String) {
    let request = wire::request(refresh, &refresh.secret, &Secret::new("1//r&t")).unwrap();
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (hyper::Request::from_parts(head, ()), String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn a_request_has_the_client_where_the_provider_wants_it() {
    let mut client = refresh("google");
    let (head, body) = sent(&client).await;
    assert_eq!(
        (head.method().as_str(), head.uri().to_string()),
        ("POST", client.token_endpoint.url().to_owned())
    );
    assert_eq!(head.headers()[CONTENT_TYPE], "application/x-www-form-urlencoded");
    assert_eq!(head.headers()["accept"], "application/json");
    assert!(!head.headers().contains_key(AUTHORIZATION));
    assert_eq!(
        body,
        "grant_type=refresh_token&refresh_token=1%2F%2Fr%26t&client_id=client%3A1&client_secret=canary-secret"
    );

    client.client_auth = ProviderAuth::Basic;
    client.scope = Some("Mail.Read offline_access".to_owned());
    let (head, body) = sent(&client).await;
    assert_eq!(body, "grant_type=refresh_token&refresh_token=1%2F%2Fr%26t&scope=Mail.Read+offline_access");
    let authorization = &head.headers()[AUTHORIZATION];
    assert!(authorization.is_sensitive());
    // client%3A1:canary-secret
    assert_eq!(authorization, "Basic Y2xpZW50JTNBMTpjYW5hcnktc2VjcmV0");
    assert_eq!(head.headers()["connection"], "close");
}

proptest! {
    /// Whatever a host sends, nothing of it is in what is said about a failure.
    #[test]
    fn no_text_of_a_peer_is_kept(
        status in 200_u16..600,
        code in "[a-z_]{0,12}",
        body in prop_oneof![
            Just(r#"{"error":"CODE-canary","error_description":"canary","reason":"canary"}"#.to_owned()),
            Just(r#"{"error":{"type":"canary","code":"canary"}}"#.to_owned()),
            Just("error=canary&error_description=canary".to_owned()),
            Just("<html>canary</html>".to_owned()),
            ".{0,40}canary.{0,40}",
        ],
    ) {
        let body = body.replace("CODE", &code);
        let redemption = read("oauth2", &answer(status, &[], &body));
        let is_issued = matches!(redemption, cloakroom::domain::source::Redemption::Issued { .. });
        prop_assert!(is_issued || !format!("{redemption:?}").contains("canary"), "{redemption:?}");
    }
}
