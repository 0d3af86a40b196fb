//! The keys of `[[listener.allow]]`.

use crate::domain::policy::Operation;

use super::key::{DefaultValue, Key, List, Reload, Table, Type};

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
                  user. `proxy`, `me_proxy` and `management_api` take a rule with `listener.allow.calls`, also for \
                  root. `reload` cannot be granted.",
        },
        Key {
            path: "listener.allow.calls",
            takes: Type::Texts { pattern: "^[A-Z-]+ [a-z0-9-]*/", may_be_empty: false },
            default: DefaultValue::Absent("none"),
            reload: Reload::Live,
            example: Some("GET gmail/gmail/v1/users/me/messages/**"),
            doc: "The calls that `proxy`, `me_proxy` and `management_api` allow, each a method and a path: \
                  `GET gmail/gmail/v1/users/me/**` at the API that a `[[proxy]]` names `gmail`, `GET /users/*` at the \
                  Management API.\n\n\
                  `*` stands for one segment that is not empty. `**`, as the last segment, stands for any number of them. \
                  Everything else is compared as it is, where `%41` is `A` and `%7c` is `%7C`, and `%2F` never separates \
                  segments. `GET` allows `HEAD` as well. A query is not compared: what a path allows, it allows with every \
                  query.",
        },
        Key {
            path: "listener.allow.connections",
            takes: Type::Texts { pattern: r"^\S", may_be_empty: false },
            default: DefaultValue::Absent("every connection"),
            reload: Reload::Live,
            example: Some("google-oauth2"),
            doc: "Limits the rule to identities of these connections. Calls of the Management API concern no connection.",
        },
        Key {
            path: "listener.allow.users",
            takes: Type::Texts { pattern: r"^\S", may_be_empty: false },
            default: DefaultValue::Absent("every user"),
            reload: Reload::Live,
            example: Some("google-oauth2|*"),
            doc: "Limits the rule to these user ids. `*` stands for any run of characters.\n\n\
                  At the Management API such a rule allows only paths that begin with `/users/` and one of these ids, \
                  because a list or a search reaches every user.",
        },
        Key {
            path: "listener.allow.rate",
            // A lookup in ten seconds is as low as makes sense.
            takes: Type::Number { min: 0.1, max: 1_000_000.0, zero_is_off: false },
            default: DefaultValue::Absent("no limit"),
            reload: Reload::Live,
            example: Some("100"),
            doc: "The limit on lookups and calls per second, for each uid that the rule names.",
        },
    ],
};
