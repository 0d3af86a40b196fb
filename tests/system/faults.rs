//! What goes wrong between the daemon and Auth0, over real TLS: each cause has its own message, which names the cause
//! and the fix, at each place where it shows.

use std::net::TcpListener;

use cloakroom::clock::Clock;
use cloakroom::fake_auth0::{
    CertificateKind, Endpoint, Fault, Listening, Tenant, TenantOptions, WaitHint, users,
};
use cloakroom::secret::Secret;

use crate::support::command::run;
use crate::support::configuration::configuration;
use crate::support::process::Daemon;

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
async fn every_failure_is_reported_with_its_cause_and_its_fix() {
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
