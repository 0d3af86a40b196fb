//! Tests of rules: which rule decides, and which connections and users a caller may see.

use super::*;

const GOOGLE: &str = "google-oauth2";

fn caller(uid: u32, gid: u32) -> Caller {
    Caller { uid, gid }
}

fn rule(uid: Option<u32>, gid: Option<u32>, operations: &[Operation]) -> Rule {
    Rule { uid, gid, operations: operations.to_vec(), ..Rule::default() }
}

fn only(connections: &[&str], users: &[&str], rule: Rule) -> Rule {
    let some =
        |texts: &[&str]| (!texts.is_empty()).then(|| texts.iter().map(|&text| text.to_owned()).collect());
    let users = (!users.is_empty()).then(|| users.iter().map(|text| Pattern::new(text)).collect());
    Rule { connections: some(connections), users, ..rule }
}

/// The rule that allows it, or the refusal's text.
fn decide(
    policy: &Policy,
    caller: Caller,
    operation: Operation,
    user: &str,
    connection: Option<&str>,
) -> Result<Option<usize>, String> {
    let user = UserId::parse(user).ok();
    let request = Request { operation, user: user.as_ref(), connection };
    policy.rights(caller).decide(request).map(|allowed| allowed.rule).map_err(|denied| denied.to_string())
}

#[test]
fn without_rules_root_and_the_own_uid_may_everything_but_the_management_token() {
    let policy = Policy::new(998, []);
    for operation in Operation::ALL {
        let may = |uid| policy.rights(caller(uid, 0)).may(operation).is_ok();
        let theirs = operation != Operation::ManagementToken;
        assert_eq!(
            [0, 998, 997, 1000, OVERFLOW_ID].map(may),
            [theirs, theirs, false, false, false],
            "{operation:?}"
        );
    }
    let unmapped = Policy::new(OVERFLOW_ID, []);
    assert!(unmapped.rights(caller(OVERFLOW_ID, 0)).may(Operation::Status).is_err());
}

#[test]
fn with_rules_the_rules_alone_decide_about_tokens_and_administration_stays() {
    let policy = Policy::new(998, [rule(Some(1000), None, &DEFAULT_OPERATIONS)]);
    for operation in Operation::ALL {
        let may = |uid| policy.rights(caller(uid, 1)).may(operation).is_ok();
        let (own, named) = (operation.is_administrative(), DEFAULT_OPERATIONS.contains(&operation));
        assert_eq!([0, 998, 1000, 1001].map(may), [own, own, named, false], "{operation:?}");
    }
}

#[test]
fn a_rule_names_a_uid_a_gid_or_callers_that_have_both() {
    let names = |uid, gid| {
        let rule = rule(uid, gid, &[]);
        move |caller| rule.names(caller)
    };
    let callers = [caller(1, 1), caller(1, 2), caller(2, 1), caller(2, 2)];
    assert_eq!(callers.map(names(Some(1), None)), [true, true, false, false]);
    assert_eq!(callers.map(names(None, Some(1))), [true, false, true, false]);
    assert_eq!(callers.map(names(Some(1), Some(1))), [true, false, false, false]);
    assert_eq!(callers.map(names(None, None)), [false; 4], "a rule without uid and gid names no caller");
    let overflown = caller(OVERFLOW_ID, OVERFLOW_ID);
    assert!(!names(Some(OVERFLOW_ID), None)(overflown) && !names(None, Some(OVERFLOW_ID))(overflown));
    assert!(!names(None, Some(1))(caller(OVERFLOW_ID, 1)), "an unknown uid is not named by its gid");
    assert!(names(Some(1), None)(caller(1, OVERFLOW_ID)), "a known uid is enough");
}

