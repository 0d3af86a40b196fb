//! A request to a simulated tenant or provider without a socket.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cloakroom::domain::error::Failure;
use cloakroom::fake_auth0::{Delivery, Reply, Tenant};
use cloakroom::transport::response::Answer;
use http_body_util::{BodyExt, Full};
use hyper::Request;

/// The tenant's answer, or the failure that its delivery over a connection would have ended in.
pub async fn exchange(
    tenant: &Tenant,
    request: Request<Full<Bytes>>,
    timeout: Duration,
) -> Result<Answer, Failure> {
    let request = whole(request).await;
    delivered("tenant.example", tenant.answer(request), timeout).await
}

/// The request with its body in one piece.
pub async fn whole(request: Request<Full<Bytes>>) -> Request<Bytes> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Request::from_parts(head, body)
}

/// What of a server's reply arrives within `timeout`, or the failure that its delivery would have ended in.
pub async fn delivered(
    host: &str,
    reply: impl Future<Output = Reply>,
    timeout: Duration,
) -> Result<Answer, Failure> {
    let host = || Arc::<str>::from(host);
    let exchange = async {
        let reply = reply.await;
        match reply.delivery {
            Delivery::Whole => Ok(reply.response),
            Delivery::Dripping(pause) => {
                let bytes = u32::try_from(reply.response.body().len()).unwrap();
                tokio::time::sleep(pause * bytes).await;
                Ok(reply.response)
            }
            Delivery::Refused => Err(Failure::Refused { host: host() }),
            Delivery::Closed | Delivery::ResetMidway | Delivery::Truncated => {
                Err(Failure::Broken { host: host() })
            }
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
