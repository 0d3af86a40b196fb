//! `cloakroom check --online` and the clients of connections: whether each is accepted, without a user's token.

use std::fs;

use cloakroom::clock::Clock;
use cloakroom::fake_auth0::provider::{Breakdown, Dialect, FakeProvider, ProviderFault, ProviderOptions};
use cloakroom::fake_auth0::{CertificateKind, TenantOptions, WaitHint};
use cloakroom::secret::Secret;

use super::check_online;
use crate::support::configuration::write_private;

/// What `check --online` says of a client of a provider, after `change`. It has two secrets, `new` and `old`.
async fn said_after(change: impl FnOnce(&FakeProvider)) -> (i32, Vec<String>) {
    let provider = FakeProvider::new(Clock::system(), ProviderOptions::of(Dialect::Google)).unwrap();
    provider.set_client_secrets([Secret::new("new")]);
    let consent = provider.consent("google-oauth2|1");
    let listening = provider.listen(CertificateKind::Good).unwrap();
    change(&provider);
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    fs::write(path("ca.pem"), listening.ca_pem()).unwrap();
    write_private(&path("secret"), "new");
    write_private(&path("previous"), "old");
    let settings = format!(
        "[providers]\nca_file = {:?}\nconnect_timeout = \"1s\"\nrequest_timeout = \"2s\"\n\
         [[connection]]\nname = \"google-oauth2\"\nsources = [\"refresh\"]\n\
         [connection.refresh]\nprovider = \"google\"\nclient_id = \"demo-connection\"\nsecret_file = {:?}\n\
         previous_secret_file = {:?}\ntoken_endpoint = \"https://{}{}\"\n",
        path("ca.pem"),
        path("secret"),
        path("previous"),
        listening.domain(),
        Dialect::Google.path(),
    );
    let (exit, out, _) = check_online(TenantOptions::default(), &settings, |_| ()).await;
    assert!(provider.is_redeemable(&consent.refresh_token), "a user's token was redeemed");
    assert!(provider.redemptions().iter().all(|redemption| !redemption.processed));
    let host = listening.domain();
    let lines = out.lines().filter(|line| line.contains("connection google-oauth2"));
    (exit, lines.map(|line| line.replace(host, "HOST")).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_online_says_whether_a_provider_accepts_each_secret_of_a_client() {
    let (exit, said) = said_after(|_| ()).await;
    assert_eq!((exit, said), (0, vec!["ok: connection google-oauth2: HOST accepts the client".to_owned()]));

    // The daemon falls back to the previous secret, and what is wrong is still said.
    let (exit, said) = said_after(|provider| provider.set_client_secrets([Secret::new("old")])).await;
    let [refused, accepted] = &*said else { panic!("{said:?}") };
    assert_eq!(exit, 1);
    assert!(
        refused.starts_with("warning: connection google-oauth2: ") && refused.contains("secret"),
        "{refused}"
    );
    assert_eq!(accepted, "ok: connection google-oauth2: HOST accepts the client's previous secret");

    let (exit, said) = said_after(|provider| provider.set_client_secrets([Secret::new("neither")])).await;
    assert_eq!((exit, said.len()), (1, 1), "{said:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_online_says_that_a_provider_cannot_be_asked_and_blames_no_client() {
    for change in [
        (|provider| provider.fault(ProviderFault::Before(Breakdown::Status(503, WaitHint::None))))
            as fn(&FakeProvider),
        |provider| provider.refuse_connections(true),
    ] {
        let (exit, said) = said_after(change).await;
        let [line] = &*said else { panic!("{said:?}") };
        assert_eq!(exit, 0, "{line}");
        let begin = "warning: connection google-oauth2: its client could not be checked: ";
        assert!(line.starts_with(begin), "{line}");
    }
}
