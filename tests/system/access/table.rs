//! The whole table: every operation, by every sort of caller, on every sort of listener.

use cloakroom::domain::policy::Operation;
use cloakroom::fake_auth0::users;

use super::callers::{Ask, Heard, House, OWN, ROOT, Who, by_own_token, path_of};
use crate::support::process::is_root;

/// One without rules, and two with different ones. Everybody can connect to all three.
const LISTENERS: &str = r#"
[[listener]]
path = "{dir}/a.sock"
mode = "0666"

[[listener]]
path = "{dir}/b.sock"
mode = "0666"
[[listener.allow]]
uid = 1001
operations = ["token", "identities", "me", "report", "purge", "status", "management_token"]
[[listener.allow]]
gid = 2002
[[listener.allow]]
uid = 1003
gid = 2003
operations = ["token", "status"]

[[listener]]
path = "{dir}/c.sock"
mode = "0666"
[[listener.allow]]
uid = 1009
[[listener.allow]]
uid = 0
operations = ["management_token"]

[me]
audiences = ["api"]
"#;

/// In the order of the table's columns: root, the daemon's own, one whom `b` names by uid, by gid, by both, by one half
/// of both and by the other, and one whom it does not name.
const CALLERS: [Who; 8] = [
    ROOT,
    OWN,
    Who(1001, 1001),
    Who(1002, 2002),
    Who(1003, 2003),
    Who(1003, 1003),
    Who(1004, 2003),
    Who(1009, 1009),
];

/// `+` is answered, `-` refused. An operation whose route this version does not have is passed over.
const TABLE: [(&str, [&str; 3]); 12] = [
    //                    a           b           c
    //                    ro ugb12n   ro ugb12n   ro ugb12n
    ("token", ["++ ------", "-- +++---", "-- -----+"]),
    ("identities", ["++ ------", "-- ++----", "-- -----+"]),
    ("report", ["++ ------", "-- ++----", "-- -----+"]),
    ("purge", ["++ ------", "++ +-----", "++ ------"]),
    ("purge everybody", ["++ ------", "++ +-----", "++ ------"]),
    ("status", ["++ ------", "++ +-+---", "++ ------"]),
    ("management_token", ["-- ------", "-- +-----", "+- ------"]),
    ("me", ["++ ------", "-- ++----", "-- -----+"]),
    ("reload", ["++ ------", "++ ------", "++ ------"]),
    // Each takes a rule that names the call, and there is none.
    ("proxy", ["-- ------", "-- ------", "-- ------"]),
    ("me_proxy", ["-- ------", "-- ------", "-- ------"]),
    ("management_api", ["-- ------", "-- ------", "-- ------"]),
];

/// Nobody has it, but it is the name of a token all the same.
const REPORT: &str = r#"{"fingerprint":"AAAAAAAAAAAAAAAA"}"#;

/// What `row` asks for, and what those are told who may.
fn request(house: &House, row: &str) -> (Ask, u16) {
    let user = path_of(users::GOOGLE);
    match row {
        "token" => (Ask::token(users::GOOGLE), 200),
        "identities" => (Ask::identities(users::GOOGLE), 200),
        "report" => (Ask::new("POST", format!("{user}/report")).with_body(REPORT), 200),
        "purge" => (Ask::new("DELETE", user), 204),
        "purge everybody" => (Ask::new("DELETE", "/v1/users"), 204),
        "status" => (Ask::get("/v1/status"), 200),
        "management_token" => (Ask::get("/v1/management-token"), 200),
        "me" => (by_own_token(house, users::GOOGLE, "/v1/me/token"), 200),
        "reload" => (Ask::new("POST", "/v1/reload"), 200),
        "proxy" => (Ask::get(format!("{user}/proxy/google-oauth2/api/me")), 200),
        "me_proxy" => (by_own_token(house, users::GOOGLE, "/v1/me/proxy/google-oauth2/api/me"), 200),
        "management_api" => (Ask::get("/api/v2/users"), 200),
        _ => panic!("{row}"),
    }
}

