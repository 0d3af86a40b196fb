//! `cloakroom serve`: the daemon.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use crate::app::descriptors::Descriptors;
use crate::app::reload::ConfigSource;
use crate::app::{self, Bound, Deps, Ended, Running, StartError};
use crate::config::{self, AuditOutput, Config, Env, Loaded};
use crate::process::notify::ServiceManager;
use crate::process::sandbox::{self, Needs, Sandbox};
use crate::process::signals::{SignalRequest, Signals};
use crate::process::{activation, hardening, limits};
use crate::task;
use crate::telemetry;

use super::{CommandError, Environment, wrong};

/// For `--help`.
pub const ABOUT: &str = "\
Run the daemon.

Every setting can come from the configuration file or from the environment, which wins: CLOAKROOM_ and the \
setting's path in upper case, levels joined by two underscores, such as CLOAKROOM_TENANT__DOMAIN. Without --config \
the file is /etc/cloakroom/cloakroom.toml, which may be absent when the environment says everything.

SIGTERM and Ctrl-C finish what was begun and end with exit code 0; a second one ends it at once. SIGHUP, \
`cloakroom reload` and a new client secret have the configuration read again. A configuration that is wrong is reported \
whole: at the start with exit code 78, later by going on with the old one. A user or group that is not known yet is \
waited for at the start, ten seconds, and then ends it with exit code 75, with which a supervisor starts it again.

Under systemd it uses the sockets that it is passed, and tells when it is ready and how it is.

Examples:
  cloakroom serve
  cloakroom serve --config ./cloakroom.toml
  CLOAKROOM_LOG__LEVEL=debug cloakroom serve";

/// How often users and groups that are not known are looked for, and how long between. With the ten seconds until a start
/// without Auth0 counts as one, less than a service manager's patience.
const ATTEMPTS: u32 = 10;
const BETWEEN_ATTEMPTS: Duration = Duration::from_secs(1);

/// What `serve` takes.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The configuration file [default: /etc/cloakroom/cloakroom.toml, if there is one]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Serves until a signal ends it.
///
/// Signals first, so that one that comes during start-up is not lost; then what keeps a secret in this process, before
/// there is one; then the configuration, before anything is bound; then whatever a sandbox would not let us do, and the
/// sandbox; and only then threads, which are in it because the one that starts them is. What was logged before that is
/// written by one of them.
pub fn run(args: &Args, environment: Environment) -> Result<(), CommandError> {
    let signals = Signals::register()
        .map_err(|cause| CommandError::failed(format!("signals cannot be handled: {cause}")))?;
    let passed = activation::take().map_err(|cause| CommandError::failed(cause.to_string()))?;
    let manager = ServiceManager::found(environment.contains_key("NOTIFY_SOCKET"));
    let limit = limits::raise_descriptors();
    let steps = hardening::apply();
    let source = source(args.config.clone(), environment.into_iter().collect());
    let Some(Loaded { config, warnings, files }) = load(&source, &signals)? else { return Ok(()) };
    // Its lines are written at the end of this function at the latest, before the error that it may return.
    let mut log = telemetry::log::init(&config.log).map_err(|cause| no_log(&cause))?;
    steps.into_iter().for_each(hardening::Step::log);
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    if config.runtime.lock_memory {
        hardening::lock_memory().map_err(|cause| CommandError::failed(cause.to_string()))?;
        tracing::info!("Memory is locked: nothing of it is written to swap");
    }
    let deps = Deps::production(&config).map_err(|cause| failed(cause.into()))?;
    let deps = Deps { source: Some(source), manager, ..deps };
    let mut bound = app::bind(&config, passed).map_err(failed)?;
    if let Some(limit) = limit {
        let descriptors = Descriptors::within(limit, &config);
        if let Some(warning) = descriptors.warning() {
            tracing::warn!("{warning}");
        }
        bound = bound.within(descriptors);
    }
    let remove = config.listeners.iter().map(|listener| listener.path.clone()).collect();
    let add_to = match &config.audit.output {
        AuditOutput::File(path) => vec![path.clone()],
        AuditOutput::Stdout | AuditOutput::Journald(_) => Vec::new(),
    };
    let lost = sandbox::lost(&files);
    let sandbox = sandbox::enter(&Needs { read: files, remove, add_to });
    sandbox.log();
    if !matches!(sandbox, Sandbox::None(_)) {
        lost.iter().for_each(|text| tracing::warn!("{text}"));
    }
    log.start().map_err(|cause| no_log(&cause))?;
    super::block_on(config.runtime.threads, serve(config, deps, bound, signals))
}

