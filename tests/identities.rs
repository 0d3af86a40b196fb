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

use cloakroom::demo::{Endpoint, TenantOptions, users};
use serde_json::json;
use support::world::World;

async fn world() -> World {
    let world = World::simulated(TenantOptions::default(), "").await;
    world.ready().await;
    world
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
