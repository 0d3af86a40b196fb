//! Routes: where a path leads, and what follows from its row in the table of `table.rs`.

use hyper::Method;

use crate::domain::policy::Operation;

mod doc;
mod query;
mod table;
mod template;

pub use doc::{AnswerKind, Body, RouteDoc, RouteTag};
pub use query::{PURGE_QUERY, Parameter, ParameterKind, TOKEN_QUERY};
pub use table::{ROUTES, Route, RouteSpec};
use template::Parts;
pub use template::Template;

/// Routes that have errors in common; the table of errors names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteGroup {
    /// Every route.
    All,
    /// Those that demand the request header.
    AllButProbes,
    /// Those whose operation a rule has to permit.
    Restricted,
    /// Those that take a user token.
    WithUserToken,
    /// Those that look a user up.
    Lookups,
    /// Those that look a token up.
    TokenLookups,
    /// Those that answer with a token, and take requirements on it.
    TokenAnswers,
    /// Those whose requests are sent on to another server.
    Proxied,
    /// Those whose requests are sent on to a provider's API.
    ProviderCalls,
    /// One route.
    Only(Route),
}

/// The methods of routes whose requests are sent on, as `Allow` lists them: the usual ones of those that they take.
pub const ANY_METHOD: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// The route of a path.
#[derive(Clone, Copy, Debug)]
pub struct Matched<'a> {
    /// The row of the table.
    pub spec: &'static RouteSpec,
    /// The segment of the path that names the user, not decoded yet; empty where the route names none.
    pub user: &'a str,
    /// The rest of the path, as it was sent, which is a path of the server that the call goes to; empty for a route that
    /// is answered here.
    pub rest: &'a str,
}

impl Route {
    /// The route of a path, if there is one.
    pub fn find(path: &str) -> Option<Matched<'_>> {
        ROUTES.iter().find_map(|spec| {
            let Parts { user, rest } = spec.template.parts(path)?;
            Some(Matched { spec, user, rest })
        })
    }
}

impl RouteGroup {
    /// Whether the route is in the group.
    pub fn has(self, spec: &RouteSpec) -> bool {
        match self {
            Self::All => true,
            Self::AllButProbes => !spec.is_probe,
            Self::Restricted => spec.operation.is_some(),
            Self::WithUserToken => matches!(spec.operation, Some(Operation::Me | Operation::MeProxy)),
            Self::Lookups => matches!(spec.doc.answer, AnswerKind::Lookup(_)) || spec.calls_a_provider(),
            Self::TokenLookups => Self::TokenAnswers.has(spec) || spec.calls_a_provider(),
            Self::TokenAnswers => {
                matches!(spec.doc.answer, AnswerKind::Lookup(body) if body.name == "TokenAnswer")
            }
            Self::Proxied => spec.is_proxied(),
            Self::ProviderCalls => spec.calls_a_provider(),
            Self::Only(route) => spec.route == route,
        }
    }
}

impl RouteSpec {
    /// The row's place in the table.
    pub fn number(&self) -> usize {
        self.route as usize
    }

    /// Whether requests of the route are sent on to another server.
    pub fn is_proxied(&self) -> bool {
        matches!(self.doc.answer, AnswerKind::Proxied)
    }

    /// Whether requests of the route are sent on to a provider's API.
    pub fn calls_a_provider(&self) -> bool {
        matches!(self.route, Route::Proxy | Route::MyProxy)
    }

    /// Whether the route takes `method`: its own, and HEAD wherever that is GET (RFC 9110 §9.1). Calls that are sent on
    /// may have any method but those that are about the connection itself, or that reflect what was sent (RFC 9110
    /// §9.3.6, §9.3.8).
    pub fn takes(&self, method: &Method) -> bool {
        match &self.method {
            Some(own) => method == own || (*own == Method::GET && *method == Method::HEAD),
            None => !["CONNECT", "TRACE", "TRACK"].contains(&method.as_str()),
        }
    }

