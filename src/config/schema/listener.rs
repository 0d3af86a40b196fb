//! Keys about sockets, about what clients may ask for, and about user tokens.

use super::key::{DefaultValue, Key, List, Reload, Table, Type};
use crate::domain::policy::Operation;

/// The path of `[[listener]]`.
pub(in crate::config) const LISTENER_PATH: &str = "listener";

/// The operations that rules can grant: all except for `reload`.
#[expect(
    clippy::indexing_slicing,
    reason = "the compiler evaluates this, and refuses an index out of bounds"
)]
const GRANTABLE: [&str; Operation::ALL.len() - 1] = {
    let mut words = [""; Operation::ALL.len() - 1];
    let (mut from, mut to) = (0, 0);
    while from < Operation::ALL.len() {
        let operation = Operation::ALL[from];
        if !matches!(operation, Operation::Reload) {
            words[to] = operation.as_str();
            to += 1;
        }
        from += 1;
    }
    words
};

/// `[[listener]]`.
pub(super) const LISTENER: Table = Table {
    path: LISTENER_PATH,
    list: Some(List { most: 64, elements: "listeners", example: "listener.0.path" }),
    doc: "The Unix sockets that clients connect to, one table each. Without any there is one, with these defaults.\n\n\
          Each listener is a boundary of its own, with its socket, its mode and its rules. A listener that is added or \
          removed takes a restart.",
    keys: &[
        Key {
            path: "listener.path",
            takes: Type::Path,
            default: DefaultValue::Value("/run/cloakroom/cloakroom.sock"),
            reload: Reload::Restart,
            example: None,
            doc: "The absolute path of the socket, at most 107 bytes. Its directory is created if it is missing.",
        },
        Key {
            path: "listener.mode",
            takes: Type::Mode,
            default: DefaultValue::Value("0660"),
            reload: Reload::Restart,
            example: None,
            doc: "The socket's permissions in octal digits, in quotes. Connecting takes the permission to write.\n\n\
                  With a socket that systemd opens, its socket unit sets mode, owner and group. This key, \
                  `listener.owner` and `listener.group` then have no effect.",
        },
        Key {
            path: "listener.owner",
            takes: Type::User,
            default: DefaultValue::Absent("the daemon's user"),
            reload: Reload::Restart,
            example: Some("cloakroom"),
            doc: "The user that owns the socket, by name or by number. Changing the owner takes root.",
        },
        Key {
            path: "listener.group",
            takes: Type::Group,
            default: DefaultValue::Absent("the daemon's group"),
            reload: Reload::Restart,
            example: Some("web"),
            doc: "The group of the socket, by name or by number. Changing it takes root or membership in that group.",
        },
        Key {
            path: "listener.max_connections",
            takes: Type::Integer { min: 1, max: 65_536 },
            default: DefaultValue::Value("1024"),
            reload: Reload::Restart,
            example: None,
            doc: "How many connections may be open at a time. A quarter is kept for root and the daemon's own uid.\n\n\
                  One uid holds at most half of them; its further connections are answered 503 `overloaded` and \
                  closed. Once every slot is taken, further connections wait in the kernel's queue.",
        },
        Key {
            path: "listener.require_request_header",
            takes: Type::Boolean,
            default: DefaultValue::Value("true"),
            reload: Reload::Live,
            example: None,
            doc: "Whether requests without `Cloakroom-Request: true` are refused. No browser or proxy sends that \
                  header by mistake. Turn this off only for clients that cannot set a header.",
        },
    ],
};

/// `[[listener.allow]]`.
pub(super) const ALLOW: Table = Table {
    path: "listener.allow",
    list: Some(List { most: 256, elements: "rules", example: "listener.0.allow.0.uid" }),
    doc: "Rules that say which clients may do what on a listener, one table each. Without any, root and the daemon's \
          own uid are answered.\n\n\
          How clients are identified, and which rule counts: [Decide who may ask](../guides/access.md).",
    keys: &[
        Key {
            path: "listener.allow.uid",
            takes: Type::User,
            default: DefaultValue::Absent("any user of the rule's `gid`"),
            reload: Reload::Live,
            example: Some("web"),
            doc: "The client's user, by name or by number. A rule has a `uid`, a `gid`, or both: then the client has \
                  to have both.",
        },
        Key {
            path: "listener.allow.gid",
            takes: Type::Group,
            default: DefaultValue::Absent("any group of the rule's `uid`"),
            reload: Reload::Live,
            example: Some("cloakroom-clients"),
            doc: "The client's group, by name or by number: the group that it runs as. Supplementary groups do not \
                  count.",
        },
        Key {
            path: "listener.allow.operations",
            takes: Type::Words(&GRANTABLE),
            default: DefaultValue::Value("token,identities,me,report"),
            reload: Reload::Live,
            example: None,
            doc: "What the client may do.\n\n\
                  `GET /v1/management-token` takes a rule that names `management_token`, also for root. Such a \
                  rule can be limited neither to users nor to connections, because a Management token reads every \
                  user. `reload` cannot be granted.",
        },
        Key {
            path: "listener.allow.connections",
            takes: Type::Texts { pattern: r"^\S", may_be_empty: false },
            default: DefaultValue::Absent("every connection"),
            reload: Reload::Live,
            example: Some("google-oauth2"),
            doc: "Limits the rule to identities of these connections.",
        },
        Key {
            path: "listener.allow.users",
            takes: Type::Texts { pattern: r"^\S", may_be_empty: false },
            default: DefaultValue::Absent("every user"),
            reload: Reload::Live,
            example: Some("google-oauth2|*"),
            doc: "Limits the rule to these user ids. `*` stands for any run of characters.",
        },
        Key {
            path: "listener.allow.rate",
            // A lookup in ten seconds is as low as makes sense.
            takes: Type::Number { min: 0.1, max: 1_000_000.0, zero_is_off: false },
            default: DefaultValue::Absent("no limit"),
            reload: Reload::Live,
            example: Some("100"),
            doc: "The limit on lookups per second, for each uid that the rule names.",
        },
    ],
};

/// `[me]`.
pub(super) const ME: Table = Table {
    path: "me",
    list: None,
    doc: "The user tokens that `/v1/me` accepts.",
    keys: &[
        Key {
            path: "me.audiences",
            takes: Type::Texts { pattern: r"^\S", may_be_empty: true },
            default: DefaultValue::Absent("none, and `/v1/me` is off"),
            reload: Reload::Live,
            example: Some("https://api.acme.example"),
            doc: "The audiences whose tokens `/v1/me` accepts: identifiers of your APIs for access tokens, client ids \
                  for ID tokens.\n\n\
                  Do not name the tenant's `/userinfo`: every access token with the scope `openid` is for it as well.",
        },
        Key {
            path: "me.issuers",
            takes: Type::Texts { pattern: "^https://", may_be_empty: true },
            default: DefaultValue::Absent("none besides the tenant"),
            reload: Reload::Live,
            example: Some("https://login.acme.example/"),
            doc: "Further custom domains of the tenant that issue users' tokens, as `https://DOMAIN/`.\n\n\
                  Tokens that `tenant.domain` issued, or the tenant behind that custom domain, are accepted in any \
                  case. Without `me.audiences` no token is accepted, from any issuer.",
        },
    ],
};
