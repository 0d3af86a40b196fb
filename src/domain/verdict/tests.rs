//! Answers as the providers were seen to send them, and answers that none would send.

use proptest::prelude::*;

use super::*;

mod hostile;

/// The verdict in words: the header's value, and whether a dead token is named.
pub(super) fn said(dialect: Dialect, status: u16, headers: &[(&str, &str)], body: Option<&str>) -> String {
    let values = |name: &str| {
        headers.iter().filter(|(key, _)| *key == name).map(|(_, value)| value.as_bytes()).collect()
    };
    match judge(dialect, &Sample { status, headers: &values, body: body.map(str::as_bytes) }) {
        None => "-".to_owned(),
        Some(Verdict::TokenDead { is_named: true }) => "token_dead, named".to_owned(),
        Some(verdict) => verdict.header_value(),
    }
}

/// A row: status, headers, body, verdict.
type Row<'a> = (u16, &'a [(&'a str, &'a str)], &'a str, &'a str);

pub(super) fn check(dialect: Dialect, rows: &[Row<'_>]) {
    for (status, headers, body, expected) in rows {
        let body = (!body.is_empty()).then_some(*body);
        assert_eq!(said(dialect, *status, headers, body), *expected, "{status} {headers:?} {body:?}");
    }
}

pub(super) const DATE: (&str, &str) = ("date", "Sun, 22 Nov 2026 10:00:00 GMT");

#[test]
fn bodies_are_read_where_one_can_show_something() {
    let json = Some("application/json; charset=utf-8");
    for dialect in Dialect::ALL {
        for status in [400, 401, 403] {
            assert_eq!(reads_body(dialect, status, None, false, None), dialect != Dialect::Standard);
            assert!(!reads_body(dialect, status, json, true, Some(100)), "compressed");
        }
        assert!(!reads_body(dialect, 500, json, false, Some(100)));
        assert!(!reads_body(dialect, 401, json, false, Some(0)));
        assert_eq!(reads_body(dialect, 200, json, false, Some(100)), dialect == Dialect::Slack);
    }
    assert!(reads_body(Dialect::Slack, 200, json, false, None));
    assert!(reads_body(Dialect::Slack, 200, json, false, Some(8192)));
    assert!(!reads_body(Dialect::Slack, 200, json, false, Some(8193)));
    assert!(!reads_body(Dialect::Slack, 200, Some("text/html"), false, Some(100)));
    assert!(!reads_body(Dialect::Slack, 200, None, false, Some(100)));
}

#[test]
fn only_slack_refuses_with_200() {
    for dialect in Dialect::ALL {
        let verdict = said(dialect, 200, &[], Some(r#"{"ok":false,"error":"invalid_auth"}"#));
        assert_eq!(verdict == "token_dead, named", dialect == Dialect::Slack, "{dialect:?}: {verdict}");
    }
}

#[test]
fn only_a_dead_token_is_condemned_and_only_a_named_one_lets_a_write_be_repeated() {
    let dead = |is_named| Verdict::TokenDead { is_named };
    assert!(dead(true).condemns_token() && dead(false).condemns_token());
    assert!(dead(true).permits_retry("POST") && dead(true).permits_retry("GET"));
    assert!(dead(false).permits_retry("GET") && dead(false).permits_retry("HEAD"));
    assert!(!dead(false).permits_retry("POST") && !dead(false).permits_retry("get"));
    let others =
        [Verdict::ClaimsChallenge, Verdict::unnamed_scope(true), Verdict::RateLimited { retry_after: None }];
    for other in others {
        assert!(!other.condemns_token() && !other.permits_retry("GET"), "{other:?}");
        assert!(Verdict::NAMES.contains(&other.as_str()));
    }
}
