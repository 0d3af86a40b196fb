//! What a history of renewals is made of, and how one is drawn.

use std::time::Duration;

use cloakroom::fake_auth0::provider::{Breakdown, LoginRefreshToken, ProviderFault, Refused};
use cloakroom::fake_auth0::{Fault, WaitHint};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::failing_disk::{Failure, Survivors};
use crate::plan::S;

/// The first two are of the provider whose refresh tokens are for a single use.
pub const USERS: [&str; 4] = ["oauth2|one", "oauth2|two", "google-oauth2|three", "google-oauth2|four"];

pub type History = crate::plan::History<Setup, Step>;

#[derive(Clone, Debug)]
pub struct Setup {
    /// How long the single-use provider accepts a refresh token once more.
    pub grace: Duration,
    pub reuse_ends_family: bool,
    /// Whether the other provider issues new refresh tokens.
    pub keeps_old: bool,
    /// The lifetime of access tokens.
    pub lifetime: Duration,
    pub min_ttl: Duration,
    pub login_required: Duration,
    pub seed: u64,
}

#[derive(Clone, Debug)]
pub enum Step {
    /// User, how many callers, and whether the next step comes after the answers.
    Look(usize, usize, bool),
    Fresh(usize),
    /// Until the token that was handed out last has expired, so far off in ms; then a lookup.
    Expiry(usize, i64),
    Report(usize),
    Login(usize, LoginRefreshToken),
    /// The user revokes every token at the provider.
    Revoke(usize),
    Purge(usize),
    PurgeAll,
    /// With `?credentials=true`.
    Forget(usize),
    ForgetAll,
    Pass(Duration),
    /// Whether the provider is the one for single use, and how often (0: until it is cleared).
    Provider(bool, ProviderFault, usize),
    /// Every port refuses.
    Unreachable(bool),
    ClearProvider(bool),
    /// The provider accepts another client secret than the daemon has, or that one again.
    WrongSecret(bool, bool),
    Auth0(Fault),
    ClearAuth0,
    /// The daemon ends in order, and begins again.
    Restart,
    /// The daemon is gone at once, and begins again with what the disk has kept.
    Crash(Survivors),
    /// The disk fails at that call from now on.
    Disk(usize, Failure),
    HealDisk,
}

pub fn histories() -> impl Strategy<Value = History> {
    let some = prop_oneof![
        12 => step().prop_map(|step| vec![step]),
        2 => renewed(),
        2 => interrupted(),
        1 => revoked(),
        1 => crashed_after_an_answer(),
    ];
    (setup(), vec(some, 4..18)).prop_map(|(setup, steps)| History { setup, steps: steps.concat() })
}

fn seconds(of: &'static [u64]) -> impl Strategy<Value = Duration> {
    select(of).prop_map(Duration::from_secs)
}

fn setup() -> impl Strategy<Value = Setup> {
    (
        seconds(&[0, 0, 4, 30, 600]),
        any::<bool>(),
        any::<bool>(),
        seconds(&[3_600, 600, 70]),
        seconds(&[0, 5, 30]),
        seconds(&[10, 2]),
        any::<u64>(),
    )
        .prop_map(|(grace, reuse_ends_family, keeps_old, lifetime, min_ttl, login_required, seed)| {
            Setup { grace, reuse_ends_family, keeps_old, lifetime, min_ttl, login_required, seed }
        })
}

/// Most steps are about the first user, so that they meet.
fn user() -> impl Strategy<Value = usize> {
    prop_oneof![6 => Just(0), 1 => Just(1), 3 => Just(2), 1 => Just(3)]
}

/// Mostly the provider for single use.
fn single() -> impl Strategy<Value = bool> {
    prop_oneof![3 => Just(true), 1 => Just(false)]
}

fn survivors() -> impl Strategy<Value = Survivors> {
    select(&[Survivors::All, Survivors::None, Survivors::Even, Survivors::Odd, Survivors::Torn][..])
}

fn login() -> impl Strategy<Value = LoginRefreshToken> {
    use LoginRefreshToken::{Absent, New, Same};
    prop_oneof![3 => Just(New), 1 => Just(Same), 2 => Just(Absent)]
}

/// Faults whose outcome the daemon cannot know.
fn unknown() -> impl Strategy<Value = ProviderFault> {
    use Breakdown::{Close, Reset, Stall, StallBody, Status, Truncate};
    select(vec![
        ProviderFault::After(Close),
        ProviderFault::After(Reset),
        ProviderFault::After(Stall),
        ProviderFault::After(StallBody),
        ProviderFault::After(Truncate),
        ProviderFault::After(Status(502, WaitHint::None)),
        ProviderFault::Before(Close),
        ProviderFault::Before(Stall),
        ProviderFault::Before(Status(503, WaitHint::None)),
        ProviderFault::LateAnswer(8 * S),
    ])
}

