//! The line between the daemon and the providers: carries requests in memory, and writes down what was sent and what
//! was learnt. It knows whose each token is by itself.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use cloakroom::clock::Clock;
use cloakroom::fake_auth0::Tenant;
use cloakroom::fake_auth0::provider::FakeProvider;
use cloakroom::transport::response::Answer;
use cloakroom::transport::{Sending, Transport};
use http_body_util::{BodyExt, Full};
use hyper::{Request, StatusCode};
use serde_json::Value;

use super::plan::USERS;
use crate::exchange::{delivered, exchange};

/// How a request ended, as the daemon has seen it.
#[derive(Clone, Debug, PartialEq)]
pub enum End {
    UnderWay,
    /// A token, with the refresh token for the next time.
    Answered {
        access: String,
        next: String,
    },
    /// The refresh token is not accepted.
    Dead,
    /// The answer, or the lack of a connection, shows that nothing was done with the refresh token.
    WithoutEffect,
    /// No answer, or one that leaves it open.
    Unknown,
}

/// A refresh token that was sent.
#[derive(Clone, Debug)]
pub struct Sent {
    pub user: usize,
    pub token: String,
    pub at: Duration,
    pub life: u64,
    pub end: End,
    /// The place of its end in the order of events.
    pub ended: u64,
    /// Whether what came of it may be lost: the daemon that has received the answer has crashed since.
    pub may_be_lost: bool,
    /// Whether a purge with credentials has forgotten it since.
    pub is_forgotten: bool,
}

/// An access token.
#[derive(Clone, Debug)]
pub struct Known {
    pub user: usize,
    /// When it has expired for certain, on the elapsed clock.
    pub expires: Duration,
}

#[derive(Default)]
pub struct Ledger {
    pub life: u64,
    seq: u64,
    /// The place of the last request to Auth0 about each user in the order of events.
    pub asked: [u64; 4],
    pub access: BTreeMap<String, Known>,
    /// Whose each refresh token is.
    pub refresh: BTreeMap<String, usize>,
    pub sent: Vec<Sent>,
    /// Access tokens that a client was given.
    pub handed_out: Vec<String>,
    pub broken: Vec<String>,
}

impl Ledger {
    pub fn of(&self, user: usize) -> impl DoubleEndedIterator<Item = &Sent> {
        self.sent.iter().filter(move |sent| sent.user == user && !sent.is_forgotten)
    }

    /// What was sent of one refresh token, without what had no effect, and since it was last known to be valid.
    pub fn of_token(&self, token: &str) -> Vec<&Sent> {
        let mut found = Vec::new();
        for sent in self.sent.iter().filter(|sent| sent.token == token && !sent.is_forgotten) {
            match &sent.end {
                End::WithoutEffect => {}
                // Nothing is lost with a token that is invalid.
                End::Dead if sent.may_be_lost => {}
                // The provider has issued no other one, so this one stays valid.
                End::Answered { next, .. } if next == token && !sent.may_be_lost => found.clear(),
                _ => found.push(sent),
            }
        }
        found
    }

    /// Whether a provider has said anything about the refresh token, or may have.
    pub fn has_sent(&self, token: &str) -> bool {
        let mut sent = self.sent.iter().filter(|sent| sent.token == token && !sent.is_forgotten);
        sent.any(|sent| sent.end != End::WithoutEffect)
    }

    pub fn has_handed_out(&self, access: &str) -> bool {
        self.handed_out.iter().any(|given| given == access)
    }

    /// The daemon is gone. What it had received and given to nobody may be lost.
    pub fn crashes(&mut self, may_lose: bool) {
        let Self { sent, handed_out, life, .. } = self;
        for sent in sent.iter_mut().filter(|sent| sent.life == *life) {
            match &sent.end {
                End::UnderWay => sent.end = End::Unknown,
                End::Answered { access, .. } if !handed_out.contains(access) => sent.may_be_lost |= may_lose,
                End::Dead => sent.may_be_lost |= may_lose,
                _ => {}
            }
        }
        *life += 1;
    }

    pub fn forgets(&mut self, is_meant: impl Fn(usize) -> bool) {
        self.sent.iter_mut().filter(|sent| is_meant(sent.user)).for_each(|sent| sent.is_forgotten = true);
    }

    /// A single-use token is sent: for the first time, or as the one retry after an unknown outcome.
    fn may_send(&mut self, token: &str) {
        let before = self.of_token(token);
        let is_open = |sent: &Sent| sent.end == End::Unknown || sent.may_be_lost;
        let may = match before[..] {
            [] => true,
            [only] => is_open(only),
            _ => false,
        };
        if !may {
            let before: Vec<_> = before.iter().map(|sent| (sent.life, sent.end.clone())).collect();
            self.broken.push(format!("{token} is redeemed once more, after {before:?}"));
        }
    }
}

