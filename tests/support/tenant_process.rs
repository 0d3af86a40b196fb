//! The simulated tenant as a process of its own, for tests whose daemon runs in a container or under an init system:
//! `tenant DIRECTORY` writes what a daemon needs into that directory, which has to exist, and takes orders, one a
//! line, from its standard input until that ends:
//!
//! - `latency MILLISECONDS`: how long each answer about a user takes from now on
//! - `refuse`: the port refuses; `clear`: everything is well again
//! - `limit`: every request is answered with 429 and `Retry-After: 60`, until `clear`
//! - `rotate`: a new secret, and the old one is refused; it is in `client_secret` before the next line is read
//! - `lifetime SECONDS`: how long Management tokens live that are granted from now on
//! - `users COUNT BYTES`: so many more users, `google-oauth2|0` and so on, whose tokens are so long
//! - `calls`: prints how many requests for users and for tokens there were
//! - `provider FAULT`: what the identity provider of the connection `gitlab` answers from now on: `refuse` the client,
//!   `limit` with 429, `fail` with 503, or `clear`
//! - `limit next SECONDS`: the next question for a user is answered with 429 and this `Retry-After`
//! - `management calls`: prints the calls of the Management API since the last time, as a line of JSON
//! - `api NAME calls`: prints the requests for a provider's API since the last time, as a line of JSON
//! - `api NAME answer JSON`: the answer of its next request, as in `{"status": 403, "headers": {}, "body": "…"}`
//!
//! Files, of which those with secrets have the mode 0600:
//!
//! - `domain`, and `env`, which a shell or a unit can read; `ca.pem`, the authority of all certificates
//! - `client_secret`; `client.pem` and `client_key.pem` for authentication with a certificate
//! - `calls_secret` of the application `demo-calls`, which may read and change users, but not read their tokens
//! - `token_endpoint` and `connection_secret` for the connection `gitlab`, whose client id is `demo-connection`
//! - `google_api`, `microsoft_api` and `github_api`: the hosts of simulated APIs, which know the tokens of the users

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    reason = "a test's helper stops at the first surprise, and talks to a shell"
)]

mod provider_apis;

use std::fs;
use std::io::BufRead;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cloakroom::clock::Clock;
use cloakroom::fake_auth0::provider::{
    Breakdown, Dialect, FakeProvider, ProviderFault, ProviderOptions, Refused,
};
use cloakroom::fake_auth0::users::GOOGLE;
use cloakroom::fake_auth0::{
    Call, CertificateKind, ClientCertificateKind, Endpoint, Fault, Tenant, TenantOptions, WaitHint,
};
use cloakroom::secret::Secret;
use serde_json::{Value, json};

use provider_apis::ProviderApis;

