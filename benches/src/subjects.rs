//! What cloakroom is compared with, set up so that each answers the same: 500 bytes over a Unix socket, for a user whom
//! it has in memory.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use cloakroom::clock::Clock;
use cloakroom::fake_auth0::api::{ApiOptions, FakeApi};
use cloakroom::fake_auth0::{CertificateKind, Listening, Tenant, TenantOptions};
use serde_json::json;

use crate::load::{self, Answers, Protocol};
use crate::many;
use crate::proxied::Provider;
use crate::subject::{Subject, Way};

/// Bytes of an answer's body.
pub const BODY: usize = 500;

/// The user who is asked for.
const USER: &str = "google-oauth2|103547991597142817347";

/// What became of many lookups at the same time.
pub struct Crowd {
    pub callers: usize,
    /// Until the last one had its answer.
    pub took: Duration,
    /// How many were answered so.
    pub statuses: BTreeMap<u16, usize>,
    /// Requests to Auth0.
    pub asked: usize,
    /// Bytes of the daemon afterwards.
    pub resident: u64,
}

/// More than anybody here asks for, so that the daemon's own work is measured and not how it keeps to a budget.
const BUDGET: &str = "[upstream]\nrequests_per_second = 5000\nburst = 10000\nmax_concurrency = 100\n";

/// A directory with everybody's files, and a tenant in this process.
pub struct Ground {
    pub directory: tempfile::TempDir,
    pub cloakroom: PathBuf,
    way: Way,
    tenant: Tenant,
    listening: Listening,
    _runtime: tokio::runtime::Runtime,
}

impl Ground {
    /// `cloakroom` is the release binary.
    pub fn new(cloakroom: &Path) -> Self {
        Self::prepare(cloakroom, Way::AsItIs)
    }

    /// The same for servers whose instructions are counted.
    pub fn counting(cloakroom: &Path) -> Self {
        Self::prepare(cloakroom, Way::Counted)
    }