    /// The methods that the route takes, as `Allow` lists them.
    pub fn allow(&self) -> &'static str {
        match self.method {
            None => ANY_METHOD,
            Some(Method::DELETE) => "DELETE",
            Some(Method::POST) => "POST",
            Some(_) => "GET, HEAD",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::template::USER;
    use super::*;

    #[test]
    fn every_row_stands_in_its_place_and_is_found_by_its_path() {
        for (number, spec) in ROUTES.iter().enumerate() {
            assert_eq!(spec.number(), number, "{spec:?}");
            let found = Route::find(spec.template.as_str()).unwrap();
            assert_eq!(found.spec.route, spec.route);
            assert_eq!(found.user, if spec.template.has_user() { USER } else { "" });
        }
        let distinct: BTreeSet<_> = ROUTES.iter().map(|spec| spec.doc.operation_id).collect();
        assert_eq!(distinct.len(), ROUTES.len());
    }

    #[test]
    fn rules_can_name_the_operations_of_the_routes_and_no_others() {
        let used: BTreeSet<_> =
            ROUTES.iter().filter_map(|spec| spec.operation.map(Operation::as_str)).collect();
        assert_eq!(used, Operation::ALL.map(Operation::as_str).into());
    }

    #[test]
    fn the_route_table() {
        let cases = [
            ("/v1/users/a%7Cb/token", Some((Route::Token, "a%7Cb"))),
            ("/v1/users/a%2Fb/identities", Some((Route::Identities, "a%2Fb"))),
            ("/v1/users/a", Some((Route::User, "a"))),
            ("/v1/users", Some((Route::Users, ""))),
            ("/v1/users/", Some((Route::User, ""))),
            ("/v1/users//token", Some((Route::Token, ""))),
            ("/v1/users/a/b/token", None),
            ("/v1/users/token", Some((Route::User, "token"))),
            ("/v1/users/a/b", None),
            ("/v1/users/a/b/report", None),
            ("/v1/usersa", None),
            ("/v1/users/a/token/", None),
            ("/v1/management-token", Some((Route::ManagementToken, ""))),
            ("/v1/me/token", Some((Route::MyToken, ""))),
            ("/v1/me/identities", Some((Route::MyIdentities, ""))),
            ("/v1/me", None),
            ("/v1/me/report", None),
            ("/v1/me/token/", None),
            ("/v1/status", Some((Route::Status, ""))),
            ("/v1/reload", Some((Route::Reload, ""))),
            ("/v1", None),
            ("/", None),
            ("*", None),
            ("//livez", None),
            ("/livez", Some((Route::Live, ""))),
            ("/metrics", Some((Route::Metrics, ""))),
            ("/readyz", Some((Route::Ready, ""))),
            ("/startupz", Some((Route::Started, ""))),
            ("/openapi.json", Some((Route::OpenApi, ""))),
            ("/v1/users/a%7Cb/proxy/github/api/x", Some((Route::Proxy, "a%7Cb"))),
            ("/v1/users/a/b/proxy/github/api/x", None),
            ("/v1/users/a/proxy", None),
            ("/v1/users//proxy/", Some((Route::Proxy, ""))),
            ("/v1/users/a/proxy/c/n/token", Some((Route::Proxy, "a"))),
            ("/v1/me/proxy/github/api/x", Some((Route::MyProxy, ""))),
            ("/api/v2/users/a", Some((Route::ManagementApi, ""))),
            ("/api/v2/", Some((Route::ManagementApi, ""))),
            ("/api/v2", Some((Route::ManagementApi, ""))),
            ("/api/v2x", None),
            ("/v1/me/proxy", None),
        ];
        for (path, route) in cases {
            let found = Route::find(path).map(|matched| (matched.spec.route, matched.user));
            assert_eq!(found, route, "{path}");
        }
    }
}
