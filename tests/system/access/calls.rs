//! Calls of a provider's API by clients under several uids.

use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt;

use cloakroom::fake_auth0::api::ApiCall;
use cloakroom::fake_auth0::users;

use super::callers::{Ask, House, ROOT, Who, path_of};
use crate::support::api_calls::Api;
use crate::support::process::is_root;

#[test]
fn each_uid_makes_the_calls_of_its_own_rules() {
    if !is_root() {
        return;
    }
    let api = Api::listen();
    let rules = [(1001, "[\"GET api/items\"]"), (1002, "[\"GET api/me\", \"PUT api/upload\"]")];
    let deployment = api.deployment_for(&rules, "", "mode = \"0666\"");
    let daemon = deployment.start();
    let house = House { deployment, daemon };
    for directory in ["", "run"] {
        set_permissions(house.path(directory), Permissions::from_mode(0o755)).unwrap();
    }
    let path = |tail| format!("{}/proxy/google-oauth2/api{tail}", path_of(users::GOOGLE));
    let calls = [
        Ask::get(path("/items?page=1")),
        Ask::get(path("/me")),
        Ask::new("PUT", path("/upload")).with_body("x"),
    ];
    for (who, statuses, sent) in [
        (Who(1001, 1001), [200, 403, 403], &["/items?page=1"][..]),
        (Who(1002, 1002), [403, 200, 200], &["/me", "/upload"]),
        // Neither the group of another nor a right to everything is a rule.
        (Who(1003, 1001), [403; 3], &[]),
        (ROOT, [403; 3], &[]),
    ] {
        api.api.forget_calls();
        let heard = house.ask(who, "run/api.sock", &calls);
        for (heard, status) in heard.iter().zip(statuses) {
            assert_eq!(heard.status, status, "{who:?}: {heard:?}");
            assert_eq!(heard.header("cloakroom-upstream").is_some(), status == 200, "{who:?}: {heard:?}");
        }
        assert_eq!(heard.len(), statuses.len());
        let targets: Vec<_> = api.api.calls().iter().map(ApiCall::target).collect();
        assert_eq!(targets, sent, "{who:?}");
    }
}
