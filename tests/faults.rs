//! What goes wrong between the daemon and Auth0, over real TLS: each cause has a message of its own that names
//! the cause and the mend, wherever a person may meet it.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    dead_code,
    reason = "tests stop at the first surprise, and use the part of the support that they need"
)]

mod support {
    pub mod process;
    pub mod world;
}

use std::net::TcpListener;
use std::time::Duration;

use cloakroom::clock::Clock;
use cloakroom::fake_auth0::{
    CertificateKind, Endpoint, Fault, Listening, RateLimit, Tenant, TenantOptions, WaitHint, users,
};
use cloakroom::secret::Secret;
use serde_json::json;
use support::process::{Daemon, run};
use support::world::{World, configuration};

/// What nobody may meet: secrets, and words of upstream bodies.
const HIDDEN: [&str; 6] =
    ["demo-client-secret", "rotated-away", "access_denied", "Unauthorized", "Forbidden", "eyJ"];

/// A deployment that cannot work, and what it must say.
struct Case {
    name: &'static str,
    /// How the tenant's certificate is made.
    certificate: CertificateKind,
    /// Changes the tenant or the configuration; told where the tenant listens.
    spoil: fn(&Tenant, &Listening, String) -> String,
    /// What `check --online` ends with.
    exit: i32,
    /// `{domain}` stands for where the tenant listens.
    text: &'static str,
}

const fn case(name: &'static str, exit: i32, text: &'static str) -> Case {
    Case { name, certificate: CertificateKind::Good, spoil: |_, _, config| config, exit, text }
}

