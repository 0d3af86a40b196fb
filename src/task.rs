//! The one place that starts tasks: each has a name, and a panic in one is seen.

use std::future::Future;

use tokio::task::JoinHandle;

/// Runs `future` on the current runtime, detached unless the handle is kept.
///
/// A panic ends that task alone and is logged under its name, without the panic's text, which could quote what
/// the task was working on.
///
/// # Panics
/// Outside a tokio runtime.
#[expect(clippy::disallowed_methods, reason = "this is the named spawn that the others are told to use")]
pub fn spawn<F>(name: &'static str, future: F) -> JoinHandle<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    let task = tokio::spawn(future);
    tokio::spawn(async move {
        if let Err(end) = task.await
            && end.is_panic()
        {
            tracing::error!(task = name, "A task panicked; the daemon goes on without it");
        }
    })
}
