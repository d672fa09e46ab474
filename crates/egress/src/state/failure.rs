//! Detects threads of the engine that end unexpectedly.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use tokio::sync::watch;

/// A thread of the engine has ended before shutdown, which is a bug. Its viewers get no more media.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the thread {thread:?} of the WebRTC engine has ended: {reason}")]
pub struct EngineFailure {
    /// Its name.
    pub thread: String,
    /// The message of its panic.
    pub reason: String,
}

/// True if all threads of the engine run.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    first: watch::Sender<Option<EngineFailure>>,
}

impl Failures {
    /// Runs the body of a thread. Records a failure if it panics.
    pub(crate) fn watch(&self, thread: &str, run: impl FnOnce()) {
        // Nothing uses the thread's state after a panic.
        let Err(panic) = catch_unwind(AssertUnwindSafe(run)) else {
            return;
        };
        let reason = message(&*panic);
        let failure = EngineFailure {
            thread: thread.to_owned(),
            reason,
        };
        tracing::error!("{failure}");
        self.first.send_if_modified(|first| {
            let is_first = first.is_none();
            first.get_or_insert(failure);
            is_first
        });
    }

    /// Waits for the first failure.
    pub(crate) async fn next(&self) -> EngineFailure {
        let mut first = self.first.subscribe();
        loop {
            if let Some(failure) = first.borrow_and_update().clone() {
                return failure;
            }
            if first.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

/// Returns the message of a panic.
fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("it panicked: {}", text.unwrap_or("without a message"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn panic_of_a_thread_is_reported_and_a_normal_end_is_not() {
        let failures = Failures::default();
        failures.watch("told", || {});
        assert!(failures.first.borrow().is_none());
        failures.watch("egress 0", || panic!("of {}", 7));
        failures.watch("egress 1", || panic!("later"));
        let failure = failures.next().await;
        assert_eq!(
            failure.to_string(),
            "the thread \"egress 0\" of the WebRTC engine has ended: it panicked: of 7"
        );
    }
}
