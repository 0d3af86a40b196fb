//! A request to the simulated tenant without a socket.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cloakroom::domain::error::Failure;
use cloakroom::fake_auth0::{Delivery, Tenant};
use cloakroom::transport::response::Answer;
use http_body_util::{BodyExt, Full};
use hyper::Request;

/// The tenant's answer, or the failure that its delivery over a connection would have ended in.
pub async fn exchange(
    tenant: &Tenant,
    request: Request<Full<Bytes>>,
    timeout: Duration,
) -> Result<Answer, Failure> {
    let host = || Arc::<str>::from("tenant.example");
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let exchange = async {
        let reply = tenant.answer(Request::from_parts(head, body)).await;
        match reply.delivery {
            Delivery::Whole => Ok(reply.response),
            Delivery::Refused => Err(Failure::Refused { host: host() }),
            Delivery::ResetMidway | Delivery::Truncated => Err(Failure::Broken { host: host() }),
            Delivery::HeadersStall | Delivery::BodyStalls => std::future::pending().await,
        }
    };
    let response = match tokio::time::timeout(timeout, exchange).await {
        Ok(outcome) => outcome?,
        Err(_) => return Err(Failure::TimedOut { host: host() }),
    };
    let (head, body) = response.into_parts();
    Ok(Answer { status: head.status, headers: head.headers, body })
}
