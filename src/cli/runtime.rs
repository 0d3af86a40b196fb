//! The tokio runtime of a command.

use std::future::Future;
use std::time::Duration;

use tokio::runtime::Builder;

use super::exit::CommandError;

/// How many steps of tasks the runtime takes before it checks for I/O events, even while there is more to do. tokio's
/// default of 61 fits short steps and equal connections. Here one client may have a hundred steps waiting, and another
/// client's request is noticed only at the next check, which costs about a microsecond.
const STEPS_PER_CHECK: u32 = 8;

/// Maximum number of threads for blocking work: name resolution and files. Further work waits for a thread.
const BLOCKING_THREADS: usize = 32;

/// How long an idle blocking thread is kept: forever, because the system may not provide another one. tokio panics if
/// it has no blocking thread and cannot start one. `serve` starts the first early. An idle thread takes a few pages.
pub(super) const THREAD_KEEP_ALIVE: Duration = Duration::from_secs(u32::MAX as u64);

/// Runs `command` to its end on this many threads; a single one is the calling thread.
///
/// Blocking work that is still running then is abandoned: name resolution cannot be cancelled, and would delay the end
/// of a finished command until the resolver times out.
pub(super) fn block_on<T>(
    threads: usize,
    command: impl Future<Output = Result<T, CommandError>>,
) -> Result<T, CommandError> {
    let mut builder = match threads {
        0 | 1 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    let runtime = builder
        .worker_threads(threads.max(1))
        .event_interval(STEPS_PER_CHECK)
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_keep_alive(THREAD_KEEP_ALIVE)
        .enable_all()
        .build()
        .map_err(|cause| CommandError::failed(format!("the runtime cannot be started: {cause}")))?;
    let outcome = runtime.block_on(command);
    runtime.shutdown_background();
    outcome
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_finished_command_does_not_wait_for_blocking_work() {
        for threads in [1, 2] {
            let ((hold, held), (done, ended)) = (mpsc::channel::<()>(), mpsc::channel());
            std::thread::spawn(move || {
                let outcome = block_on(threads, async {
                    // As name resolution does.
                    tokio::task::spawn_blocking(move || held.recv());
                    Ok(())
                });
                done.send(outcome)
            });
            // Generous: it fails only if the command never ends.
            assert_eq!(ended.recv_timeout(Duration::from_secs(30)), Ok(Ok(())), "{threads}");
            drop(hold);
        }
    }
}
