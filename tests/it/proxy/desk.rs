//! A daemon, its tenant, a provider and an API that are joined in memory, so that time can be virtual.

use std::sync::Arc;
use std::time::Duration;

use cloakroom::fake_auth0::provider::{Dialect, FakeProvider, ProviderOptions};
use cloakroom::fake_auth0::users;
use cloakroom::secret::Secret;
use cloakroom::transport::streaming::{BodyError, Opening, StreamBody, StreamingTransport};
use http_body_util::BodyExt;
use hyper::Request;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::sync::Barrier;

use super::*;
use crate::support::configuration::write_private;
use crate::support::in_memory;

pub const SECOND: Duration = Duration::from_secs(1);

/// Carries calls to the API without a socket, this many at a time.
struct ApiInMemory(FakeApi, Barrier);

impl StreamingTransport for ApiInMemory {
    fn open(&self, request: Request<StreamBody>) -> Opening<'_> {
        Box::pin(async {
            self.1.wait().await;
            let answer = self.0.answer(request).await;
            Ok(answer.map(|body| body.map_err(|_| BodyError::Broken).boxed_unsync()))
        })
    }
}

/// What differs between the desks of the tests.
#[derive(Default)]
pub struct DeskOptions<'a> {
    /// Keys of the `[[connection]]`.
    pub connection: &'a str,
    /// Keys of the `[[proxy]]`.
    pub proxy: &'a str,
    /// Keys of the `[[listener.allow]]`, and further tables.
    pub rule: &'a str,
    /// The path below which the API's routes are.
    pub prefix: &'a str,
    /// How many calls have to be there before the API receives any of them, if more than one.
    pub at_once: usize,
}

pub struct Desk {
    pub world: World,
    pub api: FakeApi,
    pub provider: FakeProvider,
}

impl Desk {
    pub async fn new(DeskOptions { connection, proxy, rule, prefix, at_once }: DeskOptions<'_>) -> Self {
        let tenant = in_memory::tenant(TenantOptions::default());
        tenant.0.register_application("ops", Secret::new("ops-secret"), &["read:users"]);
        let provider = FakeProvider::beside(&tenant.0, ProviderOptions::of(Dialect::Google));
        provider.adopt(&tenant.0, GOOGLE);
        let options = ApiOptions { accepts_any: true, prefix: prefix.to_owned(), ..ApiOptions::default() };
        let api = FakeApi::beside(&tenant.0, options);
        let directory = tempfile::tempdir().unwrap();
        write_private(&directory.path().join("connection-secret"), "demo-connection-secret");
        let settings = format!(
            "[[connection]]\nname = {GOOGLE:?}\n{connection}\n\
             [[proxy]]\nconnection = {GOOGLE:?}\nname = \"api\"\nurl = \"https://api.example\"\n{proxy}\n\
             [[listener]]\npath = \"{{dir}}/run/api.sock\"\nmode = \"0600\"\nmax_streams = {MAX_STREAMS}\n\
             [[listener.allow]]\nuid = {}\noperations = [\"proxy\", \"token\"]\ncalls = {ALL:?}\n{rule}\n",
            nix::unistd::geteuid(),
        );
        let apis: Arc<dyn StreamingTransport> = Arc::new(ApiInMemory(api.clone(), Barrier::new(at_once)));
        let world = World::before_apis(directory, tenant, &provider, Some(apis), &settings).await;
        world.ready().await;
        Self { world, api, provider }
    }

    pub async fn call(&self, user: &str, tail: &str) -> Got {
        self.world.send("GET", &path(user, tail), MEANT).await
    }

    /// The only request that has reached the API.
    pub fn only_call(&self) -> ApiCall {
        only(self.api.calls())
    }

    /// The user logs in, and Auth0 stores this token.
    pub fn log_in(&self, user: &str, token: &str) {
        let tokens = json!({ "access_token": token, "expires_in": 3600 });
        assert!(self.world.tenant.log_in_with(user, GOOGLE, tokens));
    }

    /// A connection on which a call was begun: with further lines of its head, and `rest` after them.
    pub async fn begin(&self, method: &str, tail: &str, rest: &str) -> UnixStream {
        self.begin_at(method, &path(users::GOOGLE, tail), rest).await
    }

    /// The same of a request for this path.
    pub async fn begin_at(&self, method: &str, path: &str, rest: &str) -> UnixStream {
        let mut stream = UnixStream::connect(&self.world.socket).await.unwrap();
        let text =
            format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\ncloakroom-request: true\r\n{rest}");
        stream.write_all(text.as_bytes()).await.unwrap();
        stream
    }

    /// Waits until `condition` holds of the API's only call, without letting virtual time pass: it would pass while
    /// bytes are in the kernel.
    pub async fn until(&self, condition: impl Fn(&ApiCall) -> bool) {
        while !self.api.calls().first().is_some_and(&condition) {
            tokio::task::yield_now().await;
        }
    }
}
