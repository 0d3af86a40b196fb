//! The steps of a hit, one by one: `cargo bench --manifest-path benches/Cargo.toml`.

#![allow(clippy::unwrap_used, reason = "a benchmark stops at the first surprise")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use cloakroom::api::response::{KeepAlive, Reply};
use cloakroom::api::route::Route;
use cloakroom::api::token_json::TokenBody;
use cloakroom::cache::{
    Cache, Fetched, Fetching, ForWhom, Forgetting, Issuing, LookupOptions, NotNow, Peeked, ProfileSource,
    Query, Served, SourceAnswer, TokenIssuer, Wanted,
};
use cloakroom::clock::Clock;
use cloakroom::config::{self, Env, UserIds};
use cloakroom::domain::freshness::{Deadline, Schedule, Terms};
use cloakroom::domain::identity::{ExpiryBasis, Identity, IdpToken, Profile};
use cloakroom::domain::policy::{Caller, DEFAULT_OPERATIONS, Operation, Policy, Request, Rule};
use cloakroom::domain::priority::{Flow, Priority};
use cloakroom::domain::source::Source;
use cloakroom::domain::user::{Selector, UserId};
use cloakroom::secret::{SecretStr, TagKey};
use cloakroom::telemetry::UserNames;
use divan::Bencher;
use hyper::StatusCode;
use hyper::header::HeaderValue;

const PATH: &str = "/v1/users/google-oauth2%7C103547991597142817347/token";
const CALLER: Caller = Caller { uid: 1000, gid: 1000 };

fn main() {
    divan::main();
}

fn user() -> UserId {
    UserId::parse("google-oauth2|103547991597142817347").unwrap()
}

/// A listener with rules for ten services.
fn policy() -> Policy {
    let rule = |uid| Rule { uid: Some(uid), operations: DEFAULT_OPERATIONS.to_vec(), ..Rule::default() };
    Policy::new(0, (991..=1000).map(rule).collect::<Vec<_>>())
}

/// Once a connection: which rules name whoever is at its other end.
#[divan::bench]
fn peer_rights(bencher: Bencher) {
    let policy = policy();
    bencher.bench(|| policy.rights(black_box(CALLER)));
}

/// Once a request: whether that peer may.
#[divan::bench]
fn peer_check(bencher: Bencher) {
    let (rights, user) = (policy().rights(CALLER), user());
    bencher.bench(|| {
        let (operation, user) = (Operation::Token, Some(black_box(&user)));
        let request = Request { operation, user, connection: None, call: None };
        rights.may(Operation::Token).and_then(|()| rights.decide(request)).is_ok()
    });
}

#[divan::bench]
fn parse_route() -> bool {
    Route::find(black_box(PATH)).is_some()
}

#[divan::bench]
fn parse_user(bencher: Bencher) {
    let segment = Route::find(PATH).unwrap().user;
    bencher.bench(|| UserId::from_path_segment(black_box(segment)).unwrap());
}

#[divan::bench]
fn lookup(bencher: Bencher) {
    let (cache, user) = (cache(), user());
    bencher.bench(|| hit(&cache, black_box(&user)));
}

#[divan::bench]
fn freshness(bencher: Bencher) {
    let now = Clock::system().now();
    let day = Duration::from_secs(86_400);
    let terms =
        Terms { refresh_after: Some(day / 2), fresh_for: day, servable_for: day * 2, min_ttl: day / 100 };
    let schedule = Schedule { sent: now, expires: Some(Deadline::after(now, day)), terms };
    bencher.bench(|| schedule.at(black_box(now)));
}

#[divan::bench]
fn reply_body(bencher: Bencher) {
    let (cache, user) = (cache(), user());
    let served = hit(&cache, &user);
    let (identity, token) = served.token();
    let (fetched, now) = (served.fetched().wall, served.now);
    bencher.bench(|| black_box(TokenBody { user: &user, identity, token, fetched, now }).write());
}

#[divan::bench]
fn reply_head(bencher: Bencher) {
    let (cache, user) = (cache(), user());
    let state = hit(&cache, &user).state;
    bencher.bench(|| {
        let reply = Reply::new(StatusCode::OK, "application/json", black_box("{}").into());
        reply
            .looked_up(state, black_box(77))
            .into_response(HeaderValue::from_static("8c1f03aa-1f"), KeepAlive::OnSocket)
    });
}

/// A cache that has heard of the user.
fn cache() -> Cache {
    let text = "[tenant]\ndomain = \"tenant.auth0.com\"\n[tenant.client]\nid = \"x\"\nsecret_file = \"/dev/null\"\n\
                [[listener]]\npath = \"/run/x.sock\"";
    let settings = config::parse("bench", text, &Env::default()).unwrap().config.cache;
    let names = UserNames::new(UserIds::Plain, TagKey::random().unwrap());
    let cache = Cache::new(
        &settings,
        Arc::new(Memory),
        Arc::new(NoSource),
        Clock::system(),
        Arc::default(),
        names,
        7,
    );
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(cache.look_up(query(&user()), Flow::Daemon)).unwrap();
    cache
}

fn query(user: &UserId) -> Query {
    Query { user: user.clone(), selector: Selector::default(), options: LookupOptions::default() }
}

fn hit(cache: &Cache, user: &UserId) -> Served {
    match cache.peek(query(user), Flow::Daemon, Clock::system().now()) {
        Peeked::Ready(answer) => answer.unwrap(),
        Peeked::Miss(_) => unreachable!("it has been asked for"),
    }
}

/// Auth0's store is the only source.
struct NoSource;

impl TokenIssuer for NoSource {
    fn issue(&self, _: Wanted, _: ForWhom) -> Issuing {
        Box::pin(async { Ok(SourceAnswer::Stored) })
    }

    fn forget(&self, _: UserId) -> Forgetting {
        Box::pin(async { Ok(()) })
    }

    fn forget_all(&self) -> Forgetting {
        Box::pin(async { Ok(()) })
    }
}

/// Knows every user.
struct Memory;

impl ProfileSource for Memory {
    fn fetch(&self, _: UserId, _: ForWhom) -> Fetching {
        Box::pin(async {
            let sent = Clock::system().now();
            let token = IdpToken {
                access_token: SecretStr::new(
                    "ya29.a0ARW5m7xUo2Lk8pQzv1JtHc4RsN6bYwEd3GfXk9TqVnMhCiPlOuZaBrSyWeDxFg",
                ),
                access_token_secret: None,
                expires: Some(Deadline::after(sent, Duration::from_secs(86_000))),
                basis: ExpiryBasis::Login,
                fingerprint: TagKey::random().unwrap().tag("token", "ya29"),
                source: Source::Identities,
                scopes: None,
            };
            let identity =
                Identity::new("google-oauth2", "google-oauth2", "103547991597142817347", true, Some(token));
            let profile = Profile { blocked: false, identities: vec![identity].into() };
            Ok(Fetched { profile: Some(profile), sent, tokens_withheld: false, logged_in: None })
        })
    }

    fn fetch_if_spare(&self, user: UserId, _: Priority) -> Result<Fetching, NotNow> {
        Ok(self.fetch(user, ForWhom::only(Flow::Daemon)))
    }

    fn spare(&self, _: Priority) -> Result<(), Duration> {
        Ok(())
    }
}
