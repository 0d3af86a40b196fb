//! A client that provokes refusals of its user's tokens for ten minutes, in virtual time: what Auth0 and the provider are
//! asked meanwhile, and what other users notice.

use std::sync::Arc;
use std::time::Duration;

use cloakroom::fake_auth0::provider::{Dialect, FakeProvider, ProviderOptions};
use cloakroom::fake_auth0::users;
use cloakroom::transport::streaming::{BodyError, Opening, StreamBody, StreamingTransport};
use http_body_util::BodyExt;
use hyper::Request;
use tokio::time::{Instant, sleep};

use super::*;
use crate::support::configuration::write_private;
use crate::support::in_memory;

const SECOND: Duration = Duration::from_secs(1);
const MINUTES: usize = 10;

/// Carries calls to the API without a socket.
struct ApiInMemory(FakeApi);

impl StreamingTransport for ApiInMemory {
    fn open(&self, request: Request<StreamBody>) -> Opening<'_> {
        Box::pin(async {
            let answer = self.0.answer(request).await;
            Ok(answer.map(|body| body.map_err(|_| BodyError::Broken).boxed_unsync()))
        })
    }
}

const RENEWED: &str = "sources = [\"identities\", \"refresh\"]\n[connection.refresh]\nprovider = \"google\"\n\
                       client_id = \"demo-connection\"\nsecret_file = \"{dir}/connection-secret\"";

struct Desk {
    world: World,
    api: FakeApi,
    provider: FakeProvider,
}

impl Desk {
    /// A connection with these `keys`.
    async fn new(keys: &str) -> Self {
        let tenant = in_memory::tenant(TenantOptions::default());
        let provider = FakeProvider::beside(&tenant.0, ProviderOptions::of(Dialect::Google));
        provider.adopt(&tenant.0, GOOGLE);
        let api = FakeApi::beside(&tenant.0, ApiOptions { accepts_any: true, ..ApiOptions::default() });
        let directory = tempfile::tempdir().unwrap();
        write_private(&directory.path().join("connection-secret"), "demo-connection-secret");
        let settings = format!(
            "[[connection]]\nname = {GOOGLE:?}\n{keys}\n\
             [[proxy]]\nconnection = {GOOGLE:?}\nname = \"api\"\nurl = \"https://api.example\"\n\
             [[listener]]\npath = \"{{dir}}/run/api.sock\"\nmode = \"0600\"\n\
             [[listener.allow]]\nuid = {}\noperations = [\"proxy\", \"token\"]\ncalls = [\"GET api/**\"]\n",
            nix::unistd::geteuid(),
        );
        let apis: Arc<dyn StreamingTransport> = Arc::new(ApiInMemory(api.clone()));
        let world = World::before_apis(directory, tenant, &provider, Some(apis), &settings).await;
        world.ready().await;
        Self { world, api, provider }
    }

    async fn call(&self, user: &str, tail: &str) -> Got {
        self.world.send("GET", &path(user, tail), MEANT).await
    }

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
    let desk = Desk::new("").await;
    let log_in = |number| {
        let tokens = json!({ "access_token": format!("ya29.number-{number}"), "expires_in": 3600 });
        assert!(desk.world.tenant.log_in_with(users::GOOGLE, GOOGLE, tokens));
    };
    let [asked, redeemed] = desk.provoked(users::GOOGLE, log_in).await;
    println!("{asked} user calls, {redeemed} redemptions, {} calls", desk.api.calls().len());
    assert!((MINUTES..=MOST).contains(&asked), "{asked}");
    assert_eq!(redeemed, 0);
}

#[tokio::test(start_paused = true)]
async fn refusals_provoked_of_renewed_tokens_redeem_twice_a_minute() {
    let desk = Desk::new(RENEWED).await;
    let [asked, redeemed] = desk.provoked(users::EXPIRED, |_| ()).await;
    println!("{asked} user calls, {redeemed} redemptions, {} calls", desk.api.calls().len());
    assert!((1..=MOST).contains(&redeemed), "{redeemed}");
    assert!(asked <= MOST, "{asked}");
}