/// The same file and the same environment each time; what is in them may differ.
fn source(file: Option<PathBuf>, env: Env) -> ConfigSource {
    ConfigSource::new(move || config::load(file.as_deref(), &env))
}

/// Reads the configuration, and again for a while if all that is wrong are users or groups that may come: with a
/// directory such as LDAP, or another unit's `DynamicUser=`. `None` if a signal ended that.
///
/// Waited for here, because callers who connect to a socket of systemd's have a service that fails at once started again
/// at once, until both are given up on.
fn load(source: &ConfigSource, signals: &Signals) -> Result<Option<Loaded>, CommandError> {
    for attempt in 0..ATTEMPTS {
        match (source.load)() {
            Ok(loaded) => return Ok(Some(loaded)),
            Err(problems) if !problems.may_pass() => return Err(wrong(&problems)),
            // There is no log yet. If this cannot be written, the exit code remains.
            Err(problems) if attempt == 0 => {
                writeln!(io::stderr(), "waiting for users or groups that are not known yet:\n{problems}")
                    .ok();
            }
            Err(_) => {}
        }
        let end = signals.end_within(BETWEEN_ATTEMPTS);
        if end.map_err(|cause| CommandError::failed(format!("signals cannot be received: {cause}")))? {
            return Ok(None);
        }
    }
    (source.load)().map(Some).map_err(|problems| wrong(&problems))
}

fn failed(cause: StartError) -> CommandError {
    CommandError::failed(cause.to_string())
}

fn no_log(cause: &io::Error) -> CommandError {
    CommandError::failed(format!("the log's descriptor or thread cannot be had: {cause}"))
}

/// Makes the first thread for what blocks, which stays: see [`super::KEPT`]. Tried with a thread of our own, because
/// tokio panics where there is none.
async fn make_a_thread() -> io::Result<()> {
    let tried = std::thread::Builder::new().spawn(|| ())?;
    // It does nothing that could panic.
    tried.join().ok();
    tokio::task::spawn_blocking(|| ()).await.map_err(io::Error::other)
}

async fn serve(config: Config, deps: Deps, bound: Bound, signals: Signals) -> Result<(), CommandError> {
    make_a_thread().await.map_err(|cause| {
        CommandError::failed(format!(
            "no thread can be made for names and files: {cause}; raise LimitNPROC, TasksMax or the container's limit of \
             processes"
        ))
    })?;
    let running = app::start_on(bound, &config, deps).await.map_err(failed)?;
    for socket in &running.sockets {
        tracing::info!(version = env!("CARGO_PKG_VERSION"), tenant = %config.tenant.domain, socket = %socket.display(), "Listening");
    }
    if let Some(address) = config.admin.address {
        tracing::info!(%address, "Listening for probes and metrics");
    }
    // It holds secrets, which a reload may replace.
    drop(config);
    // A pipe that breaks can bring no signal any more: better to end now than never.
    if let Err(cause) = until_the_end(&running, signals).await {
        tracing::error!(%cause, "Signals cannot be received");
    }
    tracing::info!("Shutting down");
    match running.stop().await {
        Ended::Finished => tracing::info!("Everything that was begun is finished"),
        Ended::CutShort => {}
    }
    Ok(())
}

/// Reloads as often as it is asked to. What comes of it is in the log.
async fn until_the_end(running: &Running, signals: Signals) -> io::Result<()> {
    let mut signals = signals.receive()?;
    while signals.next().await? == SignalRequest::Reload {
        let reload = running.reload();
        task::spawn("reload", async move { drop(reload.await) });
    }
    Ok(())
}
