//! `cloakroom check`: what it says of rules, and with `--online` of the tenant.

mod calls;
mod providers;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use cloakroom::clock::Clock;
use cloakroom::fake_auth0::{
    CertificateKind, ClientAuth, ClientCertificateKind, ClientKeyPair, Endpoint, Fault, KeyUse, RateLimit,
    Tenant, TenantOptions,
};
use cloakroom::secret::Secret;

use crate::support::command::run;
use crate::support::configuration::configuration;
use crate::support::standin::{Place, Ran};

/// The rules as the daemon will understand them, and which of them decides.
#[test]
fn check_shows_the_rules_and_explain_says_which_of_them_decides() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    fs::write(path("secret"), "canary\n").unwrap();
    fs::set_permissions(path("secret"), Permissions::from_mode(0o600)).unwrap();
    let config = format!(
        "[tenant]\ndomain = \"acme.eu.auth0.com\"\n[tenant.client]\nid = \"x\"\nsecret_file = {:?}\n\
         [[listener]]\npath = \"/run/x/web.sock\"\n\
         [[listener.allow]]\nuid = 4321\nconnections = [\"google-oauth2\"]\nusers = [\"google-oauth2|*\"]\nrate = 100\n\
         [[listener.allow]]\ngid = 77\noperations = [\"status\", \"purge\"]\n\
         [[listener]]\npath = \"/run/x/own.sock\"\n",
        path("secret")
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
        "listener /run/x/web.sock (mode 0660)",
        "0     uid 4321                       token identities me report  google-oauth2  google-oauth2|*  100/s",
        "1     gid 77                         status purge                all            all              any",
        "-     root and the daemon's own uid  purge status reload         all            all              any",
        "-     root and the daemon's own uid  all but management_token and calls  all          all    any",
    ] {
        assert!(out.lines().any(|found| found == line), "{line}\n{out}");
    }

    let explain = |words: &str| ran("explain", &words.split(' ').collect::<Vec<_>>());
    let (exit, out, _) =
        explain("--uid=4321 --operation=token --user=google-oauth2|1 --listener=/run/x/web.sock");
    let by = "/run/x/web.sock: allowed by rule 0 (FILE, line 9), and shows only the connections google-oauth2, 100 times a \
              second at most\n";
    assert_eq!((exit, out.as_str()), (0, by));
    let (exit, out, _) = explain("--uid=5 --gid=77 --operation=status");
    assert_eq!(exit, 0);
    assert!(
        out.starts_with(
            "/run/x/web.sock: allowed by rule 1 (FILE, line 14)\n/run/x/own.sock: refused: uid 5"
        ),
        "{out}"
    );
    for refused in [
        "--uid=4321 --operation=token --user=auth0|1",
        "--uid=4321 --operation=token --connection=github --user=google-oauth2|1",
        "--uid=5 --gid=6 --operation=status",
        "--uid=65534 --gid=77 --operation=status --listener=/run/x/own.sock",
        "--uid=0 --operation=management_token",
        "--uid=0 --operation=token --listener=/run/x/web.sock",
    ] {
        let (exit, out, why) = explain(refused);
        assert_eq!(exit, 5, "{refused}: {out}");
        assert!(
            out.lines().all(|line| line.contains(": refused: uid ")) && why.contains("no listener allows"),
            "{out}"
        );
    }
    for (wrong, text) in [
        ("--uid=4321", "--operation <OPERATION>"),
        ("--operation=token", "--uid <USER>"),
        ("--uid=4321 --operation=tokens", "possible values: token, identities"),
        ("--uid=no-such-user --operation=token", "there is no user of that name"),
        (
            "--uid=4321 --operation=token --listener=/run/x/none",
            "--listener: the configuration has no listener of that path",
        ),
        ("--uid=4321 --operation=token --user=", "--user <USER_ID>"),
        ("--uid=4321 --operation=token --color=red", "--color"),
    ] {
        let (exit, out, why) = explain(wrong);
        assert_eq!((exit, out.as_str()), (2, ""), "{wrong}: {why}");
        assert!(why.contains(text), "{wrong}: {why}");
    }
}

