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

use cloakroom::clock::Clock;
use cloakroom::demo::{CertificateKind, Endpoint, Tenant, TenantOptions, users};
use support::process::{Daemon, finish, is_root};
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
        .stderr(std::process::Stdio::null())
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
