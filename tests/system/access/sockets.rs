//! The socket's file under real uids: who may give it to whom, and who else may put one in its place.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use cloakroom::fake_auth0::users;
use nix::sys::signal::Signal;

use super::callers::{Ask, House, ROOT, Who, perl};
use crate::support::command::run;
use crate::support::deployment::Deployment;
use crate::support::process::{Daemon, PROGRAM, copy_program, finish, is_root};

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

/// Two listeners of one daemon are two boundaries: who may connect is the mode's word, who is answered the rules'.
#[test]
fn modes_keep_out_those_whom_they_do_not_let_in_and_rules_those_whom_they_do() {
    if !is_root() {
        return;
    }
    let house = House::open(
        ROOT,
        "[[listener]]\npath = \"{dir}/a.sock\"\nmode = \"0660\"\ngroup = 2345\n[[listener.allow]]\ngid = 2345\n\
         [[listener]]\npath = \"{dir}/b.sock\"\nmode = \"0600\"\nowner = 1001\n[[listener.allow]]\nuid = 1001\n",
    );
    let token = Ask::token(users::GOOGLE);
    let comes_in = |Who(uid, gid), listener: &str| {
        let mut caller = perl(
            "use Socket; socket(S, AF_UNIX, SOCK_STREAM, 0); connect(S, sockaddr_un($ARGV[0])) or die",
            &house.path(listener),
        );
        caller.uid(uid).gid(gid).stderr(Stdio::null()).status().unwrap().success()
    };
    let (web, admin) = (Who(1000, 2345), Who(1001, 1001));
    assert_eq!([comes_in(web, "a.sock"), comes_in(web, "b.sock")], [true, false]);
    assert_eq!([comes_in(admin, "a.sock"), comes_in(admin, "b.sock")], [false, true]);
    assert_eq!(house.ask_one(web, "a.sock", &token).status, 200);
    assert_eq!(house.ask_one(admin, "b.sock", &token).status, 200);
    // No mode keeps root out, but its rules do.
    for listener in ["a.sock", "b.sock"] {
        assert!(comes_in(ROOT, listener));
        assert_eq!(house.ask_one(ROOT, listener, &token).problem(), (403, "forbidden"));
        assert_eq!(house.ask_one(ROOT, listener, &Ask::get("/v1/status")).status, 200);
    }
}

/// Each of owner and group on its own takes what chown(2) takes, and where that is missing the daemon says so, leaves no
/// socket and asks Auth0 nothing.
#[test]
fn a_daemon_that_is_not_root_gives_its_socket_to_its_own_groups_alone() {
    if !is_root() {
        return;
    }
    let cases = [
        ("group = 4321", None),
        ("group = 2345", None),
        ("owner = 4321\ngroup = 2345", None),
        ("owner = 1234", Some("only root may change a socket's owner; leave listener.owner out")),
        ("group = 9999", Some("the daemon's user must be root or in that group; see listener.group")),
        ("owner = 4321\ngroup = 9999", Some("the daemon's user must be root or in that group")),
    ];
    for (settings, refusal) in cases {
        let deployment = Deployment::new(&format!("[[listener]]\npath = \"{{dir}}/api.sock\"\n{settings}\n"));
        let directory = deployment.directory.path();
        for name in ["", "secret", "ca.pem", "cloakroom.toml"] {
            chown(directory.join(name), Some(4321), Some(4321)).unwrap();
        }
        set_mode(directory, 0o755);
        let binary = directory.join("cloakroom");
        copy_program(PROGRAM, &binary);
        // Perl, because nothing else here gives a process further groups.
        let become_and_serve = "$) = '4321 4321 2345'; $( = 4321; $< = 4321; $> = 4321; exec @ARGV;";
        let mut command = perl(become_and_serve, &binary);
        command
            .args(["serve", "--config"])
            .arg(deployment.config())
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let socket = directory.join("api.sock");
        let mut daemon = Daemon::launch(command, &deployment.config(), &socket);
        match refusal {
            None => {
                daemon.until("it listens", |daemon| daemon.log().contains("Listening"));
                let meta = fs::metadata(&socket).unwrap();
                let group = if settings.contains("2345") { 2345 } else { 4321 };
                assert_eq!(
                    (meta.uid(), meta.gid(), meta.mode() & 0o7777),
                    (4321, group, 0o660),
                    "{settings}"
                );
            }
            Some(text) => {
                assert_eq!(daemon.wait().code(), Some(1), "{settings}");
                assert!(daemon.log().contains(text), "{settings}: {}", daemon.log());
                assert!(!socket.exists(), "{settings}");
                assert_eq!(deployment.tenant.calls().len(), 0, "{settings}");
            }
        }
    }
}

