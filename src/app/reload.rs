//! Reloads the configuration completely or not at all, while requests go on.
//!
//! One task does all reloads in order. A client of `POST /v1/reload`, SIGHUP, and the watch over the client's secret
//! request them. Everything that can fail is done before anything is changed.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::api::proxy::ProxiedApis;
use crate::api::types::{ChangeAnswer, ReloadAnswer};
use crate::api::{ListenerTerms, Reloading, Services};
use crate::config::{Change, Config, Loaded, Problems, Reread};
use crate::domain::policy::{Policy, Rule};
use crate::process::notify::ServiceManager;
use crate::providers::Providers;
use crate::sources::Sources;
use crate::telemetry;
use crate::transport::TransportError;
use crate::upstream::vault::Vault;
use crate::upstream::{Auth0, ManagementApi};
use crate::user_token::UserTokens;

use super::end_limits::EndLimits;
use super::secret_files::SecretFiles;
use super::transports::Transports;

/// Timeout for reading the files. On a network file system whose server does not respond, a read never ends.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// Loads configurations, at the start and for each reload.
pub struct ConfigSource {
    /// Loads the configuration. Blocks.
    pub load: Box<dyn Fn() -> Result<Loaded, Problems> + Send + Sync>,
    /// Makes the transports. Blocks.
    pub connect: Connect,
}

impl ConfigSource {
    /// Makes a source with the production transports.
    pub fn new(load: impl Fn() -> Result<Loaded, Problems> + Send + Sync + 'static) -> Self {
        Self { load: Box::new(load), connect: Box::new(Transports::build) }
    }
}

/// Makes the transports for a configuration.
pub type Connect = Box<dyn Fn(&Config) -> Result<Transports, TransportError> + Send + Sync>;

/// A configuration that is ready to be applied, with its warnings and transports; or every problem.
type Read = Result<(Reread, Vec<String>, Transports), Vec<String>>;

/// Makes the verifier of user tokens for a configuration; `None` if `/v1/me` is off.
pub(super) type UserTokensFor = Box<dyn Fn(&Config) -> Option<Arc<UserTokens>> + Send + Sync>;

/// The result of a reload.
pub(super) type ReloadOutcome = Result<ReloadAnswer, Vec<String>>;

/// Requests reloads from the task that does them.
#[derive(Clone)]
pub(super) struct Reloads(mpsc::Sender<ReloadRequest>);

/// A request for a reload.
pub(super) struct ReloadRequest {
    by: By,
    answer: oneshot::Sender<ReloadOutcome>,
}

/// Why a reload is requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    /// An operator requests it. Something outside of the files may have been fixed, as in Auth0's dashboard.
    Operator,
    /// A secret was replaced on disk.
    Watch,
}

impl Reloads {
    /// Makes the requesting end and the task's end.
    pub(super) fn new() -> (Self, mpsc::Receiver<ReloadRequest>) {
        // Further requests wait; each reads what is on disk at its turn.
        let (ask, asked) = mpsc::channel(8);
        (Self(ask), asked)
    }

    /// Requests a reload. Dropping the future does not abort it.
    pub(super) fn ask(&self, by: By) -> Reloading {
        let ask = self.0.clone();
        Box::pin(async move {
            let (answer, answered) = oneshot::channel();
            let gone = || Err(vec!["the daemon is shutting down and does not reload".to_owned()]);
            if ask.send(ReloadRequest { by, answer }).await.is_err() {
                return gone();
            }
            answered.await.unwrap_or_else(|_| gone())
        })
    }
}

/// The task that reloads.
pub(super) struct Reloader {
    pub(super) running: Config,
    pub(super) source: Option<Arc<ConfigSource>>,
    pub(super) services: Arc<Services>,
    pub(super) auth0: Auth0,
    pub(super) management_api: ManagementApi,
    pub(super) vault: Vault,
    pub(super) providers: Providers,
    pub(super) sources: Sources,
    pub(super) own_uid: u32,
    /// The terms of each listener, in the order of `running.listeners`.
    pub(super) terms: Vec<watch::Sender<Arc<ListenerTerms>>>,
    pub(super) limits: watch::Sender<EndLimits>,
    /// Notifies the watch over secrets of those in force.
    pub(super) secrets: watch::Sender<Vec<SecretFiles>>,
    pub(super) user_tokens: UserTokensFor,
    pub(super) manager: ServiceManager,
    /// The problems of the last attempt, so that equal ones are logged once.
    pub(super) last_problems: Option<Vec<String>>,
    /// An attempt that timed out. Its result is dropped.
    pub(super) hanging: Option<Hanging>,
}

/// A read that timed out. Its thread cannot be stopped.
pub(super) struct Hanging(JoinHandle<Read>);

impl Reloader {
    /// Runs until every requesting end is dropped.
    pub(super) async fn run(mut self, mut asked: mpsc::Receiver<ReloadRequest>) {
        while let Some(ReloadRequest { by, answer }) = asked.recv().await {
            self.manager.reloading();
            let outcome = self.reload(by).await;
            self.services.counters.reloaded(outcome.is_ok());
            self.log(&outcome);
            self.manager.reloaded(self.services.sentence());
            // The requester may be gone.
            answer.send(outcome).ok();
        }
    }

