//! A provider that answers as a test says, and notes what it is asked.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use cloakroom::clock::Clock;
use cloakroom::config::{self, Refresh};
use cloakroom::domain::error::Failure;
use cloakroom::domain::freshness::Timestamp;
use cloakroom::domain::source::{Redemption, SourceFault};
use cloakroom::providers::Providers;
use cloakroom::secret::Secret;
use cloakroom::telemetry::Counters;
use cloakroom::transport::response::Answer;
use cloakroom::transport::{Sending, Transport};
use http_body_util::Full;
use hyper::Request;
use tokio::time::Instant;

use super::{answer, connection, said};
use crate::support::exchange::whole;

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Arrived {
    pub host: String,
    pub form: Vec<(String, String)>,
    /// Whether it came over a connection of its own.
    pub is_alone: bool,
    pub at: Instant,
}

impl Arrived {
    pub fn field(&self, name: &str) -> &str {
        self.form.iter().find(|(field, _)| field == name).map_or("", |(_, value)| value)
    }
}

/// What comes back, and after how long.
pub type Reply = (Duration, Result<Answer, Failure>);

type Script = dyn Fn(&Arrived) -> Reply + Send + Sync;

/// The transport to every provider of a test.
pub struct Scripted {
    script: Mutex<Arc<Script>>,
    arrived: Mutex<Vec<Arrived>>,
}

impl Scripted {
    fn exchange(&self, request: Request<Full<Bytes>>, is_alone: bool) -> Sending<'_> {
        Box::pin(async move {
            let request = whole(request).await;
            let host = request.uri().authority().unwrap().to_string();
            let form = form_urlencoded::parse(request.body()).into_owned().collect();
            let arrived = Arrived { host, form, is_alone, at: Instant::now() };
            self.arrived.lock().unwrap().push(arrived.clone());
            let (delay, outcome) = (self.script.lock().unwrap())(&arrived);
            tokio::time::sleep(delay).await;
            outcome
        })
    }
}

impl Transport for Scripted {
    fn send(&self, request: Request<Full<Bytes>>) -> Sending<'_> {
        self.exchange(request, false)
    }

    fn send_anew(&self, request: Request<Full<Bytes>>) -> Sending<'_> {
        self.exchange(request, true)
    }
}

/// A client of providers that answer as a script says.
pub struct Bench {
    pub transport: Arc<Scripted>,
    pub providers: Providers,
    pub counters: Arc<Counters>,
}

impl Bench {
    pub fn new(
        settings: &config::Providers,
        script: impl Fn(&Arrived) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let transport =
            Arc::new(Scripted { script: Mutex::new(Arc::new(script)), arrived: Mutex::default() });
        let clock = Clock::simulated(Timestamp::parse("2026-11-29T12:00:00Z").unwrap());
        let counters = Arc::<Counters>::default();
        let providers = Providers::new(settings, transport.clone(), clock.clone(), Arc::clone(&counters), 7);
        Self { transport, providers, counters }
    }

    /// Answers in another way from now on.
    pub fn script(&self, script: impl Fn(&Arrived) -> Reply + Send + Sync + 'static) {
        *self.transport.script.lock().unwrap() = Arc::new(script);
    }

    pub async fn redeem(&self, client: &Arc<Refresh>, token: &str) -> Redemption {
        self.providers.redeem(&connection(client), client, &Secret::new(token)).await
    }

    pub fn fault(&self, client: &Arc<Refresh>) -> Option<SourceFault> {
        self.providers.fault(&connection(client), client)
    }

    pub async fn said(&self, client: &Arc<Refresh>, token: &str) -> String {
        said(&self.redeem(client, token).await)
    }

    /// Redeems this many tokens at once.
    pub async fn crowd(&self, client: &Arc<Refresh>, many: usize) -> Vec<String> {
        let all = (0..many).map(|number| {
            let (providers, client) = (self.providers.clone(), Arc::clone(client));
            async move {
                let token = Secret::new(format!("rt-{number}"));
                said(&providers.redeem(&connection(&client), &client, &token).await)
            }
        });
        let mut set = tokio::task::JoinSet::new();
        all.for_each(|one| {
            set.spawn(Box::pin(one) as Pin<Box<dyn Future<Output = String> + Send>>);
        });
        set.join_all().await
    }

    pub fn arrived(&self) -> Vec<Arrived> {
        self.transport.arrived.lock().unwrap().clone()
    }

    /// How many requests arrived since the last call.
    pub fn take(&self) -> usize {
        std::mem::take(&mut *self.transport.arrived.lock().unwrap()).len()
    }
}

/// What this status and this body come back as, at once.
pub fn at_once(status: u16, body: &str) -> Reply {
    (Duration::ZERO, Ok(answer(status, &[], body)))
}

pub fn with(headers: &[(&'static str, &str)], status: u16, body: &str) -> Reply {
    (Duration::ZERO, Ok(answer(status, headers, body)))
}

pub fn fails(failure: Failure) -> Reply {
    (Duration::ZERO, Err(failure))
}

pub const TOKEN: &str = r#"{"access_token":"at","expires_in":3600}"#;
pub const ISSUED: &str = "issued at refresh - expires 3600 scopes -";
pub const DEAD: &str = r#"{"error":"invalid_grant"}"#;
pub const WRONG_CLIENT: &str = r#"{"error":"invalid_client"}"#;
pub const REFUSED: &str = "misconfigured ProviderClient";
