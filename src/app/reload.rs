//! Reads the configuration again and puts it into force, whole or not at all, while requests go on.
//!
//! One task does it, one time after the other, whoever asks: a caller of `POST /v1/reload`, SIGHUP, or the watch over
//! the client's secret. Everything that can fail is done before anything is changed.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::api::types::{ChangeAnswer, ReloadAnswer};
use crate::api::{ListenerTerms, Reloading, Services};
use crate::config::{Change, Client, Config, Loaded, Problems, Reread, Shutdown, Tenant};
use crate::domain::policy::{Policy, Rule};
use crate::process::notify::ServiceManager;
use crate::telemetry;
use crate::upstream::Auth0;
use crate::upstream::transport::{self, Transport, TransportError};

/// How long the files may take to be read: those on a network file system whose server is away may take for ever.
const READING: Duration = Duration::from_secs(30);

/// Where the configuration comes from, again and again.
pub struct Source {
    /// Reads it. Blocks.
    pub load: Box<dyn Fn() -> Result<Loaded, Problems> + Send + Sync>,
    /// Makes a way to Auth0. Blocks.
    pub connect: Connect,
}

impl Source {
    /// A source whose configurations are put into force for real.
    pub fn new(load: impl Fn() -> Result<Loaded, Problems> + Send + Sync + 'static) -> Self {
        Self { load: Box::new(load), connect: Box::new(transport::build) }
    }
}

/// Makes a way to Auth0.
pub type Connect = Box<dyn Fn(&Tenant) -> Result<Arc<dyn Transport>, TransportError> + Send + Sync>;

/// What was read, ready to be put into force; or every problem.
type Read = Result<(Reread, Vec<String>, Arc<dyn Transport>), Vec<String>>;

/// What became of it.
pub(super) type Outcome = Result<ReloadAnswer, Vec<String>>;

/// Asks the task that reloads.
#[derive(Clone)]
pub(super) struct Reloads(mpsc::Sender<Asked>);

/// One who wants a reload.
pub(super) struct Asked {
    by: By,
    answer: oneshot::Sender<Outcome>,
}

/// Why there is a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    /// A person wants it, by whichever way. Something may have been mended that no file shows, as in Auth0's dashboard.
    Person,
    /// The client's secret was replaced on disk.
    Watch,
}

impl Reloads {
    /// The asking end, and the task's.
    pub(super) fn new() -> (Self, mpsc::Receiver<Asked>) {
        // Further ones wait; each of them wants what is on disk when its turn comes.
        let (ask, asked) = mpsc::channel(8);
        (Self(ask), asked)
    }

    /// Reads the configuration again. A caller that goes away aborts nothing.
    pub(super) fn ask(&self, by: By) -> Reloading {
        let ask = self.0.clone();
        Box::pin(async move {
            let (answer, answered) = oneshot::channel();
            let gone =
                || Err(vec!["the daemon is shutting down, and reads no configuration any more".to_owned()]);
            if ask.send(Asked { by, answer }).await.is_err() {
                return gone();
            }
            answered.await.unwrap_or_else(|_| gone())
        })
    }
}

/// The task that reloads.
pub(super) struct Reloader {
    pub(super) running: Config,
    pub(super) source: Option<Arc<Source>>,
    pub(super) services: Arc<Services>,
    pub(super) auth0: Auth0,
    pub(super) own_uid: u32,
    /// Each listener's, in the order of `running.listeners`.
    pub(super) terms: Vec<watch::Sender<Arc<ListenerTerms>>>,
    pub(super) shutdown: watch::Sender<Shutdown>,
    /// Tells the watch over the secret whose that is now.
    pub(super) client: watch::Sender<Arc<Client>>,
    pub(super) user_tokens: super::UserTokensFor,
    pub(super) manager: ServiceManager,
    /// The problems of the last attempt, so that the same ones are said once.
    pub(super) last_problems: Option<Vec<String>>,
    /// An attempt that took too long. What it comes to is dropped.
    pub(super) hanging: Option<Hanging>,
}

/// A read that was given up on, whose thread nothing can end.
pub(super) struct Hanging(JoinHandle<Read>);

