//! What Auth0, or whoever stands in its place, may answer.

use std::str;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cloakroom::domain::error::Failure;
use cloakroom::domain::freshness::{Moment, Timestamp};
use cloakroom::domain::identity::{Identity, IdpToken, NoSelection, Profile};
use cloakroom::domain::retry::{LONGEST_ASKED_FOR, SHORTEST_ASKED_FOR};
use cloakroom::domain::source::SourceOrders;
use cloakroom::domain::user::{Selector, UserId};
use cloakroom::secret::TagKey;
use cloakroom::transport::response::{Answer, Timing};
use cloakroom::upstream::pace::Pace;
use cloakroom::upstream::wire::{self, UserAnswer};
use hyper::StatusCode;
use hyper::header::{DATE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use serde_json::Value;

/// No text of ours may hold it, wherever an answer did.
const CANARY: &str = "canary";

/// More are no answer.
const MOST_IDENTITIES: usize = 256;

const MINUTE: Duration = Duration::from_secs(60);
const THIRTY_DAYS: Duration = Duration::from_secs(30 * 86_400);

/// An answer to a request for a user. In the input's first line the user's id follows the status.
pub fn user(data: &[u8]) {
    let Input { asked, answer } = Input::read(data);
    let Ok(asked) = UserId::parse(asked) else { return };
    let (exchange, tags) = (exchange_at(0), TagKey::random().unwrap());
    let body: Option<Value> = serde_json::from_slice(&answer.body).ok();
    match wire::parse_user(&answer, &asked, exchange, &tags, &SourceOrders::default()) {
        Ok(UserAnswer::User(Some(profile), _)) => {
            assert_eq!(answer.status, StatusCode::OK);
            // What no type of JSON holds is passed over, or costs its own field: then nothing is compared.
            body.iter().for_each(|body| is_what_was_sent(&profile, &asked, body, exchange, &tags));
            is_selected_by_name(&profile);
        }
        Ok(UserAnswer::User(None, _)) => {
            let code = body.as_ref().map(|body| body["errorCode"].as_str().unwrap_or_default());
            let (not_found, bad) = (code.unwrap_or("inexistent_user"), code.unwrap_or("invalid_uri"));
            assert!(matches!(
                (answer.status.as_u16(), not_found, bad),
                (404, "inexistent_user", _) | (400, _, "invalid_uri")
            ));
        }
        Ok(UserAnswer::BearerRefused(why)) => tells_nothing(&why),
        Err(failure) => is_public(&failure),
    }
}

/// An answer to a grant request. In the input's first line the audience follows the status.
pub fn token(data: &[u8]) {
    let Input { asked, answer } = Input::read(data);
    // The audience is our own configuration's, which is checked before.
    if asked.contains(CANARY) || asked.contains(char::is_control) {
        return;
    }
    let (exchange, audience) = (exchange_at(0), Arc::from(asked));
    match wire::parse_grant(&answer, &audience, exchange) {
        Ok(grant) => {
            assert_eq!(answer.status, StatusCode::OK);
            assert!(!grant.token.is_empty() && grant.sent == exchange.sent);
            let left = grant.expires.remaining(exchange.sent);
            assert!(left <= THIRTY_DAYS);
            if let Ok(body) = serde_json::from_slice::<Value>(&answer.body) {
                assert_eq!(Some(grant.token.expose()), text(&body["access_token"]).as_deref());
                let stated = body["expires_in"].as_u64().map(Duration::from_secs);
                assert!(stated.is_none_or(|stated| left <= stated), "longer than it was granted for");
            }
            let scopes = grant.scopes.iter().flatten();
            assert!(
                scopes.into_iter().all(|scope| !scope.is_empty() && !scope.contains(char::is_whitespace))
            );
            // Fits into whatever reckons with it.
            grant.expires.wall().to_string();
            exchange.received.after(grant.scarce_for);
        }
        Err(failure) => is_public(&failure),
    }
}

/// Heads of answers that follow each other within seconds, parted by empty lines: what they say of limits, waits and
/// clocks, and what is made of it.
pub fn headers(data: &[u8]) {
    let mut pace = Pace::new(10.0, 20, exchange_at(0).sent);
    let mut rest = data;
    for second in 0..16 {
        let Input { answer, .. } = Input::read(rest);
        let exchange = exchange_at(second);
        limits_are_as_stated(&answer, exchange);
        clocks_agree(&answer, exchange);
        keeps_its_pace(&mut pace, &answer, exchange);
        rest = &rest[rest.len() - answer.body.len()..];
        if rest.is_empty() {
            break;
        }
    }
}

fn limits_are_as_stated(answer: &Answer, exchange: Timing) {
    let asked = answer.asks_to_wait(exchange);
    let header = answer.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    if let Some(seconds) = header.and_then(|text| text.trim().parse::<u64>().ok()) {
        // Whoever bounds it: this much is believed.
        let believed = asked.map(|wait| wait.clamp(SHORTEST_ASKED_FOR, LONGEST_ASKED_FOR));
        assert_eq!(believed, Some(Duration::from_secs(seconds.clamp(1, 60))));
    }
    let quotas = answer.quotas();
    let stated = answer
        .headers
        .get("auth0-client-quota-limit")
        .map_or(0, |value| value.as_bytes().split(|b| *b == b',').count());
    assert!(quotas.len() <= stated);
    for limit in quotas.into_iter().chain(answer.rate_limit(exchange)) {
        assert!(!limit.is_little() || limit.left < limit.of, "{limit:?}");
        assert!(limit.left > 0 || limit.of == 0 || limit.is_little(), "{limit:?}");
    }
}

fn clocks_agree(answer: &Answer, exchange: Timing) {
    let (behind, skew) = (answer.clock_behind(exchange), answer.clock_skew(exchange));
    assert_eq!(answer.date().is_some(), skew.is_some());
    assert_eq!(skew.is_some_and(|skew| skew > 0), !behind.is_zero(), "{skew:?} {behind:?}");
    if let (Some(date), true) = (answer.date(), answer.headers.contains_key(DATE)) {
        assert_eq!(date.as_millis() % 1000, 0);
        date.to_string();
    }
}

/// As `upstream.rs` does it.
fn keeps_its_pace(pace: &mut Pace, answer: &Answer, exchange: Timing) {
    let now = exchange.received;
    answer.rate_limit(exchange).into_iter().for_each(|limit| pace.note_rate_limit(limit, now));
    answer.quotas().into_iter().for_each(|quota| pace.note(quota, now));
    match answer.status {
        StatusCode::TOO_MANY_REQUESTS => {
            let wait = pace.refused(answer.asks_to_wait(exchange), 1.0, now);
            assert!((SHORTEST_ASKED_FOR..=LONGEST_ASKED_FOR).contains(&wait));
            assert!(pace.gate_closed_for(now).is_some_and(|closed| closed >= wait));
        }
        _ => pace.admitted(),
    }
    assert!(pace.gate_closed_for(now).is_none_or(|closed| closed <= MINUTE));
    let later = now.after(MINUTE);
    assert!(pace.gate_closed_for(later).is_none() && !pace.is_thrifty(later), "for more than a minute");
}

/// The profile has what the answer has, read by somebody else, and no more.
fn is_what_was_sent(profile: &Profile, asked: &UserId, body: &Value, exchange: Timing, tags: &TagKey) {
    let sent: Vec<_> =
        body["identities"].as_array().into_iter().flatten().filter(|one| !one.is_null()).collect();
    assert_eq!(text(&body["user_id"]).as_deref(), Some(asked.as_str()), "another user");
    assert_eq!(sent.len(), profile.identities.len());
    assert!(body["identities"].as_array().is_none_or(|all| all.len() <= MOST_IDENTITIES));
    let login = body["last_login"].as_str().and_then(Timestamp::parse);
    for (identity, sent) in profile.identities.iter().zip(sent) {
        assert_eq!(identity.connection(), text(&sent["connection"]).unwrap_or_default());
        assert_eq!(identity.provider(), text(&sent["provider"]).unwrap_or_default());
        let token = identity.token();
        assert_eq!(identity.user_id(), text(&sent["user_id"]).unwrap_or_default());
        let second = &sent["access_token_secret"];
        let is_whole = second.is_null() || text(second).is_some();
        let stated = text(&sent["access_token"]).filter(|token| !token.is_empty() && is_whole);
        assert_eq!(token.map(|token| token.access_token.expose()), stated.as_deref());
        let Some(token) = token else { continue };
        assert_eq!(token.fingerprint, tags.tag("token", token.access_token.expose()));
        let latest = match (login, sent["expires_in"].as_u64()) {
            (Some(login), Some(span @ 1..1_000_000_000)) => Some(login.after(Duration::from_secs(span))),
            (None, Some(span @ 1..1_000_000_000)) => {
                Some(exchange.sent.wall.after(Duration::from_secs(span)))
            }
            (_, Some(date @ 1_000_000_000..10_000_000_000)) => {
                i64::try_from(date).ok().map(Timestamp::from_secs)
            }
            _ => None,
        };
        if let Some(latest) = latest {
            assert!(token.expires.is_some_and(|expires| expires.wall() <= latest), "it outlives its login");
        }
        if let Some(expires) = token.expires {
            assert!(expires.remaining(exchange.received) <= expires.remaining(exchange.sent));
            expires.wall().to_string();
        }
    }
    let tokens = profile.identities.iter().filter_map(Identity::token);
    assert!(profile.apart() >= tokens.map(|token| token.access_token.expose().len()).sum());
}

/// Whichever way round Auth0 lists the identities.
fn is_selected_by_name(profile: &Profile) {
    let mut reversed = profile.clone();
    reversed.identities.reverse();
    let named = profile.identities.iter().flat_map(|one| {
        let some = |name: &str| Some(name.to_owned());
        let (connection, provider, id) = (some(one.connection()), some(one.provider()), some(one.user_id()));
        [
            (connection.clone(), None, None),
            (None, provider.clone(), None),
            (None, None, id.clone()),
            (connection, provider, id),
        ]
    });
    // What is listed of many, or of long names, depends on their order.
    let is_listed_whole = profile.identities.len() <= 32 && profile.apart() <= 16 << 10;
    for (connection, provider, identity_user_id) in named.take(40).chain([(None, None, None)]) {
        let selector = Selector { connection, provider, identity_user_id, within: None };
        match (profile.select(&selector), reversed.select(&selector)) {
            (Ok((_, one)), Ok((_, other))) => assert_eq!(shown(one), shown(other)),
            (Err(NoSelection::NoToken), Err(NoSelection::NoToken)) => {}
            (Err(NoSelection::Ambiguous(mut one)), Err(NoSelection::Ambiguous(mut other))) => {
                one.sort();
                other.sort();
                assert!(one == other || !is_listed_whole);
            }
            (one, other) => panic!("{selector:?}: {one:?}, and the other way round {other:?}"),
        }
    }
}

fn shown(token: IdpToken<'_>) -> &str {
    token.access_token.expose()
}

/// Text, or a whole number that stands for it. What cannot be read is blanked with a character that then is none.
pub fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => (!text.contains('\u{7f}')).then(|| text.clone()),
        Value::Number(number) if number.is_i64() || number.is_u64() => Some(number.to_string()),
        _ => None,
    }
}

