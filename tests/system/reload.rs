//! Reloading and rotation with the real binary: a configuration is in force whole or not at all, and no request fails.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use cloakroom::fake_auth0::{Endpoint, Fault, users};
use cloakroom::secret::Secret;
use nix::sys::signal::Signal;

use crate::support::caller::{Caller, token_path};
use crate::support::deployment::Deployment;
use crate::support::process::{PROGRAM, is_root};

/// Changes a deployment's configuration as an editor does.
fn edit(deployment: &Deployment, from: &str, to: &str) {
    let text = fs::read_to_string(deployment.config()).unwrap();
    assert!(text.contains(from), "{from} in {text}");
    fs::write(deployment.config(), text.replacen(from, to, 1)).unwrap();
}

#[test]
fn a_reload_says_what_changed_and_what_has_to_wait() {
    let deployment = Deployment::new("[cache]\nmax_ttl = \"10m\"\n[runtime]\nthreads = 1\n");
    let daemon = deployment.start();
    assert_eq!(daemon.run(&["reload"]), (0, "reloaded; nothing changed\n".into(), String::new()));
    edit(&deployment, "max_ttl = \"10m\"", "max_ttl = \"5m\"\nmax_bytes = \"32MiB\"");
    edit(&deployment, "threads = 1", "threads = 2");
    edit(&deployment, "id = \"demo-client\"", "id = \"another-client\"");
    let (exit, out, err) = daemon.run(&["reload"]);
    assert_eq!((exit, err.as_str()), (0, ""));
    assert_eq!(
        out.lines().collect::<Vec<_>>(),
        [
            "changed: tenant.client.id",
            "changed: cache.max_bytes: 64MiB -> 32MiB",
            "changed: cache.max_ttl: 10m -> 5m",
            "needs a restart: runtime.threads: 1 -> 2",
        ]
    );
    assert!(daemon.run(&["status"]).1.contains("of 32"), "{}", daemon.run(&["status"]).1);
    // Asked again, only what still has to wait is told.
    let (_, out, _) = daemon.run(&["reload"]);
    assert_eq!(out, "needs a restart: runtime.threads: 1 -> 2\nreloaded; nothing changed\n");
}

#[test]
fn a_wrong_configuration_is_refused_whole_with_every_problem_and_the_old_one_goes_on() {
    let deployment = Deployment::new("[cache]\nmax_ttl = \"10m\"\n");
    let mut daemon = deployment.start();
    edit(&deployment, "max_ttl = \"10m\"", "max_ttl = \"5\"\nmin_ttl = \"20s\"\ncolour = 1");
    let (exit, out, err) = daemon.run(&["reload"]);
    assert_eq!((exit, out.as_str()), (78, ""));
    assert!(err.contains("goes on with the old one"), "{err}");
    for key in ["cache.max_ttl", "cache.colour"] {
        assert!(err.lines().any(|line| line.contains(key)), "{key} in {err}");
    }
    assert_eq!(daemon.run(&["token", users::GOOGLE]).0, 0);
    // SIGHUP says the same in the log, once.
    let said = |log: &str| log.matches("is refused; the old one still applies").count();
    daemon.until("it is said", |daemon| said(&daemon.log()) == 1);
    edit(&deployment, "max_ttl = \"5\"", "max_ttl = \"5m\"");
    daemon.signal(Signal::SIGHUP);
    daemon.until("another problem is said", |daemon| said(&daemon.log()) == 2);
    edit(&deployment, "colour = 1", "");
    daemon.signal(Signal::SIGHUP);
    daemon.until("it is in force", |daemon| {
        daemon.log().contains("\"changed\":\"cache.max_ttl cache.min_ttl\"")
    });
    assert!(daemon.run(&["status"]).1.starts_with("ready"));
}

#[test]
fn a_file_beyond_the_sandbox_is_told_apart_from_one_without_permission() {
    let deployment = Deployment::new("");
    let mut daemon = deployment.start();
    daemon.until("it is said", |daemon| daemon.log().contains("andboxed"));
    if !daemon.log().contains("Sandboxed") {
        return;
    }
    let elsewhere = tempfile::tempdir().unwrap();
    let secret = elsewhere.path().join("secret");
    fs::write(&secret, "demo-client-secret").unwrap();
    fs::set_permissions(&secret, PermissionsExt::from_mode(0o600)).unwrap();
    let old = deployment.directory.path().join("secret");
    edit(&deployment, old.to_str().unwrap(), secret.to_str().unwrap());
    let (exit, _, err) = daemon.run(&["reload"]);
    assert_eq!(exit, 78);
    assert!(err.contains("permission denied") && err.contains("restart it"), "{err}");
}

