//! Whether new viewers are let in.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::http::StatusCode;

use crate::problem::Problem;

/// When a player should ask again while the gateway is about to end, in seconds: another one may have
/// taken its place by then.
const DRAINING_RETRY_SECONDS: u32 = 5;

/// The switch that closes the door to new viewers. Those who are in stay; cloning gives another handle.
#[derive(Clone, Debug, Default)]
pub struct Admission {
    is_draining: Arc<AtomicBool>,
}

impl Admission {
    /// Lets nobody in any more, for good: who asks is told to try again later (503).
    pub fn drain(&self) {
        self.is_draining.store(true, Ordering::Relaxed);
    }

    /// Whether nobody is let in any more.
    pub fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Relaxed)
    }

    /// Refuses a new viewer while the gateway drains.
    pub(crate) fn check(&self) -> Result<(), Problem> {
        if !self.is_draining() {
            return Ok(());
        }
        let detail = "This gateway is about to end and takes no new viewers.";
        Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
            .retry_after(DRAINING_RETRY_SECONDS))
    }
}
