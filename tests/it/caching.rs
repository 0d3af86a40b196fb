//! What is promised about the cache and the Management token, in virtual time: a minute or a day passes in no
//! time, and every figure is exact.

mod budget;
mod forgetting;
mod lookups;
mod management_token;
mod outages;

use std::time::Duration;

use cloakroom::domain::error::{LookupError, Unavailable};
use cloakroom::fake_auth0::TenantOptions;
use serde_json::json;

use crate::support::world::World;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

async fn world(settings: &str) -> World {
    let world = World::simulated(TenantOptions::default(), settings).await;
    world.ready().await;
    world
}

impl World {
    /// The state of an answer, or the error's name.
    async fn state(&self, user: &str) -> &'static str {
        match self.look_up(user).await {
            Ok((_, state)) => state,
            Err(LookupError::LoginRequired { .. }) => "login_required",
            Err(LookupError::UserNotFound) => "user_not_found",
            Err(LookupError::UserBlocked) => "user_blocked",
            Err(LookupError::NoToken { .. }) => "no_token",
            Err(LookupError::Unavailable(_)) => "unavailable",
            Err(other) => panic!("{other:?}"),
        }
    }
}

fn failure(why: LookupError) -> Unavailable {
    match why {
        LookupError::Unavailable(unavailable) => unavailable,
        other => panic!("{other:?}"),
    }
}

/// A user with one token that does not say when it dies.
fn with_token(user: &str) -> serde_json::Value {
    let identity = json!({"connection": "c", "provider": "p", "user_id": "1", "access_token": "t"});
    json!({"user_id": user, "identities": [identity]})
}
