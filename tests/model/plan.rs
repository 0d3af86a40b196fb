//! What a history is made of, and how one is drawn.

pub mod idioms;

use std::fmt;
use std::sync::LazyLock;
use std::time::Duration;

use cloakroom::config::{self, Config};
use cloakroom::fake_auth0::{Endpoint, ExpiresIn, Fault, WaitHint, users};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use idioms::{one_fails, outage, overtaken, page, paused, relogin, reported_twice, shortage, signed_on};

pub const S: Duration = Duration::from_secs(1);

const MS: Duration = Duration::from_millis(1);

pub const DAY: Duration = Duration::from_secs(86_400);

/// Whom histories are about; the last is unknown to Auth0 until a step says otherwise.
pub const USERS: [&str; 9] = [
    users::GOOGLE,
    users::LINKED,
    users::GITHUB,
    users::ENTRA,
    users::JOHN,
    users::EXPIRED,
    users::BLOCKED,
    users::DATABASE,
    "google-oauth2|nobody",
];

/// Connections that a selector or a login may name.
pub const CONNECTIONS: [&str; 3] = ["google-oauth2", "github", "entra"];

#[derive(Clone, Debug)]
pub struct History<U = Setup, T = Step> {
    pub setup: U,
    pub steps: Vec<T>,
}

/// One line each.
impl<U: fmt::Debug, T: fmt::Debug> fmt::Display for History<U, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:?}", self.setup)?;
        self.steps.iter().enumerate().try_for_each(|(number, step)| writeln!(f, "{number:>4}: {step:?}"))
    }
}

/// The daemon's configuration and the tenant's.
#[derive(Clone, Debug)]
pub struct Setup {
    pub cache: config::Cache,
    pub upstream: config::Upstream,
    pub request_timeout: Duration,
    pub management_min_ttl: Duration,
    pub management_lifetime: Duration,
    /// `expires_in` of GOOGLE, LINKED and JOHN.
    pub lifetimes: [u64; 3],
    pub seed: u64,
}

impl Setup {
    /// Whether entries may vanish on their own.
    pub fn evicts(&self) -> bool {
        self.cache.max_bytes < 100_000
    }
}

/// A moment at which something is decided.
#[derive(Clone, Copy, Debug)]
pub enum Edge {
    Expiry,
    MinTtl,
    RefreshAhead,
    MaxTtl,
    MaxStale,
    UserNotFound,
    NoToken,
    LoginRequired,
    Gate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    Right,
    /// The one that is held and `Right` does not mean, where there are two.
    Other,
    Late,
    Unknown,
}

#[derive(Clone, Debug)]
pub struct Look {
    pub user: usize,
    pub connection: Option<usize>,
    pub min_ttl: Duration,
    pub fresh: bool,
    /// So many at once.
    pub callers: usize,
    /// The first of them hangs up after this.
    pub hangs_up: Option<Duration>,
    /// Whether the next step comes after the answers.
    pub waits: bool,
}

#[derive(Clone, Debug)]
pub enum Step {
    Look(Look),
    /// Time passes until this far (in ms) from an edge, then the user is looked up.
    Edge(Edge, i64, usize),
    Login(usize, usize),
    /// A login that brings no new token: single sign-on into another application.
    SignOn(usize),
    Report(Which, usize),
    Purge(usize),
    PurgeAll,
    Pass(Duration),
    Fault(Endpoint, Fault, usize),
    Clear,
    Limit(Option<(u32, u32)>),
    /// The daemon's wall clock, by so many milliseconds.
    WallStepped(i64),
    WallSetRight,
    Suspend(Duration),
    /// Both of the daemon's clocks stand still for so long, as those of a paused virtual machine do.
    Pause(Duration),
    Revoke,
    Scopes(&'static [&'static str]),
    ManagementLifetime(Duration),
    Block(usize),
    Unblock(usize),
    Remove(usize),
    Restore(usize),
}

pub fn histories() -> impl Strategy<Value = History> {
    let some = prop_oneof![
        14 => step().prop_map(|step| vec![step]),
        1 => outage(),
        1 => shortage(),
        1 => relogin(),
        1 => overtaken(),
        1 => signed_on(),
        1 => reported_twice(),
        1 => paused(),
        1 => one_fails(),
    ];
    (setup(), vec(some, 5..26)).prop_map(|(setup, steps)| History { setup, steps: steps.concat() })
}

/// A configuration in which every key that has a default has it.
pub fn defaults() -> Config {
    // Every history takes them several times.
    static DEFAULTS: LazyLock<Config> = LazyLock::new(parsed);
    DEFAULTS.clone()
}

fn parsed() -> Config {
    let text = "[tenant]\ndomain = \"tenant.eu.auth0.com\"\n[tenant.client]\nid = \"demo-client\"\n";
    let secret = ("CLOAKROOM_TENANT__CLIENT__SECRET".to_owned(), "demo-client-secret".to_owned());
    config::parse("model.toml", text, &[secret].into_iter().collect()).unwrap().config
}

