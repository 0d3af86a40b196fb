//! What the kernel says of a caller, and when: namespaces, and identities that change.

use std::process::{Command, Stdio};

use cloakroom::fake_auth0::users;

use super::callers::{Ask, House, OWN, ROOT, Who, perl};
use crate::support::process::{finish, is_root};

/// Root and, through rules, whoever has this uid, or this gid.
const RULED: &str = r#"
[[listener]]
path = "{dir}/a.sock"
mode = "0666"

[[listener]]
path = "{dir}/b.sock"
mode = "0666"
[[listener.allow]]
uid = 1001
[[listener.allow]]
gid = 2002
[[listener.allow]]
uid = 1003
gid = 2003
"#;

const UNSHARE: &str = "/usr/bin/unshare";

/// Whether this kernel lets us make such a namespace: some containers may not. Under CI it has to.
pub fn can(namespace: &[&str]) -> bool {
    let made =
        Command::new(UNSHARE).args(namespace).arg("true").stderr(Stdio::null()).status().unwrap().success();
    #[expect(clippy::disallowed_methods, reason = "only a test's surroundings say whether it may be skipped")]
    let must = std::env::var_os("CI").is_some();
    assert!(made || !must, "this test needs unshare {namespace:?}, and must not be skipped here");
    made
}

/// Says which pid, uid and gid the kernel gives of whoever connects.
const WITNESS: &str = r#"
    use Socket;
    socket(my $listener, AF_UNIX, SOCK_STREAM, 0) or die;
    bind($listener, sockaddr_un($ARGV[0])) or die "bind: $!";
    chmod(0666, $ARGV[0]);
    listen($listener, 1) or die;
    accept(my $stream, $listener) or die;
    print join(" ", unpack("iII", getsockopt($stream, SOL_SOCKET, SO_PEERCRED)));
"#;

