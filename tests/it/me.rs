//! `/v1/me`: whose own tokens are accepted, why others are not, and when the tenant is asked for its keys.

mod keys;
mod tokens;

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use cloakroom::fake_auth0::{Endpoint, Tenant, TenantOptions, users};
use hyper::Request;
use jsonwebtoken::Header;
use serde_json::{Value, json};

use crate::support::world::{Got, World};

/// The client id of an application, whose ID tokens are for it.
const APP: &str = "3Xk9";
const API: &str = "https://api.acme.example";
const SETTINGS: &str = "[me]\naudiences = [\"https://api.acme.example\", \"3Xk9\"]";

const HEADER: (&str, &str) = ("cloakroom-request", "true");
const SECOND: Duration = Duration::from_secs(1);

const MINUTE: Duration = Duration::from_secs(60);

async fn world() -> World {
    world_with(TenantOptions::default(), "").await
}

async fn world_with(options: TenantOptions, more: &str) -> World {
    let world = World::simulated(options, &format!("{SETTINGS}\n{more}")).await;
    world.ready().await;
    world
}

impl World {
    async fn me(&self, token: &str) -> Got {
        self.me_at("/v1/me/token", token).await
    }

    async fn me_at(&self, path: &str, token: &str) -> Got {
        self.send("GET", path, &[HEADER, ("authorization", &format!("Bearer {token}"))]).await
    }

    /// The access token that `user` gets at a login for our API.
    fn session(&self, user: &str) -> String {
        self.tenant.user_token(user, API, 24 * 60 * MINUTE).unwrap()
    }

    /// A good session's claims, with `change` laid over them.
    fn claims(&self, change: Value) -> Value {
        let now = self.clock.now().wall.as_secs();
        let mut claims = json!({
            "iss": "https://localhost/", "sub": users::GOOGLE, "aud": API, "iat": now, "exp": now + 3600,
        });
        for (name, value) in change.as_object().unwrap() {
            match value {
                Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
                value => claims[name] = value.clone(),
            }
        }
        claims
    }

    fn signed(&self, change: Value) -> String {
        self.tenant.sign(&self.claims(change)).unwrap()
    }

    fn signed_as(&self, change: impl FnOnce(&mut Header)) -> String {
        self.tenant.sign_as(change, &self.claims(json!({}))).unwrap()
    }

    fn key_calls(&self) -> usize {
        self.tenant.calls_to(Endpoint::Keys).len()
    }
}

/// 401 with everything that belongs to it, and nothing of the token; its detail.
fn refusal(got: &Got, token: &str) -> String {
    assert_eq!(got.problem(), (401, "invalid_user_token".into()));
    assert_eq!(got.header("www-authenticate"), Some("Bearer error=\"invalid_token\""));
    let said = String::from_utf8_lossy(&got.body);
    for part in token.split('.').filter(|part| part.len() > 4) {
        assert!(!said.contains(part), "{part} is quoted: {said}");
    }
    got.detail()
}

/// The published key in use, as JSON.
async fn published(tenant: &Tenant) -> Value {
    let request = Request::get("/.well-known/jwks.json").body(Bytes::new()).unwrap();
    let reply = tenant.answer(request).await;
    serde_json::from_slice::<Value>(reply.response.body()).unwrap()["keys"][0].clone()
}

fn encoded(part: &Value) -> String {
    URL_SAFE_NO_PAD.encode(part.to_string())
}
