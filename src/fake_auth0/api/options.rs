//! The settings of a simulated API, and the answers that a test gives in place of a route's.

use bytes::Bytes;
use hyper::StatusCode;

use super::dialect::ApiDialect;

/// The settings that an API starts with.
#[derive(Clone, Debug, Default)]
pub struct ApiOptions {
    /// The provider whose refusals a request without a valid token gets.
    pub dialect: ApiDialect,
    /// The path below which the routes are, such as `/v1`, without a slash at the end; by default none.
    pub prefix: String,
    /// Whether each token that is not revoked is valid; by default only those that are accepted, or stored at the
    /// tenant, or alive at a trusted provider.
    pub accepts_any: bool,
}

/// An answer given in place of a route's.
#[derive(Clone, Debug, Default)]
pub struct Canned {
    /// The status.
    pub status: StatusCode,
    /// Names and values of header fields, in their order.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Bytes,
}