/// Both keys are named by the ids under which they are registered, and each is tried with Auth0 by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_online_tries_each_key_of_the_client() {
    let options = || TenantOptions { client_auth: ClientAuth::PrivateKeyJwt, ..TenantOptions::default() };
    let with_next = "[tenant.client]\nid = \"demo-client\"\nauth = \"private_key_jwt\"\nkey_file = \"{dir}/key.pem\"\n\
                     next_key_file = \"{dir}/next-key.pem\"\n";
    let register = |tenant: &Tenant, index: usize| {
        let key = ClientKeyPair::shared(index).unwrap();
        tenant.register_key(KeyUse::Authentication, &key.public_pem, "RS256").unwrap()
    };
    for (registered, exit, said) in [
        (&[0, 1][..], 0, &["ok: Auth0 accepts the client's next key", "ok: users can be read"][..]),
        (
            &[0],
            1,
            &[
                "warning: the client's next key is refused: Auth0 does not accept the client's key",
                "ok: users",
            ],
        ),
        (
            &[1],
            78,
            &["ok: Auth0 accepts the client's next key", "error: Auth0 does not accept the client's key"],
        ),
        (&[], 78, &["warning: the client's next key is refused", "is registered with the application"]),
    ] {
        let mut ids = Vec::new();
        let (found, out, _) = check_online(options(), with_next, |tenant| {
            ids = registered.iter().map(|index| register(tenant, *index)).collect();
        })
        .await;
        assert_eq!(found, exit, "{registered:?}: {out}");
        for text in said.iter().copied().chain(ids.iter().map(String::as_str)) {
            assert!(out.contains(text), "{text}: {out}");
        }
        assert!(out.contains("ok: the client's key has the id ") && out.contains(" (RS256)\n"), "{out}");
    }
}

const VAULT: &str = "[tenant.client]\nid = \"demo-client\"\nauth = \"private_key_jwt\"\nkey_file = \"{dir}/key.pem\"\n\
                     [vault]\n[[connection]]\nname = \"google-oauth2\"\nsources = [\"identities\", \"vault\"]\n\
                     [[connection]]\nname = \"github\"\nsources = [\"vault\"]\n\
                     [[connection]]\nname = \"gitlab\"\nsources = [\"identities\"]\n";

/// Lets the application exchange at two connections with the first key. Returns the key's id.
fn allow(tenant: &Tenant) -> String {
    tenant.change_vault(|vault| vault.allow(&["google-oauth2", "github"], &["calendar"]));
    let key = ClientKeyPair::shared(0).unwrap();
    let register = |purpose| tenant.register_key(purpose, &key.public_pem, "RS256").unwrap();
    register(KeyUse::Authentication);
    register(KeyUse::TokenVault)
}