fn cases() -> Vec<Case> {
    vec![
        Case {
            spoil: |tenant, _, config| {
                tenant.rotate_client_secret(Secret::new("rotated-away"));
                config
            },
            ..case(
                "wrong secret",
                78,
                "Auth0 does not accept the client's credentials (status 401): check tenant.client.id, that the secret \
                 is the application's current one, and that tenant.client.auth is its authentication method",
            )
        },
        Case {
            spoil: |_, _, config| {
                let other = "\"https://acme.auth0.com/api/v2/\"";
                let line = config.lines().find(|line| line.starts_with("audience")).unwrap().to_owned();
                config.replace(&line, &format!("audience = {other}"))
            },
            ..case(
                "wrong audience",
                78,
                "Auth0 knows no API with the identifier https://acme.auth0.com/api/v2/: set tenant.audience to the \
                 Management API's identifier, https://TENANT.REGION.auth0.com/api/v2/ with the slash at its end, also \
                 when tenant.domain is a custom domain",
            )
        },
        Case {
            spoil: |tenant, _, config| {
                tenant.set_client_grant(false);
                config
            },
            ..case(
                "missing grant",
                78,
                "the application is not authorized for https://{domain}/api/v2/: authorize it in the Auth0 dashboard \
                 (Applications, APIs, Auth0 Management API, Application Access) with the permissions read:users and \
                 read:user_idp_tokens",
            )
        },
        Case {
            spoil: |tenant, _, config| {
                tenant.set_grant_type_allowed(false);
                config
            },
            ..case(
                "grant type not allowed",
                78,
                "the application may not use the client_credentials grant: make it a Machine to Machine application, \
                 or allow that grant type in its advanced settings",
            )
        },
        Case {
            spoil: |tenant, _, config| {
                tenant.grant_scopes(&["read:clients"]);
                config
            },
            ..case(
                "missing scope",
                78,
                "the Management token may not read users: give the application the permissions read:users and \
                 read:user_idp_tokens for the Management API",
            )
        },
        Case {
            spoil: |_, listening, config| config.replace(listening.domain(), "no-such-host.invalid"),
            ..case(
                "unknown host",
                69,
                "the host name no-such-host.invalid cannot be resolved: check tenant.domain, and that this machine can \
                 resolve names",
            )
        },
        Case {
            spoil: |_, listening, config| {
                let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
                config.replace(listening.domain(), &format!("localhost:{}", free.port()))
            },
            ..case("nothing listens", 69, "nothing listens at localhost:")
        },
        Case {
            certificate: CertificateKind::UnknownIssuer,
            ..case(
                "untrusted certificate",
                69,
                "{domain} is not trusted: its certificate is not signed by an authority known here; behind a \
                 TLS-inspecting proxy set tenant.ca_file",
            )
        },
        Case {
            certificate: CertificateKind::WrongName,
            ..case(
                "certificate for another name",
                69,
                "{domain} is not trusted: its certificate is for another name; check tenant.domain",
            )
        },
        Case {
            certificate: CertificateKind::Expired,
            ..case(
                "expired certificate",
                69,
                "{domain} is not trusted: its certificate is not valid at this time; check this machine's clock, then \
                 ask the operator of that host",
            )
        },
        Case {
            certificate: CertificateKind::SameName,
            ..case(
                "an authority of the same name",
                69,
                "{domain} is not trusted: its certificate is not signed by the authority of that name that is known here; tenant.ca_file may hold an older one, or a key is too short",
            )
        },
        Case {
            certificate: CertificateKind::NotYetValid,
            ..case(
                "a certificate that is not valid yet",
                69,
                "{domain} is not trusted: its certificate is not valid yet; check this machine's clock",
            )
        },
        Case {
            certificate: CertificateKind::Authority,
            ..case(
                "an authority's own certificate",
                69,
                "{domain} is not trusted: its certificate is that of an authority; have that authority issue one for tenant.domain",
            )
        },
        Case {
            certificate: CertificateKind::OnlyCommonName,
            ..case(
                "a certificate with a common name alone",
                69,
                "{domain} is not trusted: its certificate names a host only in its common name, which is ignored; have it issued with a subjectAltName",
            )
        },
        Case {
            certificate: CertificateKind::OutsideConstraints,
            ..case(
                "an authority for other names",
                69,
                "{domain} is not trusted: an authority above its certificate may not sign for this name; check tenant.domain, or have another authority sign it",
            )
        },
        Case {
            certificate: CertificateKind::ExpiredIntermediate,
            ..case(
                "an intermediate authority that has expired",
                69,
                "{domain} is not trusted: an authority between its certificate and the one known here has expired; have that host send the intermediate certificate that is valid",
            )
        },
        Case {
            certificate: CertificateKind::NoAuthority,
            ..case(
                "an intermediate that is no authority",
                69,
                "{domain} is not trusted: a certificate between its own and the authority known here may not sign others; have that host send the right intermediate certificates",
            )
        },
        Case {
            certificate: CertificateKind::NotForServers,
            ..case(
                "a certificate for clients",
                69,
                "{domain} is not trusted: its certificate is not for servers; have it issued with the extended key usage serverAuth",
            )
        },
        Case {
            certificate: CertificateKind::CriticalExtension,
            ..case(
                "an extension that is not known",
                69,
                "{domain} is not trusted: its certificate has a critical extension that is not known here; have it issued without",
            )
        },
        Case {
            spoil: |_, _, config| {
                config.replace("ca_file", "proxy = \"http://user:hunter2@localhost:1\"\nca_file")
            },
            ..case(
                "no such proxy",
                69,
                "the proxy localhost:1 cannot be reached: check tenant.proxy, or the variable HTTPS_PROXY if that key \
                 is not set",
            )
        },
        Case {
            spoil: |tenant, _, config| {
                tenant.fault(Endpoint::Token, Fault::Edge503Html);
                config
            },
            ..case("an outage", 69, "unexpected status 503 from Auth0")
        },
        Case {
            spoil: |tenant, _, config| {
                let wait = WaitHint::Seconds(1);
                tenant.fault(Endpoint::Token, Fault::EdgePage { status: 503, wait });
                config
            },
            ..case("an outage with a time", 69, "status 503 from Auth0, which asks for a retry later")
        },
        Case {
            spoil: |tenant, _, config| {
                tenant.fault(Endpoint::Token, Fault::EdgePage { status: 403, wait: WaitHint::None });
                config
            },
            ..case(
                "a portal",
                69,
                "status 403 did not come from Auth0: a proxy, a captive portal, or an edge that blocks this machine \
                 answered in its place; check what is between this machine and tenant.domain",
            )
        },
        Case {
            spoil: |tenant, _, config| {
                tenant.fault(Endpoint::Token, Fault::TokenEndsIn("\r\nx-admin: 1"));
                config
            },
            ..case(
                "a broken token",
                69,
                "invalid response from Auth0: an access token that cannot be sent in a header",
            )
        },
        Case {
            spoil: |tenant, _, config| {
                tenant.fault(Endpoint::Token, Fault::Body(2 << 20));
                config
            },
            ..case("a huge body", 69, "invalid response from Auth0: a body of more than 1 MiB")
        },
        Case {
            spoil: |tenant, _, config| {
                tenant.fault(Endpoint::Token, Fault::GzipBomb);
                config
            },
            ..case(
                "a compressed body",
                69,
                "invalid response from Auth0: a compressed body that was not asked for",
            )
        },
        Case {
            spoil: |tenant, listening, config| {
                tenant.fault(
                    Endpoint::Token,
                    Fault::Redirect(format!("https://{}/oauth/token", listening.domain())),
                );
                config
            },
            ..case(
                "a redirect",
                69,
                "invalid response from Auth0: a redirect, which is never followed; check \
                 tenant.domain",
            )
        },
        Case {
            spoil: |tenant, _, config| {
                tenant.fault(Endpoint::Token, Fault::StallBody);
                config.replace("ca_file", "connect_timeout = \"400ms\"\nrequest_timeout = \"500ms\"\nca_file")
            },
            ..case("a stall", 69, "{domain} did not answer within tenant.request_timeout")
        },
    ]
}

