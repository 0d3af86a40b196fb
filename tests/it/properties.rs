//! Properties of parsers and of freshness that hold for every input. A failure prints the seed that replays it.

use std::time::Duration;

use bytes::Bytes;
use cloakroom::domain::freshness::{Deadline, Freshness, Moment, Schedule, Terms, Timestamp};
use cloakroom::domain::source::SourceOrders;
use cloakroom::domain::user::UserId;
use cloakroom::secret::TagKey;
use cloakroom::transport::response::{Answer, Timing};
use cloakroom::upstream::wire::{self, UserAnswer};
use hyper::StatusCode;
use hyper::header::{DATE, HeaderMap, HeaderValue, RETRY_AFTER};
use proptest::prelude::*;

const DAY: u64 = 86_400_000;

fn moment(wall: i64, elapsed: u64) -> Moment {
    Moment { wall: Timestamp::from_millis(wall), elapsed: Duration::from_millis(elapsed) }
}

/// JSON as Auth0 might send it on a bad day: the right members with any values.
fn odd_json() -> impl Strategy<Value = String> {
    let scalar = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        any::<i64>().prop_map(|number| number.to_string()),
        any::<f64>().prop_filter("JSON has no such number", |n| n.is_finite()).prop_map(|n| n.to_string()),
        "[a-z0-9.|:Z-]{0,12}".prop_map(|text| format!("{text:?}")),
        Just("\"u|1\"".to_owned()),
        Just("\"2026-11-22T09:30:00Z\"".to_owned()),
        Just("[]".to_owned()),
        Just("{}".to_owned()),
        // What no type holds, and lifetimes that are dates.
        prop::sample::select(vec![
            r#""\ud800""#,
            r#""x\udc00y""#,
            "1e999",
            "-1e999",
            r#"{"\ud800":["\ud800"]}"#
        ])
        .prop_map(str::to_owned),
        (0.0_f64..15.0).prop_map(|exponent| 10_f64.powf(exponent).to_string()),
    ];
    let names = ["user_id", "last_login", "blocked", "connection", "provider", "isSocial", "access_token"];
    let more =
        ["access_token_secret", "expires_in", "scope", "error", "error_description", "errorCode", "message"];
    let member = (prop::sample::select([&names[..], &more[..]].concat()), scalar);
    let object = prop::collection::vec(member, 0..6).prop_map(|members| {
        let members: Vec<_> = members.into_iter().map(|(name, value)| format!("{name:?}:{value}")).collect();
        members.join(",")
    });
    (object.clone(), prop::collection::vec(object, 0..3)).prop_map(|(outer, identities)| {
        let identities: Vec<_> = identities.into_iter().map(|identity| format!("{{{identity}}}")).collect();
        let comma = if outer.is_empty() { "" } else { "," };
        format!("{{{outer}{comma}\"identities\":[{}]}}", identities.join(","))
    })
}