/// A right that is taken away is gone with the next request of a connection that is open.
#[test]
fn rules_count_from_the_next_request_of_every_connection() {
    if !is_root() {
        return;
    }
    let deployment = Deployment::new("");
    let daemon = deployment.start();
    let mut caller = Caller::new(&daemon.socket);
    assert_eq!(caller.get(&token_path(users::GOOGLE)).status, 200);
    let with = |rule: &str| {
        let text = fs::read_to_string(deployment.config()).unwrap();
        let text = text.split("[[listener.allow]]").next().unwrap().to_owned();
        fs::write(deployment.config(), text + rule).unwrap();
        assert_eq!(daemon.run(&["reload"]).0, 0);
    };
    with("[[listener.allow]]\nuid = 12345\n");
    let refused = caller.get(&token_path(users::GOOGLE));
    assert_eq!((refused.status, refused.code()), (403, "forbidden"));
    with("[[listener.allow]]\nuid = 0\nrate = 1\n");
    assert_eq!(caller.get(&token_path(users::GOOGLE)).status, 200);
    // A reload that does not touch the rules gives nobody a new rate.
    let used_up = (0..50).any(|_| caller.get(&token_path(users::GOOGLE)).status == 429);
    assert!(used_up);
    assert_eq!(daemon.run(&["reload"]).0, 0);
    assert!((0..50).any(|_| caller.get(&token_path(users::GOOGLE)).status == 429));
    with("");
    assert_eq!(caller.get(&token_path(users::GOOGLE)).status, 200);
}

/// Guarantee 9. Every other reload is wrong, and the right ones change what lookups depend on.
#[test]
fn two_hundred_reloads_under_load_half_of_them_wrong_fail_no_lookup() {
    let generous = "requests_per_second = 5000\nburst = 1000\nmax_concurrency = 500\n";
    let deployment = Deployment::new(&format!("[cache]\nmax_ttl = \"10m\"\n[upstream]\n{generous}"));
    let daemon = deployment.start();
    deployment.tenant.fault(Endpoint::User, Fault::Latency(Duration::from_millis(5)));
    let (done, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    let look_up = |user: &'static str| {
        let mut caller = Caller::new(&daemon.socket);
        while !done.load(Ordering::Relaxed) {
            let heard = caller.get(&token_path(user));
            assert_eq!((heard.status, heard.code()), (200, ""), "{user}: {}", heard.body);
            asked.fetch_add(1, Ordering::Relaxed);
        }
    };
    let good = fs::read_to_string(deployment.config()).unwrap();
    std::thread::scope(|scope| {
        // Lookups that Auth0 is asked for as well, so that flights are under way whenever a reload comes.
        let misses = scope.spawn(|| {
            let mut caller = Caller::new(&daemon.socket);
            for number in 0.. {
                if done.load(Ordering::Relaxed) {
                    return number;
                }
                let heard = caller.get(&token_path(&format!("auth0|nobody-{number}")));
                assert_eq!((heard.status, heard.code()), (404, "user_not_found"), "{}", heard.body);
            }
            0
        });
        let callers: Vec<_> = [users::GOOGLE, users::GITHUB, users::JOHN, users::SLASH]
            .map(|user| scope.spawn(move || look_up(user)))
            .into();
        for number in 0..200 {
            let text = match number % 2 {
                0 => good
                    .replace("\"10m\"", &format!("\"{}m\"\nmax_bytes = \"{}MiB\"", 10 + number, 32 + number))
                    .replace("concurrency = 500", &format!("concurrency = {}", 400 + number))
                    .replace(
                        "[tenant.client]",
                        &format!("connect_timeout = \"{}ms\"\n[tenant.client]", 1000 + number),
                    ),
                _ => good.replace("\"10m\"", "\"soon\""),
            };
            fs::write(deployment.config(), text).unwrap();
            let exit = daemon.run(&["reload"]).0;
            assert_eq!(exit, if number % 2 == 0 { 0 } else { 78 }, "{number}");
        }
        done.store(true, Ordering::Relaxed);
        let misses = misses.join().unwrap();
        assert!(misses > 30, "{misses}");
        callers.into_iter().for_each(|caller| caller.join().unwrap());
    });
    assert!(asked.load(Ordering::Relaxed) > 400, "{asked:?}");
    // Entries were moved, not forgotten: each user was asked for once.
    let of_users = deployment.tenant.calls_to(Endpoint::User);
    let found = of_users.iter().filter(|call| call.status.is_some_and(|status| status == 200));
    assert_eq!(found.count(), 4);
    assert_eq!(deployment.tenant.calls_to(Endpoint::Token).len(), 1);
}

