//! The simulated tenant, line by line: everything here is asked over real TLS, as a client would.
//!
//! Time is paused, and nothing here sets a timer, so that it stands still and dates can be compared exactly. The
//! one test that has to wait for what never comes does so on real time.

mod assertions;
mod exchanges;
mod grants;
mod https;
mod life;
mod provider;
mod reads;
mod wire;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cloakroom::clock::Clock;
use cloakroom::domain::freshness::Timestamp;
use cloakroom::fake_auth0::{CertificateKind, Listening, Tenant, TenantOptions};
use serde_json::Value;

use https::{Answer, Https};

/// A tenant, its listener, and a client that trusts it.
struct World {
    clock: Clock,
    tenant: Tenant,
    listening: Listening,
    https: Https,
}

const START: Timestamp = Timestamp::from_secs(1_800_000_000);

fn world() -> World {
    world_of(TenantOptions::default())
}

fn world_of(options: TenantOptions) -> World {
    let clock = Clock::simulated(START);
    let tenant = Tenant::new(clock.clone(), options).unwrap();
    let listening = tenant.listen(CertificateKind::Good).unwrap();
    let https = Https::new(listening.domain(), listening.ca_pem());
    World { clock, tenant, listening, https }
}

impl World {
    fn grant_form(&self) -> Vec<(&'static str, String)> {
        vec![
            ("grant_type", "client_credentials".into()),
            ("client_id", "demo-client".into()),
            ("client_secret", "demo-client-secret".into()),
            ("audience", self.tenant.audience()),
        ]
    }

    /// A grant with some fields replaced, added, or (with an empty value) left out.
    async fn grant_with(&self, changes: &[(&'static str, &str)]) -> Answer {
        let mut form = self.grant_form();
        for (name, value) in changes {
            form.retain(|(other, _)| other != name);
            form.push((name, (*value).to_owned()));
        }
        let form: Vec<_> =
            form.iter().map(|(name, value)| (*name, value.as_str())).filter(|(_, v)| !v.is_empty()).collect();
        self.https.post_form("/oauth/token", &form).await.unwrap()
    }

    async fn bearer(&self) -> String {
        let answer = self.grant_with(&[]).await;
        assert_eq!(answer.status, 200, "{:?}", answer.body);
        format!("Bearer {}", answer.json()["access_token"].as_str().unwrap())
    }

    async fn user(&self, bearer: &str, path: &str) -> Answer {
        self.https.get(&format!("/api/v2/users/{path}"), &[("authorization", bearer)]).await.unwrap()
    }
}

fn claims(jwt: &str) -> Value {
    let part = jwt.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

/// Asserts status and body exactly.
fn assert_says(answer: &Answer, status: u16, body: Value) {
    assert_eq!((answer.status.as_u16(), answer.json()), (status, body));
}
