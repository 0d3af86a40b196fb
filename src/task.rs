//! Starts tasks. Each has a name, and a panic in one is logged.

use std::future::Future;

/// Runs `future` on the current runtime, detached from the caller.
///
/// A panic ends only that task. It is logged under the task's name without the panic's text, which could quote the
/// task's data.
///
/// # Panics
/// Outside a tokio runtime.
#[expect(clippy::disallowed_methods, reason = "this is the named spawn that the others are told to use")]
pub fn spawn<F>(name: &'static str, future: F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let task = run(name, future);
    tokio::spawn(async move {
        task.await;
    });
}

/// Runs `future` as a task and waits for its result; `None` if the task panicked.
///
/// # Panics
/// Outside a tokio runtime.
#[expect(clippy::disallowed_methods, reason = "this is the named spawn that the others are told to use")]
pub fn run<F>(name: &'static str, future: F) -> impl Future<Output = Option<F::Output>> + Send
where
    F: Future<Output: Send> + Send + 'static,
{
    let task = tokio::spawn(future);
    async move {
        match task.await {
            Ok(output) => Some(output),
            Err(end) => {
                if end.is_panic() {
                    tracing::error!(task = name, "A task panicked; the daemon continues without it");
                }
                None
            }
        }
    }
}
