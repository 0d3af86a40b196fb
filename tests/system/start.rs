//! What the real binary finds when it starts: users, name servers, secrets, permissions, locks.

use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::command::run;
use crate::support::deployment::Deployment;
use crate::support::process::{Daemon, PROGRAM, cloakroom, copy_program, finish, is_root};

/// A shell's script in mounts of its own.
fn in_own_mounts(script: &str) -> std::process::Command {
    let mut command = std::process::Command::new("unshare");
    command.args(["--mount", "sh", "-c", script]).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command.stdin(Stdio::null());
    command
}

/// As clouds have them. What forbids that one is the unit; here nothing answers there.
#[test]
fn a_link_local_name_server_is_named_where_names_are_not_resolved() {
    if !is_root() {
        return;
    }
    let deployment = Deployment::new("");
    let path = |name: &str| deployment.directory.path().join(name);
    let text = std::fs::read_to_string(deployment.config()).unwrap();
    let domain = deployment.listening.as_ref().unwrap().domain();
    std::fs::write(deployment.config(), text.replace(domain, "acme.eu.auth0.com")).unwrap();
    std::fs::write(path("resolv.conf"), "nameserver 169.254.169.253\n").unwrap();
    std::fs::create_dir(path("units")).unwrap();
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd");
    std::fs::copy(root.join("cloakroom.service"), path("units/cloakroom.service")).unwrap();
    let script = |command: &str| {
        format!(
            "mount --bind {} /etc/resolv.conf && mount --bind {} /etc/systemd/system && exec {} {command} \
             --config {}",
            path("resolv.conf").display(),
            path("units").display(),
            PROGRAM,
            deployment.config().display()
        )
    };
    let check = || {
        let (exit, out, err) = finish(in_own_mounts(&script("check")).output().unwrap());
        assert_eq!(exit, 0, "{err}");
        out
    };
    assert!(check().contains("warning: the name server 169.254.169.253"), "{}", check());
    std::fs::create_dir(path("units/cloakroom.service.d")).unwrap();
    let drop_in = root.join("drop-ins/link-local-resolver.conf");
    std::fs::copy(drop_in, path("units/cloakroom.service.d/resolver.conf")).unwrap();
    assert!(!check().contains("name server"), "{}", check());

    let mut command = in_own_mounts(&script("serve"));
    command.stdout(Stdio::null());
    let mut daemon = Daemon::launch(command, &deployment.config(), &deployment.socket());
    daemon.until("it says what may be the cause", |daemon| {
        daemon.log().contains("the name server 169.254.169.253 in /etc/resolv.conf is link-local")
    });
}

/// As Compose mounts one: the host's file with the host's mode, over a file of its own.
#[test]
fn a_secret_that_a_container_is_given_may_be_open_within_it_and_nowhere_else() {
    if !is_root() {
        return;
    }
    let deployment = Deployment::new("");
    let secret = deployment.directory.path().join("secret");
    std::fs::set_permissions(&secret, PermissionsExt::from_mode(0o444)).unwrap();
    let text = std::fs::read_to_string(deployment.config()).unwrap();
    let moved = text.replace(secret.to_str().unwrap(), "/run/secrets/client_secret");
    std::fs::write(deployment.config(), moved).unwrap();
    let check = |mark: &str, put: &str| {
        let script = format!(
            "mount -t tmpfs none /run && mkdir /run/secrets && touch {mark} /run/secrets/client_secret && {put} {} \
             /run/secrets/client_secret && exec {} check --config {}",
            secret.display(),
            PROGRAM,
            deployment.config().display()
        );
        finish(in_own_mounts(&script).output().unwrap())
    };
    let (exit, out, err) = check("/run/.containerenv", "mount --bind");
    assert_eq!(exit, 0, "{err}");
    assert!(out.contains("warning: ") && out.contains("every process in this container can read"), "{out}");
    // A machine that is a container itself has a mark that cannot be taken away.
    let is_container = std::path::Path::new("/.dockerenv").exists();
    let elsewhere = ("/run/other", "mount --bind");
    for (mark, put) in [elsewhere, ("/run/.containerenv", "cp --preserve=mode")] {
        if (mark, put) == elsewhere && is_container {
            continue;
        }
        let (exit, _, err) = check(mark, put);
        assert_eq!(exit, 78, "{mark} {put}");
        assert!(err.contains("every user of this machine can read"), "{err}");
    }
    std::fs::set_permissions(&secret, PermissionsExt::from_mode(0o666)).unwrap();
    assert_eq!(check("/run/.containerenv", "mount --bind").0, 78, "others may change it");
}

