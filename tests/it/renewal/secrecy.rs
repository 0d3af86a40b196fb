//! Refresh tokens and clients' secrets go to the provider, and appear in no answer, no log, no metric and no file.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cloakroom::fake_auth0::provider::Refused;

use super::*;
use crate::support::log::Log;

/// What is searched for in everything that comes out.
struct Canaries(Vec<String>);

impl Canaries {
    fn search(&self, place: &str, bytes: &[u8]) {
        for canary in &self.0 {
            let found = bytes.windows(canary.len()).any(|window| window == canary.as_bytes());
            assert!(!found, "{canary} in {place}: {}", String::from_utf8_lossy(bytes));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn no_refresh_token_and_no_clients_secret_appears_in_any_answer_line_or_file() {
    let (log, _guard) = Log::of_everything();
    let settings = format!(
        "{}rotation = \"single\"\n{STATE}[audit]\nevents = \"all\"\noutput = \"{{dir}}/audit.log\"\n\
         [log]\nuser_ids = \"plain\"\n",
        connection("entra", REFRESHED, Dialect::Microsoft)
    );
    let desk = Desk::of("entra", Dialect::Microsoft, &settings).await;
    desk.provider.set_rules(|rules| rules.rotation = cloakroom::domain::source::Rotation::Single);
    let user = users::EXPIRED_ENTRA;
    // Those of the provider's own begin alike.
    let secret = "demo-connection-secret";
    let canaries = Canaries(vec![
        "demo-refresh".into(),
        secret.into(),
        STANDARD.encode(format!("demo-connection:{secret}")),
        STANDARD.encode("0.Ademo-refresh-expired"),
    ]);
    let mut tokens = Vec::new();
    let rest = Breakdown::Status(503, WaitHint::None);
    for fault in [
        None,
        Some(ProviderFault::Refused(Refused::InvalidClient)),
        Some(ProviderFault::Refused(Refused::InvalidScope)),
        Some(ProviderFault::Refused(Refused::ConsentRequired)),
        Some(ProviderFault::Before(rest)),
        Some(ProviderFault::Before(Breakdown::Close)),
        Some(ProviderFault::After(Breakdown::Drip(SECOND))),
        Some(ProviderFault::Refused(Refused::InvalidGrant)),
        None,
    ] {
        // A login whose access token has expired by now.
        let refresh_token = desk.provider.consent(user).refresh_token;
        let expired = json!({ "refresh_token": refresh_token, "access_token": "x", "expires_in": 1 });
        assert!(desk.world.tenant.log_in_with(user, "entra", expired));
        sleep(MINUTE).await;
        desk.provider.fault_next(1, fault.clone().unwrap_or(ProviderFault::Latency(Duration::ZERO)));
        for path in ["/identities", "/token?scope=drive", "/token"] {
            let got = desk.world.get(&World::path(user).replace("/token", path)).await;
            canaries.search(path, &got.body);
            if let (200, "/token") = (got.status.as_u16(), path) {
                tokens.push(text(&got, "access_token"));
            }
        }
        for path in ["/metrics", "/v1/status", "/readyz"] {
            canaries.search(path, &desk.world.get(path).await.body);
        }
        desk.world.reload(&settings).await.unwrap();
        sleep(2 * HOUR).await;
    }
    assert!(tokens.len() >= 2, "{tokens:?}");
    let directory = desk.world.directory;
    let files = ["audit.log", "state"].map(|name| directory.path().join(name));
    desk.world.running.stop().await;
    for file in files {
        canaries.search(&file.display().to_string(), &fs::read(&file).unwrap());
    }
    canaries.search("the log", log.text().as_bytes());
    assert!(log.text().contains("TRACE") && log.text().contains("The provider refuses"), "{}", log.text());
    for token in tokens {
        assert!(!log.text().contains(&token), "an access token in the log");
    }
}
