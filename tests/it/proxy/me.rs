//! Calls for the user whose own token the request carries.

use std::time::Duration;

use cloakroom::fake_auth0::users;

use super::*;

const AUDIENCE: &str = "https://api.example";

async fn desk(operations: &str) -> Counter {
    let tenant = Tenant::new(Clock::system(), TenantOptions::default()).unwrap();
    let api = FakeApi::beside(&tenant, ApiOptions::default());
    let (of_tenant, of_api) =
        [tenant.listen(CertificateKind::Good), api.listen(CertificateKind::Good)].map(Result::unwrap).into();
    let settings = settings(&of_api, ApiDialect::Standard, "", &["GET api/me"]);
    let settings = settings.replace("\"proxy\", \"token\", \"identities\"", operations);
    let settings = format!("[me]\naudiences = [{AUDIENCE:?}]\n{settings}");
    let world = World::over_tls_before(tenant, of_tenant, tempfile::tempdir().unwrap(), &settings).await;
    world.ready().await;
    Counter { world, api, _listening: of_api }
}

impl Counter {
    async fn call_mine(&self, path: &str, token: &str) -> Got {
        let bearer = format!("Bearer {token}");
        self.world.send("GET", path, &[("cloakroom-request", "true"), ("authorization", &bearer)]).await
    }

    fn session(&self, user: &str) -> String {
        self.world.tenant.user_token(user, AUDIENCE, Duration::from_secs(600)).unwrap()
    }
}

#[tokio::test]
async fn the_user_of_the_token_is_the_user_of_the_call_and_the_token_stays_here() {
    let counter = desk("\"me_proxy\", \"token\"").await;
    let session = counter.session(users::GOOGLE);
    let got = counter.call_mine("/v1/me/proxy/google-oauth2/api/me", &session).await;
    assert_eq!((got.status.as_u16(), got.header("cloakroom-upstream")), (200, Some("1")), "{got:?}");
    let call = counter.only_call();
    assert!(call.fields.iter().all(|(_, value)| !String::from_utf8_lossy(value).contains(&session)));
    let stored = counter.world.get(&World::path(users::GOOGLE)).await.json()["access_token"].clone();
    assert_eq!(call.field("authorization"), Some(format!("Bearer {}", stored.as_str().unwrap())));
}

#[tokio::test]
async fn a_session_that_is_not_accepted_is_the_daemons_401_and_no_call() {
    let counter = desk("\"me_proxy\"").await;
    for token in ["x", "", "a.b.c"] {
        let got = counter.call_mine("/v1/me/proxy/google-oauth2/api/me", token).await;
        assert_eq!(got.problem(), (401, "invalid_user_token".into()), "{token:?}");
        assert_eq!(got.header("cloakroom-upstream"), None);
        assert!(got.header("www-authenticate").is_some());
    }
    let session = counter.session(users::GOOGLE);
    let got = counter.call_mine("/v1/me/proxy/google-oauth2/api/items", &session).await;
    assert_eq!(got.problem(), (403, "forbidden".into()), "no rule has the path");
    let got = counter.call_mine(&path(users::GOOGLE, "/me"), &session).await;
    assert_eq!(got.problem(), (403, "forbidden".into()), "nor the operation");
    assert!(counter.api.calls().is_empty());
}
