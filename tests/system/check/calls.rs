//! Calls of other APIs: what `cloakroom check` says of the rules that let them through, and `cloakroom explain` of one.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use crate::support::standin::{Place, Ran};

/// `explain` judges a call as the daemon does: its target first, then the rules, then whether there is such an API.
#[test]
fn check_says_which_calls_pass_and_explain_which_pattern_decides_about_one() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    fs::write(path("secret"), "canary\n").unwrap();
    fs::set_permissions(path("secret"), Permissions::from_mode(0o600)).unwrap();
    let config = format!(
        "[tenant]\ndomain = \"acme.eu.auth0.com\"\n[tenant.client]\nid = \"x\"\nsecret_file = {:?}\n\
         [management_api]\nclient_id = \"y\"\nsecret_file = {:?}\n\
         [[proxy]]\nconnection = \"google-oauth2\"\nname = \"gmail\"\nurl = \"https://gmail.googleapis.com\"\n\
         [[listener]]\npath = \"/run/x/web.sock\"\n\
         [[listener.allow]]\nuid = 4321\noperations = [\"proxy\", \"management_api\"]\nusers = [\"auth0|*\"]\n\
         calls = [\"GET gmail/gmail/v1/users/me/messages/**\", \"GET /users/*\"]\nrate = 5\n\
         [[listener.allow]]\nuid = 77\noperations = [\"proxy\"]\ncalls = [\"POST gmail/**\"]\n",
        path("secret"),
        path("secret"),
    );
    fs::write(path("cloakroom.toml"), config).unwrap();
    let ran = |command: &str, words: &[&str]| {
        let config = path("cloakroom.toml");
        let args: Vec<_> = [command, "--config", &config].into_iter().chain(words.iter().copied()).collect();
        let Ran { exit, out, err, .. } = Place::new().run(&args);
        (exit.unwrap(), out.replace(&config, "FILE"), err)
    };

    let (exit, out, _) = ran("check", &[]);
    assert_eq!(exit, 0, "{out}");
    for line in [
        "rule 0 lets through GET https://gmail.googleapis.com/gmail/v1/users/me/messages and everything below, for the \
         users auth0|* with google-oauth2",
        "rule 0 lets through GET https://acme.eu.auth0.com/api/v2/users/*, for the users auth0|*",
        "warning: /run/x/web.sock: rule 1: POST gmail/** admits the batch endpoint /batch of gmail.googleapis.com: no rule \
         judges the requests within its body",
    ] {
        assert!(out.lines().any(|found| found == line), "{line}\n{out}");
    }

    let explain = |operation: &str, call: &str, more: &[&str]| {
        let (operation, call) = (format!("--operation={operation}"), format!("--call={call}"));
        ran("explain", &[&["--uid=4321", &operation, &call], more].concat())
    };
    let user = ["--user=auth0|1"];
    let by = |pattern: &str| {
        format!(
            "/run/x/web.sock: allowed by rule 0 (FILE, line 16), by the pattern {pattern}, 5 times a second at most\n"
        )
    };
    let (exit, out, _) = explain("proxy", "GET gmail/gmail/v1/users/me/messages/1?format=full", &user);
    assert_eq!((exit, out), (0, by("GET gmail/gmail/v1/users/me/messages/**")));
    let (exit, out, _) = explain("management_api", "GET /users/auth0|1", &[]);
    assert_eq!((exit, out), (0, by("GET /users/*")));
    for (operation, call, more) in [
        ("proxy", "POST gmail/gmail/v1/users/me/messages/1", &user[..]),
        ("proxy", "GET gmail/gmail/v1/users/me/messages/1", &[]),
        ("proxy", "GET gmail/gmail/v1/users/me/messages/1", &["--user=github|1"]),
        ("proxy", "GET drive/files", &user),
        ("management_api", "GET /users/github|1", &[]),
        ("me_proxy", "GET gmail/gmail/v1/users/me/messages/1", &user),
    ] {
        let (exit, out, _) = explain(operation, call, more);
        assert!(exit == 5 && out.contains(" for this call; "), "{operation} {call}: {out}");
    }
    let elsewhere = [user[0], "--connection=github"];
    let (exit, out, _) = explain("proxy", "GET gmail/gmail/v1/users/me/messages/1", &elsewhere);
    assert_eq!(
        (exit, &*out),
        (5, "/run/x/web.sock: refused: the connection has no [[proxy]] of that name\n")
    );
    for (operation, call, exit, text) in [
        (
            "proxy",
            "GET gmail/gmail/../admin",
            5,
            "refused before any rule: the path has a segment that is . or ..",
        ),
        ("proxy", "GET gmail/a?access_token=x", 5, "refused before any rule: the query has a parameter"),
        ("proxy", "TRACE gmail/a", 5, "never sent on"),
        ("proxy", "GET /users", 2, "begins with /"),
        ("management_api", "GET gmail/a", 2, "begins with /"),
        ("token", "GET gmail/a", 2, "only proxy, me_proxy and management_api make calls"),
        ("proxy", "gmail/a", 2, "write a method, a space and a path"),
    ] {
        let (found, out, why) = explain(operation, call, &user);
        assert_eq!((found, out.as_str()), (exit, ""), "{call}: {why}");
        assert!(why.contains(text), "{call}: {why}");
    }
    let (exit, _, why) = ran("explain", &["--uid=4321", "--operation=proxy"]);
    assert!(exit == 2 && why.contains("--call: required with proxy"), "{why}");
}
