//! Requests that a proxy or a browser could have sent, from any client.

use cloakroom::fake_auth0::users;

use super::callers::{Ask, House, ROOT, Who, path_of};
use crate::support::process::is_root;

/// Root may everything on the first, and everything has to be asked for properly; on the second, one need not say that
/// it is us who are meant.
const LISTENERS: &str = r#"
[[listener]]
path = "{dir}/a.sock"
mode = "0666"
[[listener.allow]]
uid = 0
operations = ["token", "identities", "me", "report", "purge", "status", "management_token"]

[[listener]]
path = "{dir}/b.sock"
mode = "0666"
require_request_header = false
"#;

/// Every route but the probes, those of later versions, and none.
fn routes() -> Vec<Ask> {
    let user = path_of(users::GOOGLE);
    let of = |what: &str| format!("{user}/{what}");
    vec![
        Ask::get(of("token")),
        Ask::get(of("identities")),
        Ask::new("POST", of("report")).with_body(r#"{"fingerprint":"AAAAAAAAAAAAAAAA"}"#),
        Ask::new("DELETE", user.clone()),
        Ask::new("DELETE", "/v1/users"),
        Ask::get("/v1/management-token"),
        Ask::get("/v1/status"),
        Ask::get("/v1/me/token"),
        Ask::get("/v1/me/identities"),
        Ask::new("POST", "/v1/reload"),
        Ask::get("/openapi.json"),
        Ask::get("/v1/no/such/route"),
        Ask::new("PUT", of("token")),
    ]
}

const PROBES: [&str; 4] = ["/livez", "/readyz", "/startupz", "/metrics"];

#[test]
fn what_is_sent_on_is_refused_on_every_route_for_everybody() {
    if !is_root() {
        return;
    }
    let house = House::open(ROOT, LISTENERS);
    let calls = house.calls();
    for header in [
        ("Forwarded", "for=192.0.2.1"),
        ("X-Forwarded-For", "192.0.2.1"),
        ("x-forwarded-host", "evil.example"),
        ("X-FORWARDED-PROTO", ""),
        ("X-Forwarded-Anything-At-All", "x"),
        ("Origin", "null"),
        ("Referer", "http://evil.example/"),
    ] {
        for (listener, who) in [("a.sock", ROOT), ("b.sock", ROOT), ("a.sock", Who(1009, 1009))] {
            let probes = PROBES.map(Ask::get);
            let all: Vec<_> = routes().into_iter().chain(probes).collect();
            let sent_on = [("Cloakroom-Request", "true"), header];
            let asks: Vec<_> = all.iter().map(|ask| ask.clone().with_headers(&sent_on)).collect();
            for (heard, ask) in house.ask(who, listener, &asks).iter().zip(&asks) {
                assert_eq!(heard.problem(), (403, "forwarded_request"), "{who:?} {ask:?}");
                assert!(heard.detail().contains(&header.0.to_ascii_lowercase()), "{}", heard.detail());
            }
        }
    }
    assert_eq!(house.calls(), calls);
}

#[test]
fn what_does_not_say_that_it_means_us_is_refused_on_every_route_but_the_probes() {
    if !is_root() {
        return;
    }
    let house = House::open(ROOT, LISTENERS);
    let calls = house.calls();
    // A form or an image of a page can send neither header nor value; near misses are misses.
    let wrong: [&[(&str, &str)]; 7] = [
        &[],
        &[("Cloakroom-Request", "")],
        &[("Cloakroom-Request", "false")],
        &[("Cloakroom-Request", "TRUE")],
        &[("Cloakroom-Request", "true, false")],
        &[("Cloakroom-Requests", "true")],
        &[("X-Cloakroom-Request", "true")],
    ];
    for headers in wrong {
        for who in [ROOT, Who(1009, 1009)] {
            let asks: Vec<_> = routes().into_iter().map(|ask| ask.with_headers(headers)).collect();
            for (heard, ask) in house.ask(who, "a.sock", &asks).iter().zip(&asks) {
                assert_eq!(heard.problem(), (403, "request_header_required"), "{who:?} {ask:?}");
            }
        }
    }
    assert_eq!(house.calls(), calls);
    for heard in house.ask(ROOT, "a.sock", &PROBES.map(|probe| Ask::get(probe).with_headers(&[]))) {
        assert_eq!(heard.status, 200, "{heard:?}");
    }
    // Where a listener does not insist, the rest is as ever.
    let bare = |who| house.ask_one(who, "b.sock", &Ask::token(users::GOOGLE).with_headers(&[]));
    assert_eq!(bare(ROOT).status, 200);
    assert_eq!(bare(Who(1009, 1009)).problem(), (403, "forbidden"));
}
