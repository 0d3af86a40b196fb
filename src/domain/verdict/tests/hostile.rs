//! Answers that no provider would send.

use super::*;

#[test]
fn hostile_answers_fall_back_to_status_and_headers() {
    let large = format!(r#"{{"ok":false,"error":"invalid_auth","pad":"{}"}}"#, "x".repeat(9 * 1024));
    assert_eq!(said(Dialect::Slack, 200, &[], Some(&large)), "-", "a body that is cut off");
    let megabyte = format!("Bearer error=\"insufficient_scope\", scope=\"{}\"", "s ".repeat(1 << 19));
    assert_eq!(said(Dialect::Standard, 403, &[("www-authenticate", &megabyte)], None), "missing_scope");
    for body in ["", "{", "null", "[]", "\u{1f}\u{8b}", "{\"error\":{\"error\":{}}}", &"[".repeat(8192)] {
        for dialect in Dialect::ALL {
            let said = said(dialect, 403, &[], Some(body));
            assert_eq!(said, "-", "{dialect:?} {body:.20}");
        }
    }
}

#[test]
fn scopes_cannot_leave_their_place_in_a_header() {
    let hostile = r#"{"ok":false,"error":"missing_scope",
        "needed":"a\"; maybe; b=\"c,d\r\nSet-Cookie: x=1,e","provided":"f\\"}"#;
    // What has a quote, a semicolon or a backslash is no scope; a line break separates two.
    assert_eq!(
        said(Dialect::Slack, 200, &[], Some(hostile)),
        "missing_scope; needed=\"d Set-Cookie: x=1 e\"; any_of"
    );
}

/// Parts of headers and bodies, among them every word that a dialect looks for.
fn parts() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "Bearer ",
        "error=",
        "\"insufficient_scope\"",
        "insufficient_claims",
        "invalid_token",
        ", ",
        "scope=\"a b\"",
        "scope=",
        "\"",
        "\\",
        ";",
        "\r\n",
        "ä",
        "repo, gist",
        "contents=write; a=b,c=d",
        "60",
        "0",
        "1795341660",
        "Sun, 22 Nov 2026 10:00:00 GMT",
    ]);
    prop::collection::vec(prop_oneof![3 => words.prop_map(str::to_owned), 1 => ".{0,20}"], 0..12)
        .prop_map(|parts| parts.concat())
}

fn bodies() -> impl Strategy<Value = String> {
    let scopes = prop_oneof![parts(), Just("s ".repeat(3000)), "[!-~]{0,300}"];
    let texts = (scopes.clone(), scopes).prop_map(|(one, other)| {
        serde_json::json!({
            "ok": false, "needed": one, "provided": other,
            "error": "missing_scope",
        })
        .to_string()
    });
    let nested = (parts(), parts()).prop_map(|(one, other)| {
        serde_json::json!({ "error": {
            ".tag": "missing_scope", "required_scope": one, "code": "Forbidden",
            "detail": { "required": [one, other], "granted": [other] },
            "message": format!("Missing scope permissions on the request. API requires one of '{one}'. \
                Scopes on the request '{other}'"),
        }})
        .to_string()
    });
    prop_oneof![texts, nested, parts()]
}

proptest! {
    #[test]
    fn values_of_headers_are_valid_and_bounded_for_any_answer(
        dialect in prop::sample::select(Dialect::ALL.to_vec()),
        status in prop::sample::select(vec![200_u16, 400, 401, 403, 404, 429]),
        names in prop::collection::vec((prop::sample::select(vec![
            "www-authenticate", "x-oauth-scopes", "x-accepted-oauth-scopes", "x-accepted-github-permissions",
            "retry-after", "date", "x-ratelimit-reset", "x-ratelimit-remaining", "ratelimit-reset",
        ]), parts()), 0..6),
        body in bodies(),
        cut in 0_usize..10_000,
    ) {
        let values = |name: &str| {
            names.iter().filter(|(key, _)| *key == name).map(|(_, value)| value.as_bytes()).collect()
        };
        let body = body.as_bytes();
        let body = Some(body.get(..cut).unwrap_or(body));
        if let Some(verdict) = judge(dialect, &Sample { status, headers: &values, body }) {
            is_an_item(&verdict.header_value())?;
            if let Some(query) = remedy("google-oauth2", &verdict) {
                prop_assert!(query.len() <= 8 * 1024, "{} bytes", query.len());
                prop_assert!(query.bytes().all(|byte| byte.is_ascii_graphic()), "{query:?}");
                let pairs = form_urlencoded::parse(query.as_bytes()).collect::<Vec<_>>();
                prop_assert_eq!(&*pairs[0].0, "connection");
                prop_assert_eq!(&*pairs[0].1, "google-oauth2");
                prop_assert!(pairs.len() <= 4, "{:?}", pairs);
            }
        }
    }
}

/// Whether a value is an item of RFC 8941 as [`Verdict::header_value`] documents it.
fn is_an_item(value: &str) -> Result<(), TestCaseError> {
    prop_assert!(value.len() <= 3 * 1024, "{} bytes", value.len());
    prop_assert!(value.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()), "{value:?}");
    let mut parts = value.split("; ");
    prop_assert!(parts.next().is_some_and(|name| Verdict::NAMES.contains(&name)), "{value:?}");
    for part in parts {
        let (name, text) = part.split_once('=').unwrap_or((part, ""));
        match name {
            "needed" | "held" => {
                let list = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
                prop_assert!(list.is_some_and(|list| !list.contains(['"', '\\', ';', ','])), "{value:?}");
            }
            "retry_after" => {
                let seconds = text.parse::<u64>();
                prop_assert!(seconds.is_ok_and(|n| (1..=86_400).contains(&n)), "{value:?}");
            }
            "any_of" | "maybe" => prop_assert_eq!(text, ""),
            _ => prop_assert!(false, "{value:?}"),
        }
    }
    Ok(())
}