fn main() {
    let directory = PathBuf::from(std::env::args_os().nth(1).expect("usage: tenant DIRECTORY"));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let tenant = Tenant::new(Clock::system(), TenantOptions::default()).unwrap();
    // Until the end: a port that refused listens anew.
    let _guard = runtime.enter();
    let listening = tenant.listen(CertificateKind::Good).unwrap();
    write(&directory, "ca.pem", listening.ca_pem(), 0o644);
    write(&directory, "client_secret", TenantOptions::default().client_secret.expose(), 0o600);
    let calls_secret = "demo-calls-secret";
    tenant.register_application("demo-calls", Secret::new(calls_secret), &["read:users", "update:users"]);
    write(&directory, "calls_secret", calls_secret, 0o600);
    let _mtls = tenant.listen_mtls().unwrap();
    let certificate = tenant.issue_client_certificate(ClientCertificateKind::Good, None).unwrap();
    write(&directory, "client.pem", &certificate.certificate_pem, 0o644);
    write(&directory, "client_key.pem", certificate.key_pem.expose(), 0o600);
    let env = format!(
        "CLOAKROOM_TENANT__DOMAIN={}\nCLOAKROOM_TENANT__AUDIENCE={}\nCLOAKROOM_TENANT__CLIENT__ID={}\n",
        listening.domain(),
        tenant.audience(),
        TenantOptions::default().client_id
    );
    write(&directory, "env", &env, 0o644);
    let provider = FakeProvider::beside(&tenant, ProviderOptions::of(Dialect::Gitlab));
    provider.adopt(&tenant, "gitlab");
    let provider_listens = provider.listen(CertificateKind::Good).unwrap();
    let token_endpoint = format!("https://{}{}", provider_listens.domain(), Dialect::Gitlab.path());
    write(&directory, "token_endpoint", &token_endpoint, 0o644);
    write(&directory, "connection_secret", provider.client().1.expose(), 0o600);
    let apis = ProviderApis::listen(&tenant);
    for (name, host) in apis.hosts() {
        write(&directory, &format!("{name}_api"), host, 0o644);
    }
    // Last: whoever waits for it finds the others.
    write(&directory, "domain", listening.domain(), 0o644);

    let mut secrets = 1;
    for order in std::io::stdin().lock().lines().map(Result::unwrap) {
        match order.split_whitespace().collect::<Vec<_>>()[..] {
            ["latency", milliseconds] => {
                tenant.clear(Endpoint::User);
                let latency = Duration::from_millis(milliseconds.parse().unwrap());
                tenant.fault(Endpoint::User, Fault::Latency(latency));
            }
            ["refuse"] => tenant.fault(Endpoint::User, Fault::RefuseConnections),
            ["limit"] => tenant.fault(Endpoint::User, Fault::RateLimited(WaitHint::Seconds(60))),
            ["limit", "next", seconds] => {
                let wait = WaitHint::Seconds(seconds.parse().unwrap());
                tenant.fault_next(Endpoint::User, 1, Fault::RateLimited(wait));
            }
            ["management", "calls"] => {
                let mut calls = tenant.calls();
                calls.retain(|call| [Endpoint::User, Endpoint::ManagementApi].contains(&call.endpoint));
                println!("{}", Value::from_iter(calls.iter().map(in_json)));
                tenant.forget_calls();
            }
            ["clear"] => tenant.clear_all(),
            ["rotate"] => {
                secrets += 1;
                let secret = format!("demo-client-secret-{secrets}");
                tenant.rotate_client_secret(Secret::new(secret.clone()));
                write(&directory, "client_secret", &secret, 0o600);
            }
            ["lifetime", seconds] => tenant.set_token_lifetime(Duration::from_secs(seconds.parse().unwrap())),
            ["users", count, bytes] => {
                for number in 0..count.parse::<u64>().unwrap() {
                    let mut user = tenant.user(GOOGLE).unwrap();
                    user["user_id"] = format!("google-oauth2|{number}").into();
                    let identity = &mut user["identities"][0];
                    identity["user_id"] = number.to_string().into();
                    let length = bytes.parse().unwrap();
                    identity["access_token"] = format!("{:x<length$}", format!("ya29.demo-{number}-")).into();
                    assert!(tenant.put_user(user));
                }
            }
            ["calls"] => {
                let of = |endpoint| tenant.calls_to(endpoint).len();
                println!("users {} tokens {}", of(Endpoint::User), of(Endpoint::Token));
            }
            ["api", name, "calls"] => println!("{}", apis.take_calls(name)),
            ["api", name, "answer", ..] => apis.answer_next(name, order.splitn(4, ' ').last().unwrap()),
            ["provider", fault] => {
                provider.clear();
                match fault {
                    "refuse" => provider.fault(ProviderFault::Refused(Refused::InvalidClient)),
                    "limit" => {
                        let limited = Breakdown::Status(429, WaitHint::Seconds(1));
                        provider.fault(ProviderFault::Before(limited));
                    }
                    "fail" => provider.fault(ProviderFault::Before(Breakdown::Status(503, WaitHint::None))),
                    "clear" => {}
                    _ => panic!("no such fault: {fault}"),
                }
            }
            _ => panic!("no such order: {order}"),
        }
    }
}

fn in_json(call: &Call) -> Value {
    let status = call.status.map(|status| status.as_u16());
    json!({ "method": call.method.as_str(), "path": call.path, "client": call.client_id, "status": status })
}

/// Writes a file whole, or not at all.
fn write(directory: &Path, name: &str, content: &str, mode: u32) {
    let (new, path) = (directory.join(format!(".{name}")), directory.join(name));
    fs::write(&new, content).unwrap();
    fs::set_permissions(&new, fs::Permissions::from_mode(mode)).unwrap();
    fs::rename(&new, &path).unwrap();
}
