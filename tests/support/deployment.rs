//! A tenant that listens in the test's own process, and a configuration that leads the real binary to it.

use std::path::{Path, PathBuf};

use cloakroom::clock::Clock;
use cloakroom::domain::freshness::Timestamp;
use cloakroom::fake_auth0::{CertificateKind, Listening, Tenant, TenantOptions};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::configuration::configuration;
use super::process::{Daemon, PROGRAM};

/// A tenant served from its own threads, and a configuration that leads to it.
pub struct Deployment {
    pub tenant: Tenant,
    pub listening: Option<Listening>,
    pub directory: TempDir,
    pub runtime: tokio::runtime::Runtime,
}

impl Deployment {
    pub fn new(settings: &str) -> Self {
        Self::with(TenantOptions::default(), settings)
    }

    pub fn with(options: TenantOptions, settings: &str) -> Self {
        Self::with_files(options, settings, |_, _| ())
    }

    /// The same with files that `prepare` puts into the directory.
    pub fn with_files(options: TenantOptions, settings: &str, prepare: impl FnOnce(&Tenant, &Path)) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let tenant = Tenant::new(Clock::system(), options).unwrap();
        let directory = tempfile::tempdir().unwrap();
        prepare(&tenant, directory.path());
        let guard = runtime.enter();
        let listening = tenant.listen(CertificateKind::Good).unwrap();
        drop(guard);
        let deployment = Self { tenant, listening: Some(listening), directory, runtime };
        deployment.configure(settings);
        deployment
    }

    fn configure(&self, settings: &str) {
        let listening = self.listening.as_ref().unwrap();
        let (domain, ca_pem) = (listening.domain(), Some(listening.ca_pem()));
        std::fs::write(self.config(), configuration(domain, &self.tenant, ca_pem, &self.directory, settings))
            .unwrap();
        // There may come a secret into it.
        std::fs::set_permissions(self.config(), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    }

    pub fn config(&self) -> PathBuf {
        self.directory.path().join("cloakroom.toml")
    }

    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("run/api.sock")
    }

    pub fn start(&self) -> Daemon {
        let daemon = Daemon::start(&self.config(), &self.socket());
        let (exit, _, why) = daemon.run(&["wait"]);
        assert_eq!(exit, 0, "{why}");
        daemon
    }

    /// Starts the daemon under a limit that the shell's `ulimit` sets, soft and hard.
    pub fn start_limited(&self, ulimit: &str) -> Daemon {
        let script = format!("ulimit {ulimit} && exec {PROGRAM} serve --config {}", self.config().display());
        let mut daemon = Daemon::of_script(&script, &self.config(), &self.socket());
        daemon.until("it is ready", |daemon| daemon.run(&["healthcheck", "--ready"]).0 == 0);
        daemon
    }
}

/// A user who has logged in at `now`, and got a token of `lifetime` seconds through each connection; and when those
/// die, exactly.
pub fn logged_in(user: &str, tokens: &[(&str, &str)], lifetime: i64, now: Timestamp) -> (Value, Timestamp) {
    let identities = tokens.iter().map(|(connection, token)| {
        json!({
            "provider": connection, "connection": connection, "user_id": "1", "isSocial": true,
            "access_token": token, "expires_in": lifetime,
        })
    });
    // Dates print in whole seconds, so the login is at the second that has begun.
    let profile = json!({
        "user_id": user, "last_login": now.to_string(), "identities": identities.collect::<Vec<_>>(),
    });
    (profile, Timestamp::from_secs(now.as_secs() + lifetime))
}
