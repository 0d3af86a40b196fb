//! Guarantee 6: the whole surface, good and bad, at TRACE, with a recognisable secret everywhere a secret can be. Then
//! everything that came out by another door than a token's route is searched for them.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cloakroom::fake_auth0::{CertificateKind, Endpoint, Fault, TenantOptions, WaitHint};
use cloakroom::secret::Secret;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::deployment::Deployment;
use crate::support::process::{Daemon, cloakroom, finish, is_root};

mod sources;

const CLIENT_SECRET: &str = "canary-client-secret-5f1c";
const TOKEN: &str = "canary-idp-token-9a3e";
const SECOND: &str = "canary-oauth1-second-77d0";
const REFRESH: &str = "canary-refresh-token-b82f";
const USERS_JWT: &str = "eyJhbGciOiJSUzI1NiJ9.Y2FuYXJ5LXVzZXJzLWp3dA.canary-users-jwt-e4c1";
const PASTED: &str = "canary-pasted-c06d";

const USER: &str = "google-oauth2|canary";
const OAUTH1: &str = "twitter|canary";

/// What may show nowhere, in the forms in which it travels.
fn canaries(management_tokens: &[String]) -> Vec<String> {
    let basic = STANDARD.encode(format!("demo-client:{CLIENT_SECRET}"));
    let plain = [CLIENT_SECRET, TOKEN, SECOND, REFRESH, USERS_JWT, PASTED].map(str::to_owned);
    plain.into_iter().chain([basic]).chain(management_tokens.iter().cloned()).collect()
}

/// Everything that came out, and by which door.
#[derive(Default)]
struct Found(Vec<(String, Vec<u8>)>);

impl Found {
    fn add(&mut self, door: impl Into<String>, bytes: impl Into<Vec<u8>>) {
        self.0.push((door.into(), bytes.into()));
    }

    fn hits(&self, canaries: &[String]) -> Vec<String> {
        let holds = |bytes: &[u8], canary: &str| {
            bytes.windows(canary.len()).any(|window| window == canary.as_bytes())
        };
        let all =
            self.0.iter().flat_map(|(door, bytes)| canaries.iter().map(move |canary| (door, bytes, canary)));
        all.filter(|(_, bytes, canary)| holds(bytes, canary))
            .map(|(door, _, canary)| format!("{canary} by {door}"))
            .collect()
    }
}

/// One request as it is written; whatever comes back until the daemon closes.
fn send(socket: &Path, request: &str) -> Vec<u8> {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    // A reset instead of an end is as good: what had to be said was said.
    stream.read_to_end(&mut answer).ok();
    answer
}

fn get(path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: x\r\ncloakroom-request: true\r\nconnection: close\r\n{headers}\r\n")
}

fn post(path: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\ncloakroom-request: true\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}

fn user(id: &str, tokens: Value) -> Value {
    let mut identity = json!({"connection": "c", "provider": "p", "user_id": "1", "refresh_token": REFRESH});
    identity.as_object_mut().unwrap().extend(tokens.as_object().unwrap().clone());
    json!({"user_id": id, "identities": [identity]})
}

/// The routes that hand tokens out do so, and these answers are the one place where a canary may be.
fn tokens_come_by_their_own_routes(socket: &Path) -> Vec<String> {
    let body = |answer: Vec<u8>| {
        let text = String::from_utf8(answer).unwrap();
        serde_json::from_str::<Value>(text.split_once("\r\n\r\n").unwrap().1).unwrap()
    };
    let held = body(send(socket, &get("/v1/users/google-oauth2%7Ccanary/token", "")));
    assert_eq!(held["access_token"], TOKEN, "{held}");
    let held = body(send(socket, &get("/v1/users/twitter%7Ccanary/token", "")));
    assert_eq!(held["access_token_secret"], SECOND, "{held}");
    let token = body(send(socket, &get("/v1/management-token", "")));
    vec![token["access_token"].as_str().unwrap().to_owned()]
}

