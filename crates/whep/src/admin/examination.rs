//! The examination that the gateway provides.

use std::fmt;
use std::sync::Arc;

use tokio::sync::{Mutex, OwnedMutexGuard};

use super::finding::Finding;

type Examine = dyn Fn() -> Vec<Finding> + Send + Sync;

/// The examination of this machine, which the gateway provides. It blocks for up to some seconds.
/// One runs at a time.
#[derive(Clone)]
pub struct Doctor(Arc<Mutex<Box<Examine>>>);

impl Doctor {
    /// Creates a doctor that examines in this way.
    pub fn new(examine: impl Fn() -> Vec<Finding> + Send + Sync + 'static) -> Self {
        Self(Arc::new(Mutex::new(Box::new(examine))))
    }

    /// Waits until no other examination runs.
    pub(super) async fn turn(&self) -> OwnedMutexGuard<Box<Examine>> {
        Arc::clone(&self.0).lock_owned().await
    }
}

impl fmt::Debug for Doctor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Doctor")
    }
}