fn provider_fault() -> impl Strategy<Value = ProviderFault> {
    let refused = select(vec![
        Refused::InvalidGrant,
        Refused::InvalidClient,
        Refused::UnauthorizedClient,
        Refused::InvalidScope,
        Refused::Unavailable,
    ]);
    prop_oneof![
        4 => unknown(),
        3 => refused.prop_map(ProviderFault::Refused),
        1 => Just(ProviderFault::Before(Breakdown::Status(429, WaitHint::Seconds(7)))),
        1 => seconds(&[1, 3]).prop_map(ProviderFault::Latency),
        1 => seconds(&[1, 3]).prop_map(ProviderFault::LateAnswer),
        1 => Just(ProviderFault::Changed(cloakroom::fake_auth0::provider::Change::NoRefreshToken)),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let pass = vec![Duration::from_millis(50), S, 5 * S, 12 * S, 31 * S, 61 * S, 600 * S, 3_600 * S];
    let auth0 = vec![
        Fault::Latency(S),
        Fault::LateAnswer(2 * S),
        Fault::RefuseConnections,
        Fault::RateLimited(WaitHint::Seconds(5)),
        Fault::Status { status: 500, headers: Vec::new(), body: "{}".into() },
    ];
    prop_oneof![
        12 => (user(), 1..4_usize, prop_oneof![2 => Just(true), 1 => Just(false)]).prop_map(|(u, n, w)| Step::Look(u, n, w)),
        1 => user().prop_map(Step::Fresh),
        14 => (user(), select(&[0_i64, 1, -1, 2_000][..])).prop_map(|(u, off)| Step::Expiry(u, off)),
        2 => user().prop_map(Step::Report),
        6 => (user(), login()).prop_map(|(u, l)| Step::Login(u, l)),
        1 => user().prop_map(Step::Revoke),
        4 => user().prop_map(Step::Purge),
        1 => Just(Step::PurgeAll),
        1 => user().prop_map(Step::Forget),
        1 => Just(Step::ForgetAll),
        8 => select(pass).prop_map(Step::Pass),
        8 => (single(), provider_fault(), prop_oneof![4 => Just(1_usize), 1 => Just(2), 1 => Just(0)])
            .prop_map(|(s, fault, times)| Step::Provider(s, fault, times)),
        1 => single().prop_map(Step::Unreachable),
        5 => single().prop_map(Step::ClearProvider),
        2 => (single(), any::<bool>()).prop_map(|(s, wrong)| Step::WrongSecret(s, wrong)),
        2 => select(auth0).prop_map(Step::Auth0),
        2 => Just(Step::ClearAuth0),
        2 => Just(Step::Restart),
        5 => survivors().prop_map(Step::Crash),
        2 => (1..30_usize, select(&[Failure::Once, Failure::Full, Failure::PowerLoss][..])).prop_map(|(n, f)| Step::Disk(n, f)),
        2 => Just(Step::HealDisk),
    ]
}

/// The token expires, and a purge or a login that brings no refresh token is in between.
fn renewed() -> impl Strategy<Value = Vec<Step>> {
    (user(), 0..4_usize).prop_map(|(user, between)| {
        let between = match between {
            0 => vec![Step::Login(user, LoginRefreshToken::Absent), Step::Purge(user)],
            1 => vec![Step::Purge(user)],
            2 => vec![Step::PurgeAll, Step::Login(user, LoginRefreshToken::Absent)],
            _ => vec![Step::Restart],
        };
        let mut steps = vec![Step::Look(user, 1, true)];
        steps.extend(between);
        steps.extend([Step::Expiry(user, 1), Step::Expiry(user, 0)]);
        steps
    })
}

/// A redemption is interrupted, and the next ones are as well.
fn interrupted() -> impl Strategy<Value = Vec<Step>> {
    (0..2_usize, unknown(), unknown(), survivors(), any::<bool>(), select(vec![S / 10, 2 * S, 12 * S]))
        .prop_map(|(user, first, second, survivors, crashes, span)| {
            let mut steps =
                vec![Step::Provider(true, first, 1), Step::Look(user, 1, false), Step::Pass(span)];
            if crashes {
                steps.push(Step::Crash(survivors));
            }
            steps.extend([Step::Pass(31 * S), Step::Provider(true, second, 1), Step::Look(user, 1, true)]);
            steps.extend([Step::Pass(61 * S), Step::Look(user, 1, true)]);
            steps
        })
}

/// What the daemon has is revoked, and Auth0 has something newer.
fn revoked() -> impl Strategy<Value = Vec<Step>> {
    (user(), select(vec![S, 12 * S, 31 * S])).prop_map(|(user, span)| {
        vec![
            Step::Expiry(user, 1),
            Step::Expiry(user, -20_000),
            Step::Revoke(user),
            Step::Login(user, LoginRefreshToken::New),
            Step::Pass(span),
            Step::Look(user, 1, true),
        ]
    })
}

/// The daemon is gone as soon as it has handed a token out, and with it everything that was not durable.
fn crashed_after_an_answer() -> impl Strategy<Value = Vec<Step>> {
    (0..2_usize, survivors()).prop_map(|(user, survivors)| {
        vec![Step::Expiry(user, 1), Step::Crash(survivors), Step::Look(user, 1, true), Step::Expiry(user, 1)]
    })
}
