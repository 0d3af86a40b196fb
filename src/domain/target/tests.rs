//! Tests of targets: which are kept byte for byte, and which are refused as what.

use super::PathFault::*;
use super::*;
use proptest::prelude::*;

fn fault(raw: &str) -> Option<PathFault> {
    match Target::judge(raw) {
        Ok(_) => None,
        Err(TargetFault::AmbiguousPath(fault)) => Some(fault),
        Err(other) => panic!("{raw}: {other:?}"),
    }
}

#[test]
fn paths_that_servers_could_read_in_two_ways_are_refused() {
    for (raw, why) in [
        ("", NoSlash),
        ("a/b", NoSlash),
        ("?a=b", NoSlash),
        ("*", NoSlash),
        ("/..", DotSegment),
        ("/.", DotSegment),
        ("/a/../b", DotSegment),
        ("/a/./b", DotSegment),
        ("/a/..", DotSegment),
        ("/../oauth/token", DotSegment),
        ("/a/%2e%2e/b", DotSegment),
        ("/a/%2E/b", DotSegment),
        ("/a/.%2E/b", DotSegment),
        ("/a/%2e./b", DotSegment),
        ("/a/%252e%252e/b", DotSegment),
        ("/a/%2e%252E/b", DotSegment),
        ("/a/%25%32%65%2e/b", DotSegment),
        ("/a/..;x/b", DotSegment),
        ("/a/.;/b", DotSegment),
        ("/a/..%3Bx/b", DotSegment),
        ("/a/%2e%2e;x=1;y/b", DotSegment),
        ("/a/..%3Fx/b", DotSegment),
        ("/a/..%23", DotSegment),
        ("/a/.%253Fx", DotSegment),
        ("/a/..%20/b", DotSegment),
        ("/a/..%2Fb", DotSegment),
        ("/a%2F..%2Fb", DotSegment),
        ("/a%2f%2e%2e%2fb", DotSegment),
        ("/a%252F..%252Fb", DotSegment),
        ("/a%2F..", DotSegment),
        ("//", EmptySegment),
        ("//a", EmptySegment),
        ("//evil.example/a", EmptySegment),
        ("/a//b", EmptySegment),
        ("/a//", EmptySegment),
        ("/a/;x/b", EmptySegment),
        ("/;/admin", EmptySegment),
        ("/%3B/admin", EmptySegment),
        ("/a\\b", Backslash),
        ("/a%5C..", Backslash),
        ("/a%5cb", Backslash),
        ("/a%255Cb", Backslash),
        ("/%00", Control),
        ("/a%09b", Control),
        ("/a%1Fb", Control),
        ("/a%7fb", Control),
        ("/a%2500", Control),
        ("/a%0D%0Ab", Control),
        ("/%C0%AE%C0%AE/b", NotUtf8),
        ("/%c0%ae", NotUtf8),
        ("/%E9", NotUtf8),
        ("/%25C0%25AE", NotUtf8),
        ("/%E0%80%AE", NotUtf8),
        ("/%zz", BrokenEscape),
        ("/%2", BrokenEscape),
        ("/%", BrokenEscape),
        ("/a%/b", BrokenEscape),
        ("/%u002e", BrokenEscape),
        ("/a?b=%", BrokenEscape),
        ("/a?%u006dethod=DELETE", BrokenEscape),
        ("/a b", RawControl),
        ("/a?b c", RawControl),
        ("/a\tb", RawControl),
        ("/a?b\r\nc", RawControl),
        ("/a\u{7f}", RawControl),
        ("/\u{e9}", NotAscii),
        ("/a?\u{e9}", NotAscii),
        ("/a\u{ff0e}\u{ff0e}", NotAscii),
        ("/a#x", Fragment),
        ("/a?b#x", Fragment),
    ] {
        assert_eq!(fault(raw), Some(why), "{raw}");
    }
    let long = |length: usize| format!("/{}", "a".repeat(length - 1));
    assert_eq!([fault(&long(MAX_PATH)), fault(&long(MAX_PATH + 1))], [None, Some(TooLong)]);
    assert_eq!(fault(&format!("/a?b={}", "c".repeat(5 << 10))), None, "the path alone is limited");
}

