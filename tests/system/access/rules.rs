//! What rules say: names and numbers, connections, users and rates.

use std::time::Duration;

use cloakroom::fake_auth0::users;
use nix::unistd::{Group, User};
use serde_json::json;

use super::callers::{Ask, House, Who, by_own_token, linked_tokens, token_of};
use crate::support::command::run;
use crate::support::process::{Daemon, is_root};

/// Two rules' worth of names, which every Linux has.
#[test]
fn rules_name_people_by_name_or_by_number_and_mean_the_same() {
    if !is_root() {
        return;
    }
    let (user, group) = (User::from_name("daemon").unwrap(), Group::from_name("mail").unwrap());
    let (user, group) = (user.unwrap().uid.as_raw(), group.unwrap().gid.as_raw());
    let names = ["uid = \"daemon\"", "uid = \"1234\"", "uid = 1235", "gid = \"mail\"", "gid = \"2236\""];
    let named = names.map(|name| format!("[[listener.allow]]\n{name}\n")).concat();
    let both = "[[listener.allow]]\nuid = 1237\ngid = \"mail\"\noperations = [\"status\"]\n";
    let house = House::open(
        super::callers::ROOT,
        &format!("[[listener]]\npath = \"{{dir}}/a.sock\"\nmode = \"0666\"\n{named}{both}"),
    );
    let status = |who, ask: &Ask| house.ask_one(who, "a.sock", ask).status;
    for who in [Who(user, 9), Who(1234, 9), Who(1235, 9), Who(9999, group), Who(9999, 2236)] {
        assert_eq!(status(who, &Ask::token(users::GOOGLE)), 200, "{who:?}");
    }
    // A number that is somebody's uid is not thereby their gid, nor the other way round.
    for who in [Who(9999, user), Who(9999, 1234), Who(group, 9), Who(2236, 9), Who(1237, 9)] {
        assert_eq!(status(who, &Ask::token(users::GOOGLE)), 403, "{who:?}");
    }
    assert_eq!(status(Who(1237, group), &Ask::get("/v1/status")), 200);
    assert_eq!(status(Who(1237, 9), &Ask::get("/v1/status")), 403);
}

#[test]
fn rules_from_the_environment_count_as_those_of_the_file_do() {
    if !is_root() {
        return;
    }
    let rule = "[[listener]]\npath = \"{dir}/a.sock\"\nmode = \"0666\"\n[[listener.allow]]\nuid = 1234\n";
    let mut house = House::open(super::callers::ROOT, rule);
    let variables = [
        ("CLOAKROOM_LISTENER__0__ALLOW__0__UID", "daemon"),
        ("CLOAKROOM_LISTENER__0__ALLOW__1__GID", "2236"),
        ("CLOAKROOM_LISTENER__0__ALLOW__1__OPERATIONS", "status"),
    ];
    let (config, socket) = (house.deployment.config(), house.path("a.sock"));
    house.daemon.signal(nix::sys::signal::Signal::SIGTERM);
    house.daemon.wait();
    house.daemon = Daemon::spawn_in(&config, &socket, &variables);
    house.daemon.until("it is ready", |daemon| daemon.run(&["healthcheck"]).0 == 0);
    let daemon = User::from_name("daemon").unwrap().unwrap().uid.as_raw();
    let status = |who, path: &str| house.ask_one(who, "a.sock", &Ask::get(path)).status;
    let token = Ask::token(users::GOOGLE).path;
    assert_eq!([status(Who(daemon, 9), &token), status(Who(1234, 9), &token)], [200, 403]);
    assert_eq!([status(Who(9, 2236), "/v1/status"), status(Who(9, 2236), &token)], [200, 403]);
}

/// The daemon does not start with a rule that names somebody else than was meant.
#[test]
fn accounts_that_do_not_exist_or_are_nobody_are_refused_before_anything_is_bound() {
    let deployment = crate::support::deployment::Deployment::new(
        "[[listener]]\npath = \"{dir}/a.sock\"\n[[listener.allow]]\nuid = \"no-such-user\"\n\
         [[listener.allow]]\ngid = \"no-such-group\"\n[[listener.allow]]\nuid = 65534\n\
         [[listener.allow]]\nuid = \"1234x\"\n[[listener.allow]]\nuid = \"\"\n[[listener.allow]]\nuid = -1\n",
    );
    for command in ["check", "serve"] {
        let (exit, _, why) = run(&[command, "--config", deployment.config().to_str().unwrap()]);
        assert_eq!(exit, 78, "{why}");
        for (rule, key) in ["uid", "gid", "uid", "uid", "uid", "uid"].into_iter().enumerate() {
            assert!(why.contains(&format!("listener.0.allow.{rule}.{key}: ")), "{rule}: {why}");
        }
        assert!(!why.contains("no-such"), "no value is printed: {why}");
    }
    assert!(!deployment.directory.path().join("a.sock").exists());
}

