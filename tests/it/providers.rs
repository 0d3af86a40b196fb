//! The client of identity providers: what answers mean, how often a provider is asked, and what never leaves.

mod daemon;
mod fixtures;
mod forms;
mod redeeming;
mod rows;
mod scripted;
mod tls;
mod troubles;

use std::sync::Arc;
use std::time::Duration;

use cloakroom::config::{self, Connection, Refresh, TokenEndpoint};
use cloakroom::domain::freshness::{Moment, Timestamp};
use cloakroom::domain::provider::{Endpoint, Provider};
use cloakroom::domain::source::{Redemption, Rotation, Source, SourceFailure, SourceOrder};
use cloakroom::providers::wire;
use cloakroom::secret::Secret;
use cloakroom::transport::response::{Answer, Timing};
use hyper::header::{HeaderMap, HeaderName, HeaderValue};

/// A client at a built-in provider, as a connection without overrides has it.
fn refresh(provider: &str) -> Refresh {
    let provider = Provider::named(provider).unwrap();
    let url = match provider.token_endpoint {
        Endpoint::At(url) => url,
        Endpoint::Like(_) => "https://provider.example/token",
    };
    Refresh {
        provider,
        client_id: "client:1".to_owned(),
        secret: Arc::new(Secret::new("canary-secret")),
        secret_file: "/run/secret".into(),
        previous_secret: None,
        previous_secret_file: None,
        token_endpoint: TokenEndpoint::parse(url).unwrap(),
        client_auth: provider.client_auth,
        scope: None,
        rotation: provider.rotation,
        grace: provider.grace,
    }
}

/// The same client, by another rotation.
fn rotating(provider: &str, rotation: Rotation) -> Refresh {
    Refresh { rotation, ..refresh(provider) }
}

fn connection(refresh: &Arc<Refresh>) -> Connection {
    Connection {
        name: "con".into(),
        sources: SourceOrder::new(&[Source::Identities, Source::Refresh]).unwrap(),
        assumed_ttl: None,
        refresh: Some(Arc::clone(refresh)),
    }
}

fn settings() -> config::Providers {
    config::Providers {
        extra_roots: Vec::new(),
        proxy: config::Proxy::default(),
        connect_timeout: Duration::from_secs(2),
        request_timeout: Duration::from_secs(5),
        requests_per_second: 20.0,
        burst: 40,
    }
}

fn answer(status: u16, headers: &[(&'static str, &str)], body: &str) -> Answer {
    let header = |(name, value): &(&'static str, &str)| {
        (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
    };
    Answer {
        status: hyper::StatusCode::from_u16(status).unwrap(),
        headers: headers.iter().map(header).collect::<HeaderMap>(),
        body: body.to_owned().into(),
    }
}

/// 2026-11-29T12:00:00Z, when every answer of these tests arrives.
const NOW: i64 = 1_795_953_600;

fn read(provider: &str, answer: &Answer) -> Redemption {
    let now = Moment { wall: Timestamp::from_secs(NOW), elapsed: Duration::from_secs(1_000) };
    wire::redemption(&refresh(provider), answer, Timing { sent: now, received: now })
}

/// A redemption in a line. Hosts are left out, and so is what a wait is if there is none.
fn said(redemption: &Redemption) -> String {
    match redemption {
        Redemption::Issued { token, refresh_token } => {
            let expires = token.expires_in.map_or("-".to_owned(), |span| span.as_secs().to_string());
            format!(
                "issued {} refresh {} expires {expires} scopes {}",
                token.access_token.expose(),
                refresh_token.as_ref().map_or("-", |token| token.expose()),
                token.scopes.as_deref().unwrap_or("-"),
            )
        }
        Redemption::Over(reason) => format!("over {}", reason.as_str()),
        Redemption::Misconfigured(fault) => format!("misconfigured {fault:?}"),
        Redemption::Failed { failure, retry_after, processed } => {
            let what = match failure {
                SourceFailure::TimedOut { .. } => "timed out".to_owned(),
                SourceFailure::Unreachable { .. } => "unreachable".to_owned(),
                SourceFailure::Throttled { .. } => "throttled".to_owned(),
                SourceFailure::Status { status, .. } => format!("status {status}"),
                SourceFailure::Malformed { what, .. } => format!("malformed: {what}"),
                other => format!("{other:?}"),
            };
            let wait = match retry_after.as_secs() {
                0 => String::new(),
                secs => format!(" wait {secs}"),
            };
            format!("failed {what}, processed {processed:?}{wait}")
        }
    }
}
