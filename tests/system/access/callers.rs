//! A daemon with listeners that every uid can connect to, and clients under any uid and gid.
//!
//! Clients are Perl, which every Debian has: the test's own process cannot take another uid for a while, and its files
//! need not be reachable by others.

use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use cloakroom::domain::user::UserId;
use cloakroom::fake_auth0::users;
use serde_json::Value;

use crate::support::deployment::Deployment;
use crate::support::process::{Daemon, PROGRAM, cloakroom, copy_program, finish};

/// Effective uid and gid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Who(pub u32, pub u32);

pub const ROOT: Who = Who(0, 0);
/// A daemon that is not root, and whoever else has its uid.
pub const OWN: Who = Who(4321, 4321);

/// Reads requests, which end in a zero byte each; sends each on a connection of its own and prints what comes back.
const CALLER: &str = r#"
    use Socket;
    $SIG{PIPE} = "IGNORE";
    local $/;
    for my $request (split /\0/, <STDIN>) {
        socket(my $stream, AF_UNIX, SOCK_STREAM, 0) or die "socket: $!";
        connect($stream, sockaddr_un($ARGV[0])) or die "connect: $!";
        syswrite($stream, $request);
        print <$stream>, "\0";
    }
"#;

/// A request.
#[derive(Clone, Debug)]
pub struct Ask {
    pub method: &'static str,
    pub path: String,
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
}

impl Ask {
    /// Marked as ours, without a body.
    pub fn new(method: &'static str, path: impl Into<String>) -> Self {
        let headers = vec![("Cloakroom-Request", "true".to_owned())];
        Self { method, path: path.into(), headers, body: String::new() }
    }

    pub fn get(path: impl Into<String>) -> Self {
        Self::new("GET", path)
    }

    /// A token lookup.
    pub fn token(user: &str) -> Self {
        Self::get(format!("{}/token", path_of(user)))
    }

    /// A lookup of identities.
    pub fn identities(user: &str) -> Self {
        Self::get(format!("{}/identities", path_of(user)))
    }

    pub fn with_body(self, body: &str) -> Self {
        Self { body: body.to_owned(), ..self }
    }