const SOME: &str = r#"
[[listener]]
path = "{dir}/a.sock"
mode = "0666"
[[listener.allow]]
uid = 1001
connections = ["google-oauth2"]
[[listener.allow]]
uid = 1002
connections = ["github", "waad"]
[[listener.allow]]
uid = 1003
users = ["google-oauth2|*", "oidc|corp/*"]
operations = ["token", "identities", "report", "purge"]
[[listener.allow]]
uid = 1004
users = ["github|*"]
[[listener.allow]]
uid = 1004
connections = ["google-oauth2"]
[[listener.allow]]
uid = 1005

[me]
audiences = ["api"]
"#;

/// A user with an identity at Google and one at GitHub, both with a token: what each caller sees of them.
#[test]
fn what_a_caller_may_not_see_is_not_there_for_it() {
    if !is_root() {
        return;
    }
    let house = House::open(super::callers::ROOT, SOME);
    let [google, github] = linked_tokens(&house);
    let (one, other, all) = (Who(1001, 1), Who(1002, 1), Who(1005, 1));
    let ask = |who, ask: &Ask| house.ask_one(who, "a.sock", ask);
    let linked = |query: &str| Ask::get(format!("{}{query}", Ask::token(users::LINKED).path));

    // What is ambiguous for who sees both is not for who sees one; and neither learns of the other's.
    assert_eq!(ask(all, &linked("")).problem(), (409, "ambiguous_identity"));
    assert_eq!(ask(all, &linked("")).body["connections"], json!(["google-oauth2", "github"]));
    assert_eq!(ask(one, &linked("")).token(), google);
    assert_eq!(ask(other, &linked("")).token(), github);
    let seen = |who| {
        let heard = ask(who, &Ask::identities(users::LINKED));
        let identities = heard.body["identities"].as_array().unwrap().clone();
        let names: Vec<_> =
            identities.iter().map(|one| one["connection"].as_str().unwrap().to_owned()).collect();
        let hidden = ["google-oauth2", "github"].into_iter().filter(|name| !names.iter().any(|n| n == name));
        for name in hidden {
            // But for the id, which the caller knows itself.
            let text = heard.body.to_string().replace(users::LINKED, "");
            assert!(!text.contains(name), "{text}");
        }
        names
    };
    assert_eq!(
        [seen(one), seen(other), seen(all)],
        [vec!["google-oauth2"], vec!["github"], vec!["google-oauth2", "github"]]
    );

    // The same for whoever bears the user's own token: it is the user's, and the rules are the caller's.
    let own = |path: &str| by_own_token(&house, users::LINKED, path);
    assert_eq!(ask(one, &own("/v1/me/token")).token(), google);
    assert_eq!(ask(other, &own("/v1/me/token")).token(), github);
    let heard = ask(one, &own("/v1/me/identities")).body;
    assert_eq!(
        (heard["identities"].as_array().unwrap().len(), &heard["identities"][0]["connection"]),
        (1, &json!("google-oauth2"))
    );
    assert_eq!(ask(one, &own("/v1/me/token?connection=github")).problem(), (403, "forbidden"));

    // Whoever selects by provider, or asks for one of several that it may see, is told of those alone.
    let heard = ask(one, &linked("?provider=github"));
    assert_eq!(
        (heard.problem(), &heard.body["connections"]),
        ((404, "identity_not_found"), &json!(["google-oauth2"]))
    );
    let heard = ask(other, &linked("?connection=waad"));
    assert_eq!(
        (heard.problem(), &heard.body["connections"]),
        ((404, "identity_not_found"), &json!(["github"]))
    );
    let heard = ask(other, &Ask::token(users::GOOGLE));
    assert_eq!((heard.problem(), &heard.body["connections"]), ((404, "identity_not_found"), &json!([])));
    assert!(!heard.detail().contains("google"), "{}", heard.detail());

    // To name a connection that the rules do not is refused, whether the user has it or not, and asks nobody.
    let calls = house.calls();
    for user in [users::LINKED, users::JOHN, "auth0|nobody"] {
        let heard = ask(one, &Ask::get(format!("{}?connection=github", Ask::token(user).path)));
        assert_eq!(heard.problem(), (403, "forbidden"));
        assert_eq!(
            heard.detail(),
            "uid 1001 (gid 1) may not use the operation token through the connection \"github\"; a \
             [[listener.allow]] with uid = 1001 and operations = [\"token\"] and this connection among its \
             connections would allow it"
        );
    }
    assert_eq!(house.calls(), calls);
}

