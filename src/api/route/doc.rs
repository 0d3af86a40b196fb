//! The texts that documentation shows for a route.

use super::query::Parameter;

/// What the references say of a route besides what it does.
#[derive(Debug)]
pub struct RouteDoc {
    /// The name of a generated client's method.
    pub operation_id: &'static str,
    /// The group that it is listed in.
    pub tag: RouteTag,
    /// One sentence.
    pub summary: &'static str,
    /// What else there is to say; may be empty.
    pub description: &'static str,
    /// The query parameters that it knows.
    pub query: &'static [Parameter],
    /// The type of the body that it takes.
    pub body: Option<Body>,
    /// The answer of a request that succeeds.
    pub answer: AnswerKind,
}

/// Groups of routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteTag {
    /// What services ask for.
    Lookups,
    /// What is cached.
    Cache,
    /// The daemon itself.
    Daemon,
    /// What monitoring asks for.
    Probes,
    /// Calls that are sent on to another server.
    Proxy,
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
pub enum AnswerKind {
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
    /// The answer of another server, as it is.
    Proxied,
}

impl RouteTag {
    /// Every one, in the order of the reference.
    pub const ALL: [Self; 5] = [Self::Lookups, Self::Cache, Self::Daemon, Self::Probes, Self::Proxy];

    /// As `openapi.json` names it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Lookups => "lookups",
            Self::Cache => "cache",
            Self::Daemon => "daemon",
            Self::Probes => "probes",
            Self::Proxy => "proxy",
        }
    }

    /// What its routes are for.
    pub fn summary(self) -> &'static str {
        match self {
            Self::Lookups => "Tokens and identities of users.",
            Self::Cache => "What is cached of users.",
            Self::Daemon => "The daemon's state, configuration and interface.",
            Self::Probes => "Probes and metrics, without the request header.",
            Self::Proxy => "Calls of providers' APIs and of the Management API.",
        }
    }
}