fn seconds(of: &'static [u64]) -> impl Strategy<Value = Duration> {
    select(of).prop_map(Duration::from_secs)
}

fn setup() -> impl Strategy<Value = Setup> {
    let negative = (seconds(&[10, 1, 60]), seconds(&[10, 2, 60]), seconds(&[10, 3, 30])).prop_map(
        |(user_not_found, no_token, login_required)| {
            let mut negative = defaults().cache.negative;
            (negative.user_not_found, negative.no_token) = (user_not_found, no_token);
            negative.login_required = login_required;
            negative
        },
    );
    let cache = (
        prop_oneof![9 => Just(64 << 20), 1 => Just(2_000)],
        seconds(&[60, 11, 600, 3_600]),
        seconds(&[3_600, 0, 30]),
        prop_oneof![6 => seconds(&[0, 5, 30]), 1 => seconds(&[300])],
        select(&[0.0, 0.5, 0.8][..]),
        negative,
    )
        .prop_map(|(max_bytes, max_ttl, max_stale, min_ttl, refresh_ahead, negative)| {
            let mut cache = defaults().cache;
            (cache.max_bytes, cache.max_ttl, cache.max_stale) = (max_bytes, max_ttl, max_stale);
            (cache.min_ttl, cache.refresh_ahead, cache.negative) = (min_ttl, refresh_ahead, negative);
            cache
        });
    let upstream = (
        select(&[10.0, 1.0, 0.5][..]),
        select(&[20, 2, 5][..]),
        select(&[16, 1, 2][..]),
        select(&[0, 2][..]),
    )
        .prop_map(|(requests_per_second, burst, max_concurrency, max_retries)| {
            let mut upstream = defaults().upstream;
            (upstream.requests_per_second, upstream.burst) = (requests_per_second, burst);
            (upstream.max_concurrency, upstream.max_retries) = (max_concurrency, max_retries);
            upstream
        });
    let lifetime = || prop_oneof![4 => Just(3_600), 3 => Just(86_400), 3 => select(&[600, 130, 70, 10][..])];
    (
        cache,
        upstream,
        seconds(&[10, 3]),
        seconds(&[30, 0]),
        prop_oneof![5 => Just(DAY), 2 => seconds(&[3_600, 60, 10])],
        [lifetime(), lifetime(), lifetime()],
        any::<u64>(),
    )
        .prop_map(
            |(cache, upstream, request_timeout, management_min_ttl, management_lifetime, lifetimes, seed)| {
                Setup {
                    cache,
                    upstream,
                    request_timeout,
                    management_min_ttl,
                    management_lifetime,
                    lifetimes,
                    seed,
                }
            },
        )
}

/// Most steps are about the first two users, so that they meet.
fn user() -> impl Strategy<Value = usize> {
    prop_oneof![6 => Just(0), 2 => Just(1), 3 => 2..USERS.len()]
}

fn look() -> impl Strategy<Value = Look> {
    let hangs_up = prop_oneof![
        3 => Just(None),
        1 => select(vec![MS, Duration::from_millis(300), S, 4 * S]).prop_map(Some),
    ];
    (
        user(),
        prop_oneof![3 => Just(None), 1 => (0..CONNECTIONS.len()).prop_map(Some)],
        prop_oneof![7 => Just(Duration::ZERO), 1 => seconds(&[20, 200, 1_800, 7_200])],
        prop_oneof![6 => Just(false), 1 => Just(true)],
        prop_oneof![4 => Just(1), 1 => 2..4_usize],
        hangs_up,
        prop_oneof![3 => Just(true), 2 => Just(false)],
    )
        .prop_map(|(user, connection, min_ttl, fresh, callers, hangs_up, waits)| Look {
            user,
            connection,
            min_ttl,
            fresh,
            callers,
            hangs_up,
            waits,
        })
}

/// Through a connection that the user has; the linked one has two.
fn login() -> impl Strategy<Value = Step> {
    (user(), 0..2_usize).prop_map(|(user, other)| {
        let connection = match user {
            1 => other,
            2 => 1,
            3 => 2,
            _ => 0,
        };
        Step::Login(user, connection)
    })
}

