//! Sample users whose tokens expired a day ago, and what a provider needs to issue new ones.

use std::time::Duration;

use serde_json::{Value, json};

use crate::domain::freshness::Timestamp;

use super::{
    BLOCKED_EXPIRED, EXPIRED_ENTRA, EXPIRED_GITLAB, EXPIRED_TWINS, HOUR, NO_REFRESH_TOKEN, SEVERAL, identity,
    jwt, user, with,
};

/// Returns these users, as of `now`.
pub(in crate::fake_auth0) fn samples(now: Timestamp) -> [Value; 6] {
    let login = now.before(Duration::from_secs(86_400));
    let entra = stored(&jwt(login, "expired"), "0.Ademo-refresh-expired", HOUR);
    [
        user(
            EXPIRED_ENTRA,
            "Ena Tra",
            login,
            vec![of("waad", "entra", &json!("kG4bW9tQx2Ls7YfUo5Rd1NvCzE8hJm3P"), entra)],
        ),
        user(
            EXPIRED_GITLAB,
            "Git Lab",
            login,
            vec![of(
                "oauth2",
                "gitlab",
                &json!("gitlab|4711"),
                stored("demo-gitlab", "demo-refresh-gitlab", 7_200),
            )],
        ),
        user(
            SEVERAL,
            "Seve Ral",
            login,
            vec![
                google(&json!("100000000000000000005"), "several"),
                of(
                    "github",
                    "github",
                    &json!(9_921),
                    stored("ghu_demo-several", "ghr_demo-refresh-several", 28_800),
                ),
                of(
                    "oauth2",
                    "slack",
                    &json!("slack|U0DEMO"),
                    stored("xoxe.xoxp-1-demo-several", "xoxe-1-demo-refresh-several", 43_200),
                ),
            ],
        ),
        user(
            EXPIRED_TWINS,
            "Exti Twins",
            login,
            vec![
                google(&json!("100000000000000000006"), "expired-twin-1"),
                google(&json!(1_035), "expired-twin-2"),
            ],
        ),
        with(
            user(
                BLOCKED_EXPIRED,
                "Blex Pired",
                login,
                vec![google(&json!("100000000000000000007"), "blocked-expired")],
            ),
            json!({ "blocked": true }),
        ),
        user(
            NO_REFRESH_TOKEN,
            "Nor Token",
            login,
            vec![identity(
                "google-oauth2",
                &json!("100000000000000000008"),
                true,
                json!({ "access_token": "ya29.demo-no-refresh-token", "expires_in": HOUR }),
            )],
        ),
    ]
}

fn google(id: &Value, name: &str) -> Value {
    let tokens = stored(&format!("ya29.demo-{name}"), &format!("1//demo-refresh-{name}"), HOUR);
    identity("google-oauth2", id, true, tokens)
}

fn of(provider: &str, connection: &str, id: &Value, tokens: Value) -> Value {
    with(identity(provider, id, true, tokens), json!({ "connection": connection }))
}

/// The members of an identity that Auth0 stores at a login.
fn stored(access_token: &str, refresh_token: &str, expires_in: u32) -> Value {
    json!({ "access_token": access_token, "refresh_token": refresh_token, "expires_in": expires_in })
}