/// Requests that differ from it in what only those may learn of who may ask: whether there is such a user, whether an
/// id, a query or a body is well-formed, whether a user's own token is good.
fn variations(ask: &Ask) -> Vec<Ask> {
    let user = path_of(users::GOOGLE);
    let long = format!("/v1/users/{}", "x".repeat(301));
    let others = [&path_of(users::JOHN), &path_of("auth0|nobody"), "/v1/users/%ff", "/v1/users/%00", &long];
    let mut all = vec![ask.clone()];
    if ask.path.starts_with(&user) {
        all.extend(others.map(|other| Ask { path: ask.path.replace(&user, other), ..ask.clone() }));
    }
    all.extend(["opaque", "a.b.c", ""].map(|token| ask.clone().bearing(token)));
    all.push(Ask { path: format!("{}?min_ttl=x&connection=&no_such_parameter=1", ask.path), ..ask.clone() });
    all.push(ask.clone().with_body("{ this is no JSON"));
    all
}

/// Each cell of one listener's column: who asks, what for, and whether they may.
fn cells(column: usize) -> impl Iterator<Item = (Who, &'static str, bool)> {
    TABLE.into_iter().flat_map(move |(row, columns)| {
        let marks: Vec<_> = columns[column].chars().filter(|mark| *mark != ' ').collect();
        assert_eq!(marks.len(), CALLERS.len(), "{row}");
        CALLERS.into_iter().zip(marks).map(move |(who, mark)| (who, row, mark == '+'))
    })
}

#[test]
fn every_operation_is_answered_to_those_whom_it_is_for_and_refused_to_all_others() {
    if !is_root() {
        return;
    }
    let house = House::open(OWN, LISTENERS);
    // Below `/api/v2` an error has Auth0's form.
    let is_absent = |heard: Heard| {
        heard.problem().1 == "route_not_found" || heard.body["errorCode"] == "cloakroom_route_not_found"
    };
    let there = |row: &str| !is_absent(house.ask_one(ROOT, "a.sock", &request(&house, row).0));
    let rows: Vec<_> = TABLE.map(|(row, _)| row).into_iter().filter(|row| there(row)).collect();
    assert!(rows.len() >= 8, "{rows:?}");
    // Whoever may look the user up, so that there is something to lose by a purge.
    for (column, (listener, witness)) in
        [("a.sock", OWN), ("b.sock", Who(1001, 1001)), ("c.sock", Who(1009, 1009))].into_iter().enumerate()
    {
        let look_up = || house.ask_one(witness, listener, &Ask::token(users::GOOGLE));
        assert_eq!(look_up().status, 200, "{listener}");
        let (allowed, refused): (Vec<_>, Vec<_>) =
            cells(column).filter(|(_, row, _)| rows.contains(row)).partition(|(.., may)| *may);

        let calls = house.calls();
        for (who, row, _) in refused {
            let heard = house.ask(who, listener, &variations(&request(&house, row).0));
            let operation = row.split(' ').next().unwrap();
            assert_refused(&heard[0], who, operation, listener);
            for other in &heard {
                assert_eq!(other.told(), heard[0].told(), "{who:?} learns something from {row}");
            }
        }
        assert_eq!(house.calls(), calls, "a request that is refused asks Auth0 nothing");
        assert_eq!(look_up().header("cloakroom-cache"), Some("hit"), "and does nothing");

        for (who, row, _) in allowed {
            let (ask, status) = request(&house, row);
            let heard = house.ask_one(who, listener, &ask);
            assert_eq!(heard.status, status, "{who:?} {row} on {listener}: {heard:?}");
        }
    }
}

