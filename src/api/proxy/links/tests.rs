//! References as providers send them, and as they go on.

use super::*;

mod following;

const API: Mount<'_> = Mount { authority: "api.example.com", prefix: "", name: "api" };
const V2: Mount<'_> = Mount { authority: "api.example.com", prefix: "/v2", name: "new" };
const PREFIXED: Mount<'_> = Mount { authority: "git.example.com:8443", prefix: "/api/v3", name: "git" };

const LINKS: Links<'_> = Links {
    host: Some("localhost"),
    base: "/v1/users/a%7C1/proxy/example",
    current: API,
    target: "/lists/items?page=1",
    mounts: &[API, V2, PREFIXED],
    is_accepted,
};

/// Stands for the judge of targets.
fn is_accepted(target: &str) -> bool {
    let is_printable = target.bytes().all(|b| b.is_ascii_graphic() && b != b'\\');
    let path = target.split('?').next().unwrap_or_default();
    let is_plain = !path.contains("//") && !path.split('/').any(|segment| segment == ".." || segment == ".");
    target.starts_with('/') && is_printable && is_plain
}

fn location(links: &Links<'_>, value: &str) -> String {
    field(links, LOCATION, value)
}

fn link(value: &str) -> String {
    field(&LINKS, LINK, value)
}

fn field(links: &Links<'_>, name: HeaderName, value: &str) -> String {
    kept(links, name, value).unwrap_or_else(|| panic!("{value} is removed"))
}

