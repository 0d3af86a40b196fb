//! The one place that starts tasks: each has a name, and a panic in one is seen.

use std::future::Future;

/// Runs `future` on the current runtime, detached from whoever asked for it.
///
/// A panic ends that task alone and is logged under its name, without the panic's text, which could quote what
/// the task was working on.
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

/// The same for a result that is waited for; `None` if the task panicked.
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
                    tracing::error!(task = name, "A task panicked; the daemon goes on without it");
                }
                None
            }
        }
    }
}