fn assert_refused(heard: &Heard, Who(uid, gid): Who, operation: &str, listener: &str) {
    let cell = format!("uid {uid} gid {gid} {operation} on {listener}");
    assert_eq!(heard.problem(), (403, "forbidden"), "{cell}: {heard:?}");
    let who = format!("uid {uid} (gid {gid}) may not use the operation {operation}");
    let rule = format!("a [[listener.allow]] with uid = {uid} and operations = [\"{operation}\"]");
    let why = match (operation, listener) {
        ("reload", _) => {
            ": only root and the uid that the daemon runs as may use it, whatever the rules say".to_owned()
        }
        ("management_token", "a.sock") => {
            format!(": the Management token reads every user, so this takes a rule that names it: {rule}")
        }
        (_, "a.sock") => format!(
            ": this listener has no rules, so it answers only root and the uid that the daemon runs as; {rule} would \
             allow it, and from then on the rules alone decide about tokens"
        ),
        _ => format!(" on this listener; {rule} would allow it"),
    };
    assert_eq!(heard.detail(), format!("{who}{why}"), "{cell}");
}

#[test]
fn the_table_has_every_operation_there_is() {
    for operation in Operation::ALL {
        assert!(TABLE.iter().any(|(row, _)| *row == operation.as_str()), "{operation:?}");
    }
}

/// The rule that a refusal names is the one that allows it, word for word.
#[test]
fn the_rule_that_a_refusal_names_would_have_allowed_it() {
    if !is_root() {
        return;
    }
    let listener = "[me]\naudiences = [\"api\"]\n[[listener]]\npath = \"{dir}/a.sock\"\nmode = \"0666\"\n";
    let stranger = Who(1009, 1009);
    let house = House::open(ROOT, listener);
    let mut rules = String::new();
    let rows = ["token", "identities", "report", "purge", "status", "management_token", "me"];
    for row in rows {
        let detail = house.ask_one(stranger, "a.sock", &request(&house, row).0).detail().to_owned();
        let rule = detail.split_once("a [[listener.allow]] with ").unwrap().1;
        let (uid, operations) = rule.split_once(" and ").unwrap();
        let operations = operations.split_once(']').unwrap().0;
        rules.push_str(&format!("[[listener.allow]]\n{uid}\n{operations}]\n"));
    }
    drop(house);
    let house = House::open(ROOT, &format!("{listener}{rules}"));
    for row in rows {
        let (ask, status) = request(&house, row);
        assert_eq!(house.ask_one(stranger, "a.sock", &ask).status, status, "{row} with\n{rules}");
    }
}

/// Root is nobody's own uid here: what it may, it may because it is root.
#[test]
fn a_daemon_that_is_root_answers_root_and_no_other_system_account() {
    if !is_root() {
        return;
    }
    let house = House::open(ROOT, LISTENERS);
    assert_eq!(house.ask_one(ROOT, "a.sock", &Ask::token(users::GOOGLE)).status, 200);
    // Those of Debian's own accounts that one might take for nearly root.
    for uid in [1, 2, 998, 999, 1000, 4321, 65_533, 65_534, 65_535, u32::MAX - 1] {
        // The group root is not root.
        for gid in [0, uid] {
            let heard = house.ask_one(Who(uid, gid), "a.sock", &Ask::token(users::JOHN));
            assert_eq!(heard.problem(), (403, "forbidden"), "{uid} {gid}");
            assert!(heard.detail().starts_with(&format!("uid {uid} (gid {gid}) ")), "{}", heard.detail());
        }
    }
}

#[test]
fn probes_tell_nothing_and_are_for_everybody() {
    if !is_root() {
        return;
    }
    let house = House::open(OWN, LISTENERS);
    let probes = ["/livez", "/readyz", "/startupz", "/metrics", "/openapi.json"].map(Ask::get);
    for listener in ["a.sock", "b.sock"] {
        for who in [ROOT, OWN, Who(1009, 1009), Who(65_534, 65_534)] {
            for heard in house.ask(who, listener, &probes) {
                assert_eq!(heard.status, 200, "{who:?} {heard:?}");
            }
        }
    }
}
