//! The keys of `[me]`.

use super::key::{DefaultValue, Key, Reload, Table, Type};

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