/// Each cause, at each place where a person may meet it: `check --online`, a lookup's error, the daemon's log.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_cause_is_named_with_its_mend_wherever_it_shows() {
    let mut texts = std::collections::BTreeSet::new();
    for case in cases() {
        let tenant = Tenant::new(Clock::system(), TenantOptions::default()).unwrap();
        let listening = tenant.listen(case.certificate).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let config = configuration(listening.domain(), &tenant, Some(listening.ca_pem()), &directory, "");
        let config = (case.spoil)(&tenant, &listening, config);
        let file = directory.path().join("cloakroom.toml");
        std::fs::write(&file, config).unwrap();
        // One of them has a password in it.
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let socket = directory.path().join("run/api.sock");
        let text = case.text.replace("{domain}", listening.domain());
        assert!(texts.insert(text.clone()), "{}: two causes with one message", case.name);

        let outcome = tokio::task::spawn_blocking(move || {
            let online = run(&["check", "--online", "--config", file.to_str().unwrap()]);
            let mut daemon = Daemon::start(&file, &socket);
            let lookup = daemon.run(&["token", users::GOOGLE]);
            // Without a scope there is a Management token all the same, so the log says what it lacks.
            let logged = if case.name == "missing scope" { "lacks a scope that is needed" } else { &*text };
            daemon.until("the log names the cause", |daemon| daemon.log().contains(logged));
            (online, lookup, daemon.log(), text)
        });
        let (online, lookup, log, text) = outcome.await.unwrap();
        assert_eq!(online.0, case.exit, "{}: {online:?}", case.name);
        assert!(online.2.contains(&text), "{}: {online:?}", case.name);
        assert_eq!(lookup.0, 69, "{}: {lookup:?}", case.name);
        assert!(lookup.2.contains(&text), "{}: {lookup:?}", case.name);
        for shown in [&online.1, &online.2, &lookup.1, &lookup.2, &log] {
            for hidden in HIDDEN.iter().chain(&["hunter2"]) {
                assert!(!shown.contains(hidden), "{}: {hidden} in {shown}", case.name);
            }
        }
    }
}