/// A daemon whose `/etc/passwd` is the file that this gives.
fn with_users_of_its_own(deployment: &Deployment) -> (Daemon, PathBuf) {
    let passwd = deployment.directory.path().join("passwd");
    std::fs::write(&passwd, "root:x:0:0::/:/bin/sh\n").unwrap();
    let script = format!(
        "mount --bind {} /etc/passwd && exec {} serve --config {}",
        passwd.display(),
        PROGRAM,
        deployment.config().display()
    );
    let mut command = in_own_mounts(&script);
    command.stdout(Stdio::null());
    (Daemon::launch(command, &deployment.config(), &deployment.socket()), passwd)
}

const LATECOMER: &str =
    "[[listener]]\npath = \"{dir}/run/api.sock\"\n[[listener.allow]]\nuid = \"latecomer\"\n";

/// As with LDAP, sssd, or another unit's `DynamicUser=`.
#[test]
fn a_user_that_is_known_later_is_waited_for() {
    if !is_root() {
        return;
    }
    let deployment = Deployment::new(LATECOMER);
    let (mut daemon, passwd) = with_users_of_its_own(&deployment);
    daemon
        .until("it says what it waits for", |daemon| daemon.log().contains("there is no user of that name"));
    assert!(!deployment.socket().exists(), "nothing is bound before the rules are known");
    let mut file = std::fs::OpenOptions::new().append(true).open(passwd).unwrap();
    file.write_all(b"latecomer:x:54321:54321::/:/bin/sh\n").unwrap();
    daemon.until("it is ready", |daemon| daemon.run(&["healthcheck", "--ready"]).0 == 0);
    // Root is not whom the rule names.
    assert_eq!(daemon.run(&["token", "auth0|1"]).0, 5);
}

#[test]
fn a_user_that_does_not_come_ends_a_start_with_75_and_a_signal_ends_the_waiting() {
    let deployment = Deployment::new(&LATECOMER.replace("latecomer", "nosuchuser"));
    let mut daemon = Daemon::spawn(&deployment.config(), &deployment.socket());
    let another = deployment.directory.path().join("another.toml");
    std::fs::copy(deployment.config(), &another).unwrap();
    let mut ended = Daemon::spawn(&another, &deployment.socket());
    ended.until("it waits", |daemon| daemon.log().contains("waiting for users or groups"));
    ended.signal(Signal::SIGTERM);
    assert_eq!(ended.wait().code(), Some(0));
    let (exit, _, err) = run(&["check", "--config", deployment.config().to_str().unwrap()]);
    assert_eq!(exit, 75, "{err}");
    assert!(err.contains("listener.0.allow.0.uid: there is no user of that name"), "{err}");
    assert_eq!(daemon.wait().code(), Some(75), "{}", daemon.log());
    // Beside anything else that is wrong, waiting would not help.
    let text = std::fs::read_to_string(deployment.config()).unwrap();
    std::fs::write(deployment.config(), text.replace("nosuchuser\"", "nosuchuser\"\nrate = -1")).unwrap();
    assert_eq!(run(&["serve", "--config", deployment.config().to_str().unwrap()]).0, 78);
}

#[test]
fn everything_can_come_from_the_environment() {
    let deployment = Deployment::new("");
    let (listening, path) =
        (deployment.listening.as_ref().unwrap(), |name: &str| deployment.directory.path().join(name));
    let check = cloakroom(&["check", "--online"])
        .env("CLOAKROOM_TENANT__DOMAIN", listening.domain())
        .env("CLOAKROOM_TENANT__AUDIENCE", deployment.tenant.audience())
        .env("CLOAKROOM_TENANT__CA_FILE", path("ca.pem"))
        .env("CLOAKROOM_TENANT__CLIENT__ID", "demo-client")
        .env("CLOAKROOM_TENANT__CLIENT__SECRET", "demo-client-secret")
        .output()
        .unwrap();
    let (exit, out, err) = finish(check);
    assert_eq!(exit, 0, "{out}{err}");
}

