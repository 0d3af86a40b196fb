//! The daemon's library with a tenant in memory, so that a million users can be remembered within seconds: the same
//! runtime and the same allocator as the program's, and nothing else that differs from it but where profiles come from.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use cloakroom::app::transports::Transports;
use cloakroom::app::{self, Deps};
use cloakroom::cache::{LookupOptions, Query};
use cloakroom::clock::Clock;
use cloakroom::config::{self, AuditEvents, Env};
use cloakroom::domain::priority::Flow;
use cloakroom::domain::user::{Selector, UserId};
use cloakroom::process::notify::ServiceManager;
use cloakroom::transport::response::Answer;
use cloakroom::transport::{Sending, Transport};
use http_body_util::Full;
use hyper::{HeaderMap, Request, StatusCode};

/// Bytes of a token, so that an answer has some 500 bytes.
pub const TOKEN: usize = 200;

/// Bytes of an id.
pub const ID: usize = "google-oauth2|1035479915".len() + 11;

/// The id of the `number`th user.
pub fn user(number: usize) -> String {
    format!("google-oauth2|1035479915{number:011}")
}

/// What Auth0 says of a user with a token of this length: the id, and the texts of its identity.
pub fn texts(token: usize) -> usize {
    ID + "google-oauth2".len() * 2 + ID - "google-oauth2|".len() + token
}

/// Remembers `users` users with tokens of this length, then serves for ever.
pub fn serve(socket: &Path, users: usize, token: usize) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().event_interval(8).build().unwrap();
    runtime.block_on(async {
        let directory = tempfile::tempdir().unwrap();
        let secret = directory.path().join("secret");
        std::fs::write(&secret, "secret").unwrap();
        std::fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        // Under another name until everybody is remembered: whoever waits for the socket finds everything in place.
        let early = socket.with_extension("early");
        let text = format!(
            "[tenant]\ndomain = \"tenant.auth0.com\"\n[tenant.client]\nid = \"x\"\nsecret_file = {secret:?}\n\
             [cache]\nmax_bytes = \"64GiB\"\nmax_ttl = \"24h\"\nrefresh_ahead = 0\n\
             [[listener]]\npath = {early:?}\n[[listener.allow]]\nuid = {}\n",
            nix::unistd::geteuid()
        );
        let mut config = config::parse("bench", &text, &Env::default()).unwrap().config;
        config.upstream.requests_per_second = 1e9;
        config.upstream.burst = 1_000_000_000;
        config.upstream.max_concurrency = 1_000_000;
        let (clock, transport, manager) =
            (Clock::system(), Arc::new(Memory { token }), ServiceManager::none());
        let deps = Deps { clock, transports: Transports::only(transport), seed: 7, source: None, manager };
        let running = app::start(&config, deps).await.unwrap();
        running.services().management.obtained().await;
        running.services().audit.reconfigure(AuditEvents::None);
        for number in 0..users {
            let user = UserId::parse(&user(number)).unwrap();
            let cache = &running.services().cache;
            let (selector, options) = (Selector::default(), LookupOptions::default());
            cache.look_up(Query { user, selector, options }, Flow::Daemon).await.unwrap();
        }
        running.services().audit.reconfigure(AuditEvents::Notable);
        std::fs::rename(early, socket).unwrap();
        std::future::pending::<()>().await;
    });
}

/// A tenant that answers at once, with tokens of this length.
struct Memory {
    token: usize,
}

impl Transport for Memory {
    fn send(&self, request: Request<Full<Bytes>>) -> Sending<'_> {
        let path = request.uri().path().to_owned();
        Box::pin(async move {
            let body = match path.rsplit('/').next() {
                Some("token") => r#"{"access_token":"x","expires_in":86400,"token_type":"Bearer","scope":"read:users read:user_idp_tokens"}"#.to_owned(),
                Some(segment) => {
                    let id = segment.replace("%7C", "|");
                    let own = id.split('|').nth(1).unwrap();
                    let login = Clock::system().now().wall;
                    let token = "x".repeat(self.token);
                    format!(
                        r#"{{"user_id":"{id}","last_login":"{login}","identities":[{{"provider":"google-oauth2","connection":"google-oauth2","user_id":"{own}","isSocial":true,"access_token":"{token}","expires_in":86000}}]}}"#
                    )
                }
                None => unreachable!(),
            };
            Ok(Answer { status: StatusCode::OK, headers: HeaderMap::new(), body: body.into() })
        })
    }
}
