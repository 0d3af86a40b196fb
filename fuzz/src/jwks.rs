//! The key set that a tenant publishes.

use std::cell::OnceCell;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use cloakroom::clock::Clock;
use cloakroom::config::{self, Env};
use cloakroom::domain::freshness::Timestamp;
use cloakroom::domain::source::SourceOrders;
use cloakroom::secret::TagKey;
use cloakroom::telemetry::Counters;
use cloakroom::transport::response::Answer;
use cloakroom::transport::{Sending, Transport};
use cloakroom::upstream::{Auth0, Parts};
use cloakroom::user_token::KeySource;
use cloakroom::user_token::jwt::Jwt;
use http_body_util::Full;
use hyper::{Request, StatusCode};
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::upstream::{Input, tells_nothing, text};
use crate::user_token::encoded;

/// No retries: each would be answered in the same way.
const CONFIGURATION: &str = "tenant = { domain = \"tenant.example\", audience = \"https://tenant.example/api/v2/\", \
                             client = { id = \"x\", secret = \"x\" } }\nupstream = { max_retries = 0 }";

/// As many are looked at.
const MOST: usize = 64;

struct Reader {
    runtime: Runtime,
    auth0: Auth0,
    /// What the tenant answers next.
    next: Arc<Next>,
}

struct Next(Mutex<Option<Answer>>);

impl Transport for Next {
    fn send(&self, _: Request<Full<Bytes>>) -> Sending<'_> {
        let answer = self.0.lock().unwrap().take().unwrap();
        Box::pin(async move { Ok(answer) })
    }
}

thread_local! {
    static READER: OnceCell<Reader> = const { OnceCell::new() };
}

/// An answer to a request for the key set.
pub fn read(data: &[u8]) {
    let Input { answer, .. } = Input::read(data);
    let (status, body) = (answer.status, answer.body.clone());
    let outcome = READER.with(|reader| {
        let reader = reader.get_or_init(Reader::new);
        *reader.next.0.lock().unwrap() = Some(answer);
        reader.runtime.block_on(async {
            // Longer than any gate stays closed.
            tokio::time::sleep(std::time::Duration::from_secs(120)).await;
            reader.auth0.fetch().await
        })
    });
    let fetched = match outcome {
        Ok(fetched) => fetched,
        Err(unavailable) => return tells_nothing(&unavailable.failure),
    };
    assert_eq!(status, StatusCode::OK);
    // What no type of JSON holds is skipped where it stands in what is not read.
    let Ok(body) = serde_json::from_slice::<Value>(&body) else { return };
    let sent = body["keys"].as_array().unwrap();
    let is_sent =
        |id: &str| sent.iter().any(|key| text(&key["kid"]).as_deref() == Some(id) && is_for_signatures(key));
    let mut found = 0;
    for key in sent {
        let Some(id) = text(&key["kid"]) else { continue };
        let Some(key) = fetched.keys.find(&id) else { continue };
        found += 1;
        assert!(is_sent(&id), "{body}");
        let header = serde_json::json!({ "alg": "RS256", "kid": id });
        let token = [encoded(header.to_string().as_bytes()), encoded(b"{}"), encoded(&[0x55; 256])].join(".");
        // Not to be read if the id is no text for JSON.
        if let Ok(jwt) = Jwt::parse(&token) {
            assert!(jwt.check(&key).is_err(), "anything is taken for a signature");
        }
    }
    assert!(found > 0, "a key set without a key");
    assert!(
        fetched.keys.find("").is_none() && fetched.keys.find("no such key at all").is_none()
            || sent.len() > MOST
    );
}

fn is_for_signatures(key: &Value) -> bool {
    let is =
        |name: &str, wanted: &[&str]| text(&key[name]).is_none_or(|text| wanted.contains(&text.as_str()));
    let is_rsa = key["kty"] == "RSA" && is("use", &["sig"]) && is("alg", &["RS256", "PS256"]);
    is_rsa
        && text(&key["n"]).is_some_and(|n| n.len() >= 342)
        && text(&key["e"]).is_some_and(|e| !e.is_empty())
}

impl Reader {
    fn new() -> Self {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let config = config::parse("f.toml", CONFIGURATION, &Env::default()).unwrap().config;
        let next = Arc::new(Next(Mutex::new(None)));
        let auth0 = runtime.block_on(async {
            let parts = Parts {
                transport: next.clone(),
                clock: Clock::simulated(Timestamp::parse("2026-11-22T10:00:00Z").unwrap()),
                tags: TagKey::random().unwrap(),
                counters: Arc::new(Counters::default()),
                orders: SourceOrders::default(),
                seed: 7,
            };
            Auth0::new(&config.tenant, &config.client, config.upstream, parts)
        });
        Self { runtime, auth0, next }
    }
}
