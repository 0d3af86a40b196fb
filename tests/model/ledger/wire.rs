//! The line itself: a transport that enters everything into the ledger, both ways.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use cloakroom::clock::Clock;
use cloakroom::config;
use cloakroom::domain::freshness::Moment;
use cloakroom::fake_auth0::Tenant;
use cloakroom::transport::{Sending, Transport};
use http_body_util::Full;
use hyper::{Request, StatusCode};
use tokio::time::Instant;

use crate::exchange::exchange;

use super::{Heard, Ledger, date, is_json, said, user_in};

#[derive(Clone)]
pub struct Wire(Arc<Inner>);

struct Inner {
    ledger: Mutex<Ledger>,
    tenant: Tenant,
    /// The daemon's, and the tenant's, which is right.
    clock: Clock,
    truth: Clock,
    limits: config::Upstream,
    timeout: Duration,
}

impl Wire {
    pub fn new(
        tenant: Tenant,
        clock: Clock,
        truth: Clock,
        limits: config::Upstream,
        timeout: Duration,
    ) -> Self {
        Self(Arc::new(Inner { ledger: Mutex::default(), tenant, clock, truth, limits, timeout }))
    }

    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        let mut ledger = self.0.ledger.lock().unwrap();
        ledger.settle(self.0.clock.lost());
        ledger
    }

    pub fn now(&self) -> Moment {
        self.0.clock.now()
    }

    pub fn true_now(&self) -> i64 {
        self.0.truth.now().wall.as_millis()
    }
}

impl Transport for Wire {
    fn send(&self, request: Request<Full<Bytes>>) -> Sending<'_> {
        Box::pin(async move {
            let user = user_in(request.uri().path());
            let (sent, sent_at, true_sent) = (self.now(), Instant::now(), self.true_now());
            let sent_lost = self.0.clock.lost();
            let (sent_seq, paused) = {
                let mut ledger = self.ledger();
                ledger.leaves(sent, &self.0.limits);
                (ledger.tick(), ledger.paused)
            };
            let mut under_way = UnderWay::new(self, user.clone());
            let answer = exchange(&self.0.tenant, request, self.0.timeout).await?;
            let (received, lost) = (self.now(), self.0.clock.lost());
            let mut ledger = self.ledger();
            ledger.heeds(&answer, received, lost);
            ledger.came(&answer, user.is_some(), true_sent, self.true_now(), paused);
            under_way.silent = false;
            if let Some(user) = user
                && let Some(said) = said(&answer, &user)
            {
                under_way.answered = true;
                let heard_seq = ledger.tick();
                let (true_received, date) = (self.true_now(), date(&answer));
                ledger.heard.push(Heard {
                    user,
                    said,
                    sent_seq,
                    heard_seq,
                    sent,
                    received,
                    sent_at,
                    true_sent,
                    true_received,
                    date,
                    counted: Some((sent_lost, lost)),
                });
            }
            // Unless it has kept a grant waiting, which goes as soon as it is over.
            let had_room = ledger.under_way < self.0.limits.max_concurrency;
            if under_way.user.is_some() && had_room && matches!(answer.status.as_u16(), 400 | 401 | 403) {
                let is_page = answer.body.starts_with(b"<");
                let at = if is_page { &mut ledger.page } else { &mut ledger.refusal };
                *at = Some(Instant::now());
            }
            under_way.refused = match answer.status.as_u16() {
                400 | 401 | 403 => is_json(&answer),
                status => status == 429,
            };
            under_way.answered |= under_way.user.is_none() && answer.status == StatusCode::OK;
            drop(ledger);
            Ok(answer)
        })
    }
}

/// Counts a request for as long as it is under way, however that ends.
struct UnderWay<'a> {
    wire: &'a Wire,
    user: Option<String>,
    /// Unless it was, it came to nothing: it failed, or was given up.
    answered: bool,
    /// Nor was it about the user, but about the Management token, or the tenant's limit.
    refused: bool,
    /// There was no answer at all.
    silent: bool,
}

impl<'a> UnderWay<'a> {
    fn new(wire: &'a Wire, user: Option<String>) -> Self {
        let mut ledger = wire.ledger();
        match &user {
            Some(user) if ledger.users_under_way.contains(user) => {
                ledger.breaks(format!("two requests for {user} are under way"));
            }
            None if ledger.grants_under_way > 0 => ledger.breaks("two grants are under way".into()),
            // The keeper's own renewals come at instants of their own.
            None if ledger.page == Some(Instant::now()) && ledger.refusal != ledger.page => {
                ledger.breaks("a page of something on the way costs a Management token".into());
            }
            _ => {}
        }
        match &user {
            Some(user) => ledger.users_under_way.push(user.clone()),
            None => ledger.grants_under_way += 1,
        }
        Self { wire, user, answered: false, refused: false, silent: true }
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        // Poisoned where an assertion has failed already.
        let Ok(mut ledger) = self.wire.0.ledger.lock() else { return };
        ledger.under_way -= 1;
        if self.silent {
            ledger.silence = ledger.tick();
        }
        if !self.answered {
            let seq = ledger.tick();
            ledger.trouble = seq;
            if let Some(user) = self.user.as_ref().filter(|_| !self.refused) {
                ledger.nothing.insert(user.clone(), seq);
            }
        }
        match &self.user {
            Some(user) => {
                let at = ledger.users_under_way.iter().position(|other| other == user).unwrap();
                ledger.users_under_way.swap_remove(at);
            }
            None => ledger.grants_under_way -= 1,
        }
    }
}
