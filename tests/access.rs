//! Who may ask: real callers under real uids, against the real binary.

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

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Stdio;

use cloakroom::clock::Clock;
use cloakroom::demo::{CertificateKind, Endpoint, Tenant, TenantOptions, users};
use support::process::{Daemon, cloakroom, finish, is_root};
use support::world::configuration;

/// On a socket that anybody may connect to, root and the daemon's own uid are answered, and nobody else is,
/// before anything is looked up.
#[test]
fn root_and_the_daemons_own_uid_are_answered_and_nobody_else() {
    if !is_root() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let _guard = runtime.enter();
    let tenant = Tenant::new(Clock::system(), TenantOptions::default()).unwrap();
    let listening = tenant.listen(CertificateKind::Good).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let open = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    };
    open(directory.path(), 0o755);
    let settings = "[[listener]]\npath = \"{dir}/api.sock\"\nmode = \"0666\"";
    let config = configuration(listening.domain(), &tenant, Some(listening.ca_pem()), &directory, settings);
    let file = directory.path().join("cloakroom.toml");
    std::fs::write(&file, config).unwrap();
    let socket = directory.path().join("api.sock");
    let binary = directory.path().join("cloakroom");
    std::fs::copy(env!("CARGO_BIN_EXE_cloakroom"), &binary).unwrap();
    let call = |uid: u32, args: &[&str]| {
        let mut command = std::process::Command::new(&binary);
        command.args(args).env_clear().env("CLOAKROOM_SOCKET", &socket).uid(uid).gid(uid);
        finish(command.output().unwrap())
    };

    let daemon = Daemon::start(&file, &socket);
    assert_eq!(daemon.run(&["wait"]).0, 0);
    assert_eq!(call(0, &["token", users::GOOGLE]).0, 0);
    let asked = tenant.calls_to(Endpoint::User).len();
    // 65534 is what the kernel says of a caller it cannot name here.
    for uid in [1000, 12_345, 65_534] {
        for args in
            [&["token", users::JOHN][..], &["identities", users::JOHN], &["purge", "--all"], &["status"]]
        {
            let (exit, out, why) = call(uid, args);
            assert_eq!((exit, out.as_str()), (5, ""), "{uid} {args:?}");
            assert!(why.contains(&format!("uid {uid}")) && why.contains(args[0]), "{why}");
        }
        // Whether an id is well-formed is nothing for strangers either.
        assert_eq!(call(uid, &["healthcheck"]).0, 0, "probes tell nothing and are for everybody");
    }
    assert_eq!(tenant.calls_to(Endpoint::User).len(), asked);
    drop(daemon);

    // The same daemon under a uid of its own: that uid and root are answered.
    for path in ["secret", "ca.pem", "cloakroom.toml"] {
        nix::unistd::chown(&directory.path().join(path), Some(4321.into()), None).unwrap();
    }
    open(directory.path(), 0o777);
    let mut own = std::process::Command::new(&binary)
        .args(["serve", "--config", file.to_str().unwrap()])
        .env_clear()
        .stderr(Stdio::null())
        .uid(4321)
        .gid(4321)
        .spawn()
        .unwrap();
    assert_eq!(call(4321, &["wait"]).0, 0);
    for (uid, exit) in [(0, 0), (4321, 0), (4322, 5)] {
        assert_eq!(call(uid, &["token", users::GOOGLE]).0, exit, "{uid}");
    }
    own.kill().unwrap();
    own.wait().unwrap();
}

/// Connects as often as it is let, sends a request each time, and holds on until it is killed. In Perl, which every
/// Debian has, because it runs as somebody else.
const GREEDY_CALLER: &str = r#"
    use Socket;
    # A connection may be closed before anything is written to it.
    $SIG{PIPE} = 'IGNORE';
    my @held;
    for (1..16) {
        socket(my $stream, AF_UNIX, SOCK_STREAM, 0) or last;
        connect($stream, sockaddr_un("api.sock")) or last;
        syswrite($stream, "GET /livez HTTP/1.1\r\nhost: x\r\n\r\n");
        # Nothing, if it was closed at once; either way it has been decided.
        sysread($stream, my $answer, 12);
        push @held, $stream;
    }
    open(my $sign, ">", "greedy");
    close($sign);
    <STDIN>;
"#;