#[test]
fn users_and_connections_are_decided_by_rule_and_the_first_that_allows_decides() {
    let token = || rule(Some(1), None, &[Operation::Token]);
    let policy = Policy::new(
        998,
        [
            only(&[GOOGLE], &["google-oauth2|*"], token()),
            only(&["github"], &[], Rule { rate: Some(5.0), ..token() }),
            only(&[], &["auth0|1"], token()),
        ],
    );
    let decide = |user, connection| decide(&policy, caller(1, 1), Operation::Token, user, connection);
    assert_eq!(decide("google-oauth2|1", Some(GOOGLE)), Ok(Some(0)));
    assert_eq!(decide("google-oauth2|1", Some("github")), Ok(Some(1)));
    assert_eq!(decide("auth0|1", Some(GOOGLE)), Ok(Some(2)));
    let refused = "uid 1 (gid 1) may not use the operation token through the connection \"google-oauth2\"; a \
                   [[listener.allow]] with uid = 1 and operations = [\"token\"] and this connection among its \
                   connections would allow it";
    assert_eq!(decide("auth0|2", Some(GOOGLE)), Err(refused.into()));

    let shown_beside = |user: &str, connection| {
        let user = UserId::parse(user).unwrap();
        let request = Request { operation: Operation::Token, user: Some(&user), connection };
        policy.rights(caller(1, 1)).decide(request).unwrap().connections.map(|names| names.to_vec())
    };
    let shown = |user: &str| shown_beside(user, None);
    assert_eq!(shown("google-oauth2|1"), Some(vec![GOOGLE.to_owned(), "github".to_owned()]));
    assert_eq!(shown("auth0|2"), Some(vec!["github".to_owned()]));
    assert_eq!(shown("auth0|1"), None, "one of the rules shows all");
    // An answer that does not find the one that was named lists the others.
    assert_eq!(shown_beside("auth0|2", Some("github")), shown("auth0|2"));
    assert_eq!(shown_beside("google-oauth2|1", Some("github")), shown("google-oauth2|1"));
}

#[test]
fn a_rule_for_some_users_does_not_allow_an_operation_for_all_users() {
    let purge = || rule(Some(1), None, &[Operation::Purge]);
    let some = Policy::new(998, [only(&[], &["a*"], purge())]);
    let of = |policy: &Policy, user| decide(policy, caller(1, 1), Operation::Purge, user, None);
    assert_eq!(of(&some, "abc"), Ok(Some(0)));
    assert!(of(&some, "b").unwrap_err().contains("for this user; a [[listener.allow]]"));
    assert!(of(&some, "").unwrap_err().contains("for all users"));
    assert_eq!(of(&Policy::new(998, [purge()]), ""), Ok(Some(0)));
    assert_eq!(decide(&some, caller(0, 0), Operation::Purge, "", None), Ok(None));
}

#[test]
fn a_refusal_says_who_was_refused_what_and_what_would_allow_it() {
    let ruled = Policy::new(998, [rule(Some(1), None, &[Operation::Token])]);
    let text = |policy: &Policy, uid, operation| {
        policy.rights(caller(uid, 7)).may(operation).unwrap_err().to_string()
    };
    assert_eq!(
        text(&ruled, 5, Operation::Token),
        "uid 5 (gid 7) may not use the operation token on this listener; a [[listener.allow]] with uid = 5 and \
         operations = [\"token\"] would allow it"
    );
    assert!(
        text(&ruled, 1, Operation::Reload)
            .contains("only root and the uid that the daemon runs as may use it")
    );
    assert!(text(&ruled, OVERFLOW_ID, Operation::Token).contains("never allowed"));
    let unruled = Policy::new(998, []);
    assert!(text(&unruled, 5, Operation::Token).contains("this listener has no rules"));
    assert!(text(&unruled, 0, Operation::ManagementToken).contains("takes a rule that names it"));
}

#[test]
fn a_lookup_that_names_no_connection_counts_towards_every_rule_that_shows_it_something() {
    let rule = |connection, rate| {
        only(&[connection], &[], Rule { rate, ..rule(Some(1), None, &[Operation::Token]) })
    };
    let policy = Policy::new(998, [rule("github", None), rule(GOOGLE, Some(0.1)), rule("corp", Some(2.0))]);
    let user = UserId::parse("auth0|1").unwrap();
    let rates = |connection| {
        let request = Request { operation: Operation::Token, user: Some(&user), connection };
        policy.rights(caller(1, 1)).decide(request).unwrap().rates
    };
    assert_eq!(
        rates(None),
        [(1, 0.1), (2, 2.0)],
        "else the first rule, which has none, would be a way round"
    );
    assert_eq!([rates(Some("github")), rates(Some(GOOGLE))], [vec![], vec![(1, 0.1)]]);
    assert_eq!(policy.rights(caller(1, 1)).rates(Operation::Token).len(), 2);
    assert!(policy.rights(caller(1, 1)).rates(Operation::Me).is_empty());
}