/// Each fault is told in one line, for the connections that it is about, and no user's token is exchanged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_online_says_what_token_vault_lacks() {
    type Change = fn(&Tenant, &str);
    let options = || TenantOptions { client_auth: ClientAuth::PrivateKeyJwt, ..TenantOptions::default() };
    let cases: [(Change, i32, &[&str]); 8] = [
        (|_, _| (), 0, &["ok: connections google-oauth2, github: the application may use Token Vault\n"]),
        (
            |tenant, _| tenant.change_vault(|vault| vault.grant_type_allowed = false),
            1,
            &["warning: connections google-oauth2, github: the application may not use Token Vault: enable"],
        ),
        (
            |tenant, _| tenant.change_vault(|vault| vault.ip_allowlist.clear()),
            1,
            &[
                "warning: connections google-oauth2, github: Auth0 denies exchanges for all connections: put the address",
            ],
        ),
        (
            |tenant, _| tenant.change_vault(|vault| drop(vault.grants.remove("github"))),
            1,
            &[
                "ok: connection google-oauth2: the application may use Token Vault\n",
                "warning: connection github: Auth0 denies exchanges here and allows others",
            ],
        ),
        (
            |tenant, _| tenant.change_vault(|vault| vault.always_mfa = true),
            1,
            &["warning: connections google-oauth2, github: Auth0 asks for a second factor"],
        ),
        (
            |tenant, kid| tenant.remove_key(KeyUse::TokenVault, kid),
            0,
            &["warning: connections google-oauth2, github: undecided, because"],
        ),
        (
            |tenant, kid| tenant.remove_key(KeyUse::Authentication, kid),
            78,
            &["error: Auth0 does not accept the client's key"],
        ),
        (
            |tenant, _| tenant.fault(Endpoint::Exchange, Fault::Edge503Html),
            0,
            &["warning: connections google-oauth2, github: Token Vault could not be checked: "],
        ),
    ];
    for (at, (change, exit, lines)) in cases.into_iter().enumerate() {
        let (found, out, tenant) = check_online(options(), VAULT, |tenant| {
            let kid = allow(tenant);
            change(tenant, &kid);
        })
        .await;
        assert_eq!(found, exit, "case {at}: {out}");
        for line in lines {
            assert!(out.contains(line), "case {at}: {line} in {out}");
        }
        let about = out.lines().filter(|line| line.contains(": connection"));
        assert_eq!(about.count(), lines.iter().filter(|line| line.contains(": connection")).count(), "{out}");
        let exchanges = tenant.exchanges();
        assert!(exchanges.iter().all(|exchange| exchange.error.is_some()), "{exchanges:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_online_tries_the_next_key_at_token_vault_unless_subject_tokens_have_one_of_their_own() {
    let with_next: &str = "[tenant.client]\nid = \"demo-client\"\nauth = \"private_key_jwt\"\nkey_file = \"{dir}/key.pem\"\n\
                           next_key_file = \"{dir}/next-key.pem\"\n[[connection]]\nname = \"github\"\n\
                           sources = [\"vault\"]\n[vault]\n";
    let with_own: &str = "[tenant.client]\nid = \"demo-client\"\nauth = \"private_key_jwt\"\nkey_file = \"{dir}/key.pem\"\n\
                          next_key_file = \"{dir}/next-key.pem\"\n[[connection]]\nname = \"github\"\n\
                          sources = [\"vault\"]\n[vault]\nkey_file = \"{dir}/key.pem\"\n";
    let next = ClientKeyPair::shared(1).unwrap();
    for (settings, uses, exit, line) in [
        (
            with_next,
            &[KeyUse::Authentication, KeyUse::TokenVault][..],
            0,
            "ok: Token Vault accepts the client's next key\n",
        ),
        (
            with_next,
            &[KeyUse::Authentication],
            1,
            "warning: the client's next key is refused by Token Vault: register it",
        ),
        (
            with_next,
            &[KeyUse::TokenVault],
            1,
            "warning: the client's next key is refused: Auth0 does not accept",
        ),
        (
            with_own,
            &[KeyUse::Authentication],
            0,
            "ok: connection github: the application may use Token Vault\n",
        ),
    ] {
        let options = TenantOptions { client_auth: ClientAuth::PrivateKeyJwt, ..TenantOptions::default() };
        let (found, out, _) = check_online(options, settings, |tenant| {
            allow(tenant);
            for purpose in uses {
                tenant.register_key(*purpose, &next.public_pem, "RS256").unwrap();
            }
        })
        .await;
        assert_eq!(found, exit, "{line}: {out}");
        assert!(out.contains(line), "{line}: {out}");
        let own = "ok: the key of Token Vault has the id ";
        assert_eq!(out.contains(own), settings == with_own, "{out}");
        // It is named with its id, with the grant, and with the exchange if there is one.
        let is_tried = settings == with_next && uses.contains(&KeyUse::Authentication);
        assert_eq!(out.matches("next key").count(), if is_tried { 3 } else { 2 }, "{out}");
    }
}

/// A privileged worker is granted five connections at most, which `check` counts without asking Auth0.
#[test]
fn check_warns_of_more_connections_than_token_vault_grants() {
    let tenant = Tenant::new(Clock::system(), TenantOptions::default()).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("cloakroom.toml");
    let client =
        "[tenant.client]\nid = \"x\"\nauth = \"private_key_jwt\"\nkey_file = \"{dir}/key.pem\"\n[vault]\n";
    for (count, warns) in [(5, false), (6, true)] {
        let connection = |number| format!("[[connection]]\nname = \"c{number}\"\nsources = [\"vault\"]\n");
        let settings: String = (0..count).map(connection).collect();
        let domain = "acme.eu.auth0.com";
        let config = configuration(domain, &tenant, None, &directory, &format!("{client}{settings}"));
        fs::write(&file, config).unwrap();
        let (exit, out, err) = run(&["check", "--config", file.to_str().unwrap()]);
        assert_eq!(exit, 0, "{out}{err}");
        let warning = "warning: 6 connections have vault in their sources, and Auth0 grants 5 at most";
        assert_eq!(out.contains(warning), warns, "{out}");
    }
}

#[test]
fn check_tells_the_end_of_the_clients_certificate() {
    let tenant = Tenant::new(Clock::system(), TenantOptions::default()).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let config = configuration(
        "acme.eu.auth0.com",
        &tenant,
        None,
        &directory,
        "[tenant.client]\nid = \"x\"\nauth = \"tls_client_auth\"\ncertificate_file = \"{dir}/client.pem\"\n\
         key_file = \"{dir}/client-key.pem\"\n",
    );
    fs::write(path("cloakroom.toml"), config).unwrap();
    for (kind, exit, said) in [
        (
            ClientCertificateKind::Good,
            0,
            "ok: the client's certificate is valid until 2099-01-01T00:00:00Z\n",
        ),
        (
            ClientCertificateKind::Expired,
            78,
            "error: tenant.client.certificate_file: the certificate expired at 2001-01-01T00:00:00Z\n",
        ),
    ] {
        let files = tenant.issue_client_certificate(kind, None).unwrap();
        fs::write(path("client.pem"), &files.certificate_pem).unwrap();
        fs::write(path("client-key.pem"), files.key_pem.expose()).unwrap();
        fs::set_permissions(path("client-key.pem"), Permissions::from_mode(0o400)).unwrap();
        let (found, out, err) = run(&["check", "--config", path("cloakroom.toml").to_str().unwrap()]);
        assert_eq!(found, exit, "{out}{err}");
        assert!((out.clone() + &err).contains(said), "{out}{err}");
        fs::remove_file(path("client-key.pem")).unwrap();
    }
}

/// What `check --online` says of a tenant with these options, once `prepare` has seen to it; exit code first.
async fn check_online(
    options: TenantOptions,
    settings: &str,
    prepare: impl FnOnce(&Tenant),
) -> (i32, String, Tenant) {
    let tenant = Tenant::new(Clock::system(), options).unwrap();
    let listening = tenant.listen(CertificateKind::Good).unwrap();
    prepare(&tenant);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("cloakroom.toml");
    let config = configuration(listening.domain(), &tenant, Some(listening.ca_pem()), &directory, settings);
    fs::write(&file, config).unwrap();
    let file = file.to_str().unwrap().to_owned();
    let outcome = tokio::task::spawn_blocking(move || run(&["check", "--online", "--config", &file]));
    let (exit, out, err) = outcome.await.unwrap();
    (exit, out + &err, tenant)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_online_approves_of_a_tenant_that_is_right_and_warns_of_what_is_not() {
    let check = async |scopes: &[&str]| {
        check_online(TenantOptions::default(), "", |tenant| tenant.grant_scopes(scopes)).await
    };
    let (exit, out, tenant) = check(&["read:users", "read:user_idp_tokens"]).await;
    assert_eq!((exit, tenant.calls().len()), (0, 2), "{out}");
    for line in [
        "ok: the configuration is right",
        "ok: the scopes suffice",
        "ok: users can be read",
        "ok: this machine's clock",
    ] {
        assert!(out.contains(line), "{line} in {out}");
    }
    let (exit, out, _) = check(&["read:users"]).await;
    assert_eq!(exit, 1);
    assert!(out.contains("warning: the scope read:user_idp_tokens is missing"), "{out}");
    let (exit, out, _) = check(&["read:users", "read:user_idp_tokens", "delete:users"]).await;
    assert_eq!(exit, 0);
    assert!(out.contains("beyond what is needed, which a thief would have too: delete:users"), "{out}");
}

/// The tenant's headers tell its limit, and its `Date` its clock.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_online_judges_the_budget_and_the_clock_by_the_tenants_headers() {
    let limited = |burst| TenantOptions {
        rate_limit: Some(RateLimit { per_second: 2, burst }),
        ..TenantOptions::default()
    };
    let (exit, out, _) = check_online(limited(36), "", |_| ()).await;
    assert_eq!(exit, 0, "{out}");
    let ok = "ok: upstream.burst and upstream.max_concurrency are 36 together, within the tenant's rate limit of 36";
    assert!(out.contains(ok), "{out}");
    let (_, out, _) = check_online(limited(35), "", |_| ()).await;
    assert!(out.contains("warning: upstream.burst and upstream.max_concurrency are 36 together"), "{out}");
    assert!(!out.contains("requests_per_second"), "{out}");
    // What the smallest plan allows, and settings for it.
    let (_, out, _) = check_online(limited(4), "", |_| ()).await;
    assert!(out.contains("warning: upstream.requests_per_second is 10, and"), "{out}");
    let settings = "[upstream]\nrequests_per_second = 1\nburst = 2\nmax_concurrency = 1";
    let (exit, out, _) = check_online(limited(4), settings, |_| ()).await;
    assert_eq!(exit, 0, "{out}");
    assert!(out.contains("are 3 together, within the tenant's rate limit of 4"), "{out}");

    for (offset, text) in [(3600, "s behind Auth0's"), (-3600, "s ahead of Auth0's")] {
        let (exit, out, _) = check_online(TenantOptions::default(), "", |tenant| {
            tenant.fault(Endpoint::Token, Fault::DateOffset(offset));
        })
        .await;
        assert_eq!(exit, 1, "{out}");
        assert!(out.contains("warning: this machine's clock is ") && out.contains(text), "{out}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_online_names_the_scope_that_the_application_of_calls_must_not_have() {
    let settings = "[management_api]\nclient_id = \"calls\"\nsecret_file = \"{dir}/secret\"\n";
    let check = async |scopes: &[&str]| {
        check_online(TenantOptions::default(), settings, |tenant| {
            tenant.register_application("calls", Secret::new("demo-client-secret"), scopes);
        })
        .await
    };
    let (exit, out, _) = check(&["read:users", "update:users"]).await;
    assert_eq!(exit, 0, "{out}");
    assert!(
        out.contains("a token of [management_api] was obtained, with the scopes read:users update:users"),
        "{out}"
    );
    let (exit, out, _) = check(&["read:users", "read:user_idp_tokens"]).await;
    assert_eq!(exit, 78, "{out}");
    assert!(
        out.contains("the application of [management_api] has the permission read:user_idp_tokens"),
        "{out}"
    );
}
