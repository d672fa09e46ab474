//! A handle to wait for the end of a session.

use distributary_names::StreamName;
use tokio::sync::watch;

/// A handle to a session that another thread owns.
#[derive(Clone, Debug)]
pub struct SessionWatch {
    pub(super) stream: StreamName,
    pub(super) end: watch::Receiver<()>,
}

impl SessionWatch {
    /// Returns the stream that the session watches.
    pub fn stream(&self) -> &StreamName {
        &self.stream
    }

    /// Waits until the session has ended.
    pub async fn ended(&mut self) {
        while self.end.changed().await.is_ok() {}
    }
}
