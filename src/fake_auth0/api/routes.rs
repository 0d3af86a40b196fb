//! The routes of a simulated API.
//!
//! | Route | Answer |
//! |---|---|
//! | `GET /items?page=N` | a page of a list, with `Link` to the next one; `&links=all` adds others |
//! | `GET /me` | the account |
//! | any method `/echo…` | what was received, as JSON |
//! | `GET /events?every=MS` | server-sent events: those of `emit`, and one at each interval |
//! | `GET /download?bytes=N&rate=R&chunked` | the first bytes of the content, at a rate in bytes per second |
//! | `PUT`, `POST /upload?rate=R` | how many bytes arrived, and their hash |
//! | any method `/early?after=N` | 401 before the rest of the body is read |
//! | `GET /cut?after=N&bytes=M&chunked&status=S` | a body that breaks off |
//! | `GET /stall`, `GET /stall-body?after=N` | no head, or a body that stops |
//! | any method `/hang-up` | the connection is closed without an answer |
//! | `GET /redirect`, `GET /redirect-here` | 302 to another host, or to an absolute address of its own |
//! | `GET /headers?reflect`, also `&refuse` | header fields that no proxy should pass on |
//! | `GET /gzip` | a compressed body |
//! | `GET /interim?count=N&status=S` | interim responses, then 200 |
//! | any method `/status/N` | this status |
//! | any method `/refuse/KIND` | a refusal, see [`super::REFUSALS`] |

use std::time::Duration;

use bytes::Bytes;
use hyper::body::Body;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::fake_auth0::wire::{Before, GivenUp};

use super::body::Outgoing;
use super::received::Received;
use super::refusals;
use super::shared::Shared;

/// `{"compressed":true}` and a line feed, by gzip.
const GZIP: &[u8] =
    b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff\xab\x56\x4a\xce\xcf\x2d\x28\x4a\x2d\x2e\x4e\x4d\x51\
                      \xb2\x2a\x29\x2a\x4d\xad\xe5\x02\x00\xf3\xfd\xf8\xf8\x14\x00\x00\x00";

/// How many pages `/items` has.
const PAGES: u64 = 3;

/// The header fields of `/headers`. `Connection` and what it names must end at a proxy, as the fields of RFC 9110
/// §7.6.1 must; the rest is for a browser, or would be taken for the proxy's own word.
const FIELDS: &[(&str, &str)] = &[
    ("set-cookie", "session=upstream; Path=/; Secure"),
    ("set-cookie", "other=upstream; Path=/"),
    ("alt-svc", "h3=\":443\"; ma=86400"),
    ("strict-transport-security", "max-age=31536000; includeSubDomains"),
    ("clear-site-data", "\"*\""),
    ("access-control-allow-origin", "*"),
    ("access-control-allow-credentials", "true"),
    ("access-control-expose-headers", "x-request-id"),
    ("connection", "keep-alive, x-hop"),
    ("x-hop", "for the next hop only"),
    ("keep-alive", "timeout=5"),
    ("proxy-authenticate", "Basic realm=\"upstream\""),
    ("proxy-connection", "keep-alive"),
    ("te", "trailers"),
    ("trailer", "x-checksum"),
    ("upgrade", "h2c"),
    ("cloakroom-verdict", "token_dead"),
    ("cloakroom-upstream", "forged"),
    ("cloakroom-remedy", "connection=forged"),
    ("www-authenticate", "Bearer realm=\"one\""),
    ("www-authenticate", "Bearer realm=\"two\""),
    ("x-many", "first"),
    ("x-many", "second"),
    ("x-ratelimit-remaining", "41"),
    ("x-request-id", "0af7651916cd43dd"),
    ("etag", "\"v1\""),
    ("cache-control", "private, max-age=60"),
];

