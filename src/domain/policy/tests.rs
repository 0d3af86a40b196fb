//! Tests of rules: which rule decides, and which connections and users a caller may see.

use super::call::CallPattern;
use super::pattern::Pattern;
use super::*;
use crate::domain::target::Target;
use crate::domain::user::UserId;

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
    let request = Request { operation, user: user.as_ref(), connection, call: None };
    policy.rights(caller).decide(request).map(|allowed| allowed.rule).map_err(|denied| denied.to_string())
}

#[test]
fn without_rules_root_and_the_own_uid_may_everything_but_the_management_token() {
    let policy = Policy::new(998, []);
    for operation in Operation::ALL {
        let may = |uid| policy.rights(caller(uid, 0)).may(operation).is_ok();
        let theirs = !operation.needs_rule();
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
        let request = Request { operation: Operation::Token, user: Some(&user), connection, call: None };
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
        let request = Request { operation: Operation::Token, user: Some(&user), connection, call: None };
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

fn calling(operation: Operation, calls: &[&str]) -> Rule {
    let calls = calls.iter().map(|text| CallPattern::parse(text).unwrap()).collect();
    Rule { calls, ..rule(Some(1), None, &[operation]) }
}

/// The rule and the pattern that allow a call, and the rates that it counts towards.
type AllowedCall = (usize, String, Vec<(usize, f64)>);

/// The rule and the pattern that allow a call, or the refusal's text. `call` is `METHOD name/path`.
fn decide_call(
    policy: &Policy,
    operation: Operation,
    user: &str,
    connection: Option<&str>,
    call: &str,
) -> Result<AllowedCall, String> {
    let user = UserId::parse(user).ok();
    let (method, place) = call.split_once(' ').unwrap();
    let (name, path) = place.split_at(place.find('/').unwrap());
    let target = Target::judge(path).unwrap();
    let call = Call { method, name: (!name.is_empty()).then_some(name), target: &target };
    let request = Request { operation, user: user.as_ref(), connection, call: Some(call) };
    let decided = policy.rights(caller(1, 1)).decide(request).map_err(|denied| denied.to_string())?;
    Ok((decided.rule.unwrap(), decided.call.unwrap().to_string(), decided.rates))
}

#[test]
fn the_first_rule_whose_users_connections_and_calls_cover_a_call_decides() {
    use Operation::Proxy;
    let google = |rule| only(&[GOOGLE], &["auth0|*"], rule);
    let policy = Policy::new(
        998,
        [
            google(calling(Proxy, &["GET gmail/v1/*", "GET gmail/v1/**"])),
            Rule { rate: Some(2.0), ..google(calling(Proxy, &["POST gmail/v1/send", "GET drive/**"])) },
            Rule { rate: Some(1.0), ..calling(Proxy, &["GET api/**"]) },
        ],
    );
    let decide = |user, connection, call| decide_call(&policy, Proxy, user, Some(connection), call);
    let allowed = |rule, pattern: &str, rates| Ok((rule, pattern.to_owned(), rates));
    assert_eq!(decide("auth0|1", GOOGLE, "GET gmail/v1/a"), allowed(0, "GET gmail/v1/*", vec![]));
    assert_eq!(decide("auth0|1", GOOGLE, "HEAD gmail/v1/a/b"), allowed(0, "GET gmail/v1/**", vec![]));
    let sent = allowed(1, "POST gmail/v1/send", vec![(1, 2.0)]);
    assert_eq!(decide("auth0|1", GOOGLE, "POST gmail/v1/send"), sent);
    assert_eq!(decide("x|1", "github", "GET api/user"), allowed(2, "GET api/**", vec![(2, 1.0)]));

    let refused = decide("auth0|1", GOOGLE, "DELETE gmail/v1/a").unwrap_err();
    assert_eq!(
        refused,
        "uid 1 (gid 1) may not use the operation proxy for this call; a [[listener.allow]] with uid = 1 and operations = \
         [\"proxy\"] would allow it, also to root, if one of its calls matches the method and the path, and its connections \
         and users, if set, cover the request"
    );
    for (user, connection, call) in [
        ("x|1", GOOGLE, "GET gmail/v1/a"),
        ("auth0|1", "github", "GET gmail/v1/a"),
        ("auth0|1", GOOGLE, "GET gmail/v2"),
        ("auth0|1", GOOGLE, "GET unknown/v1/a"),
        ("auth0|1", GOOGLE, "GET /v1/a"),
    ] {
        assert_eq!(decide(user, connection, call), Err(refused.clone()), "one form for all: {call}");
    }
    assert_eq!(policy.rights(caller(1, 1)).refusal(Proxy).to_string(), refused);
    let unruled = Policy::new(998, []);
    assert_eq!(decide_call(&unruled, Proxy, "auth0|1", Some(GOOGLE), "GET gmail/v1/a"), Err(refused));
}

#[test]
fn a_call_takes_a_rule_that_names_its_operation_and_a_request_that_states_the_call() {
    use Operation::{ManagementApi, MeProxy, Proxy};
    for (operation, call) in
        [(Proxy, "GET gmail/a"), (MeProxy, "GET gmail/a"), (ManagementApi, "GET /clients")]
    {
        let policy = Policy::new(1, [calling(operation, &["GET gmail/**", "GET /clients"])]);
        for asked in [Proxy, MeProxy, ManagementApi] {
            assert_eq!(
                decide_call(&policy, asked, "auth0|1", None, call).is_ok(),
                asked == operation,
                "{asked:?}"
            );
            assert_eq!(policy.rights(caller(1, 1)).may(asked).is_ok(), asked == operation, "{asked:?}");
        }
        let unstated = Request { operation, user: None, connection: None, call: None };
        assert!(policy.rights(caller(1, 1)).decide(unstated).is_err());
        assert!(policy.rights(caller(0, 0)).may(operation).is_err(), "also for root");
    }
}

#[test]
fn a_rule_for_some_users_covers_only_what_is_below_one_of_them_in_the_management_api() {
    let policy = Policy::new(998, [only(&[], &["auth0|*"], calling(Operation::ManagementApi, &["GET /**"]))]);
    let may = |call| decide_call(&policy, Operation::ManagementApi, "", None, call).is_ok();
    for call in [
        "GET /users/auth0%7C1",
        "GET /users/auth0|1",
        "GET /users/%61uth0%7c1/",
        "GET /users/auth0%7C1/roles?page=1",
        "GET /%75sers/auth0%7C1",
        "GET /users/auth0%7C1%2F2",
    ] {
        assert!(may(call), "{call}");
    }
    for call in [
        "GET /users",
        "GET /users/",
        "GET /users?q=user_id:auth0%7C1",
        "GET /users/github%7C1",
        "GET /users/auth0%257C1",
        "GET /users-by-email/auth0%7C1",
        "GET /Users/auth0%7C1",
        "GET /clients/auth0%7C1",
        "GET /clients",
        "GET /",
        "GET /jobs/users/auth0%7C1",
    ] {
        assert!(!may(call), "{call}");
    }
    let all = Policy::new(998, [calling(Operation::ManagementApi, &["GET /**"])]);
    let decide = |call| decide_call(&all, Operation::ManagementApi, "", None, call);
    assert!(["GET /users", "GET /clients"].into_iter().all(|call| decide(call).is_ok()));
    assert!(decide("DELETE /users").unwrap_err().ends_with("and its users, if set, cover the path"));
}
