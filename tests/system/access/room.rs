//! Guarantee 8, for connections: the connections of one uid keep no other uid out.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Stdio;

use cloakroom::clock::Clock;
use cloakroom::fake_auth0::{Tenant, TenantOptions};

use crate::support::configuration::configuration;
use crate::support::process::{Daemon, PROGRAM, cloakroom, copy_program, finish, is_root};

/// Connects as often as it is let, sends a request each time, and holds on until it is killed. In Perl, which every
/// Debian has, because it runs as somebody else.
const GREEDY_CALLER: &str = r#"
    use Socket;
    # What is closed at once may be closed before the request is written.
    $SIG{PIPE} = "IGNORE";
    my @held;
    for (1..16) {
        socket(my $stream, AF_UNIX, SOCK_STREAM, 0) or last;
        connect($stream, sockaddr_un("api.sock")) or last;
        syswrite($stream, "GET /livez HTTP/1.1\r\nhost: x\r\n\r\n");
        # Once it has been decided, whether it is served or refused.
        sysread($stream, my $answer, 12);
        push @held, $stream;
    }
    open(my $sign, ">", "greedy");
    close($sign);
    <STDIN>;
"#;

/// Neither a caller without any rights nor two of them keep others out.
#[test]
fn uids_without_rights_cannot_take_every_connection() {
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
    copy_program(PROGRAM, path("cloakroom"));
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
    assert_eq!(daemon.log().matches("A connection is refused").count(), 1, "{}", daemon.log());
}
