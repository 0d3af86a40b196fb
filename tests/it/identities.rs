//! What Auth0 may say of a user's identities: lifetimes in every form, texts that cannot be read, several accounts of
//! one connection, and far too many.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    dead_code,
    reason = "tests stop at the first surprise, and use the part of the support that they need"
)]

mod support {
    pub mod world;
}

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use bytes::Bytes;
use cloakroom::domain::error::{Failure, FailureClass};
use cloakroom::domain::freshness::{Moment, Timestamp};
use cloakroom::domain::identity::{NoSelection, Profile};
use cloakroom::domain::user::{Selector, UserId};
use cloakroom::fake_auth0::{Endpoint, TenantOptions, users};
use cloakroom::management::Grant;
use cloakroom::secret::TagKey;
use cloakroom::upstream::response::{Answer, Timing};
use cloakroom::upstream::wire::{self, UserAnswer};
use hyper::StatusCode;
use hyper::header::{DATE, HeaderMap};
use serde_json::{Value, json};
use support::world::World;

async fn world() -> World {
    let world = World::simulated(TenantOptions::default(), "").await;
    world.ready().await;
    world
}

// What is made of one answer.

fn now() -> Moment {
    Moment { wall: Timestamp::parse("2026-11-22T10:00:00Z").unwrap(), elapsed: Duration::from_secs(9_000) }
}

fn answer(body: impl AsRef<[u8]>, date: Option<&str>) -> Answer {
    let mut headers = HeaderMap::new();
    date.into_iter().for_each(|date| drop(headers.insert(DATE, date.parse().unwrap())));
    Answer { status: StatusCode::OK, headers, body: Bytes::copy_from_slice(body.as_ref()) }
}

fn read_with(body: impl AsRef<[u8]>, date: Option<&str>) -> Result<Profile, Failure> {
    let (user, tags) = (UserId::parse("u|1").unwrap(), TagKey::random().unwrap());
    let exchange = Timing { sent: now(), received: now() };
    match wire::parse_user(&answer(body, date), &user, exchange, &tags)? {
        UserAnswer::User(Some(profile), _) => Ok(profile),
        other => panic!("{other:?}"),
    }
}

fn read(body: impl AsRef<[u8]>) -> Result<Profile, Failure> {
    read_with(body, None)
}

/// Seconds that the token has left, and how that is known, given `last_login` and the rest of the identity as JSON.
fn life(last_login: &str, more: &str) -> (Option<u64>, &'static str) {
    life_by(last_login, more, None)
}

fn life_by(last_login: &str, more: &str, date: Option<&str>) -> (Option<u64>, &'static str) {
    let body = format!(
        r#"{{"user_id":"u|1","last_login":{last_login},"identities":[{{"access_token":"t"{more}}}]}}"#
    );
    let profile = read_with(body, date).unwrap();
    let token = profile.identities[0].token().unwrap();
    (token.expires.map(|expires| expires.remaining(now()).as_secs()), token.basis.as_str())
}

/// Half an hour ago.
const LOGIN: &str = r#""2026-11-22T09:30:00.000Z""#;

