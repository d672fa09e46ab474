//! Whether new viewers are let in.

use std::sync::Arc;

use axum::http::StatusCode;
use tokio::sync::watch;

use crate::problem::Problem;

/// When a player should ask again while the gateway is about to end, in seconds: another one may have
/// taken its place by then.
const DRAINING_RETRY_SECONDS: u32 = 5;

/// The switch that closes the door to new viewers. Those who are in stay; cloning gives another handle.
#[derive(Clone, Debug, Default)]
pub struct Admission {
    drain: Arc<watch::Sender<Option<Drain>>>,
}

/// That nobody is let in any more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drain {
    /// The endpoint where viewers should ask instead; without one, where they have asked before.
    pub reconnect: Option<Arc<str>>,
}

impl Admission {
    /// Lets nobody in any more: who asks is told to try again later (503). Players that listen for events
    /// are asked to reconnect. `false`: it was so already.
    pub fn drain(&self, drain: Drain) -> bool {
        self.drain.send_replace(Some(drain)).is_none()
    }

    /// Lets viewers in again. `false`: they were let in.
    pub fn resume(&self) -> bool {
        self.drain.send_replace(None).is_some()
    }

    /// Whether nobody is let in any more.
    pub fn is_draining(&self) -> bool {
        self.drain.borrow().is_some()
    }

    /// The state of the switch, and its change.
    pub fn watch(&self) -> watch::Receiver<Option<Drain>> {
        self.drain.subscribe()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_seen_by_every_handle_and_told_once() {
        let admission = Admission::default();
        let mut watch = admission.clone().watch();
        assert!(admission.check().is_ok());
        assert!(admission.drain(Drain::default()) && !admission.drain(Drain::default()));
        assert!(watch.has_changed().unwrap() && watch.borrow_and_update().is_some());
        assert!(admission.clone().check().is_err());
        assert!(admission.resume() && !admission.resume());
        assert!(admission.check().is_ok());
    }
}
