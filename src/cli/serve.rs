//! `cloakroom serve`: runs the daemon.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use crate::app::descriptor_limits::Descriptors;
use crate::app::reload::ConfigSource;
use crate::app::{self, Bound, Deps, Ended, Running, StartError};
use crate::config::{self, AuditOutput, Config, Env, Loaded};
use crate::domain::error::Refusal;
use crate::process::notify::ServiceManager;
use crate::process::sandbox::{self, Needs, Sandbox};
use crate::process::signals::{SignalRequest, Signals};
use crate::process::{activation, hardening, limits};
use crate::task;
use crate::telemetry;

use super::configuration::{Environment, wrong};
use super::exit::{CommandError, Exit};
use super::runtime::block_on;

/// For `--help`.
pub const ABOUT: &str = "\
Run the daemon.

Every setting can come from the configuration file or from the environment, which wins: CLOAKROOM_ and the \
setting's path in upper case, levels joined by two underscores, such as CLOAKROOM_TENANT__DOMAIN. Without --config \
the file is /etc/cloakroom/cloakroom.toml, which may be absent if the environment sets every required key.

After SIGTERM or Ctrl-C the daemon finishes running requests and ends with exit code 0; a second signal ends it at \
once. SIGHUP and `cloakroom reload` cause a reload, and so does new content of a file with the client's secret, key or \
certificate, with the key of [vault], or with a connection's secret. All problems of a configuration are reported: at \
the start with exit code 78; at a reload, the daemon keeps the old configuration. At the start the daemon waits ten \
seconds for a user or group that is not known yet, and then ends with exit code 75, after which a supervisor restarts it.

Under systemd the daemon uses the sockets that it is passed, and notifies systemd of its state.

Examples:
  cloakroom serve
  cloakroom serve --config ./cloakroom.toml
  CLOAKROOM_LOG__LEVEL=debug cloakroom serve";

/// How often unknown users and groups are looked up at the start. Together with the ten seconds after which a start
/// without Auth0 counts as complete, this takes less than a service manager's timeout.
const ATTEMPTS: u32 = 10;
/// Delay between two lookups of unknown users and groups.
const BETWEEN_ATTEMPTS: Duration = Duration::from_secs(1);

/// The arguments of `serve`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The configuration file [default: /etc/cloakroom/cloakroom.toml, if there is one]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Serves until a signal ends the daemon.
///
/// The order matters. Signals come first, so that none during the start is lost. Hardening precedes the first secret in
/// memory. The configuration precedes every socket. Whatever the sandbox forbids precedes the sandbox, and threads
/// start last, because they inherit it. One of them writes the lines that were logged before.
pub fn run(args: &Args, environment: Environment) -> Result<(), CommandError> {
    let signals = Signals::register()
        .map_err(|cause| CommandError::failed(format!("signals cannot be handled: {cause}")))?;
    let passed = activation::take().map_err(|cause| CommandError::failed(cause.to_string()))?;
    let manager = ServiceManager::found(environment.contains_key("NOTIFY_SOCKET"));
    let limit = limits::raise_descriptors();
    let steps = hardening::apply();
    let source = source(args.config.clone(), environment.into_iter().collect());
    let Some(Loaded { config, warnings, files }) = load(&source, &signals)? else { return Ok(()) };
    // The guard writes its lines at the end of this function at the latest, before `main` prints an error.
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
    block_on(config.runtime.threads, serve(config, deps, bound, signals))
}

/// Makes the source of the configuration for the start and each reload: the file and the environment.
fn source(file: Option<PathBuf>, env: Env) -> ConfigSource {
    ConfigSource::new(move || config::load(file.as_deref(), &env))
}

/// Loads the configuration. Retries for a while if its only problems are unknown users or groups, which a directory
/// such as LDAP or another unit's `DynamicUser=` may still provide. Returns `None` if a signal ended the wait.
///
/// The daemon waits itself: with socket activation, systemd restarts a failing service at once for each waiting client,
/// until it stops both the service and the socket.
fn load(source: &ConfigSource, signals: &Signals) -> Result<Option<Loaded>, CommandError> {
    for attempt in 0..ATTEMPTS {
        match (source.load)() {
            Ok(loaded) => return Ok(Some(loaded)),
            Err(problems) if !problems.may_pass() => return Err(wrong(&problems)),
            // The log is not set up yet. If this cannot be written, the exit code still tells.
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
    CommandError::failed(format!("the log's descriptor or thread cannot be made: {cause}"))
}

/// Starts the first blocking thread, which is kept: see [`super::runtime::THREAD_KEEP_ALIVE`]. A plain thread is tried
/// first, because tokio panics if none can be started.
async fn start_blocking_thread() -> io::Result<()> {
    let tried = std::thread::Builder::new().spawn(|| ())?;
    // The thread cannot panic.
    tried.join().ok();
    tokio::task::spawn_blocking(|| ()).await.map_err(io::Error::other)
}

async fn serve(config: Config, deps: Deps, bound: Bound, signals: Signals) -> Result<(), CommandError> {
    start_blocking_thread().await.map_err(|cause| {
        CommandError::failed(format!(
            "no thread can be started for names and files: {cause}; raise LimitNPROC, TasksMax or the container's limit of \
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
    // The configuration contains secrets, which a reload may replace.
    drop(config);
    let end = until_end(&running, signals).await;
    tracing::info!("Shutting down");
    match running.stop().await {
        Ended::Finished => tracing::info!("Everything that was begun is finished"),
        Ended::CutShort => {}
    }
    match end {
        End::Asked => Ok(()),
        End::Unfit(refusal) => Err(CommandError::new(Exit::Configuration, refusal.to_string())),
    }
}

/// Why the daemon ends.
enum End {
    /// A signal ends it, or none can be received.
    Asked,
    /// The configuration turned out to be wrong.
    Unfit(Refusal),
}

/// Waits for a signal that ends the daemon, and reloads on request. The log contains the result of a reload.
async fn until_end(running: &Running, signals: Signals) -> End {
    // Without signals the daemon could not be stopped, so it ends now.
    let unreceived = |cause: io::Error| {
        tracing::error!(%cause, "Signals cannot be received");
        End::Asked
    };
    let mut signals = match signals.receive() {
        Ok(signals) => signals,
        Err(cause) => return unreceived(cause),
    };
    loop {
        let request = tokio::select! {
            request = signals.next() => request,
            refusal = running.unfit() => return End::Unfit(refusal),
        };
        match request {
            Ok(SignalRequest::Reload) => {
                let reload = running.reload();
                task::spawn("reload", async move { drop(reload.await) });
            }
            Ok(_) => return End::Asked,
            Err(cause) => return unreceived(cause),
        }
    }
}
