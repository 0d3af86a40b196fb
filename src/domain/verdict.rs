//! What an API's refusal of a proxied call means.

mod dialect;

pub use dialect::Dialect;