impl Reloader {
    /// Ends when nobody is left who could ask.
    pub(super) async fn run(mut self, mut asked: mpsc::Receiver<Asked>) {
        while let Some(Asked { by, answer }) = asked.recv().await {
            self.manager.reloading();
            let outcome = self.reload(by).await;
            self.services.counters.reloaded(outcome.is_ok());
            self.tell(&outcome);
            self.manager.reloaded(self.services.sentence());
            // Whoever asked may have gone.
            answer.send(outcome).ok();
        }
    }

    async fn reload(&mut self, by: By) -> Outcome {
        let Some(source) = self.source.clone() else {
            return Err(vec![
                "this daemon's configuration comes from no file that could be read again".to_owned(),
            ]);
        };
        // Each attempt that hangs holds a thread.
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
            // Always: tenant.ca_file may hold others than before.
            let transport =
                (source.connect)(&reread.config.tenant).map_err(|cause| vec![cause.to_string()])?;
            Ok((reread, warnings, transport))
        });
        let fault = |_| Err(vec!["reading the configuration has failed by a fault of ours".to_owned()]);
        let Ok(read_in_time) = tokio::time::timeout(READING, &mut read).await else {
            self.hanging = Some(Hanging(read));
            return Err(vec![format!(
                "the configuration and its files could not be read within {} s: does the file system of one of them hang?",
                READING.as_secs()
            )]);
        };
        let (reread, warnings, transport) = read_in_time.unwrap_or_else(fault)?;
        let Reread { config, changed, needs_restart } = reread;
        self.put_into_force(config, transport, by);
        Ok(ReloadAnswer {
            changed: changed.into_iter().map(answer).collect(),
            needs_restart: needs_restart.into_iter().map(answer).collect(),
            warnings,
        })
    }

    /// Cannot fail.
    fn put_into_force(&mut self, mut config: Config, transport: Arc<dyn Transport>, by: By) {
        config.client = self.auth0.known(config.client);
        let (before, services) = (&self.running, &self.services);
        let new_credentials = !before.client.has_credentials_of(&config.client);
        telemetry::log::set_level(config.log.level);
        services.audit.reconfigure(config.audit.events);
        self.auth0.reconfigure(&config.tenant, &config.client, config.upstream, transport);
        services.management.reconfigure(config.management, new_credentials || by == By::Person);
        services.cache.reconfigure(&config.cache);
        if before.me != config.me {
            services.set_user_tokens((self.user_tokens)(&config));
        }
        for ((terms, old), new) in self.terms.iter().zip(&before.listeners).zip(&config.listeners) {
            // Where the rates are the same, they go on counting.
            if old.allow != new.allow || old.require_request_header != new.require_request_header {
                let policy = Policy::new(self.own_uid, new.allow.as_slice());
                let rates = |rules: &[Rule]| -> Vec<_> {
                    rules.iter().map(|rule| (rule.uid, rule.gid, rule.rate)).collect()
                };
                let same = (rates(&old.allow) == rates(&new.allow)).then(|| Arc::clone(&terms.borrow()));
                terms.send_replace(ListenerTerms::new(policy, new.require_request_header, same.as_deref()));
            }
        }
        self.shutdown.send_replace(config.shutdown);
        self.client.send_replace(Arc::clone(&config.client));
        self.running = config;
    }

    /// One line for each time, so that whoever reads the log knows which configuration is in force.
    fn tell(&mut self, outcome: &Outcome) {
        match outcome {
            Ok(answer) => {
                for warning in &answer.warnings {
                    tracing::warn!("{warning}");
                }
                let changed = keys(&answer.changed);
                tracing::info!(changed, "Configuration reloaded");
                if !answer.needs_restart.is_empty() {
                    let settings = keys(&answer.needs_restart);
                    tracing::warn!(settings, "These settings need a restart; the old ones go on");
                }
                self.last_problems = None;
            }
            Err(problems) if self.last_problems.as_ref() == Some(problems) => {
                tracing::debug!("The configuration is still wrong; the old one goes on");
            }
            Err(problems) => {
                for problem in problems {
                    tracing::error!("{problem}");
                }
                tracing::error!("The new configuration is refused; the old one goes on");
                self.last_problems = Some(problems.clone());
            }
        }
    }
}

/// One line each; and what a running daemon cannot read, it may well be able to after a restart.
fn listed(problems: &Problems) -> Vec<String> {
    let mut listed: Vec<_> = problems.iter().map(ToString::to_string).collect();
    if problems.is_permission_denied() {
        listed.push(
            "a running daemon reads no files but those in the directories that its configuration named when it \
             started: for others, restart it"
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
