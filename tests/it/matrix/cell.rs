//! One cell: a lookup while a fault lasts, and what is left when it is over.

use std::time::Duration;

use cloakroom::fake_auth0::{Call, CertificateKind, Endpoint, Fault};
use tokio::time::{sleep, timeout};

use super::expected::{Answer, Expected, Token, Wait};
use super::faults::{At, Row};
use super::states::{SOMEBODY_ELSE, State, USER};
use crate::support::world::{Got, World};

/// By then every gate is open, every backoff is over and what is not a token is forgotten; what was fresh still is.
const A_WHILE: Duration = Duration::from_secs(4 * 60);

/// What is in the background has its time limit, which is shorter; only if something is wrong does this pass.
const PATIENCE: Duration = Duration::from_secs(15);

/// Between two attempts the keeper waits for at least a second: those that come that much later are its own.
const OF_ITS_OWN: Duration = Duration::from_secs(1);

/// What came of it.
pub struct Cell {
    /// As the table shows it.
    pub text: String,
    /// Where it differs from what is promised.
    pub wrong: Vec<String>,
}

/// What a lookup came to.
struct Measured {
    got: Got,
    calls: u64,
    grants: usize,
}

pub async fn tried(row: &Row, state: State, seed: u64) -> Cell {
    let expected = row.expected(state);
    let (mut world, new) = state.world(matches!(row.at, At::Grants(_)), seed).await;
    begin(&mut world, &row.at).await;

    let asked_before = requests(&world).await;
    let got = world.get(&World::path(USER)).await;
    let is_early = world.cache().in_flight() == 1;
    settled(&world, expected.grants).await;
    let calls = requests(&world).await - asked_before;
    let grants = of_the_lookup(&world.tenant.calls_to(Endpoint::Token));
    let measured = Measured { got, calls, grants };

    let mut wrong = measured.differs(&expected, &new);
    if row.late && matches!(state, State::Due | State::Stale) && !is_early {
        wrong.push("the answer did not come before Auth0's".into());
    }
    wrong.extend(arrivals(&world, &row.at, calls));
    wrong.extend(afterwards(&mut world, row, state, &new).await);
    Cell { text: measured.text(expected.wait), wrong }
}

/// What the tenant saw, held against what the daemon says that it sent.
fn arrivals(world: &World, at: &At, sent: u64) -> Vec<String> {
    let mut wrong = Vec::new();
    let arrived = world.tenant.calls_to(Endpoint::User).len() as u64;
    let is_right = match at {
        At::Certificate(_) => arrived == 0,
        // A connection that is about to be closed may still take one.
        At::Users(Fault::RefuseConnections | Fault::DeadConnections) => arrived <= sent,
        _ => arrived == sent,
    };
    if !is_right {
        wrong.push(format!("{sent} calls were sent, and {arrived} arrived"));
    }
    let elsewhere = world.tenant.calls_to(Endpoint::Other);
    if !elsewhere.is_empty() {
        wrong.push(format!("something else was asked for: {elsewhere:?}"));
    }
    wrong
}

/// The fault is over: what was held is held, and after a while all is as if it had never been.
async fn afterwards(world: &mut World, row: &Row, state: State, new: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let then = row.expected(state).then;
    end(world, &row.at).await;
    let next = world.get(&World::path(USER)).await;
    if !then.iter().any(|answer| is(*answer, &next, new)) {
        wrong.push(format!("the next lookup should be one of {then:?}, but is {}", brief(&next)));
    }

    world.pass(A_WHILE);
    let last = if state == State::Fresh { Token::Old } else { Token::New };
    let mended = timeout(PATIENCE, mends(world, last, new)).await;
    if let Err(why) = mended.unwrap_or_else(|_| Err("it is not, however often one asks".into())) {
        wrong.push(format!("when all should be well again: {why}"));
    }
    wrong
}

async fn begin(world: &mut World, at: &At) {
    match at {
        At::Users(fault) => world.tenant.fault(Endpoint::User, addressed(fault, world)),
        At::UsersOnce(fault) => world.tenant.fault_next(Endpoint::User, 1, fault.clone()),
        At::Grants(fault) => world.tenant.fault(Endpoint::Token, fault.clone()),
        At::Certificate(kind) => listen_anew(world, *kind).await,
        At::Before(fault) => {
            world.tenant.fault(Endpoint::User, fault.clone());
            assert_ne!(world.get(&World::path(SOMEBODY_ELSE)).await.status, 200);
            world.tenant.forget_calls();
        }
    }
}

async fn end(world: &mut World, at: &At) {
    world.tenant.clear_all();
    if matches!(at, At::Certificate(_)) {
        listen_anew(world, CertificateKind::Good).await;
    }
}

async fn listen_anew(world: &mut World, kind: CertificateKind) {
    let before = world.listening.take().unwrap();
    let port = before.port();
    // Else what is sent through a connection that is still open could be answered under the old certificate.
    before.closed().await;
    world.listening = Some(world.tenant.listen_on(port, kind).unwrap());
}

