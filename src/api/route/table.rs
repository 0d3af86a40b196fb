//! The route table: every path with its method, the right that it needs, and what the references say of it.
//!
//! Requests are matched with it, and counters, hints, `openapi.json` and `docs/reference/http.md` are made from it.

use hyper::Method;

use crate::domain::policy::Operation;

use super::doc::{AnswerKind, Body, RouteDoc, RouteTag};
use super::query::{PURGE_QUERY, TOKEN_QUERY};
use super::template::Template;

/// The type of a body by its name in `types.rs`.
macro_rules! body {
    ($name:ident) => {
        Body {
            name: stringify!($name),
            #[cfg(feature = "schema")]
            schema: |generator| generator.subschema_for::<crate::api::types::$name>(),
        }
    };
}

/// Where a request leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the rows of the table say what each is")]
pub enum Route {
    Token,
    Identities,
    MyToken,
    MyIdentities,
    Report,
    User,
    Users,
    ManagementToken,
    Status,
    Reload,
    Live,
    Ready,
    Started,
    Metrics,
    OpenApi,
    Proxy,
    MyProxy,
    ManagementApi,
}

/// A row of [`ROUTES`].
#[derive(Debug)]
pub struct RouteSpec {
    /// Which handler answers.
    pub route: Route,
    /// The path.
    pub template: Template,
    /// The method, and `None` for a route that takes nearly any; a route for GET takes HEAD as well.
    pub method: Option<Method>,
    /// The operation that a client needs the right to; `None` for what reveals nothing.
    pub operation: Option<Operation>,
    /// As log lines name it.
    pub name: &'static str,
    /// Whether it states how the daemon is to every client, on TCP as well, and without the request header.
    pub is_probe: bool,
    /// For the references.
    pub doc: RouteDoc,
}

const ME_IS_OFF: &str =
    "Off, and then answered 404 `route_not_found`, unless the configuration sets `[me] audiences`.";

const SELECTION: &str = "Without `connection`, `provider` and `identity_user_id` the only identity that carries a token is \
                         meant; if several do, the answer is 409 `ambiguous_identity`.";

const PROXIED: &str = "Takes a rule that names the operation and the call. Method, path, query and body go on as they are, \
                       and the answer comes back as it is, with `Cloakroom-Upstream`.";

