//! Tests of the wire format: what is parsed from Auth0's answers, and the failures of malformed ones.

use bytes::Bytes;
use hyper::header::{DATE, HeaderMap};

use super::*;
use crate::domain::error::FailureClass;

const AUDIENCE: &str = "https://acme.eu.auth0.com/api/v2/";

fn now() -> Moment {
    Moment { wall: Timestamp::parse("2026-11-22T10:00:00Z").unwrap(), elapsed: Duration::from_secs(9_000) }
}

fn at_once() -> Timing {
    Timing { sent: now(), received: now() }
}

fn answer(status: u16, body: &str) -> Answer {
    let status = StatusCode::from_u16(status).unwrap();
    Answer { status, headers: HeaderMap::new(), body: Bytes::copy_from_slice(body.as_bytes()) }
}

fn grant(status: u16, body: &str) -> Result<Grant, Failure> {
    parse_grant(&answer(status, body), &AUDIENCE.into(), at_once())
}

fn lifetime(body: &str) -> u64 {
    grant(200, body).unwrap().expires.remaining(now()).as_secs()
}

/// An unsigned token with these claims; nothing here verifies signatures.
fn jwt(claims: &str) -> String {
    use base64::Engine;
    let encode = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
    format!("{}.{}.{}", encode(r#"{"alg":"RS256","typ":"JWT"}"#), encode(claims), encode("signature"))
}

#[test]
fn a_grants_lifetime_is_read_in_every_form_it_comes_in() {
    assert_eq!(lifetime(r#"{"access_token":"t","expires_in":86400}"#), 86_400);
    assert_eq!(lifetime(r#"{"access_token":"t","expires_in":"3600"}"#), 3_600);
    assert_eq!(lifetime(r#"{"access_token":"t","expires_in":12.5}"#), 12);
    assert_eq!(lifetime(r#"{"access_token":"t"}"#), UNSTATED_LIFETIME.as_secs());
    assert_eq!(lifetime(r#"{"access_token":"t","expires_in":"soon"}"#), UNSTATED_LIFETIME.as_secs());
    assert_eq!(lifetime(r#"{"access_token":"t","expires_in":null}"#), UNSTATED_LIFETIME.as_secs());
    assert_eq!(lifetime(r#"{"access_token":"t","expires_in":0}"#), 0);
    assert_eq!(lifetime(r#"{"access_token":"t","expires_in":-5}"#), 0);
    assert_eq!(
        lifetime(r#"{"access_token":"t","expires_in":1000000000000000000}"#),
        LONGEST_LIFETIME.as_secs()
    );
}

#[test]
fn the_earlier_of_expires_in_and_exp_counts() {
    let exp = |secs: i64| now().wall.as_secs() + secs;
    let both = |own: i64, stated| {
        let token = jwt(&format!(r#"{{"exp":{}}}"#, exp(own)));
        lifetime(&format!(r#"{{"access_token":"{token}","expires_in":{stated}}}"#))
    };
    assert_eq!(both(600, 86_400), 600);
    assert_eq!(both(86_400, 600), 600);
    assert_eq!(both(-10, 600), 0);
    let own = jwt(&format!(r#"{{"exp":{}}}"#, exp(77)));
    assert_eq!(lifetime(&format!(r#"{{"access_token":"{own}"}}"#)), 77);
}

#[test]
fn scopes_are_read_from_the_answer_else_from_the_token_else_not_known() {
    let scopes = |body: &str| grant(200, body).unwrap().scopes;
    let both = Some(vec!["read:users".to_owned(), "read:user_idp_tokens".to_owned()]);
    assert_eq!(scopes(r#"{"access_token":"t","scope":"read:users read:user_idp_tokens"}"#), both);
    let token = jwt(r#"{"scope":"read:users read:user_idp_tokens"}"#);
    assert_eq!(scopes(&format!(r#"{{"access_token":"{token}"}}"#)), both);
    assert_eq!(scopes(r#"{"access_token":"t"}"#), None);
    let many = format!(r#"{{"access_token":"t","scope":"read:users{}"}}"#, " x".repeat(400_000));
    assert_eq!(
        scopes(&many).map(|scopes| (scopes[0].clone(), scopes.len())),
        Some(("read:users".into(), 1024))
    );
}

#[test]
fn every_refusal_of_a_grant_is_told_apart() {
    let audience: Arc<str> = AUDIENCE.into();
    let denied =
        |description: &str| format!(r#"{{"error":"access_denied","error_description":"{description}"}}"#);
    let cases = [
        (401, denied("Unauthorized"), Refusal::Credentials { status: 401 }),
        (401, r#"{"error":"invalid_client"}"#.into(), Refusal::Credentials { status: 401 }),
        (400, r#"{"error":"invalid_client"}"#.into(), Refusal::Credentials { status: 400 }),
        (
            403,
            denied("Service not enabled within domain: https://x/api/v2"),
            Refusal::Audience { audience: audience.clone() },
        ),
        (
            403,
            denied("Client is not authorized to access https://x/. You need to create a client-grant"),
            Refusal::NoClientGrant { audience },
        ),
        (403, r#"{"error":"unauthorized_client"}"#.into(), Refusal::GrantType),
        (403, r#"{"error":"of_a_kind_to_come"}"#.into(), Refusal::Grant { status: 403 }),
        (400, r#"{"error":"invalid_request"}"#.into(), Refusal::Grant { status: 400 }),
    ];
    for (status, body, refusal) in cases {
        assert_eq!(grant(status, &body).unwrap_err(), Failure::Denied(refusal), "{status} {body}");
    }
}

/// Such an answer says nothing about the credentials, so its failure may pass, as an outage does.
#[test]
fn a_grant_that_a_host_on_the_way_denied_is_not_a_refusal() {
    let status_of_its_own = r#"{"statusCode":500,"error":"Unauthorized"}"#;
    let bodies = ["", "<html>", "[]", "{}", r#"{"message":"Forbidden"}"#, r#"{"error":"Forbidden"}"#];
    let objects = [r#"{"error":{"code":403}}"#, r#"{"error":403}"#, status_of_its_own];
    for body in bodies.into_iter().chain(objects) {
        for status in [400, 401, 403] {
            let failure = grant(status, body).unwrap_err();
            assert_eq!(failure, Failure::NotFromAuth0 { status }, "{status} {body}");
            assert_eq!(failure.class(), FailureClass::Passing);
        }
    }
    // An error in the Management API's form is not a refusal of the grant, but it is Auth0's.
    let other = r#"{"statusCode":401,"error":"Unauthorized","message":"Invalid token"}"#;
    assert_eq!(grant(401, other).unwrap_err(), Failure::Status { status: 401 });
}

/// A token with a byte that no header can hold is refused. Any other opaque text is a token.
#[test]
fn a_token_that_no_header_can_carry_is_refused() {
    for token in ["a\\nb", "a\\r\\nx: 1", "\\u0000", "a b", " a", "a\\u00e9", "\\ud83d\\ude00"] {
        let failure = grant(200, &format!(r#"{{"access_token":"{token}","expires_in":60}}"#)).unwrap_err();
        assert_eq!(failure, Failure::Malformed { what: UNSENDABLE }, "{token}");
        assert_eq!(failure.class(), FailureClass::Passing);
    }
    // DEL is what an unreadable text is blanked with.
    let blank = grant(200, r#"{"access_token":"a\u007f","expires_in":60}"#).unwrap_err();
    assert_eq!(blank, Failure::Malformed { what: NOT_A_GRANT });
    let all: String = (0x21..0x7f_u8).map(char::from).filter(|c| !matches!(c, '"' | '\\')).collect();
    assert!(grant(200, &format!(r#"{{"access_token":"{all}","expires_in":60}}"#)).is_ok());
}

#[test]
fn a_malformed_grant_is_told_from_a_failure_that_may_pass() {
    let array = r#"["t",60,"read:users"]"#;
    for body in ["", "{}", "[]", "<html></html>", r#"{"access_token":""}"#, r#"{"access_token":7.5"#, array] {
        let failure = grant(200, body).unwrap_err();
        assert_eq!(failure.class(), FailureClass::Passing, "{body}");
    }
    assert_eq!(grant(503, "<html>").unwrap_err(), Failure::Status { status: 503 });
    assert!(matches!(grant(302, ""), Err(Failure::Malformed { .. })));
}

fn user(status: u16, id: &str, body: &str) -> Result<UserAnswer, Failure> {
    let tags = TagKey::random().unwrap();
    parse_user(&answer(status, body), &UserId::parse(id).unwrap(), at_once(), &tags, &SourceOrders::default())
}

fn profile(body: &str) -> Profile {
    match user(200, "u|1", body) {
        Ok(UserAnswer::User(Some(profile), _)) => profile,
        other => panic!("{other:?}"),
    }
}

/// One identity's token: how long it has left, and how that is known.
fn token(last_login: &str, identity: &str) -> Option<(Option<u64>, &'static str)> {
    let body = format!(r#"{{"user_id":"u|1","last_login":{last_login},"identities":[{identity}]}}"#);
    let profile = profile(&body);
    let token = profile.identities[0].token()?;
    Some((token.expires.map(|expires| expires.remaining(now()).as_secs()), token.basis.as_str()))
}

#[test]
fn a_tokens_expiry_comes_from_the_login_or_from_the_token_itself() {
    let login = r#""2026-11-22T09:30:00.000Z""#;
    assert_eq!(token(login, r#"{"access_token":"t","expires_in":3600}"#), Some((Some(1800), "login")));
    assert_eq!(token(login, r#"{"access_token":"t","expires_in":"3600"}"#), Some((Some(1800), "login")));
    assert_eq!(token(login, r#"{"access_token":"t","expires_in":600}"#), Some((Some(0), "login")));
    assert_eq!(token(login, r#"{"access_token":"t"}"#), Some((None, "none")));
    assert_eq!(token("null", r#"{"access_token":"t","expires_in":3600}"#), Some((Some(3600), "first_seen")));

    let own = jwt(&format!(r#"{{"exp":{}}}"#, now().wall.as_secs() + 300));
    assert_eq!(token(login, &format!(r#"{{"access_token":"{own}"}}"#)), Some((Some(300), "jwt")));
    assert_eq!(
        token(login, &format!(r#"{{"access_token":"{own}","expires_in":3600}}"#)),
        Some((Some(300), "jwt"))
    );
    assert_eq!(
        token(login, &format!(r#"{{"access_token":"{own}","expires_in":1801}}"#)),
        Some((Some(1), "login"))
    );
    assert_eq!(token(login, r#"{"access_token":"a.b.c"}"#), Some((None, "none")), "dots alone make no JWT");
}

/// The sample token expires in half an hour by the local clock. Auth0's clock agrees or differs.
#[test]
fn a_local_clock_that_is_behind_auth0s_does_not_extend_a_lifetime() {
    let body = r#"{"user_id":"u|1","last_login":"2026-11-22T09:30:00.000Z",
        "identities":[{"access_token":"t","expires_in":3600}]}"#;
    let left_after = |date: &str, took: u64| {
        let mut answer = answer(200, body);
        answer.headers.insert(DATE, date.parse().unwrap());
        let user = UserId::parse("u|1").unwrap();
        let timing = Timing { sent: now(), received: now().after(Duration::from_secs(took)) };
        match parse_user(&answer, &user, timing, &TagKey::random().unwrap(), &SourceOrders::default()) {
            Ok(UserAnswer::User(Some(profile), _)) => {
                profile.identities[0].token().unwrap().expires.unwrap().remaining(now()).as_secs()
            }
            other => panic!("{other:?}"),
        }
    };
    let left = |date: &str| left_after(date, 0);
    assert_eq!(left("Sun, 22 Nov 2026 10:00:00 GMT"), 1800);
    assert_eq!(left("Sun, 22 Nov 2026 10:10:00 GMT"), 1199, "ten minutes behind, and up to a second more");
    assert_eq!(left("Sun, 22 Nov 2026 11:00:00 GMT"), 0);
    assert_eq!(
        left("Sun, 22 Nov 2026 09:00:00 GMT"),
        1800,
        "an answer from the past lengthens nothing either"
    );
    assert_eq!(left("nonsense"), 1800);
    assert_eq!(
        left_after("Sun, 22 Nov 2026 10:10:00 GMT", 20),
        1199,
        "it may have been written when we asked"
    );
    assert_eq!(
        left_after("Sun, 22 Nov 2026 10:00:20 GMT", 20),
        1800,
        "within that time neither clock need be wrong"
    );
}

#[test]
fn a_wrong_local_clock_does_not_expire_management_tokens() {
    let token = jwt(&format!(r#"{{"exp":{}}}"#, now().wall.as_secs() - 86_400 + 3600));
    let mut answer = answer(200, &format!(r#"{{"access_token":"{token}","expires_in":86400}}"#));
    answer.headers.insert(DATE, "Sat, 21 Nov 2026 10:00:00 GMT".parse().unwrap());
    let grant = parse_grant(&answer, &AUDIENCE.into(), at_once()).unwrap();
    assert_eq!(grant.expires.remaining(now()).as_secs(), 3600);
}

/// The answer may state less than the token has, or more.
#[test]
fn a_scope_counts_if_either_the_answer_or_the_token_states_it() {
    let shows = |claims: &str, members: &str| {
        let token = jwt(claims);
        grant(200, &format!(r#"{{"access_token":"{token}"{members}}}"#)).unwrap().shows_idp_tokens
    };
    let (both, one) = ("read:users read:user_idp_tokens", "read:users");
    let member = |scope: &str| format!(r#","scope":"{scope}""#);
    let claim = |scope: &str| format!(r#"{{"scope":"{scope}"}}"#);
    assert_eq!(shows(&claim(both), &member(one)), Some(true));
    assert_eq!(shows(&claim(one), &member(both)), Some(true));
    assert_eq!(shows(&claim(one), &member(one)), Some(false));
    assert_eq!(shows("{}", &member(both)), Some(true));
    assert_eq!(shows(&claim(both), ""), Some(true));
    assert_eq!(shows(&claim(one), ""), Some(false));
    assert_eq!(shows("{}", &member("")), Some(false), "none at all");
    assert_eq!(shows("{}", ""), None);
    let many = "read:clients ".repeat(2_000) + "read:user_idp_tokens";
    assert_eq!(shows("{}", &member(&many)), Some(true), "however many stand before it");
}

#[test]
fn absent_and_empty_tokens_are_the_same() {
    assert_eq!(token("null", r#"{"access_token":""}"#), None);
    assert_eq!(token("null", r#"{"access_token":null}"#), None);
    assert_eq!(token("null", "{}"), None);
}

#[test]
fn ids_at_the_provider_may_be_numbers_and_unknown_fields_do_not_hurt() {
    let profile = profile(
        r#"{"user_id":"u|1","blocked":true,"later":{"deep":[1]},"identities":[
            {"connection":"github","provider":"github","user_id":583231,"isSocial":true,"refresh_token":"r","profileData":{}},
            {"connection":"db","provider":"auth0","user_id":"abc","access_token":"t","access_token_secret":"s"}]}"#,
    );
    assert!(profile.blocked);
    assert_eq!(profile.identities[0].user_id(), "583231");
    assert!(profile.identities[0].is_social);
    let second = profile.identities[1].token().unwrap().access_token_secret.unwrap();
    assert_eq!(second.expose(), "s");
    assert!(!format!("{profile:?}").contains("\"t\""));
}

#[test]
fn an_answer_about_another_user_or_none_is_malformed() {
    let arrays = [r#"["u|1",null,null,[]]"#, r#"{"user_id":"u|1","identities":[["c","p","1",true,"t"]]}"#];
    let others =
        ["", "{}", "null", "<html>", r#"{"user_id":"u|2"}"#, r#"{"user_id":"U|1"}"#, r#"{"user_id":"u|1","#];
    for body in others.into_iter().chain(arrays) {
        assert!(matches!(user(200, "u|1", body), Err(Failure::Malformed { .. })), "{body}");
    }
}

#[test]
fn only_auth0s_own_error_makes_no_such_user_a_fact() {
    let gone = r#"{"statusCode":404,"error":"Not Found","errorCode":"inexistent_user"}"#;
    assert!(matches!(user(404, "u|1", gone), Ok(UserAnswer::User(None, _))));
    assert_eq!(user(404, "u|1", "<html>").unwrap_err(), Failure::Status { status: 404 });
    let id = r#"{"message":"Path validation error: … on property id (…)","errorCode":"invalid_uri"}"#;
    assert!(matches!(user(400, "u|1", id), Ok(UserAnswer::User(None, _))));
    let query = r#"{"statusCode":400,"error":"Bad Request","errorCode":"invalid_query_string"}"#;
    assert_eq!(user(400, "u|1", query).unwrap_err(), Failure::Status { status: 400 });
}

/// An error as the Management API writes them: with the status, and the status in words.
fn error(status: u16, code: &str) -> String {
    format!(r#"{{"statusCode":{status},"error":"Words","message":"m","errorCode":"{code}"}}"#)
}

#[test]
fn a_refused_bearer_is_told_apart_from_everything_else() {
    let refused = |status, body: &str| match user(status, "u|1", body) {
        Ok(UserAnswer::BearerRefused(refusal)) => Some(refusal),
        _ => None,
    };
    let attributes = r#"{"statusCode":401,"error":"Unauthorized","message":"x","attributes":{"error":"x"}}"#;
    assert_eq!(refused(401, attributes), Some(Refusal::Bearer { status: 401 }));
    assert_eq!(refused(401, &error(401, "")), Some(Refusal::Bearer { status: 401 }));
    assert_eq!(refused(400, &error(400, "Bearer")), Some(Refusal::Bearer { status: 400 }));
    assert_eq!(refused(403, &error(403, "insufficient_scope")), Some(Refusal::Scope));
    assert_eq!(refused(403, &error(403, "insufficient_entitlement")), None);
    assert_eq!(refused(429, &error(429, "too_many_requests")), None);
}

/// A host on the way may answer with an equal status. The token stays in use.
#[test]
fn a_read_that_a_host_on_the_way_denied_is_not_a_refusal_of_the_token() {
    let bodies = [
        "",
        "<html>",
        "[]",
        "{}",
        "Unauthorized",
        r#"{"message":"Unauthorized"}"#,
        r#"{"error":"Unauthorized"}"#,
        r#"{"statusCode":401}"#,
        r#"{"errorCode":"Bearer"}"#,
        r#"{"errorCode":"insufficient_scope"}"#,
        // The error of another status.
        r#"{"statusCode":402,"error":"Unauthorized","message":"Invalid token","errorCode":"insufficient_scope"}"#,
        r#"{"statusCode":[401],"error":"Unauthorized"}"#,
    ];
    for body in bodies {
        for status in [400, 401, 403] {
            let failure = user(status, "u|1", body).unwrap_err();
            assert_eq!(failure, Failure::NotFromAuth0 { status }, "{status} {body}");
            assert_eq!(failure.class(), FailureClass::Passing);
        }
    }
}

#[test]
fn the_path_encodes_the_id_once_and_asks_for_four_fields() {
    let path = user_path(&UserId::parse("office365|a/b@c%3A").unwrap());
    assert_eq!(
        path,
        "/api/v2/users/office365%7Ca%2Fb%40c%253A?fields=user_id%2Cidentities%2Clast_login%2Cblocked&include_fields=true"
    );
}

#[test]
fn a_block_is_read_however_it_is_written() {
    let blocked = |value: &str| {
        let body = format!(r#"{{"user_id":"u|1","blocked":{value},"identities":[]}}"#);
        let user = UserId::parse("u|1").unwrap();
        match parse_user(
            &answer(200, &body),
            &user,
            at_once(),
            &TagKey::random().unwrap(),
            &SourceOrders::default(),
        ) {
            Ok(UserAnswer::User(Some(profile), _)) => profile.blocked,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(["false", "null", r#""false""#].map(blocked), [false; 3]);
    assert_eq!(["true", r#""true""#, "1", r#""yes""#, "[]", "{}"].map(blocked), [true; 6]);
}
