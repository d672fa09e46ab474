//! A view of a session from outside.

use distributary_names::StreamName;
use tokio::sync::watch;

/// A session that somebody looks at from outside.
#[derive(Clone, Debug)]
pub struct SessionWatch {
    pub(super) stream: StreamName,
    pub(super) end: watch::Receiver<()>,
}

impl SessionWatch {
    /// The stream that is watched.
    pub fn stream(&self) -> &StreamName {
        &self.stream
    }

    /// Waits until the session has ended.
    pub async fn ended(&mut self) {
        while self.end.changed().await.is_ok() {}
    }
}
