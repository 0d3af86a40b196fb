//! Where a client is led that follows references.

use proptest::prelude::*;

use super::*;

/// A text that has much of what links are made of.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("<"),
        Just(">"),
        Just(","),
        Just(";"),
        Just("\""),
        Just("\\"),
        Just("="),
        Just(" "),
        Just("/"),
        Just("//"),
        Just(".."),
        Just("%2e"),
        Just("?"),
        Just(":"),
        Just("http:"),
        Just("ws://a"),
        Just("\t"),
        Just("rel"),
        Just("https://api.example.com"),
        Just("https://git.example.com:8443/api/v3"),
        Just("</items?page=2>; rel=\"next\""),
        Just("#"),
        Just("é"),
    ];
    proptest::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn whatever_a_client_follows_stays_in_the_proxy_and_parameters_stay(
        value in prop_oneof![pieces(), "[ -~é]{0,64}", "(<[./?#:a%2e]{0,12}>,){1,3}"],
    ) {
        if let Some(location) = kept(&LINKS, LOCATION, &value) {
            stays_in_the_proxy(&location);
        }
        let Some(written) = kept(&LINKS, LINK, &value) else { return Ok(()) };
        let (of_sent, of_written) = (parts(&value), parts(&written));
        of_written.1.iter().for_each(|reference| stays_in_the_proxy(reference));
        if of_sent.1.len() == of_written.1.len() {
            prop_assert_eq!(of_sent.0, of_written.0);
        }
    }
}

/// A value without its references, and the references.
fn parts(value: &str) -> (String, Vec<&str>) {
    let links = field::links(value.as_bytes()).unwrap();
    let mut rest = value.to_owned();
    links.iter().rev().for_each(|link| rest.replace_range(link.reference.clone(), ""));
    (rest, links.iter().map(|link| &value[link.reference.clone()]).collect())
}

/// Follows a reference as a lenient client does that dials the socket for each URL but https ones.
fn stays_in_the_proxy(reference: &str) {
    let text = reference.trim().replace(['\t', ' '], "").replace('\\', "/");
    let text = text.split('#').next().unwrap().to_ascii_lowercase().replace("%2e", ".");
    let requested = format!("{}/api/lists/items", LINKS.base).to_ascii_lowercase();
    let after_host = |rest: &str| rest.find('/').map_or("/", |at| &rest[at..]).to_owned();
    let dialled = ["http:", "ws:", ""];
    let path = if text.starts_with("https://") {
        return;
    } else if let Some(rest) = dialled.iter().find_map(|scheme| text.strip_prefix(scheme)?.strip_prefix("//"))
    {
        after_host(rest)
    } else if text.contains("://") && text.find("://") < text.find(['/', '?']).map(|at| at + 1) {
        return;
    } else if text.is_empty() || text.starts_with(['/', '?']) {
        if text.starts_with('/') { text } else { format!("{requested}{text}") }
    } else {
        format!("{}/{text}", requested.rsplit_once('/').unwrap().0)
    };
    let mut kept = Vec::new();
    for segment in path.split('?').next().unwrap().split('/') {
        match segment {
            "." => {}
            ".." => drop(kept.pop()),
            _ => kept.push(segment),
        }
    }
    let (path, base) = (kept.join("/"), LINKS.base.to_ascii_lowercase());
    let is_below = ["api/", "new/", "git/"].iter().any(|name| path.starts_with(&format!("{base}/{name}")));
    assert!(is_below, "{reference} leads to {path}");
}
