//! Sends one request and handles what every response has: its result for the metrics, its date, its rate limits. A
//! request whose connection may be dead is sent once more through a new one.

use std::borrow::Cow;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, StatusCode};

use crate::domain::error::Failure;
use crate::domain::freshness::Moment;
use crate::domain::priority::Priority;
use crate::transport::response::{Answer, Timing};
use crate::transport::{Seen, Sending, Transport};

use super::budget::BudgetPermit;
use super::client::{Auth0, ClientInner, ClientSettings, Endpoint};
use super::pace;

impl Auth0 {
    /// Sends what `build` returns with a permit that was acquired with `priority`.
    ///
    /// A network that loses connections does not close them: nothing arrives on them any more. A slow tenant looks the
    /// same, and its response must still be read. So a request on an older connection is sent once more, through a new
    /// one, if nothing has arrived for half of the timeout and the budget has a spare permit. The first response
    /// counts. Reading twice has no effect, and neither has a second exchange at Token Vault.
    pub(super) async fn send(
        &self,
        reloadable: &ClientSettings,
        endpoint: Endpoint,
        build: impl Fn() -> Result<Request<Full<Bytes>>, Failure>,
        permit: BudgetPermit,
        priority: Priority,
    ) -> Result<(Answer, Timing), Failure> {
        self.send_through(&reloadable.transport, reloadable, endpoint, build, permit, priority).await
    }

    /// [`Auth0::send`] through another transport.
    pub(super) async fn send_through(
        &self,
        transport: &Arc<dyn Transport>,
        reloadable: &ClientSettings,
        endpoint: Endpoint,
        build: impl Fn() -> Result<Request<Full<Bytes>>, Failure>,
        permit: BudgetPermit,
        priority: Priority,
    ) -> Result<(Answer, Timing), Failure> {
        let mut request = build()?;
        let seen = Seen::new();
        request.extensions_mut().insert(seen.clone());
        let mut first = pin!(self.attempt(endpoint, transport.send(request), permit));
        tokio::select! {
            biased;
            outcome = &mut first => return outcome,
            () = tokio::time::sleep(reloadable.request_timeout / 2) => {}
        }
        if !seen.is_silent() {
            return first.await;
        }
        // The other connections of the pool are as old as this one.
        transport.retire();
        let Ok(permit) = self.budget_for(endpoint).try_acquire(priority) else { return first.await };
        self.count(endpoint);
        let mut second = pin!(self.attempt(endpoint, transport.send_anew(build()?), permit));
        tokio::select! {
            outcome = &mut first => match outcome {
                Ok(answer) => Ok(answer),
                Err(_) => second.await,
            },
            outcome = &mut second => match outcome {
                Ok(answer) => Ok(answer),
                Err(_) => first.await,
            },
        }
    }

    /// Counts a request that is sent once more.
    fn count(&self, endpoint: Endpoint) {
        let counters = &self.0.counters;
        match endpoint {
            Endpoint::Token => counters.token_requests.add(),
            Endpoint::Exchange => counters.exchange_requests.add(),
            Endpoint::User => counters.user_requests.add(),
            Endpoint::Keys => counters.key_requests.add(),
            // Counted by their results alone.
            Endpoint::Discovery | Endpoint::ManagementApi => {}
        }
    }

    /// Waits for the answer to a request under way, and notes what it says about the tenant.
    pub(super) async fn attempt(
        &self,
        endpoint: Endpoint,
        sending: Sending<'_>,
        _permit: BudgetPermit,
    ) -> Result<(Answer, Timing), Failure> {
        let inner = &self.0;
        let sent = inner.clock.sends();
        let counted = Counted::begin(inner, endpoint, "timeout");
        let answer = sending.await;
        counted.end(answer.as_ref().map(|answer| answer.status));
        let answer = answer?;
        let timing = inner.timing(sent, &answer);
        if let Some(wait) = self.account_for(endpoint, &answer, timing) {
            return Err(Failure::Throttled { retry_after: Some(wait) });
        }
        // The gate stays open: a 5xx for one request does not predict the next one.
        match answer.retry_after(timing).filter(|_| answer.status.is_server_error()) {
            Some(wait) => {
                let (status, retry_after) = (answer.status.as_u16(), pace::jittered(wait, self.chance()));
                Err(Failure::AskedToWait { status, retry_after })
            }
            None => Ok((answer, timing)),
        }
    }
}

/// Counts a request when it ends, which includes one that is abandoned.
pub(super) struct Counted<'a> {
    inner: &'a ClientInner,
    endpoint: Endpoint,
    sent: Moment,
    result: Cow<'static, str>,
}

impl<'a> Counted<'a> {
    /// Begins with a request that is sent now, and counts as `abandoned` unless it ends.
    pub fn begin(inner: &'a ClientInner, endpoint: Endpoint, abandoned: &'static str) -> Self {
        Self { inner, endpoint, sent: inner.clock.now(), result: abandoned.into() }
    }

    /// Ends with the status of an answer or with a failure.
    pub fn end(mut self, outcome: Result<StatusCode, &Failure>) {
        self.result = match outcome {
            Ok(status) => status.as_str().to_owned().into(),
            Err(failure) => failure.label().into(),
        };
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        let result = std::mem::take(&mut self.result).into_owned();
        let took = self.sent.age(self.inner.clock.now());
        self.inner.counters.upstream_result(self.endpoint.label(), result, took);
    }
}
