//! Proxied calls: requests to providers' APIs and to the Management API that the daemon adds a token to.

pub mod framing;
pub mod headers;
pub mod links;
