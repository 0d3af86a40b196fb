//! `cloakroom demo`, as a newcomer tries it.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::command::run;
use crate::support::deployment::Deployment;
use crate::support::process::cloakroom;
use crate::support::required::everything_is_required;

/// What somebody with nothing but a checkout sees.
#[test]
fn the_demo_shows_a_cached_token_and_a_renewed_one_and_ends() {
    let (exit, out, err) = run(&["demo", "--once"]);
    assert_eq!((exit, err.as_str()), (0, ""), "{out}");
    let (valid, expired) = out.split_once("expired in 2017").unwrap_or_else(|| panic!("{out}"));
    for (part, calls, source) in [
        (valid, "1 upstream call, 0 provider calls,", "identities"),
        (expired, "1 upstream call, 1 provider call,", "refresh"),
    ] {
        let find = |what: &str| {
            part.lines().find(|line| line.contains(what)).unwrap_or_else(|| panic!("{what}: {out}"))
        };
        assert!(find("cold lookup").contains(calls), "{out}");
        assert!(find("warm lookup").contains(" 0 upstream calls, 0 provider calls,"), "{out}");
        assert!(find("access_token").contains("ya29."), "{out}");
        assert!(find("  source ").ends_with(source), "{out}");
    }
    assert!(!expired.contains("ya29.demo-expired"), "the expired token is not served: {out}");
}

/// What a shell exits with where there is no such program.
const NOT_FOUND: i32 = 127;

/// The six commands that the demo prints work as they are printed.
#[test]
fn the_demos_commands_can_be_pasted() {
    let mut demo = cloakroom(&["demo"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines().map(Result::unwrap);
    let commands: Vec<String> = lines
        .by_ref()
        .take_while(|line| !line.starts_with("Ctrl-C"))
        .filter(|line| line.starts_with("  /") || line.starts_with("  '/") || line.starts_with("  curl "))
        .map(|line| line.trim().to_owned())
        .collect();
    assert_eq!(commands.len(), 6, "{commands:?}");
    for command in &commands {
        let output = std::process::Command::new("sh").args(["-c", command]).output().unwrap();
        if output.status.code() == Some(NOT_FOUND)
            && command.starts_with("curl ")
            && !everything_is_required()
        {
            eprintln!("skipped: there is no curl");
            continue;
        }
        assert!(output.status.success(), "{command}: {output:?}");
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(!said.is_empty() && !said.contains("problem"), "{command}: {said}");
        let is_call = command.contains("/proxy/") || command.contains("/api/v2/");
        assert_eq!(said.contains("cloakroom-upstream: 1"), is_call, "{command}: {said}");
        assert!(
            !is_call || (said.starts_with("HTTP/1.1 200 ") && !said.contains("ya29.")),
            "{command}: {said}"
        );
    }
    kill(Pid::from_raw(demo.id() as i32), Signal::SIGINT).unwrap();
    assert_eq!(demo.wait().unwrap().code(), Some(0));
}

/// `demo` has no `listener.path` to change, so the text names none.
#[test]
fn a_demo_on_a_socket_in_use_says_what_helps() {
    let deployment = Deployment::new("");
    let daemon = deployment.start();
    let (exit, _, why) = run(&["demo", "--once", "--socket", daemon.socket.to_str().unwrap()]);
    assert_eq!(exit, 1);
    assert!(why.contains("stop it, or choose another path") && !why.contains("listener"), "{why}");
    assert_eq!(daemon.run(&["healthcheck"]).0, 0);
}