fn step() -> impl Strategy<Value = Step> {
    let edge = select(
        &[
            Edge::Expiry,
            Edge::MinTtl,
            Edge::RefreshAhead,
            Edge::MaxTtl,
            Edge::MaxStale,
            Edge::UserNotFound,
            Edge::NoToken,
            Edge::LoginRequired,
            Edge::Gate,
        ][..],
    );
    let millis = Duration::from_millis;
    let pass = vec![
        MS,
        millis(50),
        millis(500),
        S,
        5 * S,
        12 * S,
        30 * S,
        61 * S,
        120 * S,
        600 * S,
        3_600 * S,
        21_600 * S,
    ];
    let steps = vec![86_400_000, -86_400_000, 3_600_000, -3_600_000, 5_000, -5_000, 400, -400, -30_000];
    let scopes: Vec<&'static [&'static str]> =
        vec![&["read:users", "read:user_idp_tokens"], &["read:users"], &["read:clients"]];
    prop_oneof![
        34 => look().prop_map(Step::Look),
        14 => (edge, select(&[0_i64, -1, 1, 1_500][..]), user()).prop_map(|(e, d, u)| Step::Edge(e, d, u)),
        8 => login(),
        3 => user().prop_map(Step::SignOn),
        7 => (select(&[Which::Right, Which::Other, Which::Late, Which::Unknown][..]), user()).prop_map(|(w, u)| Step::Report(w, u)),
        3 => user().prop_map(Step::Purge),
        1 => Just(Step::PurgeAll),
        16 => select(pass).prop_map(Step::Pass),
        9 => fault(),
        5 => Just(Step::Clear),
        1 => select(&[None, Some((2, 2)), Some((1, 1))][..]).prop_map(Step::Limit),
        3 => select(steps).prop_map(Step::WallStepped),
        1 => Just(Step::WallSetRight),
        3 => seconds(&[20, 61, 3_600, 86_400]).prop_map(Step::Suspend),
        1 => seconds(&[5, 61, 3_600, 28_800]).prop_map(Step::Pause),
        1 => Just(Step::Revoke),
        1 => select(scopes).prop_map(Step::Scopes),
        1 => seconds(&[86_400, 60, 10]).prop_map(Step::ManagementLifetime),
        1 => user().prop_map(Step::Block),
        1 => user().prop_map(Step::Unblock),
        1 => user().prop_map(Step::Remove),
        1 => user().prop_map(Step::Restore),
    ]
}

fn fault() -> impl Strategy<Value = Step> {
    let millis = Duration::from_millis;
    let status = |status, body: &str| Fault::Status { status, headers: Vec::new(), body: body.into() };
    let anothers = r#"{"user_id":"google-oauth2|another","identities":[
        {"connection":"google-oauth2","access_token":"ya29.another"}]}"#;
    let any = vec![
        Fault::Latency(millis(200)),
        Fault::Latency(4 * S),
        Fault::LateAnswer(millis(200)),
        Fault::LateAnswer(millis(2_500)),
        Fault::LateAnswer(6 * S),
        Fault::RefuseConnections,
        Fault::ResetWhileReading,
        Fault::StallHeaders,
        Fault::StallBody,
        Fault::Truncate,
        Fault::Empty200,
        Fault::Html200,
        Fault::WrongContentType,
        Fault::Redirect("https://tenant.example/elsewhere".into()),
        Fault::Unauthorized,
        Fault::RateLimited(WaitHint::Seconds(3)),
        Fault::RateLimited(WaitHint::Seconds(0)),
        Fault::RateLimited(WaitHint::Seconds(3_600)),
        Fault::RateLimited(WaitHint::Date(5 * S)),
        Fault::RateLimited(WaitHint::Reset(Duration::ZERO)),
        Fault::RateLimited(WaitHint::Reset(20 * S)),
        Fault::RateLimited(WaitHint::None),
        Fault::QuotaExceeded { retry_after: 7 },
        Fault::PolicyExceeded { retry_after: 9 },
        Fault::TooManyAttempts,
        Fault::Edge503Html,
        Fault::DateOffset(3_600),
        Fault::DateOffset(-3_600),
        status(200, anothers),
        status(500, "{}"),
        status(404, "<html>not here</html>"),
        status(408, ""),
        status(400, "{}"),
        page(401),
        page(403),
        page(502),
    ];
    let of_grants = vec![
        Fault::ExpiresIn(ExpiresIn::Zero),
        Fault::ExpiresIn(ExpiresIn::Negative),
        Fault::ExpiresIn(ExpiresIn::Missing),
        Fault::ExpiresIn(ExpiresIn::Text),
        Fault::ExpiresIn(ExpiresIn::Huge),
        Fault::JwtExpInThePast,
    ];
    // None is a fault that lasts.
    let times = |lasts| prop_oneof![lasts => Just(0), 3 => 1..4_usize];
    prop_oneof![
        9 => (select(any.clone()), times(2)).prop_map(|(fault, n)| Step::Fault(Endpoint::User, fault, n)),
        2 => (select(any), times(1)).prop_map(|(fault, n)| Step::Fault(Endpoint::Token, fault, n)),
        1 => (select(of_grants), 1..4_usize).prop_map(|(fault, n)| Step::Fault(Endpoint::Token, fault, n)),
    ]
}