#[test]
fn patterns_of_users_bound_every_operation_that_is_about_a_user() {
    if !is_root() {
        return;
    }
    let house = House::open(super::callers::ROOT, SOME);
    let some = Who(1003, 1);
    let ask = |who, ask: &Ask| house.ask_one(who, "a.sock", ask);
    for user in [users::GOOGLE, users::SLASH] {
        assert_eq!(ask(some, &Ask::token(user)).status, 200, "{user}");
        assert_eq!(ask(some, &Ask::identities(user)).status, 200, "{user}");
        assert_eq!(ask(some, &Ask::new("DELETE", super::callers::path_of(user))).status, 204, "{user}");
    }
    let calls = house.calls();
    let about = |user: &str| {
        let path = super::callers::path_of(user);
        let report =
            Ask::new("POST", format!("{path}/report")).with_body(r#"{"fingerprint":"AAAAAAAAAAAAAAAA"}"#);
        [Ask::token(user), Ask::identities(user), report, Ask::new("DELETE", path)]
    };
    // The id as a whole has to fit; one that only holds a text that does is another's.
    for user in [users::GITHUB, users::DATABASE, "auth0|google-oauth2|1", "oidc|corp", "Google-oauth2|1"] {
        let refused = house.ask(some, "a.sock", &about(user));
        for (heard, operation) in refused.iter().zip(["token", "identities", "report", "purge"]) {
            assert_eq!(heard.problem(), (403, "forbidden"), "{user} {operation}");
            let rule = format!(
                "uid = 1003 and operations = [\"{operation}\"] and a pattern in users that matches the id"
            );
            assert!(
                heard.detail().contains("for this user; ") && heard.detail().contains(&rule),
                "{heard:?}"
            );
            assert!(!heard.detail().contains(user), "{heard:?}");
        }
    }
    let everybody = ask(some, &Ask::new("DELETE", "/v1/users"));
    assert_eq!(everybody.problem(), (403, "forbidden"));
    assert!(everybody.detail().contains("for all users"), "{}", everybody.detail());
    assert_eq!(house.calls(), calls);

    // A user's own token widens no rule.
    let me = |user: &str| ask(Who(1004, 1), &by_own_token(&house, user, "/v1/me/token?connection=github"));
    assert_eq!([me(users::GITHUB).status, me(users::LINKED).status], [200, 403]);

    // Two rules for one caller: all of a GitHub user, and Google's half of everybody else.
    let two = Who(1004, 1);
    assert_eq!(ask(two, &Ask::token(users::GITHUB)).token(), token_of(&house, users::GITHUB, 0));
    assert_eq!(ask(two, &Ask::token(users::LINKED)).token(), linked_tokens(&house)[0]);
    let github = Ask::get(format!("{}?connection=github", Ask::token(users::LINKED).path));
    assert_eq!(ask(two, &github).problem(), (403, "forbidden"));
}

const RATES: &str = r#"
[[listener]]
path = "{dir}/a.sock"
mode = "0666"
[[listener.allow]]
gid = 2001
rate = 0.5
operations = ["token", "identities", "report", "purge", "status", "management_token"]
[[listener.allow]]
uid = 1003

[[listener]]
path = "{dir}/b.sock"
mode = "0666"
[[listener.allow]]
gid = 2001
rate = 0.5
"#;

#[test]
fn each_uid_has_a_rate_of_its_own_and_is_told_when_to_come_back() {
    if !is_root() {
        return;
    }
    let house = House::open(super::callers::ROOT, RATES);
    let token = Ask::token(users::GOOGLE);
    let statuses = |who, listener: &str, asks: &[Ask]| -> Vec<u16> {
        house.ask(who, listener, asks).iter().map(|heard| heard.status).collect()
    };
    let twice = [token.clone(), token.clone()];
    let heard = house.ask(Who(1001, 2001), "a.sock", &twice);
    assert_eq!((heard[0].status, heard[1].problem()), (200, (429, "rate_limited")), "{heard:?}");
    let wait: u64 = heard[1].header("retry-after").unwrap().parse().unwrap();
    assert!((1..=2).contains(&wait), "{heard:?}");

    // Whatever looks something up counts, also in vain; what is refused asks nobody.
    let calls = house.calls();
    let report = Ask::new("POST", format!("{}/report", super::callers::path_of(users::GOOGLE)));
    let report = report.with_body(r#"{"fingerprint":"AAAAAAAAAAAAAAAA"}"#);
    let lookups =
        [Ask::identities(users::JOHN), report, Ask::get("/v1/management-token"), Ask::token("auth0|nobody")];
    let third = Who(1005, 2001);
    assert_eq!(statuses(third, "a.sock", &twice[..1]), [200]);
    assert_eq!(statuses(third, "a.sock", &lookups), [429; 4]);
    assert_eq!(house.calls(), calls);
    // Upkeep does not count, and another of the same group has all of its own; so has each listener.
    let upkeep = [Ask::get("/v1/status"), Ask::new("DELETE", super::callers::path_of("auth0|nobody"))];
    assert_eq!(statuses(third, "a.sock", &upkeep), [200, 204]);
    assert_eq!(statuses(Who(1002, 2001), "a.sock", &twice), [200, 429]);
    assert_eq!(statuses(Who(1001, 2001), "b.sock", &twice), [200, 429]);
    // One rule's rate is nothing to whom another one names; where both do, the first decides.
    assert_eq!(statuses(Who(1003, 1003), "a.sock", &[token.clone(), token.clone(), token.clone()]), [200; 3]);
    assert_eq!(statuses(Who(1003, 2001), "a.sock", &twice), [200, 429]);

    std::thread::sleep(Duration::from_secs(wait));
    assert_eq!(statuses(Who(1001, 2001), "a.sock", &twice[..1]), [200], "it came back when it was told to");
}