    async fn reload(&mut self, by: By) -> ReloadOutcome {
        let Some(source) = self.source.clone() else {
            return Err(vec![
                "this daemon's configuration does not come from a file that could be reread".to_owned(),
            ]);
        };
        // Each hanging attempt occupies a thread.
        self.hanging.take_if(|Hanging(read)| read.is_finished());
        if self.hanging.is_some() {
            return Err(vec![
                "an earlier reload is still reading a file: does the file system of one of them hang?"
                    .to_owned(),
            ]);
        }
        let running = self.running.clone();
        let mut read = tokio::task::spawn_blocking(move || {
            let Loaded { config, warnings, files: _ } =
                (source.load)().map_err(|problems| listed(&problems))?;
            let reread = running.reread(config).map_err(|problem| vec![problem])?;
            // Always, because tenant.ca_file may have other content.
            let transports = (source.connect)(&reread.config).map_err(|cause| vec![cause.to_string()])?;
            Ok((reread, warnings, transports))
        });
        let fault =
            |_| Err(vec!["reading the configuration failed because of a bug in cloakroom".to_owned()]);
        let Ok(read_in_time) = tokio::time::timeout(READ_TIMEOUT, &mut read).await else {
            self.hanging = Some(Hanging(read));
            return Err(vec![format!(
                "the configuration and its files could not be read within {} s: does the file system of one of them hang?",
                READ_TIMEOUT.as_secs()
            )]);
        };
        let (reread, warnings, transports) = read_in_time.unwrap_or_else(fault)?;
        let Reread { config, changed, needs_restart } = reread;
        self.apply(config, transports, by);
        Ok(ReloadAnswer {
            changed: changed.into_iter().map(answer).collect(),
            needs_restart: needs_restart.into_iter().map(answer).collect(),
            warnings,
        })
    }

    /// Applies a configuration. Cannot fail.
    fn apply(&mut self, mut config: Config, transports: Transports, by: By) {
        config.client = self.auth0.known(config.client);
        config.management_api = config.management_api.map(|client| self.management_api.known(client));
        let (before, services) = (&self.running, &self.services);
        let new_credentials = !before.client.has_credentials_of(&config.client);
        telemetry::log::set_level(config.log.level);
        services.audit.reconfigure(config.audit.events);
        for connection in &mut config.connections {
            *connection = connection.clone().sharing(&before.connections);
        }
        config.vault = config.vault.map(|vault| vault.sharing(before.vault.as_ref()));
        let orders = config.source_orders();
        self.auth0.reconfigure(&config.tenant, &config.client, config.upstream, orders, transports.auth0);
        self.management_api.reconfigure(&config, transports.management_api, by == By::Operator);
        self.vault.reconfigure(config.vault.clone().unwrap_or_default());
        self.providers.reconfigure(&config.providers, transports.providers);
        self.sources.reconfigure(&config.connections);
        services.set_proxied_apis(ProxiedApis::new(&config.proxied_apis, transports.apis));
        services.management.reconfigure(config.management, new_credentials || by == By::Operator);
        services.cache.reconfigure(&config.cache);
        if before.me != config.me {
            services.set_user_tokens((self.user_tokens)(&config));
        }
        for ((terms, old), new) in self.terms.iter().zip(&before.listeners).zip(&config.listeners) {
            // If the rates are the same, their counts are kept.
            if old.allow != new.allow || old.require_request_header != new.require_request_header {
                let policy = Policy::new(self.own_uid, new.allow.as_slice());
                let rates = |rules: &[Rule]| -> Vec<_> {
                    rules.iter().map(|rule| (rule.uid, rule.gid, rule.rate)).collect()
                };
                let same = (rates(&old.allow) == rates(&new.allow)).then(|| Arc::clone(&terms.borrow()));
                terms.send_replace(ListenerTerms::new(policy, new.require_request_header, same.as_deref()));
            }
        }
        self.limits.send_replace(EndLimits::of(&config));
        self.secrets.send_replace(SecretFiles::all_of(&config));
        self.running = config;
    }

    /// Logs every reload, so that the log shows which configuration applies.
    fn log(&mut self, outcome: &ReloadOutcome) {
        match outcome {
            Ok(answer) => {
                for warning in &answer.warnings {
                    tracing::warn!("{warning}");
                }
                let changed = keys(&answer.changed);
                tracing::info!(changed, "Configuration reloaded");
                if !answer.needs_restart.is_empty() {
                    let settings = keys(&answer.needs_restart);
                    tracing::warn!(settings, "These settings need a restart; the old ones still apply");
                }
                self.last_problems = None;
            }
            Err(problems) if self.last_problems.as_ref() == Some(problems) => {
                tracing::debug!("The configuration is still wrong; the old one still applies");
            }
            Err(problems) => {
                for problem in problems {
                    tracing::error!("{problem}");
                }
                tracing::error!("The new configuration is refused; the old one still applies");
                self.last_problems = Some(problems.clone());
            }
        }
    }
}

/// Lists the problems. Adds advice if a file cannot be read, which may be readable after a restart.
fn listed(problems: &Problems) -> Vec<String> {
    let mut listed: Vec<_> = problems.iter().map(ToString::to_string).collect();
    if problems.is_permission_denied() {
        listed.push(
            "a running daemon can only read files in the directories that its configuration named at the start: for \
             others, restart it"
                .to_owned(),
        );
    }
    listed
}

fn answer(Change { key, values }: Change) -> ChangeAnswer {
    let (from, to) = values.unzip();
    ChangeAnswer { key, from, to }
}

fn keys(changes: &[ChangeAnswer]) -> String {
    changes.iter().map(|change| change.key.as_str()).collect::<Vec<_>>().join(" ")
}