/// As the kubelet replaces what is in a secret's volume.
fn swap(volume: &Path, generation: &str, secret: &str) {
    fs::create_dir(volume.join(generation)).unwrap();
    fs::write(volume.join(generation).join("client-secret"), secret).unwrap();
    fs::set_permissions(volume.join(generation).join("client-secret"), PermissionsExt::from_mode(0o400))
        .unwrap();
    symlink(generation, volume.join("..data_tmp")).unwrap();
    fs::rename(volume.join("..data_tmp"), volume.join("..data")).unwrap();
}

/// Twice in a row, because a watch over the file would notice the first and miss the second.
#[test]
fn a_secret_that_is_swapped_twice_is_used_each_time() {
    let deployment = Deployment::new("");
    let volume = deployment.directory.path().join("volume");
    fs::create_dir(&volume).unwrap();
    swap(&volume, "..1", "demo-client-secret");
    symlink("..data/client-secret", volume.join("client-secret")).unwrap();
    let plain = deployment.directory.path().join("secret");
    edit(&deployment, plain.to_str().unwrap(), volume.join("client-secret").to_str().unwrap());
    let mut daemon = deployment.start();
    for (number, secret) in [("..2", "second-secret"), ("..3", "third-secret")] {
        let reloads = |log: &str| log.matches("\"changed\":\"tenant.client.secret\"").count();
        let before = reloads(&daemon.log());
        swap(&volume, number, secret);
        daemon.until("the secret is noticed", |daemon| reloads(&daemon.log()) == before + 1);
        deployment.tenant.rotate_client_secret(Secret::new(secret));
        // What was granted with the old one is good; now it is not, and the next has to be had with the new one. Not
        // sooner than ten seconds after the last, which would look like a tenant that refuses everything.
        deployment.tenant.revoke_management_tokens();
        daemon.until("a new token is had", |daemon| {
            assert_eq!(daemon.run(&["purge", "--all"]).0, 0);
            daemon.run(&["token", users::GOOGLE]).0 == 0
        });
    }
    let grants = deployment.tenant.calls_to(Endpoint::Token);
    let statuses: Vec<_> = grants.iter().map(|call| call.status.unwrap().as_u16()).collect();
    assert_eq!(statuses, [200, 200, 200], "no secret but the right one was ever tried");
    assert!(!daemon.log().contains("second-secret") && !daemon.log().contains("third-secret"));
}

/// As by tools that put each generation into a directory of its own, and move a link to it.
#[test]
fn a_secret_whose_directory_is_swapped_as_a_whole_is_noticed_and_used() {
    let deployment = Deployment::new("");
    // Not beside the configuration, where everything may be read.
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name);
    let swap = |generation: &str, secret: &str| {
        let directory = path("s.d").join(generation);
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("secret"), secret).unwrap();
        fs::set_permissions(directory.join("secret"), PermissionsExt::from_mode(0o400)).unwrap();
        symlink(directory, path("s.new")).unwrap();
        fs::rename(path("s.new"), path("s")).unwrap();
    };
    swap("1", "demo-client-secret");
    let old = deployment.directory.path().join("secret");
    edit(&deployment, old.to_str().unwrap(), path("s/secret").to_str().unwrap());
    let mut daemon = deployment.start();
    println!("tried with {}", daemon.log().lines().find(|line| line.contains("andboxed")).unwrap());
    for (number, generation) in ["2", "3"].into_iter().enumerate() {
        swap(generation, &format!("secret-{generation}"));
        // The old one goes at once, as it does with a volume that is renewed.
        fs::remove_dir_all(path("s.d").join((number + 1).to_string())).unwrap();
        daemon.until("the secret is noticed", |daemon| {
            daemon.log().matches("\"changed\":\"tenant.client.secret\"").count() == number + 1
        });
    }
    assert!(!daemon.log().contains("permission denied"), "{}", daemon.log());
    assert_eq!(daemon.run(&["reload"]), (0, "reloaded; nothing changed\n".into(), String::new()));
}