/// The line of one life of the daemon.
#[derive(Clone)]
pub struct Line {
    pub ledger: Arc<Mutex<Ledger>>,
    pub life: u64,
    pub tenant: Tenant,
    /// The one for single use, and the other.
    pub providers: [FakeProvider; 2],
    pub clock: Clock,
    pub timeout: Duration,
    pub lifetime: Duration,
}

/// The hosts of the providers.
pub const HOSTS: [&str; 2] = ["single.example", "multi.example"];

impl Line {
    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap()
    }

    fn is_cut(&self) -> bool {
        self.ledger().life != self.life
    }

    async fn redeem(&self, at: usize, request: Request<Bytes>) -> <Sending<'_> as Future>::Output {
        let form: BTreeMap<String, String> = form_urlencoded::parse(request.body()).into_owned().collect();
        let token = form["refresh_token"].clone();
        let now = self.clock.now().elapsed;
        let number = {
            let mut ledger = self.ledger();
            let Some(user) = ledger.refresh.get(&token).copied() else {
                panic!("{token} is sent, which nobody has issued");
            };
            if (user < 2) != (at == 0) {
                ledger.broken.push(format!("{token} of {} is sent to another provider", USERS[user]));
            }
            if at == 0 {
                ledger.may_send(&token);
            }
            let sent = Sent {
                user,
                token,
                at: now,
                life: self.life,
                end: End::UnderWay,
                ended: 0,
                may_be_lost: false,
                is_forgotten: false,
            };
            ledger.sent.push(sent);
            ledger.sent.len() - 1
        };
        let hangs_up = HangsUp { line: self, number };
        let outcome = delivered(HOSTS[at], self.providers[at].answer(request), self.timeout).await;
        self.ends(
            number,
            match &outcome {
                Ok(answer) => end_of(answer),
                Err(failure) => match failure {
                    cloakroom::domain::error::Failure::Refused { .. } => End::WithoutEffect,
                    _ => End::Unknown,
                },
            },
        );
        drop(hangs_up);
        outcome
    }

    fn ends(&self, number: usize, end: End) {
        let ledger = &mut *self.ledger();
        let sent = &mut ledger.sent[number];
        if sent.end != End::UnderWay {
            return;
        }
        sent.end = end;
        ledger.seq += 1;
        sent.ended = ledger.seq;
        if let End::Answered { access, next } = &mut sent.end {
            if next.is_empty() {
                next.clone_from(&sent.token);
            }
            let known = Known { user: sent.user, expires: sent.at + self.lifetime };
            ledger.access.insert(access.clone(), known);
            ledger.refresh.insert(next.clone(), sent.user);
        }
    }
}

/// A request that is given up has an unknown outcome.
struct HangsUp<'a> {
    line: &'a Line,
    number: usize,
}

impl Drop for HangsUp<'_> {
    fn drop(&mut self) {
        self.line.ends(self.number, End::Unknown);
    }
}

/// What an answer says, by RFC 6749 alone.
fn end_of(answer: &Answer) -> End {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
    match answer.status {
        StatusCode::OK if body["access_token"].is_string() => {
            End::Answered { access: text("access_token"), next: text("refresh_token") }
        }
        status if status.is_success() || status.is_server_error() => End::Unknown,
        _ if text("error") == "invalid_grant" => End::Dead,
        _ => End::WithoutEffect,
    }
}

impl Transport for Line {
    fn send(&self, request: Request<Full<Bytes>>) -> Sending<'_> {
        Box::pin(async move {
            if self.is_cut() {
                // The daemon is gone.
                std::future::pending::<()>().await;
            }
            let host = request.uri().host().unwrap().to_owned();
            match HOSTS.iter().position(|at| *at == host) {
                None => {
                    let is_of = |id: &&str| request.uri().path().ends_with(&id.replace('|', "%7C"));
                    if let Some(user) = USERS.iter().position(|id| is_of(id)) {
                        let mut ledger = self.ledger();
                        ledger.seq += 1;
                        ledger.asked[user] = ledger.seq;
                    }
                    exchange(&self.tenant, request, self.timeout).await
                }
                Some(at) => {
                    let (head, body) = request.into_parts();
                    let body = body.collect().await.unwrap().to_bytes();
                    self.redeem(at, Request::from_parts(head, body)).await
                }
            }
        })
    }
}
