//! `cloakroom wait`: for whoever starts after the daemon.

use std::io;
use std::time::Duration;

use crate::domain::span;

use super::client::{Client, ClientError};
use super::text::visible;
use super::{CommandError, Exit, Socket};

/// For `--help`.
pub const ABOUT: &str = "\
Wait until the daemon is ready.

A daemon that has not made its socket yet is waited for like any other. Exit code 0 as soon as it is ready, 69 \
with the last reason if it is not in time.

Examples:
  cloakroom wait && exec my-service
  cloakroom wait --timeout 2m";

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// What `wait` takes.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// How long, such as 30s or 2m; a number alone is seconds
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    pub timeout: Duration,
    /// Where the daemon is.
    #[command(flatten)]
    pub socket: Socket,
}

/// Asks until the answer is yes or the time is over.
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

/// Ends in an error only where waiting cannot help. That permission is denied can pass: a daemon makes its socket
/// first and opens it to others then.
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

/// The probe's line begins with the words that ours begins with.
fn without_verdict(reason: &str) -> String {
    reason.strip_prefix("not ready: ").unwrap_or(reason).into()
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    span::parse_seconds_or_units(text)
        .ok_or_else(|| "give seconds or a duration: 60, 30s, 2m or 1h30m".into())
}

#[cfg(test)]
mod tests {
    use super::duration;
    use std::time::Duration;

    #[test]
    fn durations_are_read_with_their_unit_and_seconds_without() {
        assert_eq!(duration("30"), Ok(Duration::from_secs(30)));
        assert_eq!(duration("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        for wrong in ["-30", "-30s", "1.5", "", "soon", "1y"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
