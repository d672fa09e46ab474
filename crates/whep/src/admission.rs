//! Admission of new viewers, and the drain that stops it.

use std::sync::Arc;

use axum::http::StatusCode;
use tokio::sync::watch;

use crate::problem::Problem;

/// Seconds after which a player should retry while the gateway drains. Another gateway may serve
/// the address by then.
const DRAINING_RETRY_SECONDS: u32 = 5;

/// The switch that admits or refuses new viewers. Connected viewers stay. Cloning gives another
/// handle.
#[derive(Clone, Debug, Default)]
pub struct Admission {
    drain: Arc<watch::Sender<Option<Drain>>>,
    /// The reason why load balancers should not send viewers here yet.
    unready: Arc<watch::Sender<Option<&'static str>>>,
}

/// A drain: no new viewers are admitted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drain {
    /// The endpoint where viewers should reconnect; `None` for the one they used before.
    pub reconnect: Option<Arc<str>>,
}

impl Admission {
    /// Refuses new viewers with 503 from now on, and asks players that listen for events to
    /// reconnect. Returns `false` if the gateway drained already.
    pub fn drain(&self, drain: Drain) -> bool {
        self.drain.send_replace(Some(drain)).is_none()
    }

    /// Admits viewers again. Returns `false` if the gateway did not drain.
    pub fn resume(&self) -> bool {
        self.drain.send_replace(None).is_some()
    }

    /// Returns whether new viewers are refused.
    pub fn is_draining(&self) -> bool {
        self.drain.borrow().is_some()
    }

    /// Sets the reason why load balancers should not send viewers here yet, for `/readyz`; `None` if
    /// they should. Viewers that come are admitted.
    pub fn set_unready(&self, reason: Option<&'static str>) {
        self.unready.send_replace(reason);
    }

    /// Refuses a load balancer while this gateway drains, or is not ready yet.
    pub(crate) fn check_ready(&self) -> Result<(), Problem> {
        self.check()?;
        match *self.unready.borrow() {
            None => Ok(()),
            Some(reason) => Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, reason)
                .retry_after(DRAINING_RETRY_SECONDS)),
        }
    }

    /// Returns the state of the switch, with its changes.
    pub fn watch(&self) -> watch::Receiver<Option<Drain>> {
        self.drain.subscribe()
    }

    /// Refuses a new viewer while the gateway drains.
    pub(crate) fn check(&self) -> Result<(), Problem> {
        if !self.is_draining() {
            return Ok(());
        }
        let detail = "This gateway is shutting down and admits no new viewers.";
        Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
            .retry_after(DRAINING_RETRY_SECONDS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gateway_that_is_not_ready_admits_viewers_that_come() {
        let admission = Admission::default();
        admission.set_unready(Some("It is not connected yet."));
        assert!(admission.check().is_ok() && admission.check_ready().is_err());
        admission.set_unready(None);
        assert!(admission.check_ready().is_ok());
        admission.drain(Drain::default());
        assert!(admission.check_ready().is_err());
    }

    #[test]
    fn every_handle_sees_a_drain_and_its_end() {
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
