//! A token's expiry, from every form in which Auth0 and providers state it.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use cloakroom::management::Grant;
use cloakroom::transport::response::Timing;
use cloakroom::upstream::wire::{self};

use super::{LOGIN, answer, now, read, read_with};

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