pub fn is_public(failure: &Failure) {
    tells_nothing(failure);
    failure.class();
}

pub fn tells_nothing<T: std::fmt::Display + std::fmt::Debug>(text: &T) {
    let printed = format!("{text} {text:?}");
    assert!(!printed.contains(CANARY), "what Auth0 sent is printed: {printed}");
    assert!(!printed.contains(char::is_control), "{printed:?}");
}

/// Asked at a full second, answered a little later.
pub fn exchange_at(second: u64) -> Timing {
    let start = Moment {
        wall: Timestamp::parse("2026-11-22T10:00:00Z").unwrap(),
        elapsed: Duration::from_secs(9_000),
    };
    let sent = start.after(Duration::from_secs(second));
    Timing { sent, received: sent.after(Duration::from_millis(200)) }
}

/// An answer as text: `STATUS WHAT WAS ASKED FOR`, a line for each header, an empty line, the body.
pub struct Input<'a> {
    pub asked: &'a str,
    pub answer: Answer,
}

impl<'a> Input<'a> {
    /// Whatever the bytes are. Headers that HTTP cannot carry are left out.
    pub fn read(data: &'a [u8]) -> Self {
        let mut rest = data;
        let mut line = move || {
            let end = rest.iter().position(|byte| *byte == b'\n');
            let (line, after) = end.map_or((rest, &[][..]), |end| (&rest[..end], &rest[end + 1..]));
            rest = after;
            (line, after)
        };
        let first = str::from_utf8(line().0).unwrap_or_default();
        let (status, asked) = first.split_once(' ').unwrap_or((first, ""));
        let status = status.parse().ok().and_then(|status| StatusCode::from_u16(status).ok());
        let mut headers = HeaderMap::new();
        let body = loop {
            let (head, after) = line();
            let Some(colon) = head.iter().position(|byte| *byte == b':') else { break after };
            let value = HeaderValue::from_bytes(head[colon + 1..].trim_ascii());
            if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(&head[..colon]), value) {
                headers.append(name, value);
            }
        };
        let answer =
            Answer { status: status.unwrap_or_default(), headers, body: Bytes::copy_from_slice(body) };
        Self { asked, answer }
    }
}
