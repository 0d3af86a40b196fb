//! Tests of patterns of calls: which are refused as what, and which calls each allows.

use super::*;
use proptest::prelude::*;

fn matches(pattern: &str, method: &str, name: Option<&str>, path: &str) -> bool {
    let target = Target::judge(path).unwrap_or_else(|fault| panic!("{path}: {fault:?}"));
    let pattern = CallPattern::parse(pattern).unwrap_or_else(|fault| panic!("{pattern}: {fault:?}"));
    pattern.matches(&Call { method, name, target: &target })
}

#[test]
fn patterns_that_could_never_match_are_refused_with_the_reason() {
    for (text, fault) in [
        ("", CallFault::Form),
        ("GET", CallFault::Form),
        ("GET ", CallFault::Form),
        ("gmail/**", CallFault::Form),
        ("/users/* GET", CallFault::Form),
        (" GET gmail/**", CallFault::InvalidMethod),
        ("GE1 gmail/**", CallFault::InvalidMethod),
        ("GET,HEAD gmail/**", CallFault::InvalidMethod),
        ("get gmail/**", CallFault::LowerCaseMethod),
        ("Get gmail/**", CallFault::LowerCaseMethod),
        ("* gmail/**", CallFault::AnyMethod),
        ("ANY gmail/**", CallFault::AnyMethod),
        ("all /users", CallFault::AnyMethod),
        ("TRACE gmail/**", CallFault::NeverSent),
        ("track gmail/**", CallFault::NeverSent),
        ("CONNECT /users", CallFault::NeverSent),
        ("GET https://gmail.googleapis.com/gmail", CallFault::Url),
        ("GET Gmail/**", CallFault::InvalidName),
        ("GET gmail.com/**", CallFault::InvalidName),
        ("GET */users", CallFault::InvalidName),
        ("GET -a/users", CallFault::InvalidName),
        ("GET  /users", CallFault::InvalidName),
        ("GET gmail", CallFault::NoPath),
        ("GET gmail/a?b=c", CallFault::Query),
        ("GET /users?", CallFault::Query),
        ("GET /users?key=x", CallFault::Query),
        ("GET gmail/**/a", CallFault::OpenInside),
        ("GET gmail/**/**", CallFault::OpenInside),
        ("GET gmail/a*", CallFault::PartialStar),
        ("GET gmail/***", CallFault::PartialStar),
        ("GET gmail/a/*.json", CallFault::PartialStar),
        ("GET gmail/a**", CallFault::PartialStar),
        ("GET /users/auth0|*", CallFault::PartialStar),
        ("GET gmail/a/../b", CallFault::Path(PathFault::DotSegment)),
        ("GET gmail/a/%2e/b", CallFault::Path(PathFault::DotSegment)),
        ("GET gmail//a", CallFault::Path(PathFault::EmptySegment)),
        ("GET //users", CallFault::Path(PathFault::EmptySegment)),
        ("GET gmail/a#b", CallFault::Path(PathFault::Fragment)),
        ("GET gmail/a b", CallFault::Path(PathFault::RawControl)),
        ("GET gmail/%2", CallFault::Path(PathFault::BrokenEscape)),
        ("GET gmail/\u{e9}", CallFault::Path(PathFault::NotAscii)),
        ("GET gmail/a%5Cb", CallFault::Path(PathFault::Backslash)),
    ] {
        assert_eq!(CallPattern::parse(text), Err(fault), "{text}");
    }
}

#[test]
fn a_pattern_has_its_parts() {
    let parts = |text: &str| {
        let pattern = CallPattern::parse(text).unwrap();
        assert_eq!((pattern.as_str(), pattern.to_string()), (text, text.to_owned()));
        (pattern.method().to_owned(), pattern.name().map(str::to_owned), pattern.path().to_owned())
    };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(parts("GET gmail/v1/**"), ("GET".to_owned(), some("gmail"), "/v1/**".to_owned()));
    assert_eq!(parts("PATCH /users/*"), ("PATCH".to_owned(), None, "/users/*".to_owned()));
    assert_eq!(parts("PROPFIND files-2/"), ("PROPFIND".to_owned(), some("files-2"), "/".to_owned()));
}

