//! Headers of proxied calls, both ways, and the links in answers.

use std::collections::BTreeSet;

use cloakroom::api::proxy::framing::{self, BodyFraming, HeadScan, TwoFramings};
use cloakroom::api::proxy::headers::{self, UserAgent};
use cloakroom::api::proxy::links::{Links, Mount, caller_host};
use cloakroom::domain::user::UserId;
use hyper::header::{HOST, HeaderMap, HeaderName, HeaderValue, LINK, LOCATION};
use hyper::{Request, Version};

use crate::holds;

/// The token, which no answer may hold. Spelt so that percent-encoding changes it.
const TOKEN: &[u8] = b"canary/+token";

/// Never goes on, either way.
const HOP_BY_HOP: [&str; 8] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// A first line with method and version, and a line for each header: as those of a request, and as those of an answer.
pub fn headers(data: &[u8]) {
    let (first, rest) = line(data);
    let sent = fields(rest);
    is_filtered_for_the_provider(&sent);
    is_filtered_for_the_caller(&sent);
    is_framed_as_stated(first, &sent);
    scan_in_pieces(data);
}

fn is_filtered_for_the_provider(sent: &HeaderMap) {
    const DROPPED: [&str; 5] = ["authorization", "content-length", "cookie", "expect", "host"];
    let named = named(sent);
    let is_dropped = |name: &str| {
        // Some servers read `_` as `-`.
        let spelled = name.replace('_', "-");
        let is_listed = HOP_BY_HOP.contains(&&*spelled) || DROPPED.contains(&&*spelled);
        is_listed
            || spelled.starts_with("proxy-")
            || spelled.starts_with("cloakroom-")
            || named.contains(name)
    };
    for agent in [UserAgent::Caller, UserAgent::CallerAndDaemon] {
        let mut kept = headers::request(sent, agent);
        assert!(!kept["user-agent"].is_empty());
        kept.remove("user-agent");
        is_without(sent, &kept, |name| name == "user-agent" || is_dropped(name), |value| value.clone());
    }
}

fn is_filtered_for_the_caller(sent: &HeaderMap) {
    const DROPPED: [&str; 5] =
        ["alt-svc", "content-length", "proxy-authentication-info", "set-cookie", "set-cookie2"];
    let named = named(sent);
    let is_dropped = |name: &str| {
        let is_listed = HOP_BY_HOP.contains(&name) || DROPPED.contains(&name);
        is_listed || name.starts_with("cloakroom-") || named.contains(name)
    };
    let mut filtered = headers::answer(sent.clone(), &[TOKEN]);
    let lengths: Vec<_> = filtered.headers.get_all("content-length").iter().collect();
    assert!(
        lengths.len() <= 1 && lengths.iter().all(|length| length.as_bytes().iter().all(u8::is_ascii_digit))
    );
    assert!(lengths.is_empty() || !sent.contains_key("transfer-encoding"));
    filtered.headers.remove("content-length");
    for (name, value) in &filtered.headers {
        assert!(!reflects(name.as_str().as_bytes()) && !reflects(value.as_bytes()), "{name}: {value:?}");
    }
    let reflections = sent.iter().filter(|(name, value)| {
        !is_dropped(name.as_str()) && (reflects(name.as_str().as_bytes()) || reflects(value.as_bytes()))
    });
    assert_eq!(filtered.reflected, reflections.count());
    let is_gone = |name: &str| is_dropped(name) || reflects(name.as_bytes());
    is_without(sent, &filtered.headers, is_gone, |value| {
        if reflects(value.as_bytes()) { HeaderValue::from_static("[redacted]") } else { value.clone() }
    });
}

/// Whether a text has the token, as it is or percent-encoded once or twice.
fn reflects(text: &[u8]) -> bool {
    let once: Vec<u8> = percent_encoding::percent_decode(text).collect();
    let twice: Vec<u8> = percent_encoding::percent_decode(&once).collect();
    [text, &once, &twice].iter().any(|text| holds(text, TOKEN))
}

