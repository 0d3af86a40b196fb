//! Waits for the head of an answer, for as long as the request's body moves or the provider may take.

use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::upload::{Progress, Upload};

/// The time limits of one call.
#[derive(Clone, Copy, Debug)]
pub struct CallTimes {
    /// For the head of the answer, from the end of the request's body.
    pub head: Duration,
    /// For each part of a body, in either direction.
    pub idle: Duration,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum NoAnswer<E> {
    /// The provider cannot be reached, or its answer is not valid.
    Failed(E),
    /// The provider was silent, or did not read.
    ProviderLate,
    /// The client did not send its body in time.
    ClientLate,
    /// The client broke its body off.
    ClientBroke,
    /// The client's body is too large.
    TooLarge,
}

/// What `opening` leads to, the answer to a request whose body is watched by `upload`.
pub async fn head<T, E>(
    opening: impl Future<Output = Result<T, E>>,
    upload: &Upload,
    times: CallTimes,
) -> Result<T, NoAnswer<E>> {
    let mut opening = pin!(opening);
    loop {
        let deadline = upload.deadline(times.idle, times.head);
        tokio::select! {
            biased;
            outcome = &mut opening => {
                return outcome.map_err(|failure| match upload.progress() {
                    // The failure is that of a request whose body was broken off.
                    Progress::TooLarge => NoAnswer::TooLarge,
                    Progress::Broken => NoAnswer::ClientBroke,
                    _ => NoAnswer::Failed(failure),
                });
            }
            () = sleep_until(deadline) => {
                if upload.deadline(times.idle, times.head) <= Instant::now() {
                    return Err(match upload.progress() {
                        Progress::AwaitsClient => NoAnswer::ClientLate,
                        _ => NoAnswer::ProviderLate,
                    });
                }
            }
        }
    }
}
