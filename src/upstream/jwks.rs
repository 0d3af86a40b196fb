//! Reads the tenant's key set (JWKS), which the daemon verifies users' own tokens with.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ACCEPT, USER_AGENT};
use hyper::{Method, Request, StatusCode};
use serde::Deserialize;
use tokio::time::{Instant, timeout_at};

use crate::config::Tenant;
use crate::domain::error::{Failure, FailureClass, Stage, UNSENDABLE, Unavailable};
use crate::domain::priority::Priority;
use crate::json::Object;
use crate::json::lenient::{Few, Text};
use crate::transport::response::Answer;
use crate::user_token::keys::{Algorithm, Key, KeySet};
use crate::user_token::{FetchedKeys, FetchingKeys, KeySource};

use super::client::{Auth0, BETWEEN_ATTEMPTS, Endpoint, budget_failure, own_issuer, unavailable};
use super::wire::AGENT;

/// The path of the key set on each of a tenant's domains.
const PATH: &str = "/.well-known/jwks.json";

/// The most keys that are kept of a set, so that a set of thousands is neither stored nor searched for each token.
/// Auth0 publishes two or three.
const MOST_KEYS: usize = 64;

/// The most keys of a set that are read, whatever they are for. Further ones are skipped.
const MOST_READ: usize = 1024;

/// The cause in the failure of a key set without a usable key.
const NO_USABLE_KEY: &str = "a key set without an RSA key for signatures";

/// The values of `iss` that users' tokens may have, with a slash at the end. Auth0 names the domain on which the user's
/// session was started: `tenant.domain`, or the tenant's own domain if `tenant.domain` is a custom one.
pub fn issuers(tenant: &Tenant) -> Vec<String> {
    let own = own_issuer(&tenant.domain);
    let canonical = tenant.audience.strip_suffix("api/v2/").filter(|canonical| *canonical != own);
    let canonical = canonical.map(str::to_owned);
    std::iter::once(own).chain(canonical).collect()
}

impl KeySource for Auth0 {
    fn fetch(&self) -> FetchingKeys {
        let this = self.clone();
        Box::pin(async move { this.read_keys().await })
    }
}

impl Auth0 {
    /// Requests the key set until there is an answer, the retries are used up, or `tenant.request_timeout` has passed.
    async fn read_keys(&self) -> Result<FetchedKeys, Unavailable> {
        let (inner, reloadable) = (&self.0, self.reloadable());
        let deadline = Instant::now() + reloadable.request_timeout;
        let mut waits = BETWEEN_ATTEMPTS.waits(self.draw()).take(reloadable.max_retries as usize);
        loop {
            let timeout = deadline.saturating_duration_since(Instant::now());
            let permit = inner.budget.acquire_for_itself(Priority::Caller, timeout).await;
            let permit = permit.map_err(|error| unavailable(Stage::Keys, budget_failure(error)))?;
            inner.counters.key_requests.add();
            let request = || self.keys_request().ok_or(Failure::Malformed { what: UNSENDABLE });
            let sent = self.send(&reloadable, Endpoint::Keys, request, permit, Priority::Caller);
            let failure = match timeout_at(deadline, sent).await {
                Ok(Ok((answer, timing))) => match parse(&answer) {
                    Ok(keys) => {
                        if inner.key_outages.ends() {
                            tracing::info!("The tenant's keys can be read again");
                        }
                        return Ok(FetchedKeys { keys, sent: timing.sent });
                    }
                    Err(failure) => failure,
                },
                Ok(Err(failure)) => failure,
                Err(_) => Failure::TimedOut { host: inner.domain.clone() },
            };
            self.failed(&failure);
            if inner.key_outages.fails(&failure, inner.clock.now()) {
                tracing::warn!(why = %failure, "The tenant's keys cannot be read; cached keys stay in use");
            }
            let wait = if failure.class() == FailureClass::Passing { waits.next() } else { None };
            let wait = wait.map(|wait| wait.max(failure.asks_to_wait().unwrap_or_default()));
            let Some(next) = wait.map(|wait| Instant::now() + wait).filter(|next| *next < deadline) else {
                return Err(unavailable(Stage::Keys, failure));
            };
            tokio::time::sleep_until(next).await;
        }
    }

    fn keys_request(&self) -> Option<Request<Full<Bytes>>> {
        Request::builder()
            .method(Method::GET)
            .uri(format!("https://{}{PATH}", self.0.domain))
            .header(ACCEPT, "application/json")
            .header(USER_AGENT, AGENT)
            .body(Full::default())
            .ok()
    }
}

/// Reads a key set. Leaves out keys of other types, for other uses or of other algorithms.
fn parse(answer: &Answer) -> Result<KeySet, Failure> {
    if answer.status != StatusCode::OK {
        return Err(answer.unexpected_status());
    }
    let set: WireSet = answer.parse()?;
    let keys = set.keys.first.into_iter().filter_map(|Object(wire)| key(wire)).take(MOST_KEYS).collect();
    KeySet::new(keys).ok_or(Failure::Malformed { what: NO_USABLE_KEY })
}

