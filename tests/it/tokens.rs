//! What is known of a token outlives the answer that told it: that it was refused, when it is over, and for how long
//! the machine's clocks stood still meanwhile. In virtual time.

mod expiries;
mod lost_time;
mod reports;

use std::time::Duration;

use cloakroom::cache::{LookupOptions, ReportOutcome};
use cloakroom::domain::error::LookupError;
use cloakroom::domain::priority::Flow;
use cloakroom::domain::source::OverReason;
use cloakroom::domain::user::{Selector, UserId};
use cloakroom::fake_auth0::TenantOptions;
use cloakroom::secret::Tag;
use serde_json::json;

use crate::support::world::{FLOW, Looked, World, query};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

const HOUR: Duration = Duration::from_secs(3_600);

async fn world(settings: &str) -> World {
    let world = World::simulated(TenantOptions::default(), settings).await;
    world.ready().await;
    world
}

fn is_refused(looked: &Looked) -> bool {
    matches!(looked, Err(LookupError::LoginRequired { reason: OverReason::Reported, .. }))
}

fn is_over(looked: &Looked) -> bool {
    matches!(looked, Err(LookupError::LoginRequired { reason: OverReason::Expired, .. }))
}

fn of(connection: &str) -> Selector {
    Selector { connection: Some(connection.into()), ..Selector::default() }
}

impl World {
    /// The name of `user`'s token, for which Auth0 may be asked.
    async fn fingerprint(&self, user: &str, selector: &Selector) -> Tag {
        let user = UserId::parse(user).unwrap();
        let served =
            self.cache().look_up(query(&user, selector, LookupOptions::default()), FLOW).await.unwrap();
        served.token().1.fingerprint
    }

    fn report(&self, user: &str, fingerprint: Tag) -> ReportOutcome {
        let (user, all) = (UserId::parse(user).unwrap(), Selector::default());
        self.cache().report(FLOW, &user, fingerprint, &all).unwrap()
    }

    /// What is asked of Auth0 now, for a caller who comes before anything else that the test does.
    async fn ask_afresh(&self, user: &str) -> Looked {
        let (user, all) = (UserId::parse(user).unwrap(), Selector::default());
        let served = self
            .cache()
            .look_up(query(&user, &all, LookupOptions { fresh: true, ..LookupOptions::default() }), FLOW)
            .await?;
        Ok((served.token().1.access_token.expose().to_owned(), "fresh"))
    }

    /// `user`'s expiry as callers are told it, in seconds from now.
    async fn left(&self, user: &str) -> Option<u64> {
        let (user, all) = (UserId::parse(user).unwrap(), Selector::default());
        let served = self.cache().look_up(query(&user, &all, LookupOptions::default()), FLOW).await.unwrap();
        Some(served.token().1.expires?.remaining(self.clock.now()).as_secs())
    }

    /// Other users' entries take the place of all others.
    async fn evict_all(&self) {
        let token = "t".repeat(1_000);
        for n in 0..2_400 {
            let id = format!("auth0|made-up-{n}");
            self.tenant.put_user(json!({"user_id": id, "identities": [
                {"connection": "c", "provider": "oauth2", "user_id": "1", "access_token": token}]}));
            self.look_up_as(Flow::Uid(4_000), &id, &Selector::default()).await.unwrap();
            self.cache().size();
        }
    }
}
