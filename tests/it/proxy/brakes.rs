//! A client that provokes refusals of its user's tokens for ten minutes, in virtual time: what Auth0 and the provider are
//! asked meanwhile, and what other users notice.

use std::time::Duration;

use cloakroom::fake_auth0::users;
use tokio::time::{Instant, sleep};

use super::desk::{Desk, DeskOptions, SECOND};
use super::*;

const MINUTES: usize = 10;

const RENEWED: &str = "sources = [\"identities\", \"refresh\"]\n[connection.refresh]\nprovider = \"google\"\n\
                       client_id = \"demo-connection\"\nsecret_file = \"{dir}/connection-secret\"";

impl Desk {
    /// How long the first call for a user takes whom the daemon does not know.
    async fn first_call(&self, number: usize) -> Duration {
        let user = format!("google-oauth2|other-{number}");
        let identity = json!({
            "provider": GOOGLE, "connection": GOOGLE, "user_id": "1", "isSocial": true,
            "access_token": format!("ya29.other-{number}"), "expires_in": 3600,
        });
        let login = self.world.tenant_clock.now().wall.to_string();
        let profile = json!({ "user_id": user, "last_login": login, "identities": [identity] });
        assert!(self.world.tenant.put_user(profile));
        let begun = Instant::now();
        let got = self.call(&user, "/me").await;
        assert_eq!(got.status, 200, "{got:?}");
        begun.elapsed()
    }

    /// How often Auth0 is asked for users, and the provider for a token, while the client provokes a refusal each second.
    /// Before each, `renew` may bring the user another token.
    async fn provoked(&self, user: &str, renew: impl Fn(usize)) -> [usize; 2] {
        let counts = || [self.world.user_calls(), self.provider.redemptions().len()];
        let calm = self.first_call(0).await;
        let before = counts();
        for minute in 1..=MINUTES {
            for second in 0..60 {
                renew(60 * minute + second);
                let got = self.call(user, "/refuse/standard-dead").await;
                assert!([401, 410].contains(&got.status.as_u16()), "{got:?}");
                sleep(SECOND).await;
            }
            assert_eq!(self.first_call(minute).await, calm, "another user's call waits");
        }
        let after = counts();
        // One for each of the other users.
        [after[0] - before[0] - MINUTES, after[1] - before[1]]
    }
}

/// Of each minute: the token that is dropped, and the one that replaces it.
const MOST: usize = 2 * MINUTES + 1;

#[tokio::test(start_paused = true)]
async fn refusals_provoked_with_another_token_each_time_ask_auth0_twice_a_minute() {
    let desk = Desk::new(DeskOptions::default()).await;
    let log_in = |number| desk.log_in(users::GOOGLE, &format!("ya29.number-{number}"));
    let [asked, redeemed] = desk.provoked(users::GOOGLE, log_in).await;
    println!("{asked} user calls, {redeemed} redemptions, {} calls", desk.api.calls().len());
    assert!((MINUTES..=MOST).contains(&asked), "{asked}");
    assert_eq!(redeemed, 0);
}

#[tokio::test(start_paused = true)]
async fn refusals_provoked_of_renewed_tokens_redeem_twice_a_minute() {
    let desk = Desk::new(DeskOptions { connection: RENEWED, ..DeskOptions::default() }).await;
    let [asked, redeemed] = desk.provoked(users::EXPIRED, |_| ()).await;
    println!("{asked} user calls, {redeemed} redemptions, {} calls", desk.api.calls().len());
    assert!((1..=MOST).contains(&redeemed), "{redeemed}");
    assert!(asked <= MOST, "{asked}");
}
