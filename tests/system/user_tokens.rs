//! The real binary's log at TRACE holds nothing of a user's own token.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use cloakroom::fake_auth0::users;

use crate::support::deployment::Deployment;

const API: &str = "https://api.acme.example";
const SETTINGS: &str = "[me]\naudiences = [\"https://api.acme.example\", \"3Xk9\"]";

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn nothing_of_a_users_own_token_shows_in_the_log() {
    let deployment = Deployment::new(&format!("{SETTINGS}\n[log]\nlevel = \"trace\""));
    let mut daemon = deployment.start();
    let good = deployment.tenant.user_token(users::GOOGLE, API, MINUTE).unwrap();
    let expired = deployment.tenant.user_token(users::GITHUB, "elsewhere", MINUTE).unwrap();
    let forged = format!("{good}x");
    let mut tokens = vec![good, expired, forged, "an-opaque-canary".to_owned()];
    for (token, status) in tokens.iter().zip(["200", "401", "401", "401"]) {
        let mut stream = UnixStream::connect(&daemon.socket).unwrap();
        write!(
            stream,
            "GET /v1/me/token HTTP/1.1\r\nhost: x\r\ncloakroom-request: true\r\nauthorization: Bearer {token}\r\n\
             connection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert_eq!(answer.split(' ').nth(1), Some(status), "{answer}");
    }
    daemon.until("all refusals are said", |daemon| daemon.log().matches("invalid_user_token").count() == 3);
    let log = daemon.log();
    assert!(log.contains("me_token") && log.contains("invalid_user_token"), "{log}");
    tokens.push(users::GITHUB.to_owned());
    for part in tokens.iter().flat_map(|token| token.split('.')).filter(|part| part.len() > 4) {
        assert!(!log.contains(part), "{part} is in the log");
    }
}