/// Everything else that can be asked, right and wrong, with secrets where people put them by mistake.
fn exercise(socket: &Path, token: &str, found: &mut Found) {
    let of_user = "/v1/users/google-oauth2%7Ccanary";
    let requests = [
        get(&format!("{of_user}/identities"), ""),
        get("/v1/users/twitter%7Ccanary/identities", ""),
        get("/v1/status", ""),
        get("/metrics", ""),
        get("/livez", ""),
        get("/readyz", ""),
        get("/startupz", ""),
        get("/openapi.json", ""),
        // In a URL, as an id, as a parameter and its value, in headers that are refused and in those that are not.
        get(&format!("/v1/users/{PASTED}/token"), ""),
        get(&format!("/v1/users/{PASTED}"), ""),
        get(&format!("/{PASTED}"), ""),
        get(&format!("{of_user}/token?access_token={PASTED}"), ""),
        get(&format!("{of_user}/token?min_ttl={PASTED}"), ""),
        get(&format!("{of_user}/token?fresh={PASTED}"), ""),
        get(&format!("{of_user}/token%ZZ{PASTED}"), ""),
        get(&format!("/v1/users/%00{PASTED}/token"), ""),
        get("/v1/me/token", &format!("authorization: Bearer {USERS_JWT}\r\n")),
        get("/v1/me/identities", &format!("authorization: Basic {PASTED}\r\n")),
        get("/v1/status", &format!("authorization: Bearer {token}\r\n")),
        get("/v1/status", &format!("x-forwarded-for: {PASTED}\r\n")),
        get("/v1/status", &format!("forwarded: for={PASTED}\r\n")),
        get("/v1/status", &format!("origin: https://{PASTED}\r\n")),
        get("/v1/status", &format!("cookie: {PASTED}\r\nx-{PASTED}: {PASTED}\r\n")),
        get("/v1/status", &format!("x: {}\r\n", PASTED.repeat(2_000))),
        get("/v1/status", &format!("{PASTED}\r\n")),
        format!("({PASTED}) / HTTP/1.1\r\n\r\n"),
        format!("GET /v1/status HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx: {PASTED}\r\n\r\n"),
        post(&format!("{of_user}/report"), &format!("{{\"fingerprint\":\"{PASTED}\"}}")),
        post(&format!("{of_user}/report"), &format!("{{\"token\":\"{TOKEN}\"}}")),
        post(&format!("{of_user}/report"), PASTED),
        post(&format!("{of_user}/token"), PASTED),
        post("/v1/reload", PASTED),
    ];
    for (number, request) in requests.iter().enumerate() {
        let answer = send(socket, request);
        assert!(
            answer.starts_with(b"HTTP/1.1 "),
            "{number}: {request:.100} {:?}",
            String::from_utf8_lossy(&answer)
        );
        // A secret that a caller made a user's id of is that id; it may come back to whoever sent it.
        let own = [format!("/v1/users/{PASTED}/token"), format!("/v1/users/{PASTED}")];
        if !own.iter().any(|path| request.starts_with(&format!("GET {path} "))) {
            found.add(format!("the answer to request {number}"), answer);
        }
    }
}

/// What upstream does wrong, with bodies that hold secrets.
fn upset(deployment: &Deployment, socket: &Path, found: &mut Found) {
    let body = || {
        json!({"error": PASTED, "message": PASTED, "errorCode": PASTED, "access_token": PASTED}).to_string()
    };
    let status = |status| Fault::Status {
        status,
        headers: vec![("x-canary".into(), PASTED.into()), ("retry-after".into(), PASTED.into())],
        body: body(),
    };
    let faults = [
        status(400),
        status(403),
        status(404),
        status(200),
        status(302),
        status(500),
        Fault::Status { status: 200, headers: Vec::new(), body: format!("<html>{PASTED}") },
        Fault::Redirect(format!("https://{PASTED}.example/")),
        Fault::Truncate,
        Fault::ResetWhileReading,
        // After these two nothing is asked for a while.
        Fault::RateLimited(WaitHint::Seconds(1)),
        status(401),
    ];
    for (number, fault) in faults.into_iter().enumerate() {
        let asked = deployment.tenant.calls_to(Endpoint::User).len();
        if matches!(fault, Fault::Status { status: 401, .. }) {
            std::thread::sleep(Duration::from_millis(1_500));
        }
        deployment.tenant.fault_next(Endpoint::User, 3, fault);
        found.add(
            format!("fault {number}"),
            send(socket, &get(&format!("/v1/users/auth0%7C{number}/token"), "")),
        );
        deployment.tenant.clear_all();
        assert!(deployment.tenant.calls_to(Endpoint::User).len() > asked, "fault {number} was not met");
    }
}

/// The process's own files, as far as they tell of it.
fn proc_files(daemon: &Daemon, found: &mut Found) {
    // Its map of memory is root's alone.
    let files = ["cmdline", "status", "comm", "maps"];
    for file in &files[..if is_root() { 4 } else { 3 }] {
        found.add(
            format!("/proc/PID/{file}"),
            std::fs::read(format!("/proc/{}/{file}", daemon.pid())).unwrap(),
        );
    }
}