/// As the service manager renews credentials: a mount takes the place of a mount.
#[test]
fn a_secret_on_a_mount_that_is_renewed_is_used() {
    if !is_root() {
        return;
    }
    let deployment = Deployment::new("");
    // Not beside the configuration, where everything may be read.
    let place = tempfile::tempdir().unwrap();
    let mount = place.path().join("credentials/unit");
    fs::create_dir_all(&mount).unwrap();
    let old = deployment.directory.path().join("secret");
    edit(&deployment, old.to_str().unwrap(), mount.join("secret").to_str().unwrap());
    let renew = |secret: &str| {
        let (mount, secret) = (mount.display(), secret.to_owned());
        format!(
            "mount -t tmpfs none {mount} && printf %s {secret} > {mount}/secret && chmod 0400 {mount}/secret"
        )
    };
    let shell = |script: String, program: &str, args: &[&str]| {
        let mut command = std::process::Command::new(program);
        command
            .args(args)
            .args(["sh", "-c", &script])
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null());
        command
    };
    let serve = format!(
        "{} && exec {} serve --config {}",
        renew("demo-client-secret"),
        PROGRAM,
        deployment.config().display()
    );
    let command = shell(serve, "unshare", &["--mount"]);
    let mut daemon =
        crate::support::process::Daemon::launch(command, &deployment.config(), &deployment.socket());
    daemon.until("it is ready", |daemon| daemon.run(&["healthcheck", "--ready"]).0 == 0);
    println!("tried with {}", daemon.log().lines().find(|line| line.contains("andboxed")).unwrap());
    let pid = daemon.pid().to_string();
    let over = format!("umount {} && {}", mount.display(), renew("second-secret"));
    // Once in its place and once over it.
    for (number, script) in [over, renew("third-secret")].into_iter().enumerate() {
        assert!(shell(script, "nsenter", &["--mount", "--target", &pid]).status().unwrap().success());
        daemon.run(&["reload"]);
        daemon.until("the new secret is in force", |daemon| {
            daemon.log().matches("\"changed\":\"tenant.client.secret\"").count() == number + 1
        });
    }
    assert!(!daemon.log().contains("permission denied"), "{}", daemon.log());
}

/// What lies beside `/tmp/…` or `/run/…` is everybody's, and a sandbox that may read all of it is none.
#[test]
fn a_directory_that_the_sandbox_could_not_follow_is_said() {
    let deployment = Deployment::new("");
    let place = tempfile::tempdir_in("/tmp").unwrap();
    let link = deployment.directory.path().join("s");
    symlink(place.path(), &link).unwrap();
    let old = deployment.directory.path().join("secret");
    fs::copy(&old, place.path().join("secret")).unwrap();
    edit(&deployment, old.to_str().unwrap(), link.join("secret").to_str().unwrap());
    let said = format!("leads to {}: if that is replaced", place.path().display());
    let daemon = deployment.start();
    assert_eq!(daemon.log().contains(&said), daemon.log().contains("\"Sandboxed"), "{}", daemon.log());
    let (exit, out, _) = daemon.run(&["check", "--config", deployment.config().to_str().unwrap()]);
    assert!(exit == 0 && out.contains(&format!("warning: {}", link.join("secret").display())), "{out}");
    assert!(out.contains(&said), "{out}");
}

