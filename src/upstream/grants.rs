//! Requests to the token endpoint: the client-credentials grant, which obtains the Management token.

use std::ops::ControlFlow;

use hyper::StatusCode;

use crate::domain::error::Failure;
use crate::domain::freshness::Timestamp;
use crate::domain::priority::Priority;
use crate::management::{Grant, GrantSource, Granting};
use crate::transport::response::{Answer, Timing};

use super::client::{Auth0, ClientSettings, Endpoint, budget_failure, own_issuer};
use super::credentials::{Credentials, TokenEndpoint};
use super::wire;

impl GrantSource for Auth0 {
    fn grant(&self) -> Granting<'_> {
        Box::pin(async move { Self::grant(self).await.map(|(grant, _)| grant) })
    }
}

impl Auth0 {
    /// Requests a Management token, within the budget, with each of the client's credentials in turn until Auth0
    /// accepts one. Also returns the date of the answer, if it has one.
    pub async fn grant(&self) -> Result<(Grant, Option<Timestamp>), Failure> {
        let reloadable = self.reloadable();
        let mut attempts = self.attempts(&reloadable);
        while let Some(credentials) = attempts.next() {
            let outcome = self.grant_to(&reloadable, &credentials).await;
            match attempts.judge(outcome) {
                ControlFlow::Break(outcome) => return outcome,
                ControlFlow::Continue(()) => {}
            }
        }
        Err(Failure::NotSigned)
    }

    async fn grant_to(
        &self,
        reloadable: &ClientSettings,
        credentials: &Credentials,
    ) -> Result<(Grant, Option<Timestamp>), Failure> {
        let inner = &self.0;
        let fields = [("grant_type", "client_credentials"), ("audience", &*inner.audience)];
        let outcome = self
            .post_token(reloadable, credentials, &fields, Priority::Management)
            .await
            .and_then(|(answer, timing)| {
                let grant = wire::parse_grant(&answer, &inner.audience, timing)?;
                Ok((grant, answer.date()))
            })
            .map_err(|failure| credentials.explain(failure));
        match &outcome {
            Ok(_) => inner.counters.grants_succeeded.add(),
            Err(_) => inner.counters.grants_failed.add(),
        }
        outcome.inspect_err(|failure| self.failed(failure))
    }

    /// Sends a form to the token endpoint within the budget, authenticated with `credentials`.
    pub(super) async fn post_token(
        &self,
        reloadable: &ClientSettings,
        credentials: &Credentials,
        fields: &[(&str, &str)],
        priority: Priority,
    ) -> Result<(Answer, Timing), Failure> {
        let (inner, issuer) = (&self.0, own_issuer(&self.0.domain));
        // Before the permit of the request, because it may take one of its own.
        let url = self.token_url(reloadable, credentials).await?;
        let permit = inner.budget.acquire_for_itself(priority, reloadable.request_timeout).await;
        let permit = permit.map_err(budget_failure)?;
        inner.counters.token_requests.add();
        let endpoint = TokenEndpoint { url: &url, issuer: &issuer };
        let request = credentials.request(endpoint, fields, inner.clock.tenant_wall())?;
        let transport = credentials.transport().unwrap_or(&reloadable.transport);
        // A second grant would cost a token, and an assertion is accepted once, so the request is not sent once more
        // where nothing arrives. It uses a connection of its own; there are a few grants a day.
        let outcome = self.attempt(Endpoint::Token, transport.send_anew(request), permit).await;
        if !outcome.as_ref().is_ok_and(|(answer, _)| answer.status == StatusCode::OK) {
            reloadable.token_endpoint.forget();
        }
        outcome
    }
}