/// Asks for a token with a user's own token, and says what the answer's code is. In Perl, as below.
const ME_CALLER: &str = r#"
    use Socket;
    socket(my $stream, AF_UNIX, SOCK_STREAM, 0) or die;
    connect($stream, sockaddr_un("api.sock")) or die;
    syswrite($stream, "GET /v1/me/token HTTP/1.1\r\nhost: x\r\ncloakroom-request: true\r\n"
        . "authorization: Bearer $ARGV[0]\r\nconnection: close\r\n\r\n");
    local $/;
    print <$stream> =~ /"code":"(\w+)"/ ? $1 : "answered";
"#;

/// Rights come first: whoever has none is not told whether a user's token is good, and costs the tenant nothing.
#[test]
fn a_stranger_learns_nothing_from_a_users_own_token() {
    if !is_root() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let _guard = runtime.enter();
    let tenant = Tenant::new(Clock::system(), TenantOptions::default()).unwrap();
    let listening = tenant.listen(CertificateKind::Good).unwrap();
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let settings = "[[listener]]\npath = \"{dir}/api.sock\"\nmode = \"0666\"\n[me]\naudiences = [\"api\"]";
    let config = configuration(listening.domain(), &tenant, Some(listening.ca_pem()), &directory, settings);
    std::fs::write(directory.path().join("cloakroom.toml"), config).unwrap();
    let daemon = Daemon::start(&directory.path().join("cloakroom.toml"), &directory.path().join("api.sock"));
    assert_eq!(daemon.run(&["wait"]).0, 0);
    let asked = |uid: u32, token: &str| {
        let mut caller = std::process::Command::new("/usr/bin/perl");
        caller.args(["-e", ME_CALLER, token]).current_dir(directory.path()).env_clear().uid(uid).gid(uid);
        finish(caller.output().unwrap()).1
    };
    let good = tenant.user_token(users::GOOGLE, "api", std::time::Duration::from_secs(60)).unwrap();
    for token in [good.as_str(), "opaque", "a.b.c"] {
        assert_eq!(asked(12_345, token), "forbidden");
    }
    assert!(tenant.calls_to(Endpoint::Keys).is_empty());
    assert_eq!([&good, "opaque"].map(|token| asked(0, token)), ["answered", "invalid_user_token"]);
}

/// Guarantee 8: neither a caller without any rights nor two of them keep others out.
#[test]
fn no_stranger_takes_every_connection() {
    if !is_root() {
        return;
    }
    let tenant = Tenant::new(Clock::system(), TenantOptions::default()).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o777)).unwrap();
    let settings = "[[listener]]\npath = \"{dir}/api.sock\"\nmode = \"0666\"\nmax_connections = 8";
    // Nobody answers there: probes and status need no tenant.
    let config = configuration("localhost:1", &tenant, None, &directory, settings);
    std::fs::write(path("cloakroom.toml"), config).unwrap();
    std::fs::copy(env!("CARGO_BIN_EXE_cloakroom"), path("cloakroom")).unwrap();
    let mut daemon = Daemon::start(&path("cloakroom.toml"), &path("api.sock"));
    let mut greedy = Vec::new();
    for (uid, held) in [(12_345, 4), (12_346, 6)] {
        let mut caller = std::process::Command::new("/usr/bin/perl");
        caller.args(["-e", GREEDY_CALLER]).current_dir(directory.path()).env_clear();
        caller.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).uid(uid).gid(uid);
        greedy.push(caller.spawn().unwrap());
        daemon.until("the greedy caller has what it gets", |_| path("greedy").exists());
        std::fs::remove_file(path("greedy")).unwrap();
        // Half for the first, and what is left of three quarters for the second; root is the one more.
        let (exit, status, why) = daemon.run(&["status", "--output", "json"]);
        assert_eq!(exit, 0, "{why}");
        let status: serde_json::Value = serde_json::from_str(&status).unwrap();
        assert_eq!(status["listeners"][0]["connections"], held + 1, "{status}");
    }
    for mut caller in greedy {
        let mut other = cloakroom(&["healthcheck", "--live"]);
        other.env("CLOAKROOM_SOCKET", path("api.sock"));
        assert_eq!(finish(other.output().unwrap()).0, 0, "root's own probe");
        caller.kill().unwrap();
        caller.wait().unwrap();
    }
    let mut stranger = std::process::Command::new(path("cloakroom"));
    stranger.args(["healthcheck", "--live"]).env_clear().env("CLOAKROOM_SOCKET", path("api.sock"));
    stranger.uid(12_347).gid(12_347);
    daemon.until("there is room for strangers again", |_| finish(stranger.output().unwrap()).0 == 0);
    assert_eq!(daemon.log().matches("A connection is closed at once").count(), 1, "{}", daemon.log());
}