    fn prepare(cloakroom: &Path, way: Way) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let tenant = Tenant::new(Clock::system(), TenantOptions::default()).unwrap();
        let guard = runtime.enter();
        let listening = tenant.listen(CertificateKind::Good).unwrap();
        drop(guard);
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("ca.pem"), listening.ca_pem()).unwrap();
        let secret = directory.path().join("secret");
        fs::write(&secret, "demo-client-secret").unwrap();
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
        Self { directory, cloakroom: cloakroom.to_owned(), way, tenant, listening, _runtime: runtime }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A user whose token makes the answer as long as it has to be; `more` bytes longer than a short one.
    fn put_user(&self, more: usize) {
        let now = Clock::system().now().wall;
        let user = json!({
            "user_id": USER, "last_login": now.to_string(),
            "identities": [{
                "provider": "google-oauth2", "connection": "google-oauth2", "user_id": "103547991597142817347",
                "isSocial": true, "access_token": format!("ya29.{}", "x".repeat(more)), "expires_in": 86_000,
            }],
        });
        assert!(self.tenant.put_user(user));
    }

    /// A daemon that is not started yet, and its socket.
    pub fn command(&self, name: &str) -> (PathBuf, std::process::Command) {
        let (socket, config) = self.configure(name, "events = \"notable\"", "");
        let mut command = std::process::Command::new(&self.cloakroom);
        command.args(["serve", "--config", config.to_str().unwrap()]).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        (socket, command)
    }

    fn configure(&self, name: &str, audit: &str, more: &str) -> (PathBuf, PathBuf) {
        let name: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
        let (socket, config) = (self.path(&format!("{name}.sock")), self.path(&format!("{name}.toml")));
        let uid = nix::unistd::geteuid();
        let text = format!(
            "[tenant]\ndomain = {:?}\naudience = {:?}\nca_file = {:?}\n[tenant.client]\nid = \"demo-client\"\n\
             secret_file = {:?}\n[audit]\n{audit}\n[[listener]]\npath = {socket:?}\nmax_connections = 20000\n\
             [[listener.allow]]\nuid = {uid}\n{more}",
            self.listening.domain(),
            self.tenant.audience(),
            self.ca(),
            self.path("secret"),
        );
        fs::write(&config, text).unwrap();
        (socket, config)
    }

    /// How many microseconds a lookup of somebody who is not remembered takes beyond what Auth0 takes to answer: what a
    /// caller waits for, less what the daemon says of its requests. Over real TLS, one after the other.
    pub fn miss_overhead(&self) -> f64 {
        let (socket, config) = self.configure("miss", "events = \"notable\"", BUDGET);
        let users = 2_000;
        (0..users).for_each(|number| self.put_short_user(&many::user(number)));
        let requests = (0..users).map(|number| request_for(&many::user(number))).collect();
        let protocol = Protocol { requests, answers: Answers::Http(200) };
        let arguments = ["serve", "--config", config.to_str().unwrap()];
        let subject = Subject::start("miss", socket, protocol, self.way, &self.cloakroom, &arguments);
        self.run(&subject, &["wait"]);
        let outcome = load::run_times(&subject.socket, &subject.protocol, users);
        let (sum, count) = self.upstream_requests(&subject);
        // Means, since the daemon tells no more of its own.
        outcome.latencies.mean() / 1e3 - sum / count * 1e6
    }

    /// What becomes of as many lookups as these users, all asked at the same time by callers of their own, of a daemon
    /// that has heard of none of them.
    pub fn crowd(&self, users: &[String]) -> Crowd {
        let (socket, config) = self.configure("crowd", "events = \"notable\"", BUDGET);
        users.iter().for_each(|user| self.put_short_user(user));
        let arguments = ["serve", "--config", config.to_str().unwrap()];
        let subject = Subject::start("crowd", socket, http(), self.way, &self.cloakroom, &arguments);
        self.run(&subject, &["wait"]);
        let requests: Vec<_> = users.iter().map(|user| request_for(user)).collect();
        let (took, statuses) = load::crowd(&subject.socket, &requests);
        let asked = self.upstream_requests(&subject).1 as usize;
        Crowd { callers: users.len(), took, statuses, asked, resident: subject.resident() }
    }

    fn put_short_user(&self, id: &str) {
        let (provider, own) = id.split_once('|').unwrap();
        let login = Clock::system().now().wall.to_string();
        let user = json!({"user_id": id, "last_login": login, "identities": [{
            "provider": provider, "connection": provider, "user_id": own, "isSocial": true,
            "access_token": "ya29.x", "expires_in": 86_000}]});
        assert!(self.tenant.put_user(user));
    }

    /// Seconds that the daemon's requests for users took together, and how many there were.
    fn upstream_requests(&self, subject: &Subject) -> (f64, f64) {
        let metrics = String::from_utf8(self.get(subject, "/metrics")).unwrap();
        let number = |what: &str| -> f64 {
            let name = format!("cloakroom_upstream_request_duration_seconds_{what}{{endpoint=\"user\"}}");
            let line = metrics.lines().find_map(|line| line.strip_prefix(&name)).unwrap();
            line.trim().parse().unwrap()
        };
        (number("sum"), number("count"))
    }

    fn get(&self, subject: &Subject, path: &str) -> Vec<u8> {
        let output = std::process::Command::new("curl")
            .args(["-s", "-H", "Cloakroom-Request: true", "--unix-socket"])
            .arg(&subject.socket)
            .arg(format!("http://x{path}"))
            .output()
            .unwrap();
        output.stdout
    }

    /// The daemon as it is used: a rule, the request header, and the audit log as `audit` says.
    pub fn cloakroom(&self, name: &'static str, audit: &str) -> Subject {
        self.daemon(name, audit, "")
    }

    /// The daemon with a rule for calls of this API, and the GET of it as its request.
    pub fn proxying(&self, provider: &Provider) -> Subject {
        let more = format!(
            "operations = [\"token\", \"proxy\"]\ncalls = [\"GET api/**\"]\n[providers]\nca_file = {:?}\n\
             [[proxy]]\nconnection = \"google-oauth2\"\nname = \"api\"\nurl = \"https://{}\"\nallow_private = true\n",
            self.ca(),
            provider.listening.domain()
        );
        let mut subject = self.daemon("cloakroom, proxied", "events = \"notable\"", &more);
        let user = USER.replace('|', "%7C");
        let path = format!("/v1/users/{user}/proxy/google-oauth2/api{}", Provider::target());
        subject.protocol.requests = vec![request_to(&path)];
        subject
    }

    /// Serves a provider's API that takes any token. Has to be called in a runtime.
    pub fn listen_as_provider(&self) -> Listening {
        let options = ApiOptions { accepts_any: true, ..ApiOptions::default() };
        FakeApi::beside(&self.tenant, options).listen(CertificateKind::Good).unwrap()
    }

    /// The certificate of the authority that all simulated servers share.
    pub fn ca(&self) -> PathBuf {
        self.path("ca.pem")
    }

    /// The token of the user who is asked for.
    pub fn token(&self) -> String {
        let user = self.tenant.user(USER).unwrap();
        user["identities"][0]["access_token"].as_str().unwrap().to_owned()
    }

    /// The daemon with `more` in its configuration, with the user in its cache.
    fn daemon(&self, name: &'static str, audit: &str, more: &str) -> Subject {
        let (socket, config) = self.configure(name, audit, more);
        let path = path_of(USER);
        self.put_user(100);
        let arguments = ["serve", "--config", config.to_str().unwrap()];
        let subject = Subject::start(name, socket, http(), self.way, &self.cloakroom, &arguments);
        let short = self.body_of(&subject, &path);
        self.put_user(100 + BODY - short);
        self.run(&subject, &["purge", "--all"]);
        assert_eq!(self.body_of(&subject, &path), BODY);
        subject
    }

    fn run(&self, subject: &Subject, arguments: &[&str]) -> Vec<u8> {
        let output = std::process::Command::new(&self.cloakroom)
            .args(arguments)
            .env("CLOAKROOM_SOCKET", &subject.socket)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        output.stdout
    }

    fn body_of(&self, subject: &Subject, path: &str) -> usize {
        self.run(subject, &["wait"]);
        self.get(subject, path).len()
    }

    /// hyper and nothing else.
    pub fn bare_hyper(&self) -> Subject {
        let socket = self.path("hyper.sock");
        let own = std::env::current_exe().unwrap();
        let arguments = ["bare-hyper", socket.to_str().unwrap(), "500"];
        Subject::start("bare hyper", socket.clone(), http(), self.way, &own, &arguments)
    }

    /// nginx with an answer that is written into its configuration.
    pub fn nginx_return(&self) -> Subject {
        let body = "x".repeat(BODY);
        self.nginx(
            "nginx return",
            &format!("location / {{ default_type application/json; return 200 {body}; }}"),
            "",
        )
    }

    /// nginx with a cache before something that is asked once.
    pub fn nginx_cache(&self) -> Subject {
        let (cache, origin) = (self.path("cache"), self.path("origin.sock"));
        let body = "x".repeat(BODY);
        let outside = format!(
            "proxy_cache_path {} keys_zone=tokens:1m;\n server {{ listen unix:{}; location / {{ return 200 {body}; }} }}",
            cache.display(),
            origin.display()
        );
        let inside = format!(
            "location / {{ proxy_pass http://unix:{}:; proxy_cache tokens; proxy_cache_valid 200 1h; }}",
            origin.display()
        );
        self.nginx("nginx proxy_cache", &inside, &outside)
    }

    fn nginx(&self, name: &'static str, inside: &str, outside: &str) -> Subject {
        let file = |what: &str| self.path(&format!("{}.{what}", name.replace(' ', "-")));
        let (socket, config) = (file("sock"), file("conf"));
        let text = format!(
            "daemon off; worker_processes 1; pid {}; error_log /dev/null crit; user root;\n\
             events {{ worker_connections 2048; }}\n\
             http {{ access_log off; keepalive_requests 1000000000; keepalive_timeout 1h;\n\
             client_body_temp_path {0}.body; proxy_temp_path {0}.proxy; fastcgi_temp_path {0}.f; uwsgi_temp_path {0}.u;\n\
             scgi_temp_path {0}.s;\n {outside}\n server {{ listen unix:{}; {inside} }} }}",
            file("pid").display(),
            socket.display()
        );
        fs::write(&config, text).unwrap();
        let arguments = ["-c", config.to_str().unwrap()];
        Subject::start(name, socket, http(), self.way, Path::new("/usr/sbin/nginx"), &arguments)
    }

    /// Redis with one key.
    pub fn redis(&self) -> Subject {
        let socket = self.path("redis.sock");
        let request = b"*2\r\n$3\r\nGET\r\n$4\r\nuser\r\n".to_vec();
        let protocol = Protocol { requests: vec![request], answers: Answers::Redis };
        let arguments =
            ["--port", "0", "--unixsocket", socket.to_str().unwrap(), "--save", "", "--appendonly", "no"];
        let subject = Subject::start(
            "redis GET",
            socket.clone(),
            protocol,
            self.way,
            Path::new("/usr/bin/redis-server"),
            &arguments,
        );
        let set = std::process::Command::new("redis-cli")
            .arg("-s")
            .arg(&socket)
            .args(["SET", "user", &"x".repeat(BODY)])
            .output()
            .unwrap();
        assert!(set.status.success());
        subject
    }
}

/// The same request for everybody who speaks HTTP: to read it is a part of the work.
fn http() -> Protocol {
    Protocol { requests: vec![request_for(USER)], answers: Answers::Http(200) }
}

/// A lookup of `user`, as a caller writes it.
pub fn request_for(user: &str) -> Vec<u8> {
    request_to(&path_of(user))
}

/// A GET of `path`, as a caller writes it.
fn request_to(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: cloakroom\r\nCloakroom-Request: true\r\n\r\n").into_bytes()
}

fn path_of(user: &str) -> String {
    format!("/v1/users/{}/token", user.replace('|', "%7C"))
}