#[test]
fn every_other_target_is_kept_byte_for_byte() {
    for raw in [
        "/",
        "/a",
        "/a/",
        "/users/google-oauth2%7C1%2F2",
        "/users/a|b",
        "/repos/o/r/contents/a%2fb",
        "/repos/o/r/contents/a%2Fb",
        "/v4/spreadsheets/1:batchUpdate",
        "/v1.0/me/photo/$value",
        "/v1.0/me/drive/root:/x.txt:/content",
        "/v1.0/me/drive/root:/a..b/...:/content",
        "/~me/a+b/a@b/(x)/a,b/a'b/a!b",
        "/webmasters/v3/sites/https%3A%2F%2Fexample.com%2F/sitemaps",
        "/%2F",
        "/a%2F",
        "/a;x/b;y=..",
        "/a%3Fx=../%23/..%20b",
        "/a%20b/%C3%A9",
        "/users/samlp%7Curn%253Ax",
        "/100%25",
        "/100%25zz",
        "/a?",
        "/a?a=%2E%2E/../&b",
        "/a?q=%5C%00%C0%AE//;x",
        "/a??b",
        "/a?q=name%3Akey&page_token=x&keys=1&token=latest&methods=a",
        "/a?$select=id,method&fields=key",
        "/a?=method",
        "/a?a=method=x",
    ] {
        let target = Target::judge(raw).unwrap_or_else(|fault| panic!("{raw}: {fault:?}"));
        assert_eq!(target.as_str(), raw);
        let query = target.query().map(|query| format!("?{query}")).unwrap_or_default();
        assert_eq!(format!("{}{query}", target.path()), raw);
        assert_eq!(target.query().is_some(), raw.contains('?'));
    }
}

#[test]
fn parameters_that_replace_the_method_or_the_token_are_refused_in_every_spelling() {
    for query in [
        "method=DELETE",
        "a=b&method=delete",
        "Method=",
        "method",
        "%6dethod=x",
        "_method=put",
        "_HttpMethod=PATCH",
        "_httpmethod=PATCH",
        "a;method=x",
        "+method=x",
        "method%00=x",
        "method[]=x",
        "_method[a][b]=x",
    ] {
        assert_eq!(Target::judge(&format!("/a?{query}")), Err(TargetFault::MethodOverride), "{query}");
    }
    for query in [
        "access_token=x",
        "ACCESS_TOKEN=x",
        "access%5Ftoken=x",
        "access.token=x",
        "access[token=x",
        "api%5Bkey=x",
        "a=b&oauth_token",
        "key=x",
        "api_key=x",
        "k%65y=x",
        "key%5B%5D=x",
        "authorization=Bearer%20x",
        "private_token=x",
        "job_token=x",
        "a=b;key=x",
    ] {
        assert_eq!(Target::judge(&format!("/a?{query}")), Err(TargetFault::CredentialInQuery), "{query}");
    }
    assert!(Target::judge("/a/method=x/key=y").is_ok(), "a path has no parameters");
}

/// The definition: the bytes of `text` with every escape decoded, as by hand.
fn decoded_by_hand(text: &[u8]) -> Vec<u8> {
    let digit = |at: usize| text.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    let (mut decoded, mut at) = (Vec::new(), 0);
    while let Some(byte) = text.get(at) {
        match (byte, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push(u8::try_from(high * 16 + low).unwrap());
                at += 3;
            }
            _ => {
                decoded.push(*byte);
                at += 1;
            }
        }
    }
    decoded
}

/// Whether a reader of the path, decoded some times, could find in it what leads elsewhere.
fn leads_elsewhere(path: &[u8]) -> bool {
    let is_dots = |segment: &[u8]| {
        let name = segment.split(|byte| *byte == b';').next().unwrap();
        [&b"."[..], b".."].contains(&name)
    };
    path.iter().any(u8::is_ascii_control)
        || path.split(|byte| [b'/', b'\\'].contains(byte)).any(is_dots)
        || path.split(|byte| *byte == b'/').any(is_dots)
}

/// Pieces of paths that are put together in every order.
fn piece() -> impl Strategy<Value = String> {
    let pieces =
        "/|//|.|..|%2e|%2E|%252e|%|%25|2|e|%2F|%252F|%5C|\\\\|;|%3B|a|%00|%0a|%7F|%C0|%AE|%C3%A9|?|&|=";
    prop_oneof![
        4 => proptest::sample::select(pieces.split('|').map(str::to_owned).collect::<Vec<_>>()),
        1 => "[!-~]{1,3}",
    ]
}

proptest! {
    #[test]
    fn a_target_is_sent_as_it_was_judged_and_leads_nowhere_else_however_it_is_decoded(
        pieces in proptest::collection::vec(piece(), 0..10),
    ) {
        let raw = format!("/{}", pieces.concat());
        let Ok(target) = Target::judge(&raw) else { return Ok(()) };
        prop_assert_eq!(target.as_str(), &raw);
        let mut path = target.path().as_bytes().to_vec();
        prop_assert!(!target.path().contains("//"));
        for _ in 0..=DECODINGS {
            prop_assert!(!leads_elsewhere(&path), "{}", String::from_utf8_lossy(&path));
            path = decoded_by_hand(&path);
        }
    }

    #[test]
    fn any_text_at_all_is_judged(raw in "\\PC{0,40}") {
        if let Ok(target) = Target::judge(&raw) {
            prop_assert_eq!(target.as_str(), &raw);
            prop_assert!(raw.is_ascii());
        }
    }
}