/// What is kept is what was sent without the dropped names, with its number and order.
fn is_without(
    sent: &HeaderMap,
    kept: &HeaderMap,
    is_dropped: impl Fn(&str) -> bool,
    as_written: impl Fn(&HeaderValue) -> HeaderValue,
) {
    assert!(kept.keys().all(|name| sent.contains_key(name)), "{kept:?}");
    for name in sent.keys() {
        let expected: Vec<_> =
            sent.get_all(name).iter().map(&as_written).filter(|_| !is_dropped(name.as_str())).collect();
        assert!(kept.get_all(name).iter().eq(expected.iter()), "{name}: {kept:?}");
    }
}

/// No framing is accepted that the headers do not state alone, and none with a header that changes what was judged.
fn is_framed_as_stated(first: &[u8], sent: &HeaderMap) {
    let first = std::str::from_utf8(first).unwrap_or_default();
    let (method, version) = first.split_once(' ').unwrap_or((first, ""));
    let version = if version == "1.0" { Version::HTTP_10 } else { Version::HTTP_11 };
    let Ok(request) = Request::builder().method(method).version(version).body(()) else { return };
    let (mut head, ()) = request.into_parts();
    head.headers = sent.clone();
    let all = |name: &str| sent.get_all(name).iter().map(HeaderValue::as_bytes).collect::<Vec<_>>();
    let (codings, lengths) = (all("transfer-encoding"), all("content-length"));
    for length in [None, Some(0), Some(5)] {
        let Ok(accepted) = framing::check(&head, length) else { continue };
        match accepted {
            BodyFraming::None => assert!(codings.is_empty() && lengths.is_empty() && length == Some(0)),
            BodyFraming::Length(stated) => assert!(codings.is_empty() && length == Some(stated)),
            BodyFraming::Chunked => {
                assert!(lengths.is_empty() && codings.len() == 1 && length.is_none());
                assert!(codings[0].eq_ignore_ascii_case(b"chunked") && version == Version::HTTP_11);
                assert!(!["GET", "HEAD", "DELETE", "OPTIONS"].contains(&method));
                head.extensions.insert(TwoFramings);
                assert!(framing::check(&head, length).is_err());
                head.extensions.clear();
            }
        }
        let named = named(sent);
        for never in ["authorization", "content-length", "host", "upgrade", "cloakroom-request"] {
            assert!(!named.contains(never), "{named:?}");
        }
        for never in ["upgrade", "x-http-method", "x-http-method-override", "x-method-override"] {
            assert!(!sent.contains_key(never), "{never}");
        }
        assert!(!["TRACE", "TRACK", "CONNECT"].contains(&method));
        assert!(all("expect").iter().all(|value| value.eq_ignore_ascii_case(b"100-continue")));
    }
}

/// A head is scanned alike in whatever pieces it comes.
fn scan_in_pieces(data: &[u8]) {
    let (mut whole, mut pieces) = (HeadScan::default(), HeadScan::default());
    whole.feed(data);
    data.chunks(3).for_each(|piece| pieces.feed(piece));
    assert_eq!(whole.has_two_framings(), pieces.has_two_framings());
    let lower = data.to_ascii_lowercase();
    let names_both = holds(&lower, b"transfer-encoding") && holds(&lower, b"content-length");
    assert!(names_both || !whole.has_two_framings());
}

/// The names in `Connection`, in lower case.
fn named(headers: &HeaderMap) -> BTreeSet<String> {
    let values = headers.get_all("connection").iter();
    let options = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    options.map(|option| String::from_utf8_lossy(option.trim_ascii()).to_ascii_lowercase()).collect()
}

const MOUNTS: [Mount<'_>; 2] = [
    Mount { authority: "api.example.com", prefix: "", name: "api" },
    Mount { authority: "git.example.com:8443", prefix: "/api/v3", name: "git" },
];