fn grant(token: &str, expires_in: &str) -> Grant {
    let body = format!(r#"{{"access_token":"{token}","expires_in":{expires_in}}}"#);
    let exchange = Timing { sent: now(), received: now() };
    wire::parse_grant(&answer(body, None), &"a".into(), exchange).unwrap()
}

fn granted(token: &str, expires_in: &str) -> u64 {
    grant(token, expires_in).expires.remaining(now()).as_secs()
}

#[test]
fn a_lifetime_of_nothing_or_less_is_not_known() {
    for nothing in ["0", "\"0\"", "0.0", "-0", "-1", "\"-1\"", "-3600", "0.5", "\" 0 \"", "-1e300"] {
        for login in [LOGIN, "null", r#""2017-03-15T07:14:32.451Z""#] {
            assert_eq!(life(login, &format!(r#","expires_in":{nothing}"#)), (None, "none"), "{nothing}");
        }
    }
    // A grant is the daemon's own, and Auth0 says of it how long it is good for: no time at all.
    assert_eq!(["0", "-5", "\"0\""].map(|nothing| granted("t", nothing)), [0; 3]);
}

#[test]
fn without_a_login_a_lifetime_counts_from_when_it_was_asked() {
    for absent in ["null", r#""""#, r#""yesterday""#, "1795341000", "{}", "true"] {
        for hour in ["3600", "\"3600\"", "3600.5"] {
            let more = format!(r#","expires_in":{hour}"#);
            assert_eq!(life(absent, &more), (Some(3600), "first_seen"), "{absent} {hour}");
            // Counted by the clocks here, whatever the date there is.
            let there = Some("Sun, 22 Nov 2026 12:00:00 GMT");
            assert_eq!(life_by(absent, &more, there), (Some(3600), "first_seen"), "{absent} {hour}");
        }
    }
    let own = jwt(600, URL_SAFE_NO_PAD);
    let both = |span: u64| {
        let body =
            format!(r#"{{"user_id":"u|1","identities":[{{"access_token":"{own}","expires_in":{span}}}]}}"#);
        let profile = read(body).unwrap();
        let token = profile.identities[0].token().unwrap();
        (token.expires.unwrap().remaining(now()).as_secs(), token.basis.as_str())
    };
    assert_eq!(both(599), (599, "first_seen"));
    assert_eq!([600, 601].map(both), [(600, "jwt"); 2]);
}

#[test]
fn a_lifetime_that_is_a_date_is_read_as_that_date() {
    let secs = now().wall.as_secs();
    let (soon, past) = (secs + 1800, secs - 1800);
    let of = |date: String| life(LOGIN, &format!(r#","expires_in":{date}"#));
    for date in [
        format!("{soon}"),
        format!("\"{soon}\""),
        format!("{soon}.25"),
        format!("{soon}000"),
        format!("\"{soon}000\""),
        format!("{soon}000.5"),
        format!("\" {soon}000.5 \""),
        format!("{}e3", soon),
    ] {
        assert_eq!(of(date.clone()), (Some(1800), "login"), "{date}");
        assert_eq!(life("null", &format!(r#","expires_in":{date}"#)), (Some(1800), "login"), "{date}");
    }
    for date in [format!("{past}"), format!("{past}000"), "1000000000".into(), "1000000000000".into()] {
        assert_eq!(of(date.clone()), (Some(0), "login"), "{date}");
    }
    // It is a date by Auth0's clock, or one that agrees with it: ten minutes ahead, and up to a second more.
    let there = Some("Sun, 22 Nov 2026 10:10:00 GMT");
    assert_eq!(life_by(LOGIN, &format!(r#","expires_in":{soon}"#), there), (Some(1199), "login"));
    // The longest span there is: thirty-one years and some.
    assert_eq!(life(LOGIN, r#","expires_in":999999999"#), (Some(999_998_199), "login"));
    assert!(of("9999999999".into()).0.unwrap() > 8_000_000_000, "the last date in seconds");
    assert!(of("9999999999999".into()).0.unwrap() > 8_000_000_000, "the last date in milliseconds");
    // A Management token's as well.
    assert_eq!(granted("t", &format!("{soon}")), 1800);
    assert_eq!(granted("t", &format!("\"{soon}000\"")), 1800);
    assert_eq!(granted("t", &format!("{past}")), 0);
}

#[test]
fn a_lifetime_that_is_neither_a_span_nor_a_date_is_not_known() {
    for absurd in [
        "10000000000",
        "999999999999",
        "10000000000000",
        "1000000000000000000",
        "1e18",
        "\"1e18\"",
        "1e300",
        "18446744073709551615",
        "99999999999999999999999",
        "\"NaN\"",
        "\"inf\"",
        "\"-inf\"",
        "\"infinity\"",
        "\"1e999\"",
        "1e999",
        "-1e999",
        "\"soon\"",
        "\"\"",
        "null",
        "true",
        "[3600]",
        "{\"seconds\":3600}",
    ] {
        assert_eq!(life(LOGIN, &format!(r#","expires_in":{absurd}"#)), (None, "none"), "{absurd}");
        assert_eq!(life("null", &format!(r#","expires_in":{absurd}"#)), (None, "none"), "{absurd}");
    }
}

/// An unsigned JWT with so many seconds left, in this spelling of base64.
fn jwt(left: i64, spelling: impl Engine) -> String {
    jwt_of(&format!(r#"{{"exp":{},"n":"???>>>~"}}"#, now().wall.as_secs() + left), spelling)
}

fn jwt_of(claims: &str, spelling: impl Engine) -> String {
    let parts = [r#"{"alg":"RS256"}"#, claims, "signature?>~?"].map(|part| spelling.encode(part));
    parts.join(".")
}

#[test]
fn a_jwts_expiry_counts_however_its_base64_is_spelled() {
    let of = |token: &str| {
        let body = format!(r#"{{"user_id":"u|1","identities":[{{"access_token":"{token}"}}]}}"#);
        let profile = read(body).unwrap();
        let token = profile.identities[0].token().unwrap();
        (token.expires.map(|expires| expires.remaining(now()).as_secs()), token.basis.as_str())
    };
    let spelled =
        [jwt(300, URL_SAFE_NO_PAD), jwt(300, URL_SAFE), jwt(300, STANDARD), jwt(300, STANDARD_NO_PAD)];
    assert!(spelled[1].contains('=') && spelled[2].contains(['+', '/']), "{spelled:?}");
    for token in &spelled {
        assert_eq!(of(token), (Some(300), "jwt"), "{token}");
        assert_eq!(granted(token, "86400"), 300, "{token}");
        assert_eq!(granted(token, "60"), 60, "{token}");
    }
    let exp = now().wall.as_secs() + 300;
    for claim in [format!("\"{exp}\""), format!("{exp}.9"), format!("{exp}000"), format!("\"{exp}.0\"")] {
        let token = jwt_of(&format!(r#"{{"exp":{claim}}}"#), URL_SAFE_NO_PAD);
        assert_eq!(of(&token), (Some(300), "jwt"), "{claim}");
    }
    // A claim that cannot be read, or that is beside it, takes nothing from the one that can.
    let odd = format!(r#"{{"exp":{exp},"scope":"\ud800","\udfff":1,"name":"\ud800","n":1e999}}"#);
    assert_eq!(of(&jwt_of(&odd, URL_SAFE_NO_PAD)), (Some(300), "jwt"));
    // Nothing is known of a date that is none, of claims that are no object, and of what is encrypted.
    for claims in [r#"{"exp":1e18}"#, r#"{"exp":null}"#, "{}", "[]", "7", "\"exp\"", "{\"exp\":"] {
        assert_eq!(of(&jwt_of(claims, URL_SAFE_NO_PAD)), (None, "none"), "{claims}");
    }
    let jwe = format!("{}.{}", jwt(300, URL_SAFE_NO_PAD), "aXY.dGFn");
    for opaque in [jwe.as_str(), "a.b.c", "..", "ya29.a-b.c=", "gho_x", "é.é.é"] {
        assert_eq!(of(opaque), (None, "none"), "{opaque}");
    }
}

/// Texts that stand between quotes in what Auth0 sends, and that no Rust text can hold.
const UNREADABLE: [&[u8]; 6] =
    [b"\\ud800", b"x\\uDFFFy", b"\\ud800\\ud800", b"\\udc00\\ud800", b"\xff\xfe", b"caf\xe9"];

/// `template` with `text` in the place of each `~`.
fn filled(template: &str, text: &[u8]) -> Vec<u8> {
    let parts: Vec<_> = template.as_bytes().split(|byte| *byte == b'~').collect();
    parts.join(text)
}

/// Values that are well-formed JSON and that no field of ours can hold.
fn odd_values() -> [String; 6] {
    let deep = |open: &str, close: &str| format!("{}1{}", open.repeat(5_000), close.repeat(5_000));
    [
        "1e999".into(),
        "-1E+999".into(),
        format!("1{}", "0".repeat(400)),
        deep("[", "]"),
        deep("{\"a\":", "}"),
        r#"{"\ud800":"\ud800","":[1e999]}"#.into(),
    ]
}

const GOOD: &str = r#""connection":"c","provider":"p","user_id":"1","access_token":"t""#;

#[test]
fn a_text_that_cannot_be_read_costs_its_own_field_alone() {
    let templates = [
        r#""x":"~","identities":[{GOOD}]"#,
        r#""~":1,"identities":[{GOOD}]"#,
        r#""last_login":"~","identities":[{GOOD}]"#,
        r#""user_metadata":{"~":"~"},"identities":[{GOOD}]"#,
        r#""identities":[{GOOD,"~":[]}]"#,
        r#""identities":[{GOOD,"profileData":{"n":"~","~":["~"]}}]"#,
        r#""identities":[{GOOD,"refresh_token":"~"}]"#,
        r#""identities":[{GOOD,"isSocial":"~"}]"#,
        r#""identities":[{GOOD,"expires_in":"~"}]"#,
    ];
    for template in templates {
        let template = format!("{{\"user_id\":\"u|1\",{}}}", template.replace("GOOD", GOOD));
        UNREADABLE.iter().for_each(|text| keeps_its_token(&filled(&template, text), &template));
    }
    for value in odd_values() {
        for field in ["x", "last_login"] {
            let body = format!(r#"{{"user_id":"u|1","{field}":{value},"identities":[{{{GOOD}}}]}}"#);
            keeps_its_token(body.as_bytes(), field);
        }
        for field in ["x", "profileData", "isSocial", "expires_in", "access_token_secret"] {
            let body = format!(r#"{{"user_id":"u|1","identities":[{{{GOOD},"{field}":{value}}}]}}"#);
            match field {
                "access_token_secret" => assert!(read(body).unwrap().identities[0].token().is_none()),
                _ => keeps_its_token(body.as_bytes(), field),
            }
        }
    }
}

fn keeps_its_token(body: &[u8], what: &str) {
    let profile = read(body).unwrap_or_else(|why| panic!("{why}: {what}"));
    let identity = &profile.identities[0];
    assert_eq!((identity.connection(), identity.provider(), identity.user_id()), ("c", "p", "1"), "{what}");
    let token = identity.token().unwrap();
    assert_eq!((token.access_token.expose(), token.access_token_secret.is_some()), ("t", false), "{what}");
    assert_eq!(token.expires, None, "{what}");
}

/// The identity that has it, and no other. Which one is meant must not change because one cannot be read.
#[test]
fn an_identity_with_such_a_text_is_not_taken_for_another_nor_another_for_it() {
    let both = |odd: &str| {
        format!(
            r#"{{"user_id":"u|1","identities":[
            {{{odd}}},{{"connection":"c","provider":"p","user_id":"2","access_token":"good"}}]}}"#
        )
    };
    let named = |connection: Option<&str>, user_id: Option<&str>| Selector {
        connection: connection.map(Into::into),
        identity_user_id: user_id.map(Into::into),
        ..Selector::default()
    };
    let pick = |profile: &Profile, selector: &Selector| {
        profile.select(selector).map(|(_, token)| token.access_token.expose().to_owned())
    };
    for text in UNREADABLE {
        for odd in [
            r#""connection":"c","provider":"p","user_id":"1","access_token":"~""#,
            r#""connection":"c","provider":"p","user_id":"1","access_token":"x~y""#,
            r#""connection":"c","provider":"p","user_id":"1","access_token":"t","access_token_secret":"~""#,
        ] {
            let profile = read(filled(&both(odd), text)).unwrap();
            assert!(profile.identities[0].token().is_none(), "{odd}");
            assert_eq!(pick(&profile, &named(None, Some("2"))), Ok("good".into()), "{odd}");
            assert_eq!(pick(&profile, &named(None, Some("1"))), Err(NoSelection::NoToken), "{odd}");
            for selector in [named(None, None), named(Some("c"), None)] {
                let failed = pick(&profile, &selector);
                assert!(matches!(failed, Err(NoSelection::Ambiguous(_))), "{odd}: {failed:?}");
            }
        }
        // A name that cannot be read is not the name that anybody asks for.
        let odd = r#""connection":"~","provider":"p","user_id":"~","access_token":"odd""#;
        let profile = read(filled(&both(odd), text)).unwrap();
        assert_eq!(profile.identities[0].connection(), "");
        assert_eq!(pick(&profile, &named(Some("c"), None)), Ok("good".into()));
        assert_eq!(pick(&profile, &named(None, Some("2"))), Ok("good".into()));
        let none = pick(&profile, &named(None, None));
        assert!(matches!(none, Err(NoSelection::Ambiguous(_))), "{none:?}");
    }
}

#[test]
fn a_user_whose_own_id_cannot_be_read_is_another_and_an_unreadable_block_blocks() {
    let another = Failure::Malformed { what: "another user than the one that was asked for" };
    for text in UNREADABLE {
        assert_eq!(read(filled(r#"{"user_id":"~"}"#, text)).unwrap_err(), another);
        assert_eq!(read(filled(r#"{"user_id":"u|1~"}"#, text)).unwrap_err(), another);
        assert!(read(filled(r#"{"user_id":"u|1","blocked":"~"}"#, text)).unwrap().blocked);
    }
    for value in odd_values() {
        assert_eq!(read(format!(r#"{{"user_id":{value}}}"#)).unwrap_err(), another);
        assert!(read(format!(r#"{{"user_id":"u|1","blocked":{value}}}"#)).unwrap().blocked, "{value:.20}");
    }
}

#[test]
fn what_is_no_json_is_no_answer_whatever_is_in_its_texts() {
    for text in UNREADABLE {
        for body in [
            r#"{"user_id":"u|1","x":"~""#,
            r#"{"user_id":"u|1","x":~}"#,
            r#"{"user_id":"u|1","x":"~"x}"#,
            r#"{"user_id":"u|1" "x":"~"}"#,
            r#"{"user_id":"u|1","x":"~\"}"#,
            r#"{"user_id":"u|1","x":"~\q"}"#,
            "{\"user_id\":\"u|1\",\"x\":\"~\n\"}",
            r#"{"user_id":"u|1","x":"~","y":01e999}"#,
            r#"{"user_id":"u|1","x":"~","y":1.e999}"#,
            r#"{"user_id":"u|1","x":"~","user_id":"u|1"}"#,
            r#"{"user_id":"u|1","x":"~","identities":[["c"]]}"#,
            r#"["u|1","~"]"#,
        ] {
            let failed = read(filled(body, text));
            assert!(matches!(failed, Err(Failure::Malformed { .. })), "{body}: {failed:?}");
        }
    }
}

// How many there are.

fn many(identities: impl IntoIterator<Item = String>) -> String {
    let identities: Vec<_> = identities.into_iter().collect();
    format!(r#"{{"user_id":"u|1","identities":[{}]}}"#, identities.join(","))
}

#[test]
fn more_identities_than_any_user_has_are_no_answer() {
    let full = |n: usize| {
        (0..n)
            .map(|n| format!(r#"{{"connection":"c{n}","provider":"p","user_id":{n},"access_token":"t{n}"}}"#))
    };
    assert_eq!(read(many(full(256))).unwrap().identities.len(), 256);
    for of in ["{}", "null", "{\"a\":[{}]}"] {
        assert!(read(many((0..256).map(|_| of.to_owned()))).is_ok(), "{of}");
        let failure = read(many((0..257).map(|_| of.to_owned()))).unwrap_err();
        assert!(failure.to_string().contains("more than 256 identities"), "{failure}");
        assert_eq!(failure.class(), FailureClass::Malformed, "more of the same is likely");
    }
    assert!(read(many(full(257))).is_err());
    // What comes after counts, and does not take the place of a user that is not the one that was asked for.
    let after =
        many(full(300)).replace("}]}", r#"}],"user_id":"u|1"}"#).replacen(r#""user_id":"u|1","#, "", 1);
    assert!(read(after).unwrap_err().to_string().contains("more than 256 identities"));
}

#[test]
fn identities_that_take_more_than_a_small_cache_holds_are_no_answer() {
    let one = |token: usize| many([format!(r#"{{"access_token":"{}"}}"#, "t".repeat(token))]);
    assert!(read(one(500_000)).is_ok());
    let failure = read(one(600_000)).unwrap_err();
    assert!(failure.to_string().contains("more than 512 KiB"), "{failure}");
    assert_eq!(failure.class(), FailureClass::Malformed);
    // What is not read does not count.
    let unread = format!(r#"{{"access_token":"t","refresh_token":"{}"}}"#, "t".repeat(600_000));
    assert!(read(many([unread])).is_ok());
}

// Through the socket.

#[tokio::test(start_paused = true)]
async fn the_largest_user_fits_into_the_smallest_cache() {
    let world = World::simulated(TenantOptions::default(), "[cache]\nmax_bytes = \"1MiB\"").await;
    world.ready().await;
    let identity = json!({ "connection": "c", "access_token": "t".repeat(520_000) });
    assert!(world.tenant.put_user(user_with("large|1", vec![identity])));
    for state in ["miss", "hit", "hit"] {
        let got = world.get(&World::path("large|1")).await;
        assert_eq!((got.status.as_u16(), got.header("cloakroom-cache")), (200, Some(state)));
    }
}

#[tokio::test(start_paused = true)]
async fn two_accounts_of_one_connection_are_told_apart_by_their_own_ids() {
    let world = world().await;
    let path = World::path(users::TWINS);
    let both = world.get(&path).await;
    assert_eq!(both.problem(), (409, "ambiguous_identity".into()));
    let [first, second] = ["100000000000000000002", "1034"];
    let listed = |id: &str| json!({ "connection": "google-oauth2", "provider": "google-oauth2", "identity_user_id": id });
    assert_eq!(both.json()["identities"], json!([listed(first), listed(second)]));
    assert_eq!(both.json()["connections"], json!(["google-oauth2"]));
    assert!(both.detail().contains("identity_user_id"), "{}", both.detail());
    let named = world.get(&format!("{path}?connection=google-oauth2")).await;
    assert_eq!(named.json()["identities"], json!([listed(first), listed(second)]));
    for (id, token) in [(first, "ya29.demo-twin-1"), (second, "ya29.demo-twin-2")] {
        for more in ["", "&connection=google-oauth2", "&provider=google-oauth2&connection=google-oauth2"] {
            let one = world.get(&format!("{path}?identity_user_id={id}{more}")).await;
            assert_eq!(
                (one.status.as_u16(), &one.json()["access_token"]),
                (200, &json!(token)),
                "{id}{more}"
            );
            assert_eq!(one.json()["identity_user_id"], id);
        }
        let other = world.get(&format!("{path}?identity_user_id={id}&connection=github")).await;
        assert_eq!(other.problem(), (404, "identity_not_found".into()));
    }
    for wrong in ["01034", "1034.0", "1034%20", "%31034x"] {
        let none = world.get(&format!("{path}?identity_user_id={wrong}")).await;
        assert_eq!(none.problem(), (404, "identity_not_found".into()), "{wrong}");
    }
    for bad in ["identity_user_id=", "identity_user_id", "identity_user_id=1&identity_user_id=2"] {
        let refused = world.get(&format!("{path}?{bad}")).await;
        assert_eq!(refused.problem(), (400, "invalid_request".into()), "{bad}");
        assert_eq!(refused.json()["parameter"], "identity_user_id");
    }
    assert_eq!(world.tenant.calls_to(Endpoint::User).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn odd_lifetimes_and_texts_are_answered_for_what_they_are() {
    let world = world().await;
    let of = async |user: &str| {
        let got = world.get(&World::path(user)).await;
        let body = got.json();
        (got.status.as_u16(), body["expires_in"].as_u64(), body["expiry_basis"].as_str().map(str::to_owned))
    };
    assert_eq!(of(users::ZERO_EXPIRY).await, (200, None, Some("none".into())));
    assert_eq!(of(users::NO_LOGIN).await, (200, Some(3_599), Some("first_seen".into())));
    assert_eq!(of(users::DATED_EXPIRY).await, (200, Some(1_800), Some("login".into())));
    assert_eq!(of(users::PADDED_JWT).await, (200, Some(900), Some("jwt".into())));
    let path = World::path(users::UNREADABLE);
    let google = world.get(&format!("{path}?connection=google-oauth2")).await;
    assert_eq!(google.json()["access_token"], "ya29.demo-readable");
    assert_eq!(world.get(&format!("{path}?connection=github")).await.problem(), (404, "no_token".into()));
    let neither = world.get(&path).await;
    assert_eq!(neither.problem(), (409, "ambiguous_identity".into()));
    assert_eq!(neither.json()["identities"].as_array().map(Vec::len), Some(1), "those that can be selected");
    let listed = world.get(path.replace("/token", "/identities").as_str()).await.json();
    assert_eq!(listed["identities"][1]["token"], "none");
}

fn user_with(id: &str, identities: Vec<Value>) -> Value {
    json!({ "user_id": id, "identities": identities })
}

/// Whoever can write to one user's profile makes lookups of that user fail, and nothing else.
#[tokio::test(start_paused = true)]
async fn a_user_of_very_many_identities_costs_no_more_than_its_answer() {
    let world = world().await;
    let few = World::path(users::TWINS);
    world.get(&few).await;
    let calm = fastest(&world, &few).await;
    for (id, identities) in [
        (
            "crowd|tokens",
            (0..20_000).map(|n| json!({ "connection": n.to_string(), "access_token": "t" })).collect(),
        ),
        ("crowd|empty", vec![json!({}); 340_000]),
        ("crowd|null", vec![Value::Null; 200_000]),
    ] {
        assert!(world.tenant.put_user(user_with(id, identities)));
        let got = world.get(&World::path(id)).await;
        assert_eq!(got.problem(), (502, "upstream_error".into()), "{id}");
        assert!(got.detail().contains("256"), "{}", got.detail());
        assert_eq!(
            world.get(&few).await.problem(),
            (409, "ambiguous_identity".into()),
            "others are unaffected"
        );
    }
    // As many as there may be, each as large as an answer lets it be.
    let large = |n: usize| {
        let name = format!("{n:03}{}", "x".repeat(500));
        json!({ "connection": name, "provider": name, "user_id": name, "access_token": "t" })
    };
    assert!(world.tenant.put_user(user_with("crowd|large", (0..256).map(large).collect())));
    let path = World::path("crowd|large");
    let refused = world.get(&path).await;
    assert_eq!(refused.problem(), (409, "ambiguous_identity".into()));
    let listed = refused.json()["identities"].as_array().map(Vec::len).unwrap();
    assert!((1..=32).contains(&listed), "{listed}");
    let longest = refused.body.len();
    assert!(longest < 64 << 10, "{longest} bytes of a 409");
    let missing = world.get(&format!("{path}?connection=y")).await;
    assert_eq!(missing.problem(), (404, "identity_not_found".into()));
    assert!(missing.body.len() < 64 << 10, "{} bytes of a 404", missing.body.len());
    let asked = world.tenant.calls_to(Endpoint::User).len();
    let busy = fastest(&world, &path).await;
    assert_eq!(world.tenant.calls_to(Endpoint::User).len(), asked, "from the cache");
    assert!(busy < calm * 20, "{busy:?} each, against {calm:?}");
    let one = world.get(&format!("{path}?identity_user_id=255{}", "x".repeat(500))).await;
    assert_eq!(one.status.as_u16(), 200, "and it can still be selected");
}

/// The shortest of some lookups by real time, the connection included.
#[expect(clippy::disallowed_methods, reason = "what is measured is real time")]
async fn fastest(world: &World, path: &str) -> Duration {
    let mut fastest = Duration::MAX;
    for _ in 0..30 {
        let begun = Instant::now();
        world.get(path).await;
        fastest = fastest.min(begun.elapsed());
    }
    fastest
}
