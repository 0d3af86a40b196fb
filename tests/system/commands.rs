//! The client commands against a real daemon.

use cloakroom::fake_auth0::{Endpoint, users};

use crate::support::deployment::Deployment;

#[test]
fn the_client_commands_work_against_a_real_daemon() {
    let deployment = Deployment::new("");
    let daemon = deployment.start();
    let token = deployment.tenant.user(users::GOOGLE).unwrap()["identities"][0]["access_token"].clone();
    let token = token.as_str().unwrap();
    assert_eq!(daemon.run(&["token", users::GOOGLE]), (0, format!("{token}\n"), String::new()));
    let (_, header, _) = daemon.run(&["token", users::GOOGLE, "--output", "header"]);
    assert_eq!(header, format!("Authorization: Bearer {token}\n"));
    let (exit, _, why) = daemon.run(&["token", users::LINKED]);
    assert_eq!(exit, 2, "{why}");
    assert_eq!(daemon.run(&["token", users::LINKED, "--connection", "github"]).0, 0);
    assert_eq!(daemon.run(&["token", users::SLASH]).0, 0);
    for (user, exit) in [("auth0|nobody", 3), (users::DATABASE, 3), (users::EXPIRED, 4), (users::BLOCKED, 5)]
    {
        assert_eq!(daemon.run(&["token", user]).0, exit, "{user}");
    }
    let (exit, table, _) = daemon.run(&["identities", users::LINKED]);
    assert!(exit == 0 && table.contains("github"), "{table}");
    let (exit, status, _) = daemon.run(&["status"]);
    assert!(exit == 0 && status.starts_with("ready"), "{status}");
    for probe in ["--live", "--ready", "--started"] {
        assert_eq!(daemon.run(&["healthcheck", probe]).0, 0, "{probe}");
    }
    let asked = deployment.tenant.calls_to(Endpoint::User).len();
    assert_eq!(daemon.run(&["purge", "--all"]).0, 0);
    assert_eq!(daemon.run(&["token", users::GOOGLE]).0, 0);
    assert_eq!(deployment.tenant.calls_to(Endpoint::User).len(), asked + 1);
}

/// What the daemon says, as a person at a shell reads it.
#[test]
fn the_command_line_says_what_happened_in_its_own_words() {
    let deployment = Deployment::new("[upstream]\nrequests_per_second = 1\nburst = 12");
    let daemon = deployment.start();
    let run = |arguments: &[&str]| daemon.run(&[&["token"], arguments].concat());
    for (arguments, exit, event) in [
        (&[users::BLOCKED][..], 5, "the user is blocked in Auth0: unblock "),
        (
            &[users::LINKED],
            2,
            "several identities carry a token: choose one with --connection, --provider or --identity-user-id",
        ),
        (
            &[users::LINKED, "--connection", "x"],
            3,
            "the user has no such identity: the user's connections are: ",
        ),
        (&["auth0|nobody"], 3, "Auth0 has no such user: check the id"),
        (&["google-oauth2%7C1"], 3, "Auth0 has no such user: the id still holds an escape"),
        (&[users::DATABASE], 3, "the identity carries no token: Auth0 holds no access token for it"),
        (&[users::EXPIRED], 4, "the user must log in again: the provider's token expires at"),
        (&[users::EXPIRED, "--min-ttl", "60"], 4, "the user must log in again: "),
        (&[users::GITHUB, "--fresh"], 69, "the rate limit is reached: fresh answers "),
    ] {
        let is_spent = |err: &str| err.is_empty();
        let mut ran = run(arguments);
        // Until the budget has no room for it.
        while arguments.contains(&"--fresh") && is_spent(&ran.2) {
            ran = run(arguments);
        }
        assert_eq!(ran.0, exit, "{arguments:?}: {}", ran.2);
        assert!(ran.2.starts_with(&format!("error: {event}")), "{arguments:?}: {}", ran.2);
        for of_http in ["?connection", "?provider", "identity_user_id", "fresh=", "min_ttl="] {
            assert!(!ran.2.contains(of_http), "{arguments:?}: {}", ran.2);
        }
    }
}