#[test]
fn no_secret_appears_in_any_output() {
    let options = TenantOptions { client_secret: Secret::new(CLIENT_SECRET), ..TenantOptions::default() };
    let uid = nix::unistd::geteuid();
    let settings = format!(
        "connect_timeout = \"500ms\"\nrequest_timeout = \"1s\"\n[log]\nlevel = \"trace\"\n\
         [audit]\nevents = \"all\"\noutput = \"{{dir}}/audit.log\"\n\
         [[listener]]\npath = \"{{dir}}/run/api.sock\"\nmode = \"0600\"\n\
         [[listener.allow]]\nuid = {uid}\n\
         operations = [\"token\", \"identities\", \"me\", \"report\", \"purge\", \"status\", \"management_token\"]\n"
    );
    let deployment = Deployment::with(options, &settings);
    std::fs::write(deployment.directory.path().join("secret"), CLIENT_SECRET).unwrap();
    assert!(deployment.tenant.put_user(user(USER, json!({"access_token": TOKEN}))));
    assert!(
        deployment
            .tenant
            .put_user(user(OAUTH1, json!({"access_token": TOKEN, "access_token_secret": SECOND})))
    );

    let mut found = Found::default();
    let mut daemon = deployment.start();
    let socket = daemon.socket.clone();
    let management_tokens = tokens_come_by_their_own_routes(&socket);
    exercise(&socket, &management_tokens[0], &mut found);
    upset(&deployment, &socket, &mut found);
    for args in
        [&["status"][..], &["identities", USER], &["healthcheck"], &["purge", USER], &["purge", "--all"]]
    {
        let (_, out, why) = daemon.run(args);
        found.add(format!("{args:?}"), out + &why);
    }
    proc_files(&daemon, &mut found);
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.wait().code(), Some(0));
    let log = daemon.log();
    assert!(log.contains("\"level\":\"TRACE\""), "it was exercised at TRACE");
    found.add("the log", log);
    let audit = std::fs::read_to_string(deployment.directory.path().join("audit.log")).unwrap();
    assert!(audit.lines().count() > 20, "{audit}");
    found.add("the audit log", audit);

    let canaries = canaries(&management_tokens);
    let hits = found.hits(&canaries);
    println!("{} outputs searched for {} canaries: {} hits", found.0.len(), canaries.len(), hits.len());
    assert!(hits.is_empty(), "{hits:#?}");
    // The search itself finds what is there.
    let mut planted = Found::default();
    planted.add("a planted one", format!("...{TOKEN}..."));
    assert_eq!(planted.hits(&canaries).len(), 1);
}

/// A secret as the value of a wrong key, in the wrong file, in a file that is none, in the environment's wrong variable.
/// Whoever makes it a key's name is told that there is no such key, by its name.
#[test]
fn a_secret_in_the_wrong_place_is_not_repeated() {
    let deployment = Deployment::new("");
    let directory = deployment.directory.path();
    let config = std::fs::read_to_string(deployment.config()).unwrap();
    let mut found = Found::default();
    let mut check = |name: &str, text: String, variables: &[(&str, &str)]| {
        let file = directory.join("wrong.toml");
        std::fs::write(&file, text).unwrap();
        for command in ["check", "serve"] {
            let mut command = cloakroom(&[command, "--config", file.to_str().unwrap()]);
            let (exit, out, why) = finish(command.envs(variables.iter().copied()).output().unwrap());
            assert_eq!(exit, 78, "{name}: {out}{why}");
            found.add(name, out + &why);
        }
    };
    let domain = config.lines().find(|line| line.starts_with("domain")).unwrap();
    check("as a domain", config.replace(domain, &format!("domain = \"{PASTED}/x\"")), &[]);
    check(
        "as a value without quotes",
        config.replace(domain, &format!("{domain}\naudience = {PASTED}")),
        &[],
    );
    check("as a file's name", config.replace("secret_file = \"", &format!("secret_file = \"{PASTED}")), &[]);
    check("in a variable that is none", config.clone(), &[("CLOAKROOM_TENANT__CLIENT__SECRTE", PASTED)]);
    check("beside the file", config.clone(), &[("CLOAKROOM_TENANT__CLIENT__SECRET", PASTED)]);
    check("as a number", config.clone(), &[("CLOAKROOM_RUNTIME__THREADS", PASTED)]);
    check(
        "as a rule",
        format!("{config}\n[[listener.allow]]\nuid = \"{PASTED}\"\noperations = [\"{PASTED}\"]"),
        &[],
    );
    std::fs::write(directory.join("secret"), format!("{PASTED}\n{PASTED}\n")).unwrap();
    check("twice in its file", config, &[]);
    let hits = found.hits(&[PASTED.to_owned()]);
    assert!(hits.is_empty(), "{hits:#?}");
}

/// At the handshake, in the proxy's address, and when the client is refused.
#[test]
fn trouble_on_the_way_to_the_tenant_repeats_no_secret() {
    let mut found = Found::default();
    for (name, kind, settings) in [
        (
            "a proxy's password",
            CertificateKind::Good,
            format!("proxy = \"http://user:{PASTED}@localhost:1\""),
        ),
        ("a wrong certificate", CertificateKind::WrongName, String::new()),
        ("a refused secret", CertificateKind::Good, String::new()),
    ] {
        let mut deployment = Deployment::new(&format!("{settings}\n[log]\nlevel = \"trace\"\n"));
        std::fs::write(deployment.directory.path().join("secret"), PASTED).unwrap();
        let guard = deployment.runtime.enter();
        let port = deployment.listening.take().unwrap().port();
        let listening = deployment.tenant.listen_on(port, kind);
        drop(guard);
        let _listening = listening.unwrap();
        let mut daemon = Daemon::start(&deployment.config(), &deployment.socket());
        daemon.until("it has failed", |daemon| daemon.log().contains("No Management token"));
        let (_, out, why) = daemon.run(&["token", USER]);
        found.add(name, out + &why);
        let (_, out, why) = daemon.run(&["status"]);
        found.add(name, out + &why);
        found.add(name, daemon.log());
    }
    let hits = found.hits(&canaries(&[]));
    assert!(hits.is_empty(), "{hits:#?}");
}