    /// With these alone.
    pub fn with_headers(self, headers: &[(&'static str, &str)]) -> Self {
        Self { headers: headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect(), ..self }
    }

    /// With a user's own token besides what it has.
    pub fn bearing(self, token: &str) -> Self {
        let mut headers = self.headers;
        headers.retain(|(name, _)| *name != "Authorization");
        headers.push(("Authorization", format!("Bearer {token}")));
        Self { headers, ..self }
    }

    /// As it goes over the socket.
    pub fn bytes(&self) -> String {
        let headers: String =
            self.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let (method, path, body) = (self.method, &self.path, &self.body);
        let length = body.len();
        format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\n{headers}content-length: {length}\r\n\
             connection: close\r\n\r\n{body}"
        )
    }
}

/// The path of a user.
pub fn path_of(user: &str) -> String {
    format!("/v1/users/{}", UserId::parse(user).unwrap().to_path_segment())
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Heard {
    pub status: u16,
    head: String,
    pub body: Value,
}

impl Heard {
    fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
        let status = head[9..12].parse().unwrap();
        Self { status, head: head.to_owned(), body: serde_json::from_str(body).unwrap_or(Value::Null) }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// Status and code.
    pub fn problem(&self) -> (u16, &str) {
        (self.status, self.text("code"))
    }

    pub fn detail(&self) -> &str {
        self.text("detail")
    }

    pub fn token(&self) -> &str {
        self.text("access_token")
    }

    fn text(&self, member: &str) -> &str {
        self.body[member].as_str().unwrap_or_default()
    }

    /// Everything that it tells, but for what is different every time.
    pub fn told(&self) -> (String, Value) {
        let lines = self.head.lines().filter(|line| {
            let name = line.split(':').next().unwrap_or_default().to_ascii_lowercase();
            name != "cloakroom-request-id" && name != "date" && name != "content-length"
        });
        let mut body = self.body.clone();
        if let Some(members) = body.as_object_mut() {
            members.remove("request_id");
        }
        (lines.collect::<Vec<_>>().join("\n"), body)
    }
}

/// A daemon, its tenant, and a directory that everybody may look into.
pub struct House {
    pub deployment: Deployment,
    pub daemon: Daemon,
}

impl House {
    /// The daemon runs as `who`. `{dir}/a.sock` has to be among the listeners.
    pub fn open(who: Who, listeners: &str) -> Self {
        Self::open_in(who, &[], listeners)
    }

    /// The same behind a command that leads somewhere else, such as `unshare`.
    pub fn open_in(who: Who, within: &[&str], listeners: &str) -> Self {
        let deployment = Deployment::new(listeners);
        let directory = deployment.directory.path();
        std::fs::set_permissions(directory, PermissionsExt::from_mode(0o755)).unwrap();
        let path = |name: &str| directory.join(name);
        copy_program(PROGRAM, path("cloakroom"));
        for name in ["", "secret", "ca.pem", "cloakroom.toml"] {
            chown(path(name), Some(who.0), Some(who.1)).unwrap();
        }
        let mut words = within.iter().map(PathBuf::from).chain([path("cloakroom")]);
        let mut command = Command::new(words.next().unwrap());
        command.args(words).args(["serve", "--config"]).arg(path("cloakroom.toml"));
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .uid(who.0)
            .gid(who.1);
        let socket = path("a.sock");
        let mut daemon = Daemon::launch(command, &deployment.config(), &socket);
        daemon.until("there is a Management token", |daemon| {
            let mut probe = cloakroom(&["healthcheck"]);
            finish(probe.env("CLOAKROOM_SOCKET", &daemon.socket).output().unwrap()).0 == 0
        });
        Self { deployment, daemon }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.deployment.directory.path().join(name)
    }

    /// Asks on the listener called `listener` as `who`, one request after the other.
    pub fn ask(&self, who: Who, listener: &str, requests: &[Ask]) -> Vec<Heard> {
        let mut command = perl(CALLER, &self.path(listener));
        command.uid(who.0).gid(who.1);
        converse(command, requests)
    }

    pub fn ask_one(&self, who: Who, listener: &str, request: &Ask) -> Heard {
        self.ask(who, listener, std::slice::from_ref(request)).remove(0)
    }

    /// The same as whoever `within` makes of `who`.
    pub fn ask_within(&self, who: Who, within: &[&str], listener: &str, request: &Ask) -> Heard {
        let mut command = Command::new(within[0]);
        command.args(&within[1..]).args(["perl", "-e", CALLER]).arg(self.path(listener));
        command.env_clear().env("PATH", "/usr/bin:/bin").uid(who.0).gid(who.1);
        converse(command, std::slice::from_ref(request)).remove(0)
    }

    /// How often the tenant was asked for anything.
    pub fn calls(&self) -> usize {
        self.deployment.tenant.calls().len()
    }
}

/// A lookup by a user's own token, which the tenant issued for the audience `api`.
pub fn by_own_token(house: &House, user: &str, path: &str) -> Ask {
    let token = house.deployment.tenant.user_token(user, "api", Duration::from_secs(600)).unwrap();
    Ask::get(path).bearing(&token)
}

/// A token that the tenant has for a user, by the place of its identity.
pub fn token_of(house: &House, user: &str, place: usize) -> String {
    let user = house.deployment.tenant.user(user).unwrap();
    user["identities"][place]["access_token"].as_str().unwrap().to_owned()
}

/// Google's and GitHub's, in this order.
pub fn linked_tokens(house: &House) -> [String; 2] {
    [0, 1].map(|place| token_of(house, users::LINKED, place))
}

/// A program for the socket at `socket`.
pub fn perl(program: &str, socket: &Path) -> Command {
    let mut command = Command::new("/usr/bin/perl");
    command.args(["-e", program]).arg(socket).env_clear();
    command
}

/// Gives `command` the requests, and takes the answers.
pub fn converse(mut command: Command, requests: &[Ask]) -> Vec<Heard> {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    for request in requests {
        write!(input, "{}\0", request.bytes()).unwrap();
    }
    drop(input);
    let (exit, out, err) = finish(child.wait_with_output().unwrap());
    assert_eq!((exit, err.as_str()), (0, ""), "{command:?}");
    let heard: Vec<_> = out.split_terminator('\0').map(Heard::parse).collect();
    assert_eq!(heard.len(), requests.len(), "{out}");
    heard
}