/// A fault that leads to the tenant itself, so that whoever follows it is seen.
fn addressed(fault: &Fault, world: &World) -> Fault {
    let address = |text: &str| text.replace("{domain}", world.listening.as_ref().unwrap().domain());
    match fault.clone() {
        Fault::Redirect(to) => Fault::Redirect(address(&to)),
        Fault::Status { status, headers, body } => {
            let headers = headers.into_iter().map(|(name, value)| (name, address(&value))).collect();
            Fault::Status { status, headers, body }
        }
        other => other,
    }
}

/// Requests for users that the daemon has made, by its own count, which includes those that arrive nowhere.
async fn requests(world: &World) -> u64 {
    world.get("/v1/status").await.json()["upstream"]["user_requests"].as_u64().unwrap()
}

/// Waits until nothing is under way in the background, and the grants that have to come have come.
async fn settled(world: &World, grants: usize) {
    let is_quiet = || {
        // The keeper is at work only once it has woken up.
        let granted = world.tenant.calls_to(Endpoint::Token).len() >= grants;
        let snapshot = world.running.services().management.snapshot(world.clock.now());
        granted && snapshot.next_attempt_at.is_some() && world.cache().in_flight() == 0
    };
    let quiet = async {
        loop {
            while !is_quiet() {
                sleep(Duration::from_millis(5)).await;
            }
            // For what nobody expects.
            let calls = world.tenant.calls().len();
            sleep(Duration::from_millis(20)).await;
            if is_quiet() && calls == world.tenant.calls().len() {
                return;
            }
        }
    };
    // If it does not end, the counts say so.
    timeout(PATIENCE, quiet).await.ok();
}

/// How many of the grants the lookup has caused.
fn of_the_lookup(grants: &[Call]) -> usize {
    let own = grants.windows(2).position(|pair| pair[0].at.age(pair[1].at) >= OF_ITS_OWN);
    own.map_or(grants.len(), |last| last + 1)
}

/// Looks the user up until the token comes from the cache; nobody may be refused meanwhile.
async fn mends(world: &World, token: Token, new: &str) -> Result<(), String> {
    loop {
        let got = world.get(&World::path(USER)).await;
        if is(Answer::Served("hit", token), &got, new) {
            return Ok(());
        }
        if got.status != 200 {
            return Err(brief(&got));
        }
        sleep(Duration::from_millis(10)).await;
    }
}

/// State and token, or status, code and permanence.
fn told(got: &Got) -> Result<(String, String), (u16, String, Option<bool>)> {
    if got.status == 200 {
        let token = got.json()["access_token"].as_str().unwrap().to_owned();
        return Ok((got.header("cloakroom-cache").unwrap().to_owned(), token));
    }
    let (status, code) = got.problem();
    Err((status, code, got.json()["permanent"].as_bool()))
}

fn is(answer: Answer, got: &Got, new: &str) -> bool {
    match (answer, told(got)) {
        (Answer::Served(state, Token::New), Ok(told)) => told == (state.to_owned(), new.to_owned()),
        (Answer::Served(state, Token::Old), Ok(told)) => told.0 == state && told.1 != new,
        (Answer::Problem(status, code, permanent), Err(told)) => told == (status, code.to_owned(), permanent),
        _ => false,
    }
}

fn brief(got: &Got) -> String {
    let wait = got.retry_after().map_or(String::new(), |seconds| format!(", Retry-After {seconds}"));
    format!("{:?}{wait}", told(got))
}

impl Measured {
    fn differs(&self, expected: &Expected, new: &str) -> Vec<String> {
        let mut wrong = Vec::new();
        if !is(expected.answer, &self.got, new) {
            wrong.push(format!("it should be {:?}, but is {}", expected.answer, brief(&self.got)));
        }
        let wait = self.got.retry_after();
        if !expected.wait.allows(wait) {
            wrong.push(format!("Retry-After should be {:?}, but is {wait:?}", expected.wait));
        }
        if (self.calls, self.grants) != (expected.calls, expected.grants) {
            wrong.push(format!(
                "it should cause {} calls and {} grants, but causes {} and {}",
                expected.calls, expected.grants, self.calls, self.grants
            ));
        }
        wrong
    }

    /// As the table shows it. `wait` only hides in which way jitter fell.
    fn text(&self, wait: Wait) -> String {
        let mut parts = vec![match told(&self.got) {
            Ok((state, _)) => format!("200 {state}"),
            Err((status, code, Some(true))) => format!("{status} {code} (permanent)"),
            Err((status, code, _)) => format!("{status} {code}"),
        }];
        let seconds = self.got.retry_after();
        let as_it_is = seconds.map(|seconds| format!("Retry-After {seconds}"));
        parts.extend(if wait.allows(seconds) { wait.text() } else { as_it_is });
        let counted = |count: u64, what: &str| match count {
            0 => None,
            1 => Some(format!("1 {what}")),
            _ => Some(format!("{count} {what}s")),
        };
        parts.extend(counted(self.calls, "call"));
        parts.extend(counted(self.grants as u64, "grant"));
        parts.join(", ")
    }
}
