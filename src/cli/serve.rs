//! `cloakroom serve`: the daemon.

use std::path::PathBuf;

use crate::app::{self, Bound, Deps, Ended, StartError};
use crate::config::{AuditOutput, Config, Loaded};
use crate::process::hardening;
use crate::process::sandbox::{self, Needs};
use crate::process::signals::Signals;
use crate::telemetry;

use super::{CommandError, Environment};

/// For `--help`.
pub const ABOUT: &str = "\
Run the daemon.

Every setting can come from the configuration file or from the environment, which wins: CLOAKROOM_ and the \
setting's path in upper case, levels joined by two underscores, such as CLOAKROOM_TENANT__DOMAIN. Without --config \
the file is /etc/cloakroom/cloakroom.toml, which may be absent when the environment says everything.

SIGTERM and Ctrl-C finish what was begun and end with exit code 0. A configuration that is wrong is reported \
whole, with exit code 78.

Examples:
  cloakroom serve
  cloakroom serve --config ./cloakroom.toml
  CLOAKROOM_LOG__LEVEL=debug cloakroom serve";

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
/// sandbox; and only then threads, which are in it because the one that starts them is.
pub fn run(args: &Args, environment: Environment) -> Result<(), CommandError> {
    let signals = Signals::register()
        .map_err(|cause| CommandError::failed(format!("signals cannot be handled: {cause}")))?;
    let steps = hardening::give_up_what_is_not_needed();
    let Loaded { config, warnings, files } = super::configuration(args.config.as_deref(), environment)?;
    telemetry::log::init(&config.log);
    steps.into_iter().for_each(hardening::Step::tell);
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    if config.runtime.lock_memory {
        hardening::lock_memory().map_err(|cause| CommandError::failed(cause.to_string()))?;
        tracing::info!("Memory is locked: nothing of it is written to swap");
    }
    let deps = Deps::production(&config).map_err(|cause| failed(cause.into()))?;
    let sockets = app::bind(&config).map_err(failed)?;
    let remove = config.listeners.iter().map(|listener| listener.path.clone()).collect();
    let add_to = match &config.audit.output {
        AuditOutput::File(path) => vec![path.clone()],
        AuditOutput::Stdout | AuditOutput::Journald(_) => Vec::new(),
    };
    sandbox::enter(&Needs { read: files, remove, add_to }).tell();
    super::block_on(config.runtime.threads, serve(&config, deps, sockets, signals))
}

fn failed(cause: StartError) -> CommandError {
    CommandError::failed(cause.to_string())
}

async fn serve(config: &Config, deps: Deps, sockets: Bound, signals: Signals) -> Result<(), CommandError> {
    let running = app::start_on(sockets, config, deps).await.map_err(failed)?;
    for socket in &running.sockets {
        tracing::info!(version = env!("CARGO_PKG_VERSION"), tenant = %config.tenant.domain, socket = %socket.display(), "Listening");
    }
    // A pipe that breaks can bring no signal any more: better to end now than never.
    if let Err(cause) = signals.first().await {
        tracing::error!(%cause, "Signals cannot be received");
    }
    tracing::info!("Shutting down");
    match running.stop().await {
        Ended::Finished => tracing::info!("Everything that was begun is finished"),
        Ended::CutShort => {}
    }
    Ok(())
}
