//! Several accounts of one connection, and more identities than any user has.

use std::time::{Duration, Instant};

use cloakroom::domain::error::FailureClass;
use cloakroom::fake_auth0::{Endpoint, TenantOptions, users};
use serde_json::{Value, json};

use super::{read, world};
use crate::support::world::World;

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
