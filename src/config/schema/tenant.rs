//! The keys of `[tenant]`.

use std::time::Duration;

use super::key::{DefaultValue, Key, Reload, Table, Type};

/// Clients wait that long at worst, and most have given up before.
const REQUEST: Type = Type::Duration { min: Duration::from_millis(1), max: Duration::from_secs(60) };

/// `[tenant]`.
pub(super) const TENANT: Table = Table {
    path: "tenant",
    list: None,
    doc: "The Auth0 tenant and the way to reach it.",
    keys: &[
        Key {
            path: "tenant.domain",
            takes: Type::Text(r"^[^\s/?#@]+$"),
            default: DefaultValue::Required("the tenant's host name"),
            reload: Reload::Refused,
            example: Some("acme.eu.auth0.com"),
            doc: "The tenant's host name, or `host:port`: its own domain or a custom one. Only https is spoken, so \
                  there is no scheme and no path.\n\n\
                  A dot at the end makes the name absolute: it is resolved as it is, without search domains, and the \
                  dot is left out of TLS, `Host`, the audience and issuers. International names are written in their \
                  ASCII form (`xn--…`), IPv6 addresses in brackets.\n\n\
                  A daemon serves one tenant for as long as it runs, because its cache is about that tenant.",
        },
        Key {
            path: "tenant.audience",
            takes: Type::Text("^https://[^/]+/api/v2/$"),
            default: DefaultValue::Absent("`https://DOMAIN/api/v2/` for a domain under auth0.com"),
            reload: Reload::Refused,
            example: Some("https://acme.eu.auth0.com/api/v2/"),
            doc: "The identifier of the Management API, `https://TENANT.REGION.auth0.com/api/v2/`. Required with a \
                  custom domain.\n\n\
                  A custom domain does not change the identifier: it has the tenant's own host name and ends in a \
                  slash.",
        },
        Key {
            path: "tenant.ca_file",
            takes: Type::Path,
            default: DefaultValue::Absent("none"),
            reload: Reload::Live,
            example: Some("/etc/ssl/corp-ca.pem"),
            doc: "A PEM file of certificate authorities that are trusted besides the platform's. At most 1 MiB.\n\n\
                  A reload reads the file again. The platform's authorities are read at the start alone.",
        },
        Key {
            path: "tenant.proxy",
            takes: Type::Secret("^[hH][tT][tT][pP]://"),
            default: DefaultValue::Absent(
                "the variable `HTTPS_PROXY`, or else `ALL_PROXY`, minus the hosts in `NO_PROXY`",
            ),
            reload: Reload::Live,
            example: Some("http://proxy.corp:3128"),
            doc: "The HTTP proxy through which Auth0 is reached, `http://[user:password@]host[:port]`. It has to allow \
                  CONNECT.\n\n\
                  The proxy is asked in plain text, and what passes through it is TLS. Special characters of user and \
                  password are percent-encoded. A password makes the configuration file one that other users must not \
                  be able to read.\n\n\
                  If the key is set, the variables do not count, `NO_PROXY` included. Without it the first of \
                  `HTTPS_PROXY`, `https_proxy`, `ALL_PROXY` and `all_proxy` that is set counts, in which the scheme \
                  may be left out. SOCKS proxies and proxies that are themselves asked over TLS are not supported.",
        },
        Key {
            path: "tenant.connect_timeout",
            takes: REQUEST,
            default: DefaultValue::Value("2s"),
            reload: Reload::Live,
            example: None,
            doc: "The time limit for a connection to Auth0: name resolution, TCP, proxy and TLS together. Shorter than \
                  `tenant.request_timeout`.",
        },
        Key {
            path: "tenant.request_timeout",
            takes: REQUEST,
            default: DefaultValue::Value("5s"),
            reload: Reload::Live,
            example: None,
            doc: "The time limit for one answer of Auth0, retries included. Longer than `tenant.connect_timeout` and \
                  shorter than `cache.max_ttl`.",
        },
    ],
};