/// Answers a request; `Err` closes the connection.
pub(super) async fn answer<B>(
    api: &Shared,
    asked: &Parts,
    body: &mut Received<B>,
) -> Result<Response<Outgoing>, GivenUp>
where
    B: Body<Data = Bytes> + Send + Unpin,
{
    let query = Query::read(asked.uri.query().unwrap_or_default());
    let path = asked.uri.path();
    let prefix = api.state().options.prefix.clone();
    let Some(path) = path.strip_prefix(prefix.as_str()) else {
        body.drain(None).await;
        return Ok(not_found());
    };
    if let Some(refused) = refused(api, asked) {
        body.drain(None).await;
        return Ok(refused);
    }
    // These decide by themselves how much of the body they read.
    match path {
        "/stall" => return std::future::pending().await,
        "/hang-up" => return Err(GivenUp),
        "/early" => {
            body.read(query.number("after").unwrap_or(0), None).await;
            return Ok(
                refusals::response(api.now().wall.as_secs(), "standard-dead").unwrap_or_else(not_found)
            );
        }
        "/upload" if [Method::PUT, Method::POST].contains(&asked.method) => {
            body.drain(query.number("rate")).await;
            let (bytes, sha256) = body.so_far();
            return Ok(json(&json!({ "bytes": bytes, "sha256": sha256 })));
        }
        _ => body.drain(None).await,
    }
    if path == "/echo" || path.starts_with("/echo/") {
        return Ok(echo(api, body));
    }
    if let Some(kind) = path.strip_prefix("/refuse/") {
        return Ok(refusals::response(api.now().wall.as_secs(), kind).unwrap_or_else(not_found));
    }
    if let Some(status) = path.strip_prefix("/status/") {
        let status = status.parse().ok().and_then(|status| StatusCode::from_u16(status).ok());
        return Ok(status.map_or_else(not_found, with_status));
    }
    if ![Method::GET, Method::HEAD].contains(&asked.method) {
        let mut response = with_status(StatusCode::METHOD_NOT_ALLOWED);
        set(&mut response, "allow", "GET, HEAD");
        return Ok(response);
    }
    Ok(read(api, path, &query, asked))
}

/// Answers a GET of a route that reads no body.
fn read(api: &Shared, path: &str, query: &Query, asked: &Parts) -> Response<Outgoing> {
    match path {
        "/items" => items(query, &host(asked)),
        "/me" => json(&json!({ "id": "42", "name": "John Doe", "email": "john.doe@example.com" })),
        "/events" => events(api, query),
        "/download" => {
            let (length, is_sized) = (query.number("bytes").unwrap_or(0), !query.has("chunked"));
            let outgoing = Outgoing::content(length, is_sized, query.number("rate"));
            octets(outgoing, is_sized.then_some(length))
        }
        "/cut" | "/stall-body" => {
            let (after, is_sized) = (query.number("after").unwrap_or(0), !query.has("chunked"));
            let length = query.number("bytes").unwrap_or(after.saturating_add(1024));
            let outgoing = Outgoing::content(after, false, None);
            let outgoing = if path == "/cut" { outgoing.broken_off() } else { outgoing.stalled() };
            let mut response = octets(outgoing, is_sized.then_some(length));
            if let Some(status) = query.status() {
                *response.status_mut() = status;
            }
            response
        }
        "/redirect" => redirect("https://elsewhere.example/items?page=2"),
        "/redirect-here" => redirect(&format!("https://{}/items?page=2", host(asked))),
        "/headers" => headers(query, asked),
        "/gzip" => {
            let mut response = Response::new(Outgoing::whole(GZIP));
            set(&mut response, "content-type", "application/json");
            set(&mut response, "content-encoding", "gzip");
            response
        }
        "/interim" => {
            let mut response = json(&json!({ "interim": true }));
            let status = query.number("status").and_then(|status| u16::try_from(status).ok()).unwrap_or(103);
            let count = query.number("count").and_then(|count| usize::try_from(count).ok()).unwrap_or(1);
            let field = "link: </style.css>; rel=preload";
            response.extensions_mut().insert(Before::informational(status, field, count));
            response
        }
        _ => not_found(),
    }
}

/// Refuses a request without a valid token.
fn refused(api: &Shared, asked: &Parts) -> Option<Response<Outgoing>> {
    let values: Vec<_> = asked.headers.get_all(header::AUTHORIZATION).iter().collect();
    let token = match values.as_slice() {
        [value] => value.to_str().ok().and_then(|value| value.split_once(' ')),
        _ => None,
    };
    let token = token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    if token.is_some_and(|(_, token)| api.is_valid(token.trim())) {
        return None;
    }
    let dialect = api.state().options.dialect;
    refusals::response(api.now().wall.as_secs(), &format!("{}-dead", dialect.name()))
}

