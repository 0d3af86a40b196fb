//! Calls of a provider's API through a whole daemon: over a real socket, and over real TLS to a simulated API.

mod audit;
mod brakes;
mod calls;
mod desk;
mod errors;
mod management;
mod me;
mod refusals;
mod repetition;
mod secrecy;
mod streams;
mod targets;
mod times;
mod verdicts;

use cloakroom::clock::Clock;
use cloakroom::domain::user::UserId;
use cloakroom::fake_auth0::api::{ApiCall, ApiDialect, ApiOptions, FakeApi};
use cloakroom::fake_auth0::{CertificateKind, Listening, Tenant, TenantOptions};
use serde_json::json;

use crate::support::world::{Got, World};

const GOOGLE: &str = "google-oauth2";

/// A daemon, and an API that it may call.
struct Counter {
    world: World,
    api: FakeApi,
    /// Dropping it makes the API go away.
    _listening: Listening,
}

impl Counter {
    /// An API of Google's that clients may call in any way.
    async fn new() -> Self {
        Self::with(ApiOptions::default(), "", ALL).await
    }

    /// An API with these options, further keys of its `[[proxy]]`, and a rule with these `calls`.
    async fn with(options: ApiOptions, keys: &str, calls: &[&str]) -> Self {
        let dialect = options.dialect;
        let tenant = Tenant::new(Clock::system(), TenantOptions::default()).unwrap();
        let api = FakeApi::beside(&tenant, options);
        let (of_tenant, of_api) = [tenant.listen(CertificateKind::Good), api.listen(CertificateKind::Good)]
            .map(Result::unwrap)
            .into();
        let settings = settings(&of_api, dialect, keys, calls);
        let world = World::over_tls_before(tenant, of_tenant, tempfile::tempdir().unwrap(), &settings).await;
        world.ready().await;
        Self { world, api, _listening: of_api }
    }

    /// A call with a method, for a user, of a path.
    async fn call(&self, method: &str, user: &str, tail: &str) -> Got {
        self.world.send(method, &path(user, tail), MEANT).await
    }

    async fn get(&self, user: &str, tail: &str) -> Got {
        self.call("GET", user, tail).await
    }

    /// The only request that has reached the API.
    fn only_call(&self) -> ApiCall {
        only(self.api.calls())
    }

    /// The user logs in, and Auth0 stores this token.
    fn log_in(&self, user: &str, token: &str) {
        let tokens = json!({ "access_token": token, "expires_in": 3600 });
        assert!(self.world.tenant.log_in_with(user, GOOGLE, tokens));
    }
}

fn only(calls: Vec<ApiCall>) -> ApiCall {
    let [call] = <[ApiCall; 1]>::try_from(calls).unwrap();
    call
}

const MEANT: &[(&str, &str)] = &[("cloakroom-request", "true")];

/// Every call of the API.
const ALL: &[&str] =
    &["GET api/**", "POST api/**", "PUT api/**", "PATCH api/**", "DELETE api/**", "OPTIONS api/**"];

/// The most calls of a test at a time. The tests' own uid may have all of them.
const MAX_STREAMS: usize = 128;

fn settings(api: &Listening, dialect: ApiDialect, keys: &str, calls: &[&str]) -> String {
    let uid = nix::unistd::geteuid();
    format!(
        "[providers]\nca_file = \"{{dir}}/ca.pem\"\n\
         [[proxy]]\nconnection = \"google-oauth2\"\nname = \"api\"\nurl = \"https://{}\"\nallow_private = true\n\
         provider = {:?}\n{keys}\n\
         [[listener]]\npath = \"{{dir}}/run/api.sock\"\nmode = \"0600\"\nmax_streams = {MAX_STREAMS}\n\
         [[listener.allow]]\nuid = {uid}\noperations = [\"proxy\", \"token\", \"identities\"]\ncalls = {calls:?}\n",
        api.domain(),
        dialect.name(),
    )
}

/// The path of a call for `user`.
fn path(user: &str, tail: &str) -> String {
    let user = UserId::parse(user).unwrap().to_path_segment();
    format!("/v1/users/{user}/proxy/google-oauth2/api{tail}")
}
