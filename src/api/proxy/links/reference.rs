//! Reads references (RFC 3986 §4.1) as the clients do that follow them.

const HTTPS: &str = "https://";

/// What follows `https://`, if a reference begins with it.
pub(super) fn after_https(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked(HTTPS.len())?;
    scheme.eq_ignore_ascii_case(HTTPS.as_bytes()).then_some(rest)
}

/// The text of a reference that all clients parse alike: some leave out controls and spaces, and read `\` as `/`.
pub(super) fn plain(value: &[u8]) -> Option<&str> {
    let is_plain = value.iter().all(|byte| byte.is_ascii_graphic() && !b"<>\"\\".contains(byte));
    std::str::from_utf8(value).ok().filter(|_| is_plain)
}

/// The scheme of a reference, and what follows its colon.
pub(super) fn scheme(text: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = text.split_once(':')?;
    let is_scheme = scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    (is_scheme && scheme.starts_with(|first: char| first.is_ascii_alphabetic())).then_some((scheme, rest))
}

/// Whether a URL of this scheme, `https://` aside, leads a client to no route of the daemon.
pub(super) fn goes_elsewhere(scheme: &str, rest: &str) -> bool {
    let scheme = scheme.to_ascii_lowercase();
    // Libraries name sockets by schemes of their own, as `http+unix` and `unix`.
    let is_dialled = scheme.starts_with("http") || scheme == "ws" || scheme.contains("unix");
    // Some clients read a URL without `:/` as a relative reference, in which `..` could follow.
    !is_dialled && (rest.starts_with("//") || !rest.contains('/'))
}

/// The https URL that a reference without a scheme means in an answer from `authority` to a request for `requested`
/// (RFC 3986 §5.2); `None` if it names no host.
pub(super) fn resolve(reference: &str, authority: &str, requested: &str) -> Option<String> {
    if let Some(rest) = reference.strip_prefix("//") {
        let has_host = !rest.is_empty() && !rest.starts_with(['/', '?', '#']);
        return has_host.then(|| format!("{HTTPS}{rest}"));
    }
    let requested = requested.split('?').next().unwrap_or_default();
    let (path, rest) = reference.split_at(reference.find(['?', '#']).unwrap_or(reference.len()));
    let path = match path {
        "" => requested.to_owned(),
        path if path.starts_with('/') => without_dots(path),
        path => {
            let directory = requested.rsplit_once('/').map_or("", |(directory, _)| directory);
            without_dots(&format!("{directory}/{path}"))
        }
    };
    Some(format!("{HTTPS}{authority}{path}{rest}"))
}

/// An absolute path without its dot segments (RFC 3986 §5.2.4).
fn without_dots(path: &str) -> String {
    let mut kept = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        match segment {
            "." => {}
            ".." => drop(kept.pop()),
            _ => kept.push(segment),
        }
        if segments.peek().is_none() && matches!(segment, "." | "..") {
            kept.push("");
        }
    }
    format!("/{}", kept.join("/"))
}

/// The authority of an https URL, without the port 443, and what follows it.
pub(super) fn split(url: &str) -> Option<(&str, &str)> {
    after_https(url.as_bytes())?;
    let rest = url.get(HTTPS.len()..)?;
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    Some((authority.strip_suffix(":443").unwrap_or(authority), path))
}
