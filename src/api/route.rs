//! The route table: where a path leads, by which method, and what one needs the right to.

use hyper::Method;

use crate::domain::policy::Operation;

/// The routes' paths, as metrics name them.
pub const TEMPLATES: [&str; 15] = [
    "/v1/users/{user_id}/token",
    "/v1/users/{user_id}/identities",
    "/v1/me/token",
    "/v1/me/identities",
    "/v1/users/{user_id}/report",
    "/v1/users/{user_id}",
    "/v1/users",
    "/v1/management-token",
    "/v1/status",
    "/v1/reload",
    "/livez",
    "/readyz",
    "/startupz",
    "/metrics",
    "/openapi.json",
];

/// Where a request leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route<'a> {
    /// `/v1/users/{user_id}/token`
    Token(&'a str),
    /// `/v1/users/{user_id}/identities`
    Identities(&'a str),
    /// `/v1/me/token`
    MyToken,
    /// `/v1/me/identities`
    MyIdentities,
    /// `/v1/users/{user_id}/report`
    Report(&'a str),
    /// `/v1/users/{user_id}`
    User(&'a str),
    /// `/v1/users`
    Users,
    /// `/v1/management-token`
    ManagementToken,
    /// `/v1/status`
    Status,
    /// `/v1/reload`
    Reload,
    /// `/livez`
    Live,
    /// `/readyz`
    Ready,
    /// `/startupz`
    Started,
    /// `/metrics`
    Metrics,
    /// `/openapi.json`
    OpenApi,
}

impl<'a> Route<'a> {
    /// The route of a path; the segment of a user id is not decoded yet.
    pub fn find(path: &'a str) -> Option<Self> {
        let Some(rest) = path.strip_prefix("/v1/users/") else { return Self::without_user(path) };
        let route = if let Some(user) = rest.strip_suffix("/token") {
            Self::Token(user)
        } else if let Some(user) = rest.strip_suffix("/identities") {
            Self::Identities(user)
        } else if let Some(user) = rest.strip_suffix("/report") {
            Self::Report(user)
        } else {
            Self::User(rest)
        };
        // An id is one segment.
        route.user().is_some_and(|user| !user.contains('/')).then_some(route)
    }

    /// The same route, whoever the user is: to be kept apart from the path.
    pub fn of_anybody(self) -> Route<'static> {
        match self {
            Self::Token(_) => Route::Token(""),
            Self::Identities(_) => Route::Identities(""),
            Self::Report(_) => Route::Report(""),
            Self::User(_) => Route::User(""),
            Self::MyToken => Route::MyToken,
            Self::MyIdentities => Route::MyIdentities,
            Self::Users => Route::Users,
            Self::ManagementToken => Route::ManagementToken,
            Self::Status => Route::Status,
            Self::Reload => Route::Reload,
            Self::Live => Route::Live,
            Self::Ready => Route::Ready,
            Self::Started => Route::Started,
            Self::Metrics => Route::Metrics,
            Self::OpenApi => Route::OpenApi,
        }
    }

    fn without_user(path: &str) -> Option<Self> {
        Some(match path {
            "/v1/users" => Self::Users,
            "/v1/me/token" => Self::MyToken,
            "/v1/me/identities" => Self::MyIdentities,
            "/v1/management-token" => Self::ManagementToken,
            "/v1/status" => Self::Status,
            "/v1/reload" => Self::Reload,
            "/livez" => Self::Live,
            "/readyz" => Self::Ready,
            "/startupz" => Self::Started,
            "/metrics" => Self::Metrics,
            "/openapi.json" => Self::OpenApi,
            _ => return None,
        })
    }

    /// Its place among [`TEMPLATES`].
    pub fn number(&self) -> usize {
        match self {
            Self::Token(_) => 0,
            Self::Identities(_) => 1,
            Self::MyToken => 2,
            Self::MyIdentities => 3,
            Self::Report(_) => 4,
            Self::User(_) => 5,
            Self::Users => 6,
            Self::ManagementToken => 7,
            Self::Status => 8,
            Self::Reload => 9,
            Self::Live => 10,
            Self::Ready => 11,
            Self::Started => 12,
            Self::Metrics => 13,
            Self::OpenApi => 14,
        }
    }

    /// Whether the route takes `method`: its own, and HEAD wherever that is GET (RFC 9110 §9.1).
    pub fn takes(&self, method: &Method) -> bool {
        let own = self.method();
        *method == own || (own == Method::GET && *method == Method::HEAD)
    }

    /// The methods that the route takes, as `Allow` lists them.
    pub fn allow(&self) -> &'static str {
        match self.method() {
            Method::DELETE => "DELETE",
            Method::POST => "POST",
            _ => "GET, HEAD",
        }
    }

    /// The one method the route is for.
    pub fn method(&self) -> Method {
        match self {
            Self::User(_) | Self::Users => Method::DELETE,
            Self::Report(_) | Self::Reload => Method::POST,
            _ => Method::GET,
        }
    }

    /// The operation a caller needs the right to; none for what tells nothing.
    pub fn operation(&self) -> Option<Operation> {
        match self {
            Self::Token(_) => Some(Operation::Token),
            Self::Identities(_) => Some(Operation::Identities),
            Self::MyToken | Self::MyIdentities => Some(Operation::Me),
            Self::Report(_) => Some(Operation::Report),
            Self::User(_) | Self::Users => Some(Operation::Purge),
            Self::ManagementToken => Some(Operation::ManagementToken),
            Self::Status => Some(Operation::Status),
            Self::Reload => Some(Operation::Reload),
            Self::Live | Self::Ready | Self::Started | Self::Metrics | Self::OpenApi => None,
        }
    }

    /// The segment that names the user it is about.
    pub fn user(&self) -> Option<&'a str> {
        match self {
            Self::Token(user) | Self::Identities(user) | Self::Report(user) | Self::User(user) => Some(user),
            _ => None,
        }
    }

    /// Whether it tells how the daemon is, to whoever asks.
    pub fn is_probe(&self) -> bool {
        matches!(self, Self::Live | Self::Ready | Self::Started | Self::Metrics)
    }

    /// As log lines name it, without the user.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Token(_) => "token",
            Self::Identities(_) => "identities",
            Self::MyToken => "me_token",
            Self::MyIdentities => "me_identities",
            Self::Report(_) => "report",
            Self::User(_) | Self::Users => "purge",
            Self::ManagementToken => "management_token",
            Self::Status => "status",
            Self::Reload => "reload",
            Self::Live => "livez",
            Self::Ready => "readyz",
            Self::Started => "startupz",
            Self::Metrics => "metrics",
            Self::OpenApi => "openapi",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_has_its_own_template() {
        for (number, template) in TEMPLATES.iter().enumerate() {
            let route = Route::find(template).unwrap();
            assert_eq!((route.number(), route.of_anybody().number()), (number, number), "{template}");
        }
    }

    #[test]
    fn the_route_table() {
        let cases = [
            ("/v1/users/a%7Cb/token", Some(Route::Token("a%7Cb"))),
            ("/v1/users/a%2Fb/identities", Some(Route::Identities("a%2Fb"))),
            ("/v1/users/a", Some(Route::User("a"))),
            ("/v1/users", Some(Route::Users)),
            ("/v1/users/", Some(Route::User(""))),
            ("/v1/users//token", Some(Route::Token(""))),
            ("/v1/users/a/b/token", None),
            ("/v1/users/token", Some(Route::User("token"))),
            ("/v1/users/a/b", None),
            ("/v1/users/a/b/report", None),
            ("/v1/usersa", None),
            ("/v1/users/a/token/", None),
            ("/v1/management-token", Some(Route::ManagementToken)),
            ("/v1/me/token", Some(Route::MyToken)),
            ("/v1/me/identities", Some(Route::MyIdentities)),
            ("/v1/me", None),
            ("/v1/me/report", None),
            ("/v1/me/token/", None),
            ("/v1/status", Some(Route::Status)),
            ("/v1/reload", Some(Route::Reload)),
            ("/v1", None),
            ("/", None),
            ("*", None),
            ("//livez", None),
            ("/livez", Some(Route::Live)),
            ("/metrics", Some(Route::Metrics)),
            ("/readyz", Some(Route::Ready)),
            ("/startupz", Some(Route::Started)),
            ("/openapi.json", Some(Route::OpenApi)),
        ];
        for (path, route) in cases {
            assert_eq!(Route::find(path), route, "{path}");
        }
    }
}