/// A line with the caller's `Host`, a line with a user's id, and the value of a `Link` and a `Location`.
pub fn links(data: &[u8]) {
    let (host, rest) = line(data);
    let (user, value) = line(rest);
    let Ok(user) = UserId::parse(std::str::from_utf8(user).unwrap_or_default()) else { return };
    let Ok(value) = HeaderValue::from_bytes(value) else { return };
    let mut request = HeaderMap::new();
    if let Ok(host) = HeaderValue::from_bytes(host) {
        request.insert(HOST, host);
    }
    let base = format!("/v1/users/{}/proxy/example", user.to_path_segment());
    let host = caller_host(&request);
    let target = "/lists/items?page=1";
    let links = Links { host, base: &base, current: MOUNTS[0], target, mounts: &MOUNTS, is_accepted };
    let mut written = HeaderMap::new();
    written.append(LINK, value.clone());
    written.append(LINK, HeaderValue::from_static("<#b>"));
    written.append(LOCATION, value.clone());
    links.rewrite(&mut written);
    let of_link: Vec<_> = written.get_all(LINK).iter().map(HeaderValue::as_bytes).collect();
    assert_eq!(of_link.last(), Some(&&b"<#b>"[..]));
    if let Some(location) = written.get(LOCATION) {
        stays_in_the_proxy(&links, location.as_bytes());
    }
    if let [link, _] = of_link[..] {
        // A `<` may also be part of a quoted parameter, which goes on as it is.
        if !value.as_bytes().contains(&b'"') {
            link.split(|byte| *byte == b'<').skip(1).for_each(|rest| {
                stays_in_the_proxy(&links, rest.split(|byte| *byte == b'>').next().unwrap_or_default());
            });
        }
    }
}

/// Stands for the judge of targets, which has a target of its own.
fn is_accepted(target: &str) -> bool {
    let path = target.split('?').next().unwrap_or_default();
    target.bytes().all(|byte| byte.is_ascii_graphic()) && !path.contains("//") && !path.contains("..")
}

/// A reference goes on that leads to a place in the proxy, with a target that is accepted, or to no socket at all.
fn stays_in_the_proxy(links: &Links<'_>, written: &[u8]) {
    let text = String::from_utf8_lossy(written);
    if text.is_empty() || text.starts_with('#') || text == "[redacted]" {
        return;
    }
    let origin = links.host.map(|host| format!("http://{host}")).unwrap_or_default();
    let path = text.strip_prefix(&*origin).unwrap_or(&text);
    let tail = MOUNTS.iter().find_map(|mount| path.strip_prefix(&format!("{}/{}", links.base, mount.name)));
    if let Some(tail) = tail {
        assert!(tail.starts_with('/') && is_accepted(tail.split('#').next().unwrap()), "{text}");
        assert!(path.split('#').next().unwrap().parse::<hyper::Uri>().is_ok(), "{text}");
        return;
    }
    let (scheme, rest) = text.split_once(':').unwrap_or_else(|| panic!("{text}"));
    let scheme = scheme.to_ascii_lowercase();
    assert!(scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b)), "{text}");
    if scheme == "https" {
        assert!(rest.starts_with("//") && !rest.starts_with("///"), "{text}");
    } else {
        assert!(!scheme.starts_with("http") && scheme != "ws", "{text}");
        assert!(rest.starts_with("//") || !rest.contains('/'), "{text}");
    }
}

/// The first line, and what follows it.
fn line(data: &[u8]) -> (&[u8], &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n');
    end.map_or((data, &[]), |end| (&data[..end], &data[end + 1..]))
}

/// A header a line. Those that HTTP cannot carry are left out.
fn fields(mut rest: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    while !rest.is_empty() {
        let (field, after) = line(rest);
        rest = after;
        let colon = field.iter().position(|byte| *byte == b':').unwrap_or(field.len());
        let (name, value) = field.split_at(colon);
        let value = HeaderValue::from_bytes(value.get(1..).unwrap_or_default().trim_ascii());
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), value) {
            headers.append(name, value);
        }
    }
    headers
}