/// What is in the way stays there, whatever it is, unless it is a socket on which nobody listens.
#[test]
fn nothing_but_a_dead_socket_is_replaced() {
    let deployment = Deployment::new("");
    let socket = deployment.socket();
    let directory = socket.parent().unwrap();
    fs::create_dir(directory).unwrap();
    let refused = |what: &str| {
        let before = fs::symlink_metadata(&socket).unwrap();
        let mut daemon = Daemon::spawn(&deployment.config(), &socket);
        assert_eq!(daemon.wait().code(), Some(1), "{what}");
        assert!(daemon.log().contains(what), "{what}: {}", daemon.log());
        let after = fs::symlink_metadata(&socket).unwrap();
        assert_eq!((before.ino(), before.mode()), (after.ino(), after.mode()), "{what}");
    };
    fs::write(&socket, "precious").unwrap();
    refused("there is a regular file at this path, which is left alone; remove it, or choose another path");
    fs::remove_file(&socket).unwrap();
    fs::create_dir(&socket).unwrap();
    refused("there is a directory at this path");
    fs::remove_dir(&socket).unwrap();
    nix::unistd::mkfifo(&socket, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    refused("there is something that is not a socket at this path");
    fs::remove_file(&socket).unwrap();
    // A link is not followed, wherever it leads: to nothing, to a file, or to a socket that could be replaced.
    let target = directory.join("target");
    symlink(&target, &socket).unwrap();
    refused("there is a symbolic link at this path");
    fs::write(&target, "precious").unwrap();
    refused("there is a symbolic link at this path");
    assert_eq!(fs::read_to_string(&target).unwrap(), "precious");
    fs::remove_file(&target).unwrap();
    drop(UnixListener::bind(&target).unwrap());
    refused("there is a symbolic link at this path");
    fs::remove_file(&socket).unwrap();

    // Somebody else's socket of another kind cannot be tried by connecting.
    let other = UnixDatagram::bind(&socket).unwrap();
    refused("there is a socket at this path that cannot be tried");
    drop(other);
    fs::remove_file(&socket).unwrap();
    let live = UnixListener::bind(&socket).unwrap();
    refused("a daemon answers on this socket already");
    drop(live);
    assert_eq!(deployment.tenant.calls().len(), 0, "a start that fails costs Auth0 nothing");
    // And now it is a dead one, of whatever mode; but who is not root has to be able to try it.
    set_mode(&socket, if nix::unistd::geteuid().is_root() { 0o000 } else { 0o200 });
    drop(deployment.start());
}

/// Puts a socket of its own in the place of the one that is there.
const SQUATTER: &str = r#"
    use Socket;
    rename($ARGV[0], "$ARGV[0].old") or die "rename: $!\n";
    socket(my $listener, AF_UNIX, SOCK_STREAM, 0) or die;
    bind($listener, sockaddr_un($ARGV[0])) or die "bind: $!\n";
    chmod(0777, $ARGV[0]);
    listen($listener, 1);
    print "taken";
"#;

const EVERYBODY: &str =
    "every user of this machine can write to its directory or to one above it, and so replace the socket";
const FIRST_COME: &str = "every user of this machine can write to its directory, and so create a socket there before \
                          the daemon does";
const SOMEBODY: &str = "its directory, or one above it, belongs to another user";

/// Volumes that containers share are writable by everybody (Kubernetes' `emptyDir` is 0777, or 2777 with an `fsGroup`), so
/// the daemon starts there all the same. That it is no idle warning is shown by a squatter.
#[test]
fn where_others_could_put_another_socket_the_daemon_says_so_and_starts() {
    if !is_root() {
        return;
    }
    // The directory's mode and owner, the socket's path in it, what is said, and whether the squatter gets through.
    let cases = [
        (0o755, 0, "api.sock", None, false),
        (0o777, 0, "api.sock", Some(EVERYBODY), true),
        (0o2777, 0, "api.sock", Some(EVERYBODY), true),
        (0o1777, 0, "api.sock", Some(FIRST_COME), false),
        (0o1777, 0, "own/api.sock", None, false),
        (0o1777, 12_345, "api.sock", Some(FIRST_COME), true),
        (0o755, 12_345, "api.sock", Some(SOMEBODY), true),
    ];
    for (mode, owner, socket, warning, taken) in cases {
        let case = format!("{mode:o} {owner} {socket}");
        let deployment =
            Deployment::new(&format!("[[listener]]\npath = \"{{dir}}/volume/{socket}\"\nmode = \"0666\"\n"));
        set_mode(deployment.directory.path(), 0o755);
        let volume = deployment.directory.path().join("volume");
        fs::create_dir(&volume).unwrap();
        set_mode(&volume, mode);
        chown(&volume, Some(owner), None).unwrap();
        // A directory that somebody put into one that everybody may write to.
        if warning == Some(SOMEBODY) {
            set_mode(deployment.directory.path(), 0o1777);
        }
        let config = deployment.config();
        let (exit, checked, why) = run(&["check", "--config", config.to_str().unwrap()]);
        assert_eq!(exit, 0, "{case}: {why}");
        let socket = volume.join(socket);
        let mut daemon = Daemon::start(&config, &socket);
        daemon.until("it listens", |daemon| daemon.log().contains("Listening"));
        for said in [checked, daemon.log()] {
            let said: Vec<_> = said.lines().filter(|line| line.contains("listener.0.path: ")).collect();
            assert_eq!(said.len(), usize::from(warning.is_some()), "{case}: {said:?}");
            assert!(said.iter().all(|line| line.contains(warning.unwrap())), "{case}: {said:?}");
        }
        let mut squatter = perl(SQUATTER, &socket);
        let (_, out, why) = finish(squatter.uid(12_345).gid(12_345).output().unwrap());
        assert_eq!(out == "taken", taken, "{case}: {why}");
        // The daemon removes nothing at its end that is not its own.
        daemon.signal(Signal::SIGTERM);
        assert_eq!(daemon.wait().code(), Some(0));
        assert_eq!(socket.exists(), taken, "{case}");
    }
}

/// The way out in Kubernetes, where the volume's mode cannot be chosen: callers mount it read-only. They can connect, and
/// put nothing in the socket's place.
#[test]
fn callers_that_mount_the_volume_read_only_can_connect_and_take_nothing() {
    if !is_root() || !super::kernel::can(&["--mount"]) {
        return;
    }
    let house = House::open(
        ROOT,
        "[[listener]]\npath = \"{dir}/a.sock\"\nmode = \"0666\"\n[[listener.allow]]\nuid = 1001\n",
    );
    let directory = house.path("");
    set_mode(&directory, 0o2777);
    let within = |program: &str| {
        let script = format!(
            "mount --bind {0} {0} && mount -o remount,bind,ro {0} && exec perl -e '$> = 1001; {1}' {0}a.sock",
            directory.display(),
            program,
        );
        let output = Command::new("unshare").args(["--mount", "sh", "-c", &script]).output().unwrap();
        finish(output)
    };
    let (exit, out, why) = within(&SQUATTER.replace('\'', "\""));
    assert!(exit != 0 && why.starts_with("rename: Read-only file system"), "{out}{why}");
    let ask = "use Socket; socket(S, AF_UNIX, SOCK_STREAM, 0); connect(S, sockaddr_un($ARGV[0])) or die $!; \
               syswrite(S, \"GET /v1/users/google-oauth2%7C103547991597142817347/token HTTP/1.1\\r\\nhost: x\\r\\n\
               cloakroom-request: true\\r\\nconnection: close\\r\\n\\r\\n\"); print <S>;";
    let (exit, out, why) = within(ask);
    assert!(exit == 0 && out.starts_with("HTTP/1.1 200 "), "{out}{why}");
}
