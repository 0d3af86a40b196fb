//! Routes: where a path leads, and what a row of the table says. The rows are in `table.rs`.

use hyper::Method;

use crate::domain::policy::Operation;

mod query;
mod table;

pub use query::{Parameter, ParameterKind, TOKEN_QUERY};
pub use table::{ROUTES, Route};

/// What stands in a template in the place of the user's id.
const USER: &str = "{user_id}";

/// A row of [`ROUTES`].
#[derive(Debug)]
pub struct RouteSpec {
    /// Which handler answers.
    pub route: Route,
    /// The path.
    pub template: Template,
    /// The method; a route for GET takes HEAD as well.
    pub method: Method,
    /// The operation that a client needs the right to; `None` for what reveals nothing.
    pub operation: Option<Operation>,
    /// As log lines name it.
    pub name: &'static str,
    /// Whether it states how the daemon is to every client, on TCP as well, and without the request header.
    pub is_probe: bool,
    /// For the references.
    pub doc: RouteDoc,
}

/// What the references say of a route besides what it does.
#[derive(Debug)]
pub struct RouteDoc {
    /// The name of a generated client's method.
    pub operation_id: &'static str,
    /// The group that it is listed in.
    pub tag: Tag,
    /// One sentence.
    pub summary: &'static str,
    /// What else there is to say; may be empty.
    pub description: &'static str,
    /// The query parameters that it knows.
    pub query: &'static [Parameter],
    /// The type of the body that it takes.
    pub body: Option<Body>,
    /// The answer of a request that succeeds.
    pub answer: Answer,
}

/// Groups of routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tag {
    /// What services ask for.
    Lookups,
    /// What is cached.
    Cache,
    /// The daemon itself.
    Daemon,
    /// What monitoring asks for.
    Probes,
}

/// The type of a body in JSON, one of `types.rs`.
#[derive(Clone, Copy, Debug)]
pub struct Body {
    /// Its name.
    pub name: &'static str,
    /// Its schema.
    #[cfg(feature = "schema")]
    pub schema: fn(&mut schemars::SchemaGenerator) -> schemars::Schema,
}

/// The answer of a request that succeeds.
#[derive(Clone, Copy, Debug)]
pub enum Answer {
    /// 200 with this body, and how it came about in `Cloakroom-Cache` and `Age`.
    Lookup(Body),
    /// 200 with this body.
    Json(Body),
    /// 200, or 503 where the probe fails, with a line of text.
    Probe,
    /// 200 with metrics in one of the two formats.
    Metrics,
    /// 200 with `openapi.json`.
    Document,
    /// 204.
    Empty,
}

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
    /// One route.
    Only(Route),
}

/// The route of a path.
#[derive(Clone, Copy, Debug)]
pub struct Matched<'a> {
    /// The row of the table.
    pub spec: &'static RouteSpec,
    /// The segment of the path that names the user, not decoded yet; empty where the route names none.
    pub user: &'a str,
}

impl Route {
    /// The route of a path, if there is one.
    pub fn find(path: &str) -> Option<Matched<'_>> {
        ROUTES.iter().find_map(|spec| Some(Matched { spec, user: spec.template.user_in(path)? }))
    }
}

impl Tag {
    /// Every one, in the order of the reference.
    pub const ALL: [Self; 4] = [Self::Lookups, Self::Cache, Self::Daemon, Self::Probes];

    /// As `openapi.json` names it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Lookups => "lookups",
            Self::Cache => "cache",
            Self::Daemon => "daemon",
            Self::Probes => "probes",
        }
    }

    /// What its routes are for.
    pub fn summary(self) -> &'static str {
        match self {
            Self::Lookups => "Tokens and identities of users.",
            Self::Cache => "What is cached of users.",
            Self::Daemon => "The daemon's state, configuration and interface.",
            Self::Probes => "Probes and metrics, without the request header.",
        }
    }
}

impl RouteGroup {
    /// Whether the route is in the group.
    pub fn has(self, spec: &RouteSpec) -> bool {
        match self {
            Self::All => true,
            Self::AllButProbes => !spec.is_probe,
            Self::Restricted => spec.operation.is_some(),
            Self::WithUserToken => spec.operation == Some(Operation::Me),
            Self::Lookups => matches!(spec.doc.answer, Answer::Lookup(_)),
            Self::TokenLookups => {
                matches!(spec.doc.answer, Answer::Lookup(body) if body.name == "TokenAnswer")
            }
            Self::Only(route) => spec.route == route,
        }
    }
}

impl RouteSpec {
    /// The row's place in the table.
    pub fn number(&self) -> usize {
        self.route as usize
    }

    /// Whether the route takes `method`: its own, and HEAD wherever that is GET (RFC 9110 §9.1).
    pub fn takes(&self, method: &Method) -> bool {
        *method == self.method || (self.method == Method::GET && *method == Method::HEAD)
    }

    /// The methods that the route takes, as `Allow` lists them.
    pub fn allow(&self) -> &'static str {
        match self.method {
            Method::DELETE => "DELETE",
            Method::POST => "POST",
            _ => "GET, HEAD",
        }
    }
}

/// A path, in which one segment may be a user's id.
#[derive(Debug)]
pub struct Template {
    text: &'static str,
    /// What stands before the id, or the whole path.
    before: &'static str,
    /// What follows the id; `None` where the path has none.
    after: Option<&'static str>,
}

impl Template {
    const fn new(text: &'static str) -> Self {
        let (mut length, mut bytes) = (0, text.as_bytes());
        while let [first, rest @ ..] = bytes
            && *first != b'{'
        {
            (length, bytes) = (length + 1, rest);
        }
        let (before, rest) = text.split_at(length);
        let after = if rest.is_empty() { None } else { Some(rest.split_at(USER.len()).1) };
        Self { text, before, after }
    }

    /// As metrics and documentation write it.
    pub fn as_str(&self) -> &'static str {
        self.text
    }

    /// Whether a segment of it is a user's id.
    pub fn has_user(&self) -> bool {
        self.after.is_some()
    }

    /// The segment of `path` that is the user's id, empty where the template has none; `None` for any other path.
    fn user_in<'a>(&self, path: &'a str) -> Option<&'a str> {
        let Some(after) = self.after else { return (path == self.before).then_some("") };
        let user = path.strip_prefix(self.before)?.strip_suffix(after)?;
        // An id is one segment.
        (!user.contains('/')).then_some(user)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

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
        ];
        for (path, route) in cases {
            let found = Route::find(path).map(|matched| (matched.spec.route, matched.user));
            assert_eq!(found, route, "{path}");
        }
    }
}
