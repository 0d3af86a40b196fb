//! One uid takes every connection that it is given, and descriptors are left for the rest.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use cloakroom::fake_auth0::users;

use crate::alone;
use crate::stage::{ABUSER, ROLE};
use crate::support::caller::{Caller, token_path};
use crate::support::deployment::Deployment;
use crate::support::process::{PROGRAM, copy_program, is_root};

/// Holds as many connections as it is let, until it is dropped.
struct Greedy(Child);

impl Greedy {
    fn start(deployment: &Deployment) -> Self {
        let directory = deployment.directory.path();
        for place in [directory, &directory.join("run")] {
            fs::set_permissions(place, PermissionsExt::from_mode(0o755)).unwrap();
        }
        copy_program(std::env::current_exe().unwrap(), directory.join("caller"));
        let mut child = Command::new(directory.join("caller"))
            .args(["--exact", "stage::a_caller_under_another_uid", "--nocapture", "--quiet"])
            .env_clear()
            .env(ROLE, "connections 1200")
            .current_dir(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .uid(ABUSER)
            .gid(ABUSER)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().starts_with("! ")), "the caller ended");
        Self(child)
    }
}

impl Drop for Greedy {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn probe(port: u16) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok();
    answer
}

/// Two listeners of the default size, and fewer descriptors than their connections may take. One uid takes what it is
/// given; everything that the daemon itself opens is still to be had.
#[test]
fn connections_leave_descriptors_for_auth0_files_and_probes() {
    if !is_root() {
        return;
    }
    let _alone = alone();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let deployment = Deployment::new(&format!(
        "[admin]\naddress = \"127.0.0.1:{port}\"\n\
         [[listener]]\npath = \"{{dir}}/run/api.sock\"\nmode = \"0666\"\n\
         [[listener.allow]]\nuid = {ABUSER}\n[[listener.allow]]\nuid = 0\n\
         [[listener]]\npath = \"{{dir}}/run/second.sock\"\n"
    ));
    // Both limits, so that raising the soft one is no way out.
    let mut daemon = deployment.start_limited("-n 256");
    let greedy = Greedy::start(&deployment);
    daemon.until("it has what it is given", |daemon| {
        ["its uid has too many", "No connection can be accepted"]
            .iter()
            .any(|text| daemon.log().contains(text))
    });
    let log = daemon.log();
    assert!(log.contains("LimitNOFILE") && log.contains("256"), "the start says that they do not fit: {log}");

    // Each new to the daemon, and a Management token that is refused, which has to be renewed.
    deployment.tenant.revoke_management_tokens();
    for user in [users::GOOGLE, users::GITHUB, users::JOHN, users::SLASH] {
        let heard = Caller::new(&daemon.socket).get(&token_path(user));
        assert_eq!((heard.status, heard.code()), (200, ""), "{user}: {}", heard.body);
    }
    let (exit, _, err) = daemon.run(&["reload"]);
    assert_eq!((exit, err.as_str()), (0, ""));
    assert!(probe(port).starts_with("HTTP/1.1 200 "));
    assert!(!daemon.log().contains("No connection can be accepted"), "{}", daemon.log());
    drop(greedy);

    let (_, out, _) = crate::support::process::finish(
        Command::new("sh")
            .args(["-c", "ulimit -n 256 && exec \"$0\" check --config \"$1\""])
            .args([Path::new(PROGRAM), &deployment.config()])
            .env_clear()
            .output()
            .unwrap(),
    );
    assert!(out.contains("warning: ") && out.contains("LimitNOFILE"), "`check` says the same: {out}");
}