#[test]
fn patterns_match_by_segment() {
    let of_gmail =
        |pattern: &str, path: &str| matches(&format!("GET gmail{pattern}"), "GET", Some("gmail"), path);
    for (pattern, path) in [
        ("/", "/"),
        ("/a", "/a"),
        ("/a/", "/a/"),
        ("/a/*", "/a/b"),
        ("/a/*", "/a/b%2Fc"),
        ("/a/*/c", "/a/b/c"),
        ("/*", "/a"),
        ("/*/", "/a/"),
        ("/**", "/"),
        ("/**", "/a/b/c/"),
        ("/a/**", "/a"),
        ("/a/**", "/a/"),
        ("/a/**", "/a/b"),
        ("/a/**", "/a/b/c%2Fd"),
        ("/a/*/**", "/a/b"),
        ("/%61%2d", "/a-"),
        ("/a-", "/%61%2D"),
        ("/a%2fb", "/a%2Fb"),
        ("/a%7Cb", "/a%7cb"),
        ("/v4/x:batchUpdate", "/v4/x:batchUpdate"),
        ("/me/photo/$value", "/me/photo/$value"),
    ] {
        assert!(of_gmail(pattern, path), "{pattern} {path}");
    }
    for (pattern, path) in [
        ("/", "/a"),
        ("/a", "/"),
        ("/a", "/a/"),
        ("/a", "/A"),
        ("/a", "/ab"),
        ("/a", "/a/b"),
        ("/a/", "/a"),
        ("/a/*", "/a"),
        ("/a/*", "/a/"),
        ("/a/*", "/a/b/"),
        ("/a/*", "/a/b/c"),
        ("/*", "/"),
        ("/a/**", "/ab"),
        ("/a/**", "/"),
        ("/a/b", "/a%2Fb"),
        ("/a%2Fb", "/a/b"),
        ("/a|b", "/a%7Cb"),
        ("/a/*/**", "/a/"),
    ] {
        assert!(!of_gmail(pattern, path), "{pattern} {path}");
    }
}

#[test]
fn a_call_has_the_method_and_the_name_of_its_pattern() {
    let gmail = |method| matches("GET gmail/**", method, Some("gmail"), "/a");
    assert_eq!(
        ["GET", "HEAD", "POST", "get", "DELETE", "OPTIONS", ""].map(gmail),
        [true, true, false, false, false, false, false]
    );
    assert!(matches("POST gmail/**", "POST", Some("gmail"), "/a"));
    assert!(!matches("POST gmail/**", "HEAD", Some("gmail"), "/a"));
    assert!(matches("HEAD gmail/**", "HEAD", Some("gmail"), "/a"));
    assert!(!matches("HEAD gmail/**", "GET", Some("gmail"), "/a"));
    assert!(!matches("GET gmail/**", "GET", Some("drive"), "/a"));
    assert!(!matches("GET gmail/**", "GET", None, "/gmail/a"));
    assert!(!matches("GET /users", "GET", Some("users"), "/users"));
    assert!(matches("GET /users/*", "GET", None, "/users/auth0%7C1?fields=name"));
}

#[test]
fn names_are_short_words_that_a_path_shows_as_they_are() {
    for good in ["a", "gmail", "graph-beta", "0", &"a".repeat(63)] {
        assert!(is_api_name(good), "{good}");
    }
    for bad in ["", "-", "a-", "-a", "A", "a.b", "..", "a_b", "a/b", "\u{e4}", &"a".repeat(64)] {
        assert!(!is_api_name(bad), "{bad}");
    }
}

#[test]
fn a_pattern_says_whether_it_can_concern_a_user() {
    let can = |text| CallPattern::parse(text).unwrap().can_concern_a_user();
    for text in
        ["GET /users/*", "GET /users/auth0%7C1", "GET /users/*/roles", "GET /**", "GET /users/**", "GET /*/*"]
    {
        assert!(can(text), "{text}");
    }
    for text in ["GET /", "GET /users", "GET /users/", "GET /*", "GET /clients/*", "GET /users-by-email"] {
        assert!(!can(text), "{text}");
    }
}

/// The definition: every path is compared from its first segment on, and `**` tries every rest.
fn slowly(pattern: &[&str], path: &[&str]) -> bool {
    match (pattern, path) {
        ([], []) => true,
        (["**"], _) => true,
        (["*", pattern @ ..], [one, path @ ..]) => !one.is_empty() && slowly(pattern, path),
        ([literal, pattern @ ..], [one, path @ ..]) => literal == one && slowly(pattern, path),
        ([], [_, ..]) | ([_, ..], []) => false,
    }
}

proptest! {
    #[test]
    fn a_pattern_matches_what_it_should(
        pattern in proptest::collection::vec("[ab]|\\*|[ab]{2}", 1..5),
        is_open in any::<bool>(),
        path in proptest::collection::vec("[ab]{1,2}", 1..6),
        ends_with_slash in any::<bool>(),
    ) {
        let mut pattern: Vec<_> = pattern.iter().map(String::as_str).collect();
        if is_open {
            pattern.push("**");
        }
        let mut path: Vec<_> = path.iter().map(String::as_str).collect();
        if ends_with_slash {
            path.push("");
        }
        let (text, target) = (format!("GET x/{}", pattern.join("/")), format!("/{}", path.join("/")));
        prop_assert_eq!(matches(&text, "GET", Some("x"), &target), slowly(&pattern, &path), "{} {}", text, target);
    }

    #[test]
    fn a_path_is_matched_by_itself_as_a_pattern(path in "(/[a-c%2Ff|;:]{1,4}){1,3}") {
        let Ok(target) = Target::judge(&path) else { return Ok(()) };
        let pattern = CallPattern::parse(&format!("GET x{path}")).unwrap();
        let call = Call { method: "GET", name: Some("x"), target: &target };
        prop_assert!(pattern.matches(&call));
    }
}