/// Two containers: each has a pid namespace of its own, so neither's processes have a pid in the other.
#[test]
fn a_caller_whose_pid_the_kernel_cannot_tell_is_known_by_its_uid() {
    let apart = ["--pid", "--fork", "--kill-child"];
    if !is_root() || !can(&apart) {
        return;
    }
    let within: Vec<_> = [UNSHARE].into_iter().chain(apart).collect();
    let house = House::open_in(ROOT, &within, RULED);

    // What the daemon is told, seen by somebody in its place: no pid, and who it is.
    let place = house.path("witness.sock");
    let mut witness = Command::new(UNSHARE);
    witness.args(apart).args(["/usr/bin/perl", "-e", WITNESS]).arg(&place);
    let witness = witness.stdout(Stdio::piped()).spawn().unwrap();
    while std::fs::metadata(&place)
        .map_or(0, |meta| std::os::unix::fs::PermissionsExt::mode(&meta.permissions()) & 0o777)
        != 0o666
    {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let mut caller = perl(
        "use Socket; socket(S, AF_UNIX, SOCK_STREAM, 0); connect(S, sockaddr_un($ARGV[0])) or die",
        &place,
    );
    std::os::unix::process::CommandExt::uid(&mut caller, 1001);
    std::os::unix::process::CommandExt::gid(&mut caller, 7);
    assert!(caller.status().unwrap().success());
    assert_eq!(finish(witness.wait_with_output().unwrap()).1, "0 1001 7");

    let token = Ask::token(users::GOOGLE);
    for (who, status) in [(Who(1001, 7), 200), (Who(7, 2002), 200), (Who(1009, 7), 403), (ROOT, 403)] {
        assert_eq!(house.ask_one(who, "b.sock", &token).status, status, "{who:?}");
    }
    // And from a namespace of the caller's own, where it is process 1.
    let unshared = |program: &str| {
        let mut command = Command::new(UNSHARE);
        command.args(apart).args(["/usr/bin/perl", "-e", &format!("{IDENTITIES}{program}")]);
        command.arg(house.path("b.sock")).stdin(Stdio::null());
        finish(command.output().unwrap())
    };
    assert_eq!(unshared("become_(1001, 7); print \"$$ \"; ask(connect_());").1, "1 200 ");
    assert_eq!(unshared("become_(1009, 7); print \"$$ \"; ask(connect_());").1, "1 403 ");
}

/// To call oneself root in a namespace of one's own is nothing to the kernel, which tells who that is out here.
#[test]
fn whoever_is_root_in_a_user_namespace_of_its_own_is_still_who_it_is() {
    let (rooted, unmapped) = ([UNSHARE, "--user", "--map-root-user"], [UNSHARE, "--user"]);
    if !is_root() || !can(&["--user", "--map-root-user"]) {
        return;
    }
    let house = House::open(OWN, RULED);
    let token = Ask::token(users::GOOGLE);
    for within in [&rooted[..], &unmapped] {
        let ask = |who, listener| house.ask_within(who, within, listener, &token);
        for who in [Who(1009, 1009), Who(1001, 1001)] {
            let Who(uid, gid) = who;
            let heard = ask(who, "a.sock");
            assert_eq!(heard.problem(), (403, "forbidden"), "{who:?} {within:?}");
            assert!(heard.detail().starts_with(&format!("uid {uid} (gid {gid}) ")), "{}", heard.detail());
        }
        assert_eq!(ask(Who(1001, 1001), "b.sock").status, 200, "{within:?}");
        assert_eq!(ask(Who(1009, 1009), "b.sock").status, 403, "{within:?}");
        assert_eq!(ask(OWN, "a.sock").status, 200, "{within:?}");
    }
}

/// A daemon in a user namespace, as of a container without root: whoever has no number in there is called 65534, and
/// that is everybody and nobody.
#[test]
fn a_client_with_the_overflow_uid_is_never_answered() {
    let rooted = [UNSHARE, "--user", "--map-root-user"];
    if !is_root() || !can(&["--user", "--map-root-user"]) {
        return;
    }
    // In there our own uid is called 0, and so is our gid: rules by gid would name others who have that.
    let rules = format!("{RULED}[[listener.allow]]\ngid = 0\n[[listener.allow]]\nuid = 1000\n");
    let house = House::open_in(OWN, &rooted, &rules);
    let token = Ask::token(users::GOOGLE);
    assert_eq!(house.ask_one(OWN, "a.sock", &token).status, 200, "the daemon's own uid, by whatever name");
    let calls = house.calls();
    let unknown =
        [ROOT, Who(1001, 1001), Who(1009, 2002), Who(65_534, 65_534), Who(1009, OWN.1), Who(0, OWN.1)];
    for who in unknown {
        for listener in ["a.sock", "b.sock"] {
            for ask in [&token, &Ask::get("/v1/status"), &Ask::new("DELETE", "/v1/users")] {
                let heard = house.ask_one(who, listener, ask);
                assert_eq!(heard.problem(), (403, "forbidden"), "{who:?} {ask:?} {listener}");
                assert!(heard.detail().starts_with("uid 65534 (gid "), "{}", heard.detail());
                assert!(
                    heard.detail().contains("another user namespace, and never allowed"),
                    "{}",
                    heard.detail()
                );
            }
        }
        assert_eq!(house.ask_one(who, "a.sock", &Ask::get("/livez")).status, 200);
    }
    assert_eq!(house.calls(), calls);
}

/// There are images that run everything as `nobody`. A daemon of that uid cannot tell its own from whom the kernel cannot
/// name, so it answers root alone.
#[test]
fn a_daemon_that_is_nobody_does_not_take_nobody_for_its_own() {
    if !is_root() {
        return;
    }
    let nobody = Who(65_534, 65_534);
    let house = House::open(nobody, RULED);
    let token = Ask::token(users::GOOGLE);
    for listener in ["a.sock", "b.sock"] {
        for ask in [&token, &Ask::get("/v1/status")] {
            let heard = house.ask_one(nobody, listener, ask);
            assert_eq!(heard.problem(), (403, "forbidden"), "{ask:?}");
            assert!(heard.detail().contains("never allowed"), "{}", heard.detail());
        }
    }
    assert_eq!(house.ask_one(ROOT, "a.sock", &token).status, 200);
    // Whoever has a uid of its own is known by it, whatever its group is; only the group counts for nothing then.
    assert_eq!(house.ask_one(Who(1001, 65_534), "b.sock", &token).status, 200);
    assert_eq!(house.ask_one(Who(65_534, 2002), "b.sock", &token).status, 403);
}

/// For callers who change: `connect_` connects, `ask` prints the status of one lookup, `become_` is for good.
const IDENTITIES: &str = r#"
    use Socket;
    use POSIX ();
    $| = 1;
    sub connect_ {
        socket(my $stream, AF_UNIX, SOCK_STREAM, 0) or die "socket: $!";
        connect($stream, sockaddr_un($ARGV[0])) or die "connect: $!";
        return $stream;
    }
    sub ask {
        my ($stream) = @_;
        syswrite($stream, "GET /v1/users/google-oauth2%7C103547991597142817347/token HTTP/1.1\r\n"
            . "host: x\r\ncloakroom-request: true\r\n\r\n");
        my $answer = "";
        while ($answer !~ /\r\n\r\n/ || length($') < ($answer =~ /content-length: (\d+)/i)[0]) {
            sysread($stream, $answer, 4096, length($answer)) or die "no answer: $answer";
        }
        print substr($answer, 9, 3), " ";
    }
    sub become_ {
        my ($uid, $gid) = @_;
        $) = "$gid $gid";
        POSIX::setgid($gid) or die "setgid: $!";
        POSIX::setuid($uid) or die "setuid: $!";
        $> == $uid && $< == $uid or die "still $< and $>";
    }
"#;

/// A connection's rights are those of whoever connected, as it was then. That is the kernel's word: it notes the
/// effective uid and gid at connect(2) and never again.
#[test]
fn a_connection_has_the_rights_that_its_maker_had_when_it_connected() {
    if !is_root() {
        return;
    }
    let house = House::open(ROOT, RULED);
    let printed = |listener: &str, program: &str| {
        let mut command = perl(&format!("{IDENTITIES}{program}"), &house.path(listener));
        let (exit, out, err) = finish(command.stdin(Stdio::null()).output().unwrap());
        assert_eq!((exit, err.as_str()), (0, ""), "{program}");
        out
    };

    // Whoever gives its rights up keeps what it has open, and gets nothing more; as with any file.
    let dropped =
        "my $old = connect_(); ask($old); become_(1009, 1009); ask($old); ask(connect_()); ask($old);";
    assert_eq!(printed("a.sock", dropped), "200 200 403 200 ");
    assert_eq!(
        printed("b.sock", "$> = 1001; my $old = connect_(); $> = 0; ask($old); ask(connect_());"),
        "200 403 "
    );
    // Whoever gains rights does not gain them for what is open.
    let gained = "$> = 1009; my $old = connect_(); ask($old); $> = 0; ask($old); ask(connect_());";
    assert_eq!(printed("a.sock", gained), "403 403 200 ");
    assert_eq!(
        printed("b.sock", "my $old = connect_(); become_(1001, 1); ask($old); ask(connect_());"),
        "403 200 "
    );

    // The effective ids count: those with which files would be opened.
    assert_eq!(printed("a.sock", "$< = 1009; ask(connect_());"), "200 ");
    assert_eq!(printed("b.sock", "$< = 1001; ask(connect_());"), "403 ");
    assert_eq!(printed("b.sock", "$) = 2002; $> = 1009; ask(connect_());"), "200 ");
    assert_eq!(printed("b.sock", "$( = 2002; $> = 1009; ask(connect_());"), "403 ");
    // Further groups are not told by the kernel, so they count for nothing.
    assert_eq!(printed("b.sock", "$) = '1009 2002 2003'; $> = 1009; ask(connect_());"), "403 ");
    assert_eq!(printed("b.sock", "$) = '1003 2003'; $> = 1003; ask(connect_());"), "403 ");
    assert_eq!(printed("b.sock", "$) = '2003 2003'; $> = 1003; ask(connect_());"), "200 ");
}

/// What nobody can mend here: a descriptor may be inherited or passed on, and the kernel goes on naming whoever
/// connected. To hand one's connection to another is to hand on one's rights, as with any open file; a service that
/// starts programs of other users has to close it first (which close-on-exec does, if it is not taken off).
#[test]
fn whoever_inherits_a_connection_cannot_be_told_from_whoever_made_it() {
    if !is_root() {
        return;
    }
    let house = House::open(ROOT, RULED);
    let program = format!(
        r#"{IDENTITIES}
        $^F = 1000;
        my $stream = connect_();
        if (fork() == 0) {{
            become_(1009, 1009);
            exec("/usr/bin/perl", "-e", $ENV{{HEIR}}, $ARGV[0], fileno($stream)) or die;
        }}
        wait();
        exit($? >> 8);
    "#
    );
    let heir = format!(r#"{IDENTITIES} open(my $old, "+<&=", $ARGV[1]) or die; ask($old); ask(connect_());"#);
    let mut command = perl(&program, &house.path("a.sock"));
    let (exit, out, err) = finish(command.env("HEIR", heir).stdin(Stdio::null()).output().unwrap());
    assert_eq!((exit, out.as_str(), err.as_str()), (0, "200 403 ", ""));
}
