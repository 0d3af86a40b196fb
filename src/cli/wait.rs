//! `cloakroom wait`: waits until the daemon is ready.

use std::io;
use std::time::Duration;

use super::client::{Client, ClientError};
use super::text::visible;
use super::values::duration;
use super::{CommandError, Exit, SocketArgs};

/// For `--help`.
pub const ABOUT: &str = "\
Wait until the daemon is ready.

Also waits for a daemon that has not made its socket yet. Exit code 0 as soon as it is ready, 69 with the last \
reason after the timeout.

Examples:
  cloakroom wait && exec my-service
  cloakroom wait --timeout 2m";

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The arguments of `wait`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The timeout, such as 30s or 2m; a number alone is seconds
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    pub timeout: Duration,
    /// The daemon's socket.
    #[command(flatten)]
    pub socket: SocketArgs,
}

/// Probes the daemon until it is ready or the timeout ends.
pub async fn run(args: &Args, _out: &mut impl io::Write) -> Result<(), CommandError> {
    let client = Client::new(&args.socket.path);
    let mut last = String::from("the daemon has not answered yet");
    match tokio::time::timeout(args.timeout, until_ready(&client, &mut last)).await {
        Ok(outcome) => outcome.map_err(Into::into),
        Err(_) => {
            let text = format!("not ready after {:?}: {last}", args.timeout);
            Err(CommandError::new(Exit::Unavailable, text))
        }
    }
}

/// Probes until the daemon is ready. Returns an error only if waiting cannot help. A denied permission may pass,
/// because the daemon makes its socket first and opens it to others later.
async fn until_ready(client: &Client, last: &mut String) -> Result<(), ClientError> {
    let mut pause = FIRST_PAUSE;
    loop {
        match client.probe("/readyz").await {
            Ok(probe) if probe.passed => return Ok(()),
            Ok(probe) => *last = without_verdict(&probe.reason),
            Err(error @ ClientError::PathTooLong { .. }) => return Err(error),
            Err(error) => *last = visible(&error.to_string()).into_owned(),
        }
        tokio::time::sleep(pause).await;
        pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
    }
}

/// Removes the words of the probe's line with which this command's text begins already.
fn without_verdict(reason: &str) -> String {
    reason.strip_prefix("not ready: ").unwrap_or(reason).into()
}