/// What `check --online` says of a tenant with these options, once `prepare` has seen to it; exit code first.
async fn check_online(
    options: TenantOptions,
    settings: &'static str,
    prepare: impl FnOnce(&Tenant),
) -> (i32, String, Tenant) {
    let tenant = Tenant::new(Clock::system(), options).unwrap();
    let listening = tenant.listen(CertificateKind::Good).unwrap();
    prepare(&tenant);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("cloakroom.toml");
    let config = configuration(listening.domain(), &tenant, Some(listening.ca_pem()), &directory, settings);
    std::fs::write(&file, config).unwrap();
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

/// The tenant goes away and comes back, over real connections.
#[tokio::test]
async fn a_tenant_that_goes_away_leaves_valid_tokens_servable_and_misses_answer_503() {
    let mut world = World::over_tls(TenantOptions::default(), "connect_timeout = \"1s\"").await;
    world.ready().await;
    let (held, unknown) = (World::path(users::GOOGLE), World::path(users::JOHN));
    assert_eq!(world.get(&held).await.status, 200);
    let port = world.listening.as_ref().unwrap().port();
    world.listening = None;
    assert_eq!(world.get(&held).await.header("cloakroom-cache"), Some("hit"));
    let begun = tokio::time::Instant::now();
    let miss = world.get(&unknown).await;
    assert_eq!(miss.problem(), (503, "upstream_unavailable".into()));
    assert!(miss.retry_after().is_some());
    assert!(begun.elapsed() < world.config.tenant.request_timeout);
    world.listening = Some(world.tenant.listen_on(port, CertificateKind::Good).unwrap());
    assert_eq!(world.get(&unknown).await.status, 200);
}

/// A thousand callers over a thousand sockets, two hundred of whom hang up: one request, one grant.
#[tokio::test]
async fn a_thousand_callers_of_one_user_are_one_request_over_real_sockets() {
    let world = World::over_tls(TenantOptions::default(), "").await;
    world.tenant.fault(Endpoint::User, Fault::Latency(Duration::from_millis(300)));
    let path = World::path(users::GOOGLE);
    let mut callers = tokio::task::JoinSet::new();
    let world = std::sync::Arc::new(world);
    for n in 0..1000 {
        let (world, path) = (std::sync::Arc::clone(&world), path.clone());
        callers.spawn(async move {
            let lookup = world.get(&path);
            if n < 200 {
                tokio::time::timeout(Duration::from_millis(1), lookup).await.ok().map(|got| got.status)
            } else {
                Some(lookup.await.status)
            }
        });
    }
    let mut answered = 0;
    while let Some(status) = callers.join_next().await {
        if let Some(status) = status.unwrap() {
            assert_eq!(status, 200);
            answered += 1;
        }
    }
    assert!(answered >= 800, "{answered}");
    assert_eq!(world.tenant.calls_to(Endpoint::User).len(), 1);
    assert_eq!(world.tenant.calls_to(Endpoint::Token).len(), 1);
}

/// What Auth0 holds besides the tokens never comes near a caller.
#[tokio::test]
async fn refresh_tokens_never_leave() {
    let world = World::over_tls(TenantOptions::default(), "").await;
    world.ready().await;
    world
        .tenant
        .put_user(json!({"user_id": "oauth2|r", "identities": [{"connection": "c", "provider": "oauth2",
        "user_id": "r", "access_token": "t", "refresh_token": "canary-refresh"}]}));
    for path in [World::path("oauth2|r"), World::path("oauth2|r").replace("/token", "/identities")] {
        let got = world.get(&path).await;
        assert_eq!(got.status, 200);
        assert!(!String::from_utf8_lossy(&got.body).contains("canary-refresh"));
    }
}
