//! The states that an entry may be in when a lookup comes, and how it gets there.

use std::time::Duration;

use cloakroom::fake_auth0::{TenantOptions, users};

use crate::support::world::World;

const MINUTE: Duration = Duration::from_secs(60);

/// Whom nobody but a fault from before is about.
pub const SOMEBODY_ELSE: &str = users::JOHN;

/// The user of every cell. Its token is alive for not quite an hour from the start.
pub const USER: &str = users::GOOGLE;

/// That user's token at the start.
const OLD: &str = "ya29.demo-foo";

/// The defaults, but that an unknown user is remembered until the Management token may have died.
const SETTINGS: &str = "[cache.negative]\nuser_not_found = \"3m\"";

/// So short that a Management token is dead in whatever state the entry is, and so long that its keeper, whose timers
/// are real, does not renew it while a cell is tried.
const SHORT_LIFE: Duration = Duration::from_secs(100);

/// What is held of the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing.
    None,
    /// A token, asked for a moment ago.
    Fresh,
    /// A token that it is time to refresh ahead.
    Due,
    /// A token that is alive, but was asked for longer ago than `cache.max_ttl`.
    Stale,
    /// A token that is over.
    Expired,
    /// That there is no such user.
    Negative,
}

impl State {
    pub const ALL: [Self; 6] =
        [Self::None, Self::Fresh, Self::Due, Self::Stale, Self::Expired, Self::Negative];

    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Fresh => "fresh",
            Self::Due => "due",
            Self::Stale => "stale",
            Self::Expired => "expired",
            Self::Negative => "negative",
        }
    }

    /// How long ago Auth0 was asked, given `max_ttl` of ten minutes, of which the last two are for refreshing ahead.
    fn age(self) -> Duration {
        match self {
            Self::None | Self::Fresh | Self::Negative => 2 * MINUTE,
            Self::Due => 9 * MINUTE,
            Self::Stale => 11 * MINUTE,
            Self::Expired => 60 * MINUTE,
        }
    }

    /// A daemon that holds an entry in this state, in front of a tenant that is well and knows of a newer token; and
    /// that token. `dead` is whether the Management token has died meanwhile.
    pub async fn world(self, dead: bool, seed: u64) -> (World, String) {
        let mut options = TenantOptions::default();
        let for_a_day = options.token_lifetime;
        if dead {
            options.token_lifetime = SHORT_LIFE;
        }
        let world = World::over_tls_simulated(options, SETTINGS, seed).await;
        world.ready().await;
        world.tenant.set_token_lifetime(for_a_day);

        let path = World::path(USER);
        match self {
            Self::None => {}
            Self::Negative => {
                let user = world.tenant.remove_user(USER).unwrap();
                assert_eq!(world.get(&path).await.problem(), (404, "user_not_found".into()));
                assert!(world.tenant.put_user(user));
            }
            Self::Fresh | Self::Due | Self::Stale | Self::Expired => {
                let first = world.get(&path).await;
                assert_eq!(first.header("cloakroom-cache"), Some("miss"), "{first:?}");
                assert_eq!(first.json()["access_token"], OLD);
            }
        }
        world.pass(self.age());
        let new = world.tenant.login(USER, "google-oauth2").unwrap();
        assert_ne!(new, OLD);
        assert_eq!(world.running.services().management.is_valid(), !dead);
        world.tenant.forget_calls();
        (world, new)
    }
}
