//! One request on its way, and what every answer tells besides what was asked. Where it went through a connection that
//! may have died, it goes once more through another one.

use std::pin::pin;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;

use crate::domain::error::{Failure, UNSENDABLE};
use crate::domain::freshness::Moment;
use crate::domain::priority::Priority;

use super::budget::Permit;
use super::response::{Answer, Timing};
use super::transport::{Seen, Sending};
use super::{Auth0, Endpoint, Inner, Means, pace};

impl Auth0 {
    /// Sends `request`, with a permit that was given for something of this priority. `None` is a request that cannot be
    /// written, as with a token that is no header value.
    ///
    /// A network that loses its connections does not close them: they are silent. So is a tenant that is slow, and it
    /// must be heard. Therefore a request that has gone through a connection made before it is sent once more, through
    /// a new one, if half of the time has passed in silence and the budget can spare another permit; the first answer
    /// counts. Reading a user or keys twice changes nothing. A grant would cost another token, so it has a connection
    /// of its own from the beginning; there are a few a day.
    pub(super) async fn send(
        &self,
        means: &Means,
        endpoint: Endpoint,
        request: Option<Request<Full<Bytes>>>,
        permit: Permit,
        priority: Priority,
    ) -> Result<(Answer, Timing), Failure> {
        let mut request = request.ok_or(Failure::Malformed { what: UNSENDABLE })?;
        let transport = &means.transport;
        if let Endpoint::Token = endpoint {
            return self.attempt(endpoint, transport.send_anew(request), permit).await;
        }
        let seen = Seen::new();
        request.extensions_mut().insert(seen.clone());
        let mut first = pin!(self.attempt(endpoint, transport.send(request.clone()), permit));
        tokio::select! {
            biased;
            outcome = &mut first => return outcome,
            () = tokio::time::sleep(means.request_timeout / 2) => {}
        }
        if !seen.is_silent() {
            return first.await;
        }
        // The others are as old as this one.
        transport.retire();
        let Ok(permit) = self.0.budget.try_acquire(priority) else { return first.await };
        self.count(endpoint);
        let mut second = pin!(self.attempt(endpoint, transport.send_anew(request), permit));
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

    /// Counts a request for something that is read.
    fn count(&self, endpoint: Endpoint) {
        let counters = &self.0.counters;
        match endpoint {
            Endpoint::Token => counters.token_requests.add(),
            Endpoint::User => counters.user_requests.add(),
            Endpoint::Keys => counters.key_requests.add(),
        }
    }

    async fn attempt(
        &self,
        endpoint: Endpoint,
        sending: Sending<'_>,
        _permit: Permit,
    ) -> Result<(Answer, Timing), Failure> {
        let inner = &self.0;
        let sent = inner.clock.sends();
        let mut counted = Counted { inner, endpoint, sent: inner.clock.now(), result: None };
        let answer = sending.await;
        counted.result = Some(match &answer {
            Ok(answer) => answer.status.as_str().to_owned(),
            Err(failure) => failure.label().to_owned(),
        });
        drop(counted);
        let answer = answer?;
        let exchange = inner.exchange(sent, &answer);
        if let Some(wait) = self.account_for(endpoint, &answer, exchange) {
            return Err(Failure::Throttled { retry_after: Some(wait) });
        }
        // The gate stays open: that one request came at a bad time says nothing of the next.
        match answer.retry_after(exchange).filter(|_| answer.status.is_server_error()) {
            Some(wait) => {
                let (status, retry_after) = (answer.status.as_u16(), pace::jittered(wait, self.chance()));
                Err(Failure::AskedToWait { status, retry_after })
            }
            None => Ok((answer, exchange)),
        }
    }
}

/// Counts a request when it is over; also one that is abandoned at its caller's deadline.
struct Counted<'a> {
    inner: &'a Inner,
    endpoint: Endpoint,
    sent: Moment,
    /// `None` as long as nothing came.
    result: Option<String>,
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        let result = self.result.take().unwrap_or_else(|| "timeout".to_owned());
        let took = self.sent.age(self.inner.clock.now());
        self.inner.counters.upstream_result(self.endpoint.label(), result, took);
    }
}