/// The value as it goes on; `None` if the field is removed.
fn kept(links: &Links<'_>, name: HeaderName, value: &str) -> Option<String> {
    let mut headers = HeaderMap::new();
    headers.insert(&name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    links.rewrite(&mut headers);
    assert!(headers.len() <= 1);
    headers.get(&name).map(|value| String::from_utf8(value.as_bytes().to_vec()).unwrap())
}

#[test]
fn references_to_configured_hosts_lead_to_the_proxy() {
    const OURS: &str = "http://localhost/v1/users/a%7C1/proxy/example";
    for (sent, expected) in [
        ("https://api.example.com/items?page=2", "/api/items?page=2"),
        ("https://api.example.com/items/", "/api/items/"),
        ("https://api.example.com/a%2Fb%7c?q=%2E./../&r", "/api/a%2Fb%7c?q=%2E./../&r"),
        ("https://api.example.com/a?", "/api/a?"),
        ("https://api.example.com/", "/api/"),
        ("https://api.example.com", "/api/"),
        ("https://api.example.com?page=2", "/api/?page=2"),
        ("https://api.example.com/a#b", "/api/a#b"),
        ("https://api.example.com#b", "/api/#b"),
        ("https://api.example.com/a#/../b?c", "/api/a#/../b?c"),
        ("https://api.example.com:443/a", "/api/a"),
        ("HTTPS://API.Example.COM/A", "/api/A"),
        ("https://git.example.com:8443/api/v3/repos?page=2", "/git/repos?page=2"),
        ("https://git.example.com:8443/api/v3/", "/git/"),
        ("https://git.example.com:8443/api/v3/api/v3/a", "/git/api/v3/a"),
    ] {
        assert_eq!(location(&LINKS, sent), format!("{OURS}{expected}"), "{sent}");
    }
}

#[test]
fn absolute_paths_stay_paths() {
    const OURS: &str = "/v1/users/a%7C1/proxy/example";
    for (sent, expected) in [("/items?page=2", "/api/items?page=2"), ("/", "/api/"), ("/a#b", "/api/a#b")] {
        assert_eq!(location(&LINKS, sent), format!("{OURS}{expected}"), "{sent}");
    }
    let prefixed = Links { current: PREFIXED, ..LINKS };
    assert_eq!(location(&prefixed, "/api/v3/items"), format!("{OURS}/git/items"));
    let below_another = Links { current: V2, ..LINKS };
    assert_eq!(location(&below_another, "/v2/items"), format!("{OURS}/new/items"));
    assert_eq!(location(&below_another, "/v3/items"), format!("{OURS}/api/v3/items"));
    for sent in ["/items", "/api/v3", "/api/v30/items", "/api/v3?a"] {
        assert_eq!(location(&prefixed, sent), format!("https://git.example.com:8443{sent}"));
    }
}

#[test]
fn without_a_host_an_absolute_url_becomes_a_path() {
    let links = Links { host: None, ..LINKS };
    assert_eq!(location(&links, "https://api.example.com/a"), "/v1/users/a%7C1/proxy/example/api/a");
    assert_eq!(location(&links, "/a"), "/v1/users/a%7C1/proxy/example/api/a");
}

#[test]
fn relative_references_are_resolved_against_the_providers_url() {
    const OURS: &str = "/v1/users/a%7C1/proxy/example/api";
    for (sent, expected) in [
        ("items?page=2", "/lists/items?page=2"),
        ("./a/./b/.", "/lists/a/b/"),
        ("../a", "/a"),
        ("..", "/"),
        ("?page=2#b", "/lists/items?page=2#b"),
        ("a?b=../c#/../d", "/lists/a?b=../c#/../d"),
        ("/a/../b", "/b"),
        ("/a/%7E/", "/a/%7E/"),
    ] {
        assert_eq!(location(&LINKS, sent), format!("{OURS}{expected}"), "{sent}");
    }
    assert_eq!(location(&LINKS, "//api.example.com/a"), format!("http://localhost{OURS}/a"));
    let prefixed = Links { current: PREFIXED, ..LINKS };
    assert_eq!(location(&prefixed, "a"), "/v1/users/a%7C1/proxy/example/git/lists/a");
    assert_eq!(location(&prefixed, "../../v4"), "https://git.example.com:8443/api/v4");
}

/// What a provider could send to lead a client that follows redirects to other routes of the daemon.
#[test]
fn no_reference_leads_to_another_route_of_the_daemon() {
    const TOKEN: &str = "v1/users/google-oauth2%7C1035/token?connection=google-oauth2";
    const OURS: &str = "/v1/users/a%7C1/proxy/example/api";
    let up = "../../../../../google-oauth2%7C1035/token?connection=google-oauth2";
    let below = format!("{OURS}/google-oauth2%7C1035/token?connection=google-oauth2");
    assert_eq!(location(&LINKS, up), below);
    assert_eq!(location(&LINKS, &format!("/{TOKEN}")), format!("{OURS}/{TOKEN}"));
    let refuses_keys = Links { is_accepted: |target| !target.contains("key="), ..LINKS };
    for sent in [format!("/{TOKEN}&key=1"), format!("../../{TOKEN}&key=1"), "?key=1".to_owned()] {
        let path =
            if sent.starts_with('?') { "lists/items?key=1".to_owned() } else { format!("{TOKEN}&key=1") };
        assert_eq!(location(&refuses_keys, &sent), format!("https://api.example.com/{path}"));
    }
    let hosts = ["http://localhost/", "http://x/", "HTTP://api.example.com/", "http:", "http:/", "http:///"];
    let sockets =
        ["ws://localhost/", "http+unix://%2Frun%2Fa.sock/", "unix:/run/a.sock:/", "x:/../../../", "x:../../"];
    for origin in hosts.into_iter().chain(sockets) {
        assert_eq!(kept(&LINKS, LOCATION, &format!("{origin}{TOKEN}")), None, "{origin}");
        let value = format!("<{origin}{TOKEN}>; rel=next");
        assert_eq!(kept(&LINKS, LINK, &value), None, "{origin}");
    }
}

#[test]
fn other_https_urls_and_other_schemes_go_on_as_they_are() {
    for sent in [
        "https://other.example.com/a",
        "https://localhost/v1/me/token",
        "https://api.example.com.evil.com/a",
        "https://evil.com/https://api.example.com/a",
        "https://api.example.com./a",
        "https://user@api.example.com/a",
        "https://user:password@api.example.com/a",
        "https://api.example.com@evil.com/a",
        "https://api.example.com:pw@evil.com/a",
        "https://api.example.com\\@evil.com/a",
        "https://api.example.com:8443/a",
        "https://api.example.com:0443/a",
        "https://api.example.com:/a",
        "https://api%2Eexample.com/a",
        "https://git.example.com/api/v3/a",
        "https://git.example.com:8443/other",
        "https://git.example.com:8443/api/v3",
        "https://git.example.com:8443/api/v3?a",
        "https://git.example.com:8443/api/v3x/a",
        "https://git.example.com:8443/API/v3/a",
        "https://git.example.com:8443/api/v3/../../a",
        "https://api.example.com/a/../b",
        "https://api.example.com//a",
        "https://api.example.com/a b",
        "https://api.example.com/a>b",
        "https://api.example.com/a`b",
        "https://api.example.com/a#<b",
        "https://api.example.com/é",
        "https://api.example.com\t/a",
        "wss://api.example.com/a",
        "app://a/b",
        "mailto:a@example.com",
        "urn:a:b",
        "#a",
        "",
        "[redacted]",
    ] {
        assert_eq!(location(&LINKS, sent), sent);
    }
}

#[test]
fn what_cannot_be_rewritten_becomes_a_url_of_the_provider() {
    for (sent, expected) in [
        ("//evil.com", "https://evil.com"),
        ("//user@api.example.com/a", "https://user@api.example.com/a"),
        ("/a//b", "https://api.example.com/a//b"),
        ("/..//b", "https://api.example.com//b"),
    ] {
        assert_eq!(location(&LINKS, sent), expected);
    }
}

#[test]
fn malformed_references_are_removed() {
    for sent in [
        "https:/api.example.com/a",
        "https:api.example.com/a",
        "https:///a",
        "https://",
        "https://#a",
        "https://\\a",
        "//",
        "///a",
        "//?a",
        "/\\evil.com",
        "..\\..\\a",
        " https://api.example.com/a",
        "\thttp://localhost/a",
        "ht\ttp://localhost/a",
        "a b",
        "<https://api.example.com/a>",
        "/a>b",
        "é",
    ] {
        assert_eq!(kept(&LINKS, LOCATION, sent), None, "{sent}");
    }
}

#[test]
fn the_current_mount_is_preferred_and_then_the_longest_prefix() {
    let to = |current| {
        let links = Links { current, host: None, base: "", ..LINKS };
        location(&links, "https://api.example.com/v2/a")
    };
    assert_eq!(to(API), "/api/v2/a");
    assert_eq!(to(V2), "/new/a");
    assert_eq!(to(PREFIXED), "/new/a");
}

#[test]
fn links_of_the_management_api_lead_to_its_own_path() {
    let current = Mount { authority: "tenant.eu.auth0.com", prefix: "/api/v2", name: "" };
    let links = Links { host: Some("cloakroom"), base: "/api/v2", current, mounts: &[], ..LINKS };
    let sent = "https://tenant.eu.auth0.com/api/v2/users?page=1";
    assert_eq!(location(&links, sent), "http://cloakroom/api/v2/users?page=1");
    assert_eq!(location(&links, "/api/v2/users"), "/api/v2/users");
    for sent in ["https://tenant.eu.auth0.com/oauth/token", "/oauth/token", "../../../oauth/token"] {
        assert_eq!(location(&links, sent), "https://tenant.eu.auth0.com/oauth/token");
    }
}

#[test]
fn each_reference_of_a_link_value_is_rewritten_by_itself() {
    const OURS: &str = "http://localhost/v1/users/a%7C1/proxy/example/api";
    const HOST: &str = "https://api.example.com";
    for template in [
        r#"<@/items?page=2>; rel="next""#,
        r#"<@/items?page=2>; rel="next", <@/items?page=9>; rel="last""#,
        r#"<@/items?page=2>;rel=next,<@/items?page=9>;rel=last"#,
        r#"<@/items?a=1,2>; rel=next , <https://other.example.com/b>; rel=x,<#3>"#,
        r#"<@/a>; title="<https://api.example.com/b>, \"quoted\\"; rel="next", <@/c>"#,
        r#"<@/a>; anchor="https://api.example.com/b"; rel="next""#,
        r#"<@/a>;;; rel = "next" ; title ;, ,, <@/b>"#,
        r#"<@/a>; title*=UTF-8''%e2%82%ac; rel=next"#,
        r#"<@/a>; title="é", <@/b>"#,
        r#", <@/a>,"#,
        r#"<>; rel=self, <@/a>"#,
    ] {
        assert_eq!(link(&template.replace('@', HOST)), template.replace('@', OURS));
    }
}

#[test]
fn what_is_no_list_of_links_is_removed_as_a_whole() {
    for sent in ["", ","] {
        assert_eq!(link(sent), sent);
    }
    for sent in [
        "https://api.example.com/a",
        "<https://api.example.com/a",
        "<https://api.example.com/a>; title=\"open",
        "<https://api.example.com/a>; title=\"open\\",
        "<https://api.example.com/a> rel=next",
        "<https://api.example.com/a>, https://api.example.com/b",
        "<https://api.example.com/a>; title=a<b, <https://api.example.com/b>",
        "<https://api.example.com/a>; \"rel\"=next",
        "<<https://api.example.com/a>>",
        "<https://other.example.com/a/<../b>",
        "< https://api.example.com/a >; rel=next",
    ] {
        assert_eq!(kept(&LINKS, LINK, sent), None, "{sent}");
    }
}

#[test]
fn a_link_is_removed_by_itself() {
    const A: &str = "<https://a.example.com/?b,c>; rel=\"next\"; title=\",<http://x>\"";
    for (sent, expected) in [
        ("<http://x/a>; rel=prev, @", "@"),
        ("@, <http://x/a>; rel=prev", "@"),
        ("@ , <http://x/a>;rel=prev,@", "@ ,@"),
        (",<http://x/a>,<//>,\t@,", "@,"),
    ] {
        assert_eq!(link(&sent.replace('@', A)), expected.replace('@', A));
    }
}

#[test]
fn all_fields_are_rewritten_in_their_order_and_no_others() {
    let mut headers = HeaderMap::new();
    for value in ["</a>", "<#b>", "<http://b>", "</c>"] {
        headers.append(LINK, HeaderValue::from_static(value));
    }
    let untouched = HeaderValue::from_static("https://api.example.com/a");
    headers.insert("content-location", untouched.clone());
    headers.insert("x-next", untouched.clone());
    Links { base: "", host: None, ..LINKS }.rewrite(&mut headers);
    let links: Vec<_> = headers.get_all(LINK).iter().collect();
    assert_eq!(links, ["</api/a>", "<#b>", "</api/c>"]);
    assert_eq!([&headers["content-location"], &headers["x-next"]], [&untouched, &untouched]);
}

#[test]
fn a_value_that_is_or_would_become_too_long_is_removed() {
    for links in [1000, 100_000] {
        assert_eq!(kept(&LINKS, LINK, &"</>,".repeat(links)), None);
    }
    let long = format!("https://api.example.com/{}", "a".repeat(MAX_VALUE));
    assert_eq!(kept(&LINKS, LOCATION, &long), None);
}

/// What the caller chose is part of the path, and must not end a link.
#[test]
fn nothing_is_rewritten_to_a_path_that_is_no_url() {
    for base in ["/v1/a>b", "/v1/a\"b", "/v1/a b", "/v1/é"] {
        let links = Links { base, ..LINKS };
        assert_eq!(field(&links, LINK, "</a>"), "<https://api.example.com/a>");
    }
}

#[test]
fn only_a_plain_host_of_the_caller_is_used() {
    let of = |values: &[&str]| {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(HOST, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        caller_host(&headers).map(str::to_owned)
    };
    for host in ["localhost", "localhost:80", "a-b.c_d.example", "127.0.0.1:8080", "[::1]", "[::1]:80", "a:"]
    {
        assert_eq!(of(&[host]).as_deref(), Some(host));
    }
    for host in [
        "", ":80", "a b", "a/b", "a@b", "a:b", "a:80:80", "a:99999", "a:+80", "::1", "[]", "[::1", "[::1]x",
        "a%2Fb", "é", "a>",
    ] {
        assert_eq!(of(&[host]), None, "{host}");
    }
    assert_eq!(of(&[]), None);
    assert_eq!(of(&["a", "a"]), None);
}