fn key(wire: WireKey) -> Option<Key> {
    let is_for_signatures = wire.usage.given().is_none_or(|usage| usage == "sig");
    // A tenant may leave `alg` out. If it states one, that has to be RS256 or PS256.
    let algorithm = wire.alg.given().map(|name| Algorithm::named(name).ok_or(())).transpose().ok()?;
    let is_ours = is_for_signatures && wire.kty.as_str() == "RSA";
    is_ours.then(|| Key::rsa(wire.kid.as_str(), algorithm, wire.n.as_str(), wire.e.as_str())).flatten()
}

#[derive(Deserialize)]
struct WireSet {
    keys: Few<Object<WireKey>, MOST_READ>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WireKey {
    kty: Text,
    #[serde(rename = "use")]
    usage: Text,
    alg: Text,
    kid: Text,
    n: Text,
    e: Text,
}

#[cfg(test)]
mod tests {
    use hyper::HeaderMap;
    use serde_json::{Value, json};

    use super::*;

    fn answer(body: &Value) -> Answer {
        Answer { status: StatusCode::OK, headers: HeaderMap::new(), body: body.to_string().into() }
    }

    /// A key as Auth0 publishes one, with the members of `change` in place of its own. Its modulus is not a product of
    /// primes, which matters only when a signature is checked.
    fn published(change: Value) -> Value {
        let n = "Q".repeat(342);
        let mut key = json!({
            "alg": "RS256", "kty": "RSA", "use": "sig", "n": n, "e": "AQAB", "kid": "k",
            "x5t": "x", "x5c": ["MIIC"],
        });
        for (name, value) in change.as_object().unwrap() {
            match value {
                Value::Null => drop(key.as_object_mut().unwrap().remove(name)),
                value => key[name] = value.clone(),
            }
        }
        key
    }

    fn is_read(change: Value) -> bool {
        parse(&answer(&json!({ "keys": [published(change)] }))).is_ok_and(|keys| keys.find("k").is_some())
    }

    #[test]
    fn keys_are_taken_as_auth0_publishes_them_and_others_are_left_out() {
        for change in [json!({}), json!({"alg": null}), json!({"use": null}), json!({"alg": "PS256"})] {
            assert!(is_read(change.clone()), "{change}");
        }
        for change in [
            json!({"kty": "EC"}),
            json!({"kty": "oct", "k": "c2VjcmV0"}),
            json!({"kty": null}),
            json!({"use": "enc"}),
            json!({"alg": "RS512"}),
            json!({"alg": "HS256"}),
            json!({"alg": "RSA-OAEP"}),
            json!({"kid": null}),
            json!({"kid": ""}),
            json!({"n": null}),
            json!({"n": "Q".repeat(171)}),
            json!({"n": "A".repeat(342)}),
            json!({"n": "Q".repeat(2048)}),
            json!({"n": "not base64!"}),
            json!({"e": ""}),
        ] {
            assert!(!is_read(change.clone()), "{change}");
        }
        let mixed =
            json!({ "keys": [{}, published(json!({"kty": "EC", "kid": "e"})), published(json!({}))] });
        let keys = parse(&answer(&mixed)).unwrap();
        assert!(keys.find("k").is_some() && keys.find("e").is_none());
    }

    #[test]
    fn anything_but_a_key_set_is_malformed() {
        let failure = |body: Value| parse(&answer(&body)).unwrap_err();
        let nothing = Failure::Malformed { what: NO_USABLE_KEY };
        assert_eq!(failure(json!({ "keys": [] })), nothing);
        assert_eq!(failure(json!({ "keys": [published(json!({"kty": "EC"}))] })), nothing);
        for body in [json!({}), json!([]), json!({ "keys": {} }), json!({ "keys": [5] }), json!("keys")] {
            assert!(matches!(failure(body.clone()), Failure::Malformed { .. }), "{body}");
        }
        let mut many = vec![published(json!({"kid": "j"})); MOST_KEYS];
        many.push(published(json!({})));
        let many = json!({ "keys": many });
        assert!(parse(&answer(&many)).unwrap().find("k").is_none(), "at most MOST_KEYS are kept");
        let mut others = vec![json!({}); MOST_READ];
        others.push(published(json!({})));
        assert_eq!(failure(json!({ "keys": others })), nothing, "at most MOST_READ are read");
        let redirect = Answer { status: StatusCode::FOUND, headers: HeaderMap::new(), body: Bytes::new() };
        assert!(matches!(parse(&redirect), Err(Failure::Malformed { .. })));
    }

    #[test]
    fn the_issuers_are_the_domain_and_the_tenant_behind_it() {
        let of = |domain: &str, audience: &str| {
            let (domain, audience) = (domain.into(), audience.into());
            issuers(&Tenant {
                domain,
                is_absolute: false,
                audience,
                extra_roots: Vec::new(),
                proxy: crate::config::Proxy::default(),
                connect_timeout: std::time::Duration::from_secs(2),
                request_timeout: std::time::Duration::from_secs(5),
            })
        };
        let api = "https://acme.eu.auth0.com/api/v2/";
        assert_eq!(of("acme.eu.auth0.com", api), ["https://acme.eu.auth0.com/"]);
        assert_eq!(of("acme.eu.auth0.com:443", api), ["https://acme.eu.auth0.com/"]);
        let both = ["https://login.acme.example/", "https://acme.eu.auth0.com/"];
        assert_eq!(of("login.acme.example", api), both);
        assert_eq!(of("localhost:8443", api)[0], "https://localhost:8443/");
    }
}
