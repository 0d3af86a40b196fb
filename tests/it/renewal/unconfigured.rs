//! Nothing is configured: refresh tokens are neither read nor kept, and no host but Auth0's is reached.

use super::*;

/// A transport to no provider: each request panics, which ends its lookup with an internal error.
fn nobody() -> Arc<ProvidersInMemory> {
    ProvidersInMemory::of(&[], PROVIDER_TIMEOUT)
}

async fn unconfigured() -> World {
    world_beside(in_memory::tenant(TenantOptions::default()), "", nobody()).await
}

/// The bytes that a lookup of `user` adds to the cache.
async fn weight(world: &World, user: &str) -> u64 {
    let before = world.cache().size().1;
    assert_eq!(world.get(&World::path(user)).await.status, 200);
    world.cache().size().1 - before
}

/// Adds users with a valid token, with this refresh token or without one. Their ids are of the same length.
fn put_users(tenant: &Tenant, refresh_token: &Value) {
    let users = [("with-one", Some(refresh_token)), ("none-yet", None)];
    for (name, refresh_token) in users {
        let mut identity = json!({
            "connection": GOOGLE, "provider": GOOGLE, "user_id": name, "access_token": name, "expires_in": 3_599,
        });
        if let (Some(refresh_token), Some(identity)) = (refresh_token, identity.as_object_mut()) {
            identity.insert("refresh_token".into(), refresh_token.clone());
        }
        let user = json!({
            "user_id": format!("google-oauth2|{name}"), "last_login": in_memory::START,
            "identities": [identity],
        });
        assert!(tenant.put_user(user));
    }
}

#[tokio::test(start_paused = true)]
async fn expired_tokens_are_answered_as_ever_and_no_host_but_auth0s_is_reached() {
    let world = unconfigured().await;
    for user in [users::EXPIRED, users::EXPIRED_ENTRA, users::EXPIRED_GITLAB, users::NO_REFRESH_TOKEN] {
        let got = world.get(&World::path(user)).await;
        assert_eq!(refusal(&got), login_required("expired"), "{user}");
        assert!(got.json()["expired_at"].is_string(), "{got:?}");
        let again = world.get(&World::path(user)).await;
        assert_eq!(refusal(&again), login_required("expired"), "{user}");
    }
    let several = format!("{}?connection=slack", World::path(users::SEVERAL));
    assert_eq!(refusal(&world.get(&several).await), login_required("expired"));
    let valid = world.get(&World::path(users::GOOGLE)).await;
    assert_eq!((valid.status.as_u16(), text(&valid, "source")), (200, "identities".into()));
    assert_eq!(world.user_calls(), 6, "one for each user");
}

#[tokio::test(start_paused = true)]
async fn a_refresh_token_is_not_kept_unless_its_connection_is_refreshed() {
    let refresh_token = json!("r".repeat(10_000));
    for (settings, is_kept) in [
        (String::new(), false),
        (connection("another", REFRESHED, Dialect::Google), false),
        ("[[connection]]\nname = \"google-oauth2\"\nassumed_ttl = \"1h\"\n".into(), false),
        (google(), true),
    ] {
        let tenant = in_memory::tenant(TenantOptions::default());
        put_users(&tenant.0, &refresh_token);
        let world = world_beside(tenant, &settings, nobody()).await;
        let with_one = weight(&world, "google-oauth2|with-one").await;
        let without = weight(&world, "google-oauth2|none-yet").await;
        let differs = with_one.saturating_sub(without);
        assert_eq!(differs >= 10_000, is_kept, "{settings}: {with_one} bytes, {without} without");
        assert!(is_kept || with_one == without, "{settings}: {with_one} bytes, {without} without");
    }
}

/// What Auth0 has never sent so far must not cost a token either.
#[tokio::test(start_paused = true)]
async fn a_refresh_token_of_any_form_is_passed_over() {
    for refresh_token in [json!(7), json!({ "a": [1, null] }), json!(["r"]), json!(true), json!("\u{fdd0}")] {
        for settings in [String::new(), google()] {
            let tenant = in_memory::tenant(TenantOptions::default());
            put_users(&tenant.0, &refresh_token);
            let world = world_beside(tenant, &settings, nobody()).await;
            let got = world.get(&World::path("google-oauth2|with-one")).await;
            assert_eq!((got.status.as_u16(), text(&got, "source")), (200, "identities".into()));
        }
    }
}
