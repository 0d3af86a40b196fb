//! Where a proxied call goes, as its path says it.

use std::borrow::Cow;

use hyper::Uri;
use percent_encoding::percent_decode_str;

use crate::domain::target::{Target, TargetFault};

/// The parts of a path `/v1/…/proxy/{connection}/{name}/{path}`.
#[derive(Debug, PartialEq, Eq)]
pub struct CallAddress<'a> {
    /// The connection's segment, as it was sent.
    pub connection_segment: &'a str,
    /// The connection's name.
    pub connection: Cow<'a, str>,
    /// The name of the `[[proxy]]`.
    pub name: &'a str,
    /// The path and the query for the provider, as they were sent; begins with a slash.
    pub tail: &'a str,
}

impl<'a> CallAddress<'a> {
    /// The address in `uri`, whose path ends in `rest`; `None` if a part is missing.
    pub fn of(uri: &'a Uri, rest: &str) -> Option<Self> {
        let whole = end_with_query(uri, rest.len())?;
        let path = whole.get(..rest.len())?;
        let (connection_segment, after) = path.split_once('/')?;
        let (name, _) = after.split_once('/')?;
        let tail = whole.get(connection_segment.len() + 1 + name.len()..)?;
        let connection = percent_decode_str(connection_segment).decode_utf8().ok()?;
        let is_whole = !connection.is_empty() && !name.is_empty();
        is_whole.then_some(Self { connection_segment, connection, name, tail })
    }

    /// Judges the tail.
    pub fn target(&self) -> Result<Target<'a>, TargetFault> {
        Target::judge(self.tail)
    }
}

/// Where the Management API begins, here as at Auth0.
pub const MANAGEMENT_API: &str = "/api/v2";

/// The path and the query for the Management API in `uri`, a path of its route. Empty for the API's own path.
pub fn management_tail(uri: &Uri) -> Option<&str> {
    uri.path_and_query()?.as_str().strip_prefix(MANAGEMENT_API)
}

/// The last `length` bytes of the path of `uri`, and the query after them.
fn end_with_query(uri: &Uri, length: usize) -> Option<&str> {
    let target = uri.path_and_query()?.as_str();
    target.get(uri.path().len().checked_sub(length)?..)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::route::Route;

    fn address(uri: &'static str) -> Option<(&'static str, String, &'static str, &'static str)> {
        let uri: &'static Uri = Box::leak(Box::new(Uri::from_static(uri)));
        let rest = Route::find(uri.path()).unwrap().rest;
        let address = CallAddress::of(uri, rest)?;
        Some((address.connection_segment, address.connection.into_owned(), address.name, address.tail))
    }

    #[test]
    fn the_tail_is_what_was_sent() {
        let found = |uri| address(uri).map(|(.., name, tail)| (name, tail));
        for (uri, name, tail) in [
            ("/v1/users/u/proxy/c/n/", "n", "/"),
            ("/v1/users/u/proxy/c/n/a%2Fb/?", "n", "/a%2Fb/?"),
            ("/v1/users/u/proxy/c/n/../x?y=/../z&%zz", "n", "/../x?y=/../z&%zz"),
            ("/v1/users/u/proxy/c/n//a", "n", "//a"),
            ("/v1/me/proxy/c/n/a|b?q", "n", "/a|b?q"),
            ("/v1/users/u/proxy/c/n/proxy/c/n/x", "n", "/proxy/c/n/x"),
        ] {
            assert_eq!(found(uri), Some((name, tail)), "{uri}");
        }
        for uri in
            ["/v1/users/u/proxy/c/n", "/v1/users/u/proxy/c", "/v1/users/u/proxy/", "/v1/users/u/proxy//n/x"]
        {
            assert_eq!(found(uri), None, "{uri}");
        }
    }

    #[test]
    fn the_connection_is_decoded_once() {
        let (segment, connection, ..) = address("/v1/me/proxy/my%20conn%2525/n/x").unwrap();
        assert_eq!((segment, &*connection), ("my%20conn%2525", "my conn%25"));
    }

    #[test]
    fn the_management_api_has_what_follows_its_own_path() {
        for (uri, tail) in [
            ("/api/v2/users/auth0%7C1?fields=a", "/users/auth0%7C1?fields=a"),
            ("/api/v2/", "/"),
            ("/api/v2/../oauth/token", "/../oauth/token"),
            ("/api/v2//users", "//users"),
            ("/api/v2", ""),
            ("/api/v2?q=/", "?q=/"),
        ] {
            assert_eq!(management_tail(&Uri::from_static(uri)), Some(tail));
        }
    }
}
