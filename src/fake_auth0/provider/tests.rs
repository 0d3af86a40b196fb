//! Tests of the provider without a socket, in virtual time.

use std::time::Duration;

use hyper::header;
use serde_json::Value;

use super::*;
use crate::domain::freshness::Timestamp;
use crate::domain::source::Rotation;
use crate::fake_auth0::options::TenantOptions;
use crate::fake_auth0::{ExpiresIn, WaitHint, users};

mod dialects;
mod families;
mod faults;

const START: Timestamp = Timestamp::from_secs(1_800_000_000);
const SECOND: Duration = Duration::from_secs(1);
const USER: &str = "google-oauth2|1";

fn provider(dialect: Dialect) -> FakeProvider {
    FakeProvider::new(Clock::simulated(START), ProviderOptions::of(dialect)).unwrap()
}

/// A redemption as the provider's documentation has it.
fn redemption(provider: &FakeProvider, refresh_token: &str) -> Request<Bytes> {
    request(provider, &[("grant_type", "refresh_token"), ("refresh_token", refresh_token)])
}

/// A request of the provider's client with this form.
fn request(provider: &FakeProvider, form: &[(&str, &str)]) -> Request<Bytes> {
    let (id, secret) = provider.client();
    request_of(provider, &id, secret.expose(), form)
}

fn request_of(provider: &FakeProvider, id: &str, secret: &str, form: &[(&str, &str)]) -> Request<Bytes> {
    let dialect = provider.dialect();
    let mut body = form_urlencoded::Serializer::new(String::new());
    body.extend_pairs(form);
    let mut request = Request::post(dialect.path())
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(header::ACCEPT, "application/json");
    if dialect.client_auth() == ClientAuth::SecretBasic {
        use base64::Engine;
        let pair = base64::engine::general_purpose::STANDARD.encode(format!("{id}:{secret}"));
        request = request.header(header::AUTHORIZATION, format!("Basic {pair}"));
    } else {
        body.append_pair("client_id", id).append_pair("client_secret", secret);
    }
    request.body(body.finish().into()).unwrap()
}

async fn redeem(provider: &FakeProvider, refresh_token: &str) -> Reply {
    provider.answer(redemption(provider, refresh_token)).await
}

fn body(reply: &Reply) -> Value {
    let text = reply.response.body();
    serde_json::from_slice(text).unwrap_or_else(|why| panic!("{why}: {text:?}"))
}

fn status(reply: &Reply) -> u16 {
    reply.response.status().as_u16()
}

/// The refresh token to use after this answer to a redemption of `old`.
fn next(reply: &Reply, old: &str) -> String {
    body(reply)["refresh_token"].as_str().unwrap_or(old).to_owned()
}

/// The generations that were presented, and what was answered.
fn log(provider: &FakeProvider) -> Vec<(Option<usize>, bool, Answered)> {
    let records = provider.redemptions();
    let of = |record: &RedemptionRecord| record.position.map(|position| position.generation);
    records.iter().map(|record| (of(record), record.processed, record.answer)).collect()
}