/// Every route, in the order of [`Route`].
pub const ROUTES: &[RouteSpec] = &[
    RouteSpec {
        route: Route::Token,
        template: Template::new("/v1/users/{user_id}/token"),
        method: Some(Method::GET),
        operation: Some(Operation::Token),
        name: "token",
        is_probe: false,
        doc: RouteDoc {
            operation_id: "getToken",
            tag: RouteTag::Lookups,
            summary: "The access token of one of the user's identities.",
            description: SELECTION,
            query: TOKEN_QUERY,
            body: None,
            answer: AnswerKind::Lookup(body!(TokenAnswer)),
        },
    },
    RouteSpec {
        route: Route::Identities,
        template: Template::new("/v1/users/{user_id}/identities"),
        method: Some(Method::GET),
        operation: Some(Operation::Identities),
        name: "identities",
        is_probe: false,
        doc: RouteDoc {
            operation_id: "getIdentities",
            tag: RouteTag::Lookups,
            summary: "The user's identities, each with the state of its token, without tokens.",
            description: "Also answered for a user whom Auth0 has blocked.",
            query: &[],
            body: None,
            answer: AnswerKind::Lookup(body!(IdentitiesAnswer)),
        },
    },
    RouteSpec {
        route: Route::MyToken,
        template: Template::new("/v1/me/token"),
        method: Some(Method::GET),
        operation: Some(Operation::Me),
        name: "me_token",
        is_probe: false,
        doc: RouteDoc {
            operation_id: "getMyToken",
            tag: RouteTag::Lookups,
            summary: "The access token of one of the identities of the user whose user token the request carries.",
            description: ME_IS_OFF,
            query: TOKEN_QUERY,
            body: None,
            answer: AnswerKind::Lookup(body!(TokenAnswer)),
        },
    },
    RouteSpec {
        route: Route::MyIdentities,
        template: Template::new("/v1/me/identities"),
        method: Some(Method::GET),
        operation: Some(Operation::Me),
        name: "me_identities",
        is_probe: false,
        doc: RouteDoc {
            operation_id: "getMyIdentities",
            tag: RouteTag::Lookups,
            summary: "The identities of the user whose user token the request carries, without tokens.",
            description: ME_IS_OFF,
            query: &[],
            body: None,
            answer: AnswerKind::Lookup(body!(IdentitiesAnswer)),
        },
    },
    RouteSpec {
        route: Route::Report,
        template: Template::new("/v1/users/{user_id}/report"),
        method: Some(Method::POST),
        operation: Some(Operation::Report),
        name: "report",
        is_probe: false,
        doc: RouteDoc {
            operation_id: "reportToken",
            tag: RouteTag::Lookups,
            summary: "Reports that the provider refused a token, so that it is not served again.",
            description: "The next lookups are answered 410 `login_required` until the user has logged in again, also if \
                          Auth0 sends the same token. A second report of the same token has the same answer and changes \
                          nothing.",
            query: &[],
            body: Some(body!(Report)),
            answer: AnswerKind::Json(body!(ReportAnswer)),
        },
    },
    RouteSpec {
        route: Route::User,
        template: Template::new("/v1/users/{user_id}"),
        method: Some(Method::DELETE),
        operation: Some(Operation::Purge),
        name: "purge",
        is_probe: false,
        doc: RouteDoc {
            operation_id: "purgeUser",
            tag: RouteTag::Cache,
            summary: "Removes the user from the cache.",
            description: "Also answered 204 if the user is not cached. The next lookup asks Auth0.",
            query: PURGE_QUERY,
            body: None,
            answer: AnswerKind::Empty,
        },
    },
    RouteSpec {
        route: Route::Users,
        template: Template::new("/v1/users"),
        method: Some(Method::DELETE),
        operation: Some(Operation::Purge),
        name: "purge",
        is_probe: false,
        doc: RouteDoc {
            operation_id: "purgeAllUsers",
            tag: RouteTag::Cache,
            summary: "Removes every user from the cache.",
            description: "",
            query: PURGE_QUERY,
            body: None,
            answer: AnswerKind::Empty,
        },
    },
    RouteSpec {
        route: Route::ManagementToken,
        template: Template::new("/v1/management-token"),
        method: Some(Method::GET),
        operation: Some(Operation::ManagementToken),
        name: "management_token",
        is_probe: false,
        doc: RouteDoc {
            operation_id: "getManagementToken",
            tag: RouteTag::Daemon,
            summary: "The Management API token itself.",
            description: "Off, and then answered 403 `forbidden`, unless a rule names the operation `management_token`.",
            query: &[],
            body: None,
            answer: AnswerKind::Json(body!(ManagementTokenAnswer)),
        },
    },
    RouteSpec {
        route: Route::Status,
        template: Template::new("/v1/status"),
        method: Some(Method::GET),
        operation: Some(Operation::Status),
        name: "status",
        is_probe: false,
        doc: RouteDoc {
            operation_id: "getStatus",
            tag: RouteTag::Daemon,
            summary: "The daemon's state, without tokens and user ids.",
            description: "What `cloakroom status` shows.",
            query: &[],
            body: None,
            answer: AnswerKind::Json(body!(StatusAnswer)),
        },
    },
    RouteSpec {
        route: Route::Reload,
        template: Template::new("/v1/reload"),
        method: Some(Method::POST),
        operation: Some(Operation::Reload),
        name: "reload",
        is_probe: false,
        doc: RouteDoc {
            operation_id: "reloadConfiguration",
            tag: RouteTag::Daemon,
            summary: "Reads the configuration again and puts it into force, as a whole or not at all.",
            description: "Only for root and the uid that the daemon runs as.",
            query: &[],
            body: None,
            answer: AnswerKind::Json(body!(ReloadAnswer)),
        },
    },
    RouteSpec {
        route: Route::Live,
        template: Template::new("/livez"),
        method: Some(Method::GET),
        operation: None,
        name: "livez",
        is_probe: true,
        doc: RouteDoc {
            operation_id: "getLiveness",
            tag: RouteTag::Probes,
            summary: "Whether the process answers.",
            description: "200 also without a Management token and during a shutdown.",
            query: &[],
            body: None,
            answer: AnswerKind::Probe,
        },
    },
    RouteSpec {
        route: Route::Ready,
        template: Template::new("/readyz"),
        method: Some(Method::GET),
        operation: None,
        name: "readyz",
        is_probe: true,
        doc: RouteDoc {
            operation_id: "getReadiness",
            tag: RouteTag::Probes,
            summary: "Whether lookups can be answered.",
            description: "200 while a Management token is held and no shutdown has begun; otherwise 503, and the body says \
                          why. The probe does not ask Auth0.",
            query: &[],
            body: None,
            answer: AnswerKind::Probe,
        },
    },
    RouteSpec {
        route: Route::Started,
        template: Template::new("/startupz"),
        method: Some(Method::GET),
        operation: None,
        name: "startupz",
        is_probe: true,
        doc: RouteDoc {
            operation_id: "getStartup",
            tag: RouteTag::Probes,
            summary: "Whether a Management token has been obtained since the start.",
            description: "200 once one has been obtained; before that 503, and the body says why. The probe does not ask \
                          Auth0.",
            query: &[],
            body: None,
            answer: AnswerKind::Probe,
        },
    },
    RouteSpec {
        route: Route::Metrics,
        template: Template::new("/metrics"),
        method: Some(Method::GET),
        operation: None,
        name: "metrics",
        is_probe: true,
        doc: RouteDoc {
            operation_id: "getMetrics",
            tag: RouteTag::Probes,
            summary: "Metrics for Prometheus, without user ids.",
            description: "OpenMetrics if the request accepts `application/openmetrics-text`, otherwise the older text \
                          format.",
            query: &[],
            body: None,
            answer: AnswerKind::Metrics,
        },
    },
    RouteSpec {
        route: Route::OpenApi,
        template: Template::new("/openapi.json"),
        method: Some(Method::GET),
        operation: None,
        name: "openapi",
        is_probe: false,
        doc: RouteDoc {
            operation_id: "getOpenApi",
            tag: RouteTag::Daemon,
            summary: "The description of this interface (OpenAPI 3.1).",
            description: "",
            query: &[],
            body: None,
            answer: AnswerKind::Document,
        },
    },
    RouteSpec {
        route: Route::Proxy,
        template: Template::with_rest("/v1/users/{user_id}/proxy/{connection}/{name}/{path}"),
        method: None,
        operation: Some(Operation::Proxy),
        name: "proxy",
        is_probe: false,
        doc: RouteDoc {
            operation_id: "callProvider",
            tag: RouteTag::Proxy,
            summary: "Calls the API of a `[[proxy]]` with the token of the user's identity of this connection.",
            description: PROXIED,
            query: &[],
            body: None,
            answer: AnswerKind::Proxied,
        },
    },
    RouteSpec {
        route: Route::MyProxy,
        template: Template::with_rest("/v1/me/proxy/{connection}/{name}/{path}"),
        method: None,
        operation: Some(Operation::MeProxy),
        name: "me_proxy",
        is_probe: false,
        doc: RouteDoc {
            operation_id: "callMyProvider",
            tag: RouteTag::Proxy,
            summary: "Calls the API of a `[[proxy]]` with the token of the user whose user token the request carries.",
            description: PROXIED,
            query: &[],
            body: None,
            answer: AnswerKind::Proxied,
        },
    },
    RouteSpec {
        route: Route::ManagementApi,
        template: Template::with_optional_rest("/api/v2/{path}"),
        method: None,
        operation: Some(Operation::ManagementApi),
        name: "management_api",
        is_probe: false,
        doc: RouteDoc {
            operation_id: "callManagementApi",
            tag: RouteTag::Proxy,
            summary: "Calls Auth0's Management API with the token of the client in `[management_api]`.",
            description: PROXIED,
            query: &[],
            body: None,
            answer: AnswerKind::Proxied,
        },
    },
];