/// A daemon that Auth0 turned away need not wait for its next attempt, which may be minutes off.
#[test]
fn a_secret_that_mends_a_refusal_is_tried_at_once() {
    let deployment = Deployment::new("");
    let secret = deployment.directory.path().join("secret");
    fs::write(&secret, "wrong").unwrap();
    let mut daemon = crate::support::process::Daemon::start(&deployment.config(), &deployment.socket());
    daemon.until("it is turned away", |daemon| {
        daemon.log().contains("No Management token until this is fixed")
    });
    fs::write(&secret, "demo-client-secret").unwrap();
    daemon.until("it is ready", |daemon| daemon.run(&["healthcheck"]).0 == 0);
    assert_eq!(deployment.tenant.calls_to(Endpoint::Token).len(), 2);
}

/// Nothing is said of half a file; what stays unusable is named.
#[test]
fn a_replaced_secret_that_cannot_be_used_is_said_and_the_old_one_goes_on() {
    let deployment = Deployment::new("");
    let mut daemon = deployment.start();
    let secret = deployment.directory.path().join("secret");
    fs::write(&secret, "").unwrap();
    daemon
        .until("it is said", |daemon| daemon.log().contains("tenant.client.secret_file: the file is empty"));
    assert_eq!(daemon.run(&["token", users::GOOGLE]).0, 0);
    let said = || daemon.log().matches("reading the configuration again").count();
    let before = said();
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(said(), before, "once");
    fs::write(&secret, "another").unwrap();
    daemon.until("it is taken", |daemon| daemon.log().contains("\"changed\":\"tenant.client.secret\""));
}

/// Each secret of a connection's client has a file, and each file is watched beside that of the application.
#[test]
fn a_replaced_secret_of_a_connection_is_taken_and_so_is_the_one_before_it() {
    let deployment = Deployment::new("");
    let path = |name: &str| deployment.directory.path().join(name);
    let replace = |name: &str, secret: &str| {
        fs::write(path("new"), secret).unwrap();
        fs::set_permissions(path("new"), PermissionsExt::from_mode(0o400)).unwrap();
        fs::rename(path("new"), path(name)).unwrap();
    };
    replace("google", "google-1");
    replace("google.previous", "google-1");
    let mut text = fs::read_to_string(deployment.config()).unwrap();
    text.push_str(&format!(
        "[[connection]]\nname = \"google-oauth2\"\nsources = [\"identities\", \"refresh\"]\n\
         [connection.refresh]\nprovider = \"google\"\nclient_id = \"1234\"\nsecret_file = {:?}\n\
         previous_secret_file = {:?}\n",
        path("google"),
        path("google.previous"),
    ));
    fs::write(deployment.config(), text).unwrap();
    let mut daemon = deployment.start();
    for (name, key, secret) in [
        ("google", "connection.0.refresh.secret_file", "google-2"),
        ("google", "connection.0.refresh.secret_file", "google-3"),
        ("google.previous", "connection.0.refresh.previous_secret_file", "google-2"),
        ("secret", "tenant.client.secret", "another"),
    ] {
        let reloads = |log: &str| log.matches(&format!("\"changed\":\"{key}\"")).count();
        let before = reloads(&daemon.log());
        replace(name, secret);
        daemon.until("the secret is noticed", |daemon| reloads(&daemon.log()) == before + 1);
    }
    assert_eq!(daemon.run(&["reload"]), (0, "reloaded; nothing changed\n".into(), String::new()));
    assert!(!daemon.log().contains("google-2"), "{}", daemon.log());
}

#[test]
fn the_audit_log_is_neither_turned_on_nor_off_while_the_daemon_runs() {
    let deployment = Deployment::new("[audit]\nevents = \"notable\"\noutput = \"{dir}/audit.log\"\n");
    let daemon = deployment.start();
    let lines = || fs::read_to_string(deployment.directory.path().join("audit.log")).unwrap().lines().count();
    edit(&deployment, "\"notable\"", "\"none\"");
    let (_, out, _) = daemon.run(&["reload"]);
    assert_eq!(out.lines().next(), Some("needs a restart: audit.events: notable -> none"));
    let before = lines();
    assert_eq!(daemon.run(&["purge", "--all"]).0, 0);
    while lines() <= before {
        std::thread::sleep(Duration::from_millis(20));
    }
    edit(&deployment, "\"none\"", "\"all\"");
    assert_eq!(daemon.run(&["reload"]).1, "changed: audit.events: notable -> all\n");
}