fn answer(status: u16, body: &[u8], date: &[u8]) -> Answer {
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_bytes(date) {
        headers.insert(DATE, value.clone());
        headers.insert(RETRY_AFTER, value);
    }
    let status = StatusCode::from_u16(status).unwrap();
    Answer { status, headers, body: Bytes::copy_from_slice(body) }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Nothing that Auth0, or whoever stands in its place, may send makes a parser panic, and a user that comes
    /// out is the one that was asked for.
    #[test]
    fn no_answer_panics_or_turns_into_another_user(
        status in 100_u16..600,
        body in prop_oneof![odd_json().prop_map(String::into_bytes), prop::collection::vec(any::<u8>(), 0..200)],
        date in prop::collection::vec(any::<u8>(), 0..40),
        wall in any::<i64>(),
        elapsed in any::<u64>(),
    ) {
        let now = moment(wall, elapsed);
        let (user, tags) = (UserId::parse("u|1").unwrap(), TagKey::random().unwrap());
        let exchange = Timing { sent: now, received: now };
        for status in [status, 200] {
            let answer = answer(status, &body, &date);
            if let Ok(UserAnswer::User(Some(profile), _)) = wire::parse_user(&answer, &user, exchange, &tags, &SourceOrders::default()) {
                prop_assert_eq!(status, 200);
                prop_assert!(profile.identities.len() <= body.len());
                // Whatever else of it cannot be read.
                if let Ok(sent) = serde_json::from_slice::<serde_json::Value>(&body) {
                    prop_assert_eq!(&sent["user_id"], user.as_str());
                }
            }
            if let Ok(grant) = wire::parse_grant(&answer, &"a".into(), exchange) {
                prop_assert!(grant.expires.remaining(now) <= Duration::from_secs(30 * 86_400));
                prop_assert!(!grant.token.is_empty());
            }
        }
    }

    /// Whatever `expires_in` is, and whether or not there was a login: no token is taken to live longer than one of the
    /// things that it can mean, and none is taken to be over for a number that means nothing.
    #[test]
    fn a_lifetime_is_a_span_or_a_date_or_nothing(
        exponent in -3.0_f64..20.0,
        is_negative in any::<bool>(),
        is_text in any::<bool>(),
        login in prop::option::of(0_i64..1_000_000),
    ) {
        let number = 10_f64.powf(exponent) * if is_negative { -1.0 } else { 1.0 };
        let now = moment(1_795_341_600_000, 9_000_000);
        let quote = if is_text { "\"" } else { "" };
        let login = login.map(|ago| now.wall.before(Duration::from_secs(ago.unsigned_abs())));
        let stated = login.map(|login| format!(r#""last_login":"{login}","#)).unwrap_or_default();
        let body = format!(
            r#"{{"user_id":"u|1",{stated}"identities":[{{"access_token":"t","expires_in":{quote}{number}{quote}}}]}}"#
        );
        let (user, tags) = (UserId::parse("u|1").unwrap(), TagKey::random().unwrap());
        let exchange = Timing { sent: now, received: now };
        let answer = answer(200, body.as_bytes(), b"");
        let Ok(UserAnswer::User(Some(profile), _)) = wire::parse_user(&answer, &user, exchange, &tags, &SourceOrders::default()) else {
            panic!("{body}");
        };
        let token = profile.identities[0].token().unwrap();
        let (expires, basis) = (token.expires.map(|expires| expires.wall().as_secs()), token.basis.as_str());
        let begun = login.unwrap_or(now.wall).as_secs();
        let near = |date: f64| expires.is_some_and(|expires| (expires as f64 - date).abs() <= 2.0);
        match number {
            span if (1.0..1e9).contains(&span) => {
                prop_assert!(near(begun as f64 + span), "{}: {:?}", body, expires);
                prop_assert_eq!(basis, if login.is_some() { "login" } else { "first_seen" });
            }
            date if (1e9..1e10).contains(&date) => prop_assert!(near(date) && basis == "login", "{}", body),
            date if (1e12..1e13).contains(&date) => prop_assert!(near(date / 1e3) && basis == "login", "{}", body),
            _ => prop_assert!(expires.is_none() && basis == "none", "{}: {:?}", body, expires),
        }
    }

    /// An id survives the way through a URL, and its segment holds nothing that a URL could misread.
    #[test]
    fn every_id_is_one_segment_and_comes_back(text in "\\PC{1,40}") {
        if let Ok(user) = UserId::parse(&text) {
            let segment = user.to_path_segment();
            prop_assert!(segment.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~%".contains(&b)), "{}", segment);
            prop_assert!(segment != "." && segment != "..");
            prop_assert_eq!(UserId::from_path_segment(&segment).unwrap(), user);
        }
    }

    /// Whatever somebody does to the wall clock, a token is not served once its own time has run out by the clock
    /// that nobody can step, nor after its date by the wall clock; and with the wall clock left alone its states
    /// only ever move on.
    #[test]
    fn no_step_of_the_wall_clock_revives_a_token(
        lifetime in 0..DAY,
        min_ttl in 0..DAY / 4,
        ages in prop::collection::vec((0..DAY, -400_i64..400), 1..20),
    ) {
        let sent = moment(1_700_000_000_000, 1_000_000);
        let terms = Terms {
            refresh_after: Some(Duration::from_millis(DAY / 4)),
            fresh_for: Duration::from_millis(DAY / 3),
            servable_for: Duration::from_millis(DAY / 2),
            min_ttl: Duration::from_millis(min_ttl),
        };
        let expires = Deadline::after(sent, Duration::from_millis(lifetime));
        let schedule = Schedule { sent, expires: Some(expires), terms };
        let rank = |freshness| match freshness {
            Freshness::Fresh => 0,
            Freshness::RefreshDue => 1,
            Freshness::Stale => 2,
            Freshness::Expired => 3,
        };
        let mut sorted: Vec<_> = ages.iter().map(|(age, _)| *age).collect();
        sorted.sort_unstable();
        let mut furthest = 0;
        for age in sorted {
            let now = moment(1_700_000_000_000 + age as i64, 1_000_000 + age);
            let reached = rank(schedule.at(now));
            prop_assert!(reached >= furthest, "it became fresher with age");
            furthest = reached;
        }
        for (age, days) in ages {
            let wall = 1_700_000_000_000 + age as i64 + days * DAY as i64;
            let now = moment(wall, 1_000_000 + age);
            if schedule.at(now) != Freshness::Expired {
                prop_assert!(age + min_ttl <= lifetime && age < lifetime, "alive by the elapsed clock");
                prop_assert!(Timestamp::from_millis(wall) < expires.wall(), "alive by the wall clock");
            }
        }
    }
}
