//! Texts in an answer that cannot be read cost their own field alone.

use cloakroom::domain::error::Failure;
use cloakroom::domain::identity::{NoSelection, Profile};
use cloakroom::domain::user::Selector;

use super::read;

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