/// The lock on the socket's directory is nobody's means to keep a daemon from starting.
#[test]
fn a_directory_that_somebody_keeps_locked_stops_no_start() {
    let deployment = Deployment::new("");
    let directory = deployment.directory.path().join("run");
    std::fs::create_dir(&directory).unwrap();
    let held = std::fs::File::open(&directory).unwrap();
    held.lock().unwrap();
    let mut daemon = deployment.start();
    daemon.until("it is said", |daemon| daemon.log().contains("going on without the lock"));
    // And the socket of one that is there is safe all the same.
    let mut second = Daemon::spawn(&deployment.config(), &deployment.socket());
    assert_eq!(second.wait().code(), Some(1));
    assert_eq!(daemon.run(&["healthcheck"]).0, 0);
}

/// Each of mode, owner and group on its own, whatever the umask; applied before anybody can connect.
#[test]
fn mode_owner_and_group_are_applied_each_on_its_own() {
    let root = is_root();
    let cases = [
        ("mode = \"0600\"", 0o600, 0, 0),
        ("mode = \"0666\"", 0o666, 0, 0),
        ("owner = 1234", 0o660, 1234, 0),
        ("group = 2345", 0o660, 0, 2345),
        ("mode = \"0620\"\nowner = 1234\ngroup = 2345", 0o620, 1234, 2345),
    ];
    for umask in ["000", "022", "077"] {
        for (settings, mode, owner, group) in cases {
            if !root && (owner, group) != (0, 0) {
                continue;
            }
            let deployment =
                Deployment::new(&format!("[[listener]]\npath = \"{{dir}}/run/api.sock\"\n{settings}"));
            let script =
                format!("umask {umask}; exec {} serve --config {}", PROGRAM, deployment.config().display());
            let mut child = std::process::Command::new("sh")
                .args(["-c", &script])
                .env_clear()
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let socket = deployment.socket();
            while UnixStream::connect(&socket).is_err() {
                assert!(child.try_wait().unwrap().is_none(), "{settings}");
                std::thread::sleep(Duration::from_millis(20));
            }
            let meta = std::fs::symlink_metadata(&socket).unwrap();
            let own = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
            let or_own = |id, own| if id == 0 { own } else { id };
            assert_eq!(meta.mode() & 0o7777, mode, "umask {umask} {settings}");
            assert_eq!((meta.uid(), meta.gid()), (or_own(owner, own.0), or_own(group, own.1)), "{settings}");
            let directory = std::fs::metadata(socket.parent().unwrap()).unwrap();
            assert_eq!(directory.mode() & 0o7777, 0o750, "umask {umask}");
            assert_eq!(
                (directory.uid(), directory.gid()),
                (or_own(owner, own.0), or_own(group, own.1)),
                "{settings}"
            );
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

/// The configuration is read by the daemon's own user: what it may not read, it says.
#[test]
fn a_secret_that_the_daemon_may_not_read_is_named() {
    use std::os::unix::process::CommandExt;
    if !is_root() {
        return;
    }
    let deployment = Deployment::new("");
    std::fs::set_permissions(deployment.directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::set_permissions(deployment.config(), PermissionsExt::from_mode(0o644)).unwrap();
    let binary = deployment.directory.path().join("cloakroom");
    copy_program(PROGRAM, &binary);
    let output = std::process::Command::new(&binary)
        .args(["check", "--config", deployment.config().to_str().unwrap()])
        .env_clear()
        .uid(12_345)
        .gid(12_345)
        .output()
        .unwrap();
    let (exit, _, err) = finish(output);
    assert_eq!(exit, 78);
    assert!(err.contains("tenant.client.secret_file") && err.contains("uid 12345"), "{err}");
    assert!(!err.contains("demo-client-secret"), "{err}");
}
