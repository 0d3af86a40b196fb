//! The keys of `[[proxy]]`.

use std::time::Duration;

use bytesize::ByteSize;

use super::key::{DefaultValue, Key, List, Reload, Table, Type};
use crate::domain::verdict::Dialect;

/// The path of `[[proxy]]`.
pub(in crate::config) const PROXIED_API_PATH: &str = "proxy";

/// From a KiB, so that a request of any use passes, to what a disk holds.
const BODY: Type = Type::Size { min: ByteSize::kib(1), max: ByteSize::tib(1) };

/// Shorter than the lower bound, every call across an ocean would fail.
const SHORTEST: Duration = Duration::from_millis(100);

/// The names of all dialects.
#[expect(
    clippy::indexing_slicing,
    reason = "the compiler evaluates this, and refuses an index out of bounds"
)]
const DIALECTS: [&str; Dialect::ALL.len()] = {
    let mut words = [""; Dialect::ALL.len()];
    let mut at = 0;
    while at < words.len() {
        words[at] = Dialect::ALL[at].as_str();
        at += 1;
    }
    words
};

/// `[[proxy]]`.
pub(super) const PROXIED_API: Table = Table {
    path: PROXIED_API_PATH,
    list: Some(List { most: 64, elements: "APIs", example: "proxy.0.name" }),
    doc: "The identity providers' APIs that clients may call through the socket without holding a token, one table each.\n\n\
          A call to `/v1/users/{user_id}/proxy/{connection}/{name}/{path}` goes to `proxy.url` followed by the path, with \
          the user's token. Which calls a client may make is said by `listener.allow.calls`; without such a rule there are \
          none. APIs are reached as `[providers]` says.",
    keys: &[
        Key {
            path: "proxy.connection",
            takes: Type::Text(r"^\S"),
            default: DefaultValue::Required("the connection's name in Auth0"),
            reload: Reload::Live,
            example: Some("google-oauth2"),
            doc: "The connection whose tokens are sent to this API.",
        },
        Key {
            path: "proxy.name",
            takes: Type::Text("^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"),
            default: DefaultValue::Required("a short name for the API"),
            reload: Reload::Live,
            example: Some("gmail"),
            doc: "The API's name in the paths of calls and in `listener.allow.calls`: up to 63 lower-case letters, digits \
                  and hyphens. A connection has each name once.",
        },
        Key {
            path: "proxy.url",
            takes: Type::Text("^[hH][tT][tT][pP][sS]://"),
            default: DefaultValue::Required("where the API is, such as https://gmail.googleapis.com"),
            reload: Reload::Live,
            example: Some("https://gmail.googleapis.com"),
            doc: "Where the API is: `https`, a host, perhaps a port, and perhaps a path that every call's path is appended \
                  to.\n\n\
                  The token is sent there and nowhere else: no redirect is followed. The host is a public name; see \
                  `proxy.allow_private`.",
        },
        Key {
            path: "proxy.provider",
            takes: Type::Choice(&DIALECTS),
            default: DefaultValue::Absent("that of the host, or `standard` for a host that is not known"),
            reload: Reload::Live,
            example: Some("github"),
            doc: "Whose form the API's refusals have, which `Cloakroom-Verdict` is read from. `standard` reads status and \
                  headers alone, as RFC 6750 defines them. Set it for an installation of your own, such as GitHub \
                  Enterprise Server.",
        },
        Key {
            path: "proxy.allow_private",
            takes: Type::Boolean,
            default: DefaultValue::Value("false"),
            reload: Reload::Live,
            example: None,
            doc: "Whether `proxy.url` may be an IP address, or a host whose addresses are not public: loopback, private, \
                  link-local.\n\n\
                  Without it such an address is refused here, and again whenever the host's name is resolved. APIs at one \
                  host and port have the same value.",
        },
        Key {
            path: "proxy.request_bytes",
            takes: BODY,
            default: DefaultValue::Value("1MiB"),
            reload: Reload::Live,
            example: None,
            doc: "The limit on the body of a request. A longer one is answered 413 `body_too_large`.",
        },
        Key {
            path: "proxy.response_bytes",
            takes: BODY,
            default: DefaultValue::Value("64MiB"),
            reload: Reload::Live,
            example: None,
            doc: "The limit on the body of an answer. A longer one is cut off, and the connection to the client aborted. \
                  Bodies are streamed, so no limit costs memory.",
        },
        Key {
            path: "proxy.head_timeout",
            takes: Type::Duration { min: SHORTEST, max: Duration::from_secs(10 * 60) },
            default: DefaultValue::Value("30s"),
            reload: Reload::Live,
            example: None,
            doc: "The time limit from a request's last byte to the head of its answer.",
        },
        Key {
            path: "proxy.idle_timeout",
            takes: Type::Duration { min: SHORTEST, max: Duration::from_secs(24 * 3600) },
            default: DefaultValue::Value("30s"),
            reload: Reload::Live,
            example: None,
            doc: "The longest pause within a body, in either direction. Set it higher for an API that streams events.",
        },
    ],
};