fn items(query: &Query, host: &str) -> Response<Outgoing> {
    let page = query.number("page").unwrap_or(1);
    let first = page.saturating_mul(2).saturating_sub(1);
    let items: Vec<_> = match (1..=PAGES).contains(&page) {
        true => (first..first + 2).map(|id| json!({ "id": id, "name": format!("item {id}") })).collect(),
        false => Vec::new(),
    };
    let mut response = json(&json!(items));
    let link = |page: u64, rel: &str| format!("<https://{host}/items?page={page}>; rel=\"{rel}\"");
    let mut links = Vec::new();
    if page < PAGES {
        links.push(link(page + 1, "next"));
    }
    if query.has("links") {
        links.push(link(PAGES, "last"));
        links.push("<https://elsewhere.example/terms>; rel=\"license\"; title=\"a, b; c\"".into());
        links.push("</items?page=1>; rel=\"first\"".into());
    }
    if !links.is_empty() {
        set(&mut response, "link", &links.join(", "));
    }
    response
}

fn echo<B>(api: &Shared, body: &Received<B>) -> Response<Outgoing>
where
    B: Body<Data = Bytes> + Send + Unpin,
{
    let (bytes, sha256) = body.so_far();
    let state = api.state();
    let Some(call) = state.log.get(body.number()) else { return not_found() };
    let fields = call.fields.iter().map(|(name, value)| json!([name, String::from_utf8_lossy(value)]));
    json(&json!({
        "method": call.method,
        "target": call.target(),
        "headers": fields.collect::<Vec<_>>(),
        "body_bytes": bytes,
        "body_sha256": sha256,
    }))
}

fn events(api: &Shared, query: &Query) -> Response<Outgoing> {
    let (sender, frames) = mpsc::unbounded_channel();
    api.state().events.push(sender);
    api.changed();
    let mut response =
        Response::new(Outgoing::events(frames, query.number("every").map(Duration::from_millis)));
    set(&mut response, "content-type", "text/event-stream");
    set(&mut response, "cache-control", "no-store");
    response
}

fn headers(query: &Query, asked: &Parts) -> Response<Outgoing> {
    let mut response = json(&json!({ "headers": true }));
    for (name, value) in FIELDS {
        response.headers_mut().append(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    if let Some(authorization) = asked.headers.get(header::AUTHORIZATION).filter(|_| query.has("reflect")) {
        let text = authorization.to_str().unwrap_or_default();
        let token = text.split_once(' ').map_or("", |(_, token)| token);
        set(&mut response, "x-reflected", text);
        set(&mut response, "x-reflected-inside", &format!("user=42; token={token}; ok"));
        if query.has("refuse") {
            *response.status_mut() = StatusCode::FORBIDDEN;
            let challenge = format!("Bearer error=\"insufficient_scope\", scope=\"{token}\"");
            set(&mut response, "www-authenticate", &challenge);
        }
    }
    response
}

fn octets(outgoing: Outgoing, length: Option<u64>) -> Response<Outgoing> {
    let mut response = Response::new(outgoing);
    set(&mut response, "content-type", "application/octet-stream");
    if let Some(length) = length {
        response.headers_mut().insert(header::CONTENT_LENGTH, length.into());
    }
    response
}

fn redirect(location: &str) -> Response<Outgoing> {
    let mut response = with_status(StatusCode::FOUND);
    set(&mut response, "location", location);
    response
}

/// The host that the client named.
fn host(asked: &Parts) -> String {
    let named = asked.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = named.or_else(|| asked.uri.authority().map(|authority| authority.as_str()));
    host.unwrap_or("localhost").to_owned()
}

fn json(body: &Value) -> Response<Outgoing> {
    let text = body.to_string();
    let length = text.len();
    let mut response = Response::new(Outgoing::whole(text));
    set(&mut response, "content-type", "application/json; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_LENGTH, length.into());
    response
}

fn with_status(status: StatusCode) -> Response<Outgoing> {
    let mut response = Response::new(Outgoing::whole(Bytes::new()));
    *response.status_mut() = status;
    if status == StatusCode::NOT_MODIFIED {
        set(&mut response, "etag", "\"v1\"");
    }
    response
}

fn not_found() -> Response<Outgoing> {
    let mut response = json(&json!({ "message": "There is no such route" }));
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}

fn set(response: &mut Response<Outgoing>, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(HeaderName::from_static(name), value);
    }
}

/// The parameters of a query.
struct Query(Vec<(String, String)>);

impl Query {
    fn read(query: &str) -> Self {
        Self(form_urlencoded::parse(query.as_bytes()).into_owned().collect())
    }

    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(parameter, _)| parameter == name)
    }

    fn status(&self) -> Option<StatusCode> {
        StatusCode::from_u16(u16::try_from(self.number("status")?).ok()?).ok()
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.0.iter().find(|(parameter, _)| parameter == name).and_then(|(_, value)| value.parse().ok())
    }
}
