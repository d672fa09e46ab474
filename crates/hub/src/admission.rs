//! Admission of publishers by an arbiter of stream names.
//!
//! Several gateways can share one set of streams. Then a name that is free on this gateway may be in
//! use on another one, and an arbiter is asked before it is published. Without an arbiter every
//! name is admitted at once.

use std::convert::Infallible;
use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use distributary_names::StreamName;
use tokio::sync::{mpsc, oneshot};

/// Maximum requests in the queue of the arbiter.
const MAX_WAITING: usize = 1024;

/// A request to publish a name. It fails when it is dropped without an answer.
#[derive(Debug)]
pub struct Admission {
    name: StreamName,
    when_taken: WhenTaken,
    answer: oneshot::Sender<Result<Permit, AdmissionError>>,
}

/// The policy for a publisher whose name another gateway has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenTaken {
    /// It is refused.
    Refused,
    /// It takes the name over.
    TakesOver,
    /// It stands by until this gateway has the name.
    StandsBy,
}

/// The ownership of a name by this gateway, during which the arbiter grants permits. A clone is a
/// handle to the same ownership.
#[derive(Clone, Debug, Default)]
pub struct Tenure(Arc<AtomicU8>);

/// This gateway has the name.
const HELD: u8 = 0;
/// Another gateway has the name, and the publishers of this one stand by.
const SUSPENDED: u8 = 1;
/// This gateway has lost the name.
const REVOKED: u8 = 2;

/// The right to publish a name. The arbiter is told when it is dropped.
#[derive(Debug, Default)]
pub struct Permit {
    /// The ownership during which it was granted; `None` without an arbiter.
    pub(crate) tenure: Option<Tenure>,
    /// Closed when this is dropped.
    _held: Option<oneshot::Sender<Infallible>>,
}

/// Completes when a permit was dropped.
pub type PermitEnd = oneshot::Receiver<Infallible>;

/// The reason why a name cannot be published on this gateway.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AdmissionError {
    /// It is published on another gateway; the text is its name.
    #[error("it is live on the node {0} of the cluster")]
    Elsewhere(Arc<str>),
    /// The arbiter cannot be asked.
    #[error("the cluster cannot be asked whether the name is free: try again in some seconds")]
    NoArbiter,
    /// The gateway has no memory for another stream.
    #[error(
        "the memory of the gateway is nearly used up (memory under [limits]): try again later, or raise it"
    )]
    Memory,
}

impl Admission {
    /// Returns the requested name.
    pub fn name(&self) -> &StreamName {
        &self.name
    }

    /// Returns what becomes of the publisher if another gateway has the name.
    pub fn when_taken(&self) -> WhenTaken {
        self.when_taken
    }

    /// Returns whether nobody waits for the answer anymore.
    pub fn is_abandoned(&self) -> bool {
        self.answer.is_closed()
    }

    /// Grants the request during this ownership. The returned future completes when the publisher
    /// has ended.
    pub fn grant(self, tenure: &Tenure) -> PermitEnd {
        let (held, end) = oneshot::channel();
        let permit = Permit {
            tenure: Some(tenure.clone()),
            _held: Some(held),
        };
        // If the requester has left, the permit is dropped, and the end follows.
        let _ = self.answer.send(Ok(permit));
        end
    }

    /// Refuses the request.
    pub fn refuse(self, error: AdmissionError) {
        // The requester may have left.
        let _ = self.answer.send(Err(error));
    }
}

#[cfg(test)]
impl Permit {
    /// Returns a permit that was granted during this ownership.
    pub(crate) fn of(tenure: &Tenure) -> Self {
        Self {
            tenure: Some(tenure.clone()),
            _held: None,
        }
    }
}

impl Tenure {
    /// Ends the ownership: a publisher that begins with one of its permits from now on is dismissed
    /// at once. [`Hub::end_tenure`](crate::Hub::end_tenure) dismisses the others.
    pub fn revoke(&self) {
        self.0.store(REVOKED, Ordering::Release);
    }

    /// Suspends the ownership until [`resume`](Self::resume): a publisher with one of its permits
    /// stands by. [`Hub::end_tenure`](crate::Hub::end_tenure) lets an active one stand by.
    pub fn suspend(&self) {
        self.0.store(SUSPENDED, Ordering::Release);
    }

    /// Notes that this gateway has the name. [`Stream::await_standby`](crate::Stream::await_standby)
    /// lets a publisher that stands by take over.
    pub fn resume(&self) {
        self.0.store(HELD, Ordering::Release);
    }

    pub(crate) fn is_held(&self) -> bool {
        self.0.load(Ordering::Acquire) == HELD
    }

    pub(crate) fn is_revoked(&self) -> bool {
        self.0.load(Ordering::Acquire) == REVOKED
    }

    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// The arbiter, if there is one.
#[derive(Default)]
pub(crate) struct Arbiter(RwLock<Option<mpsc::Sender<Admission>>>);

impl Arbiter {
    /// Registers the arbiter. Requests arrive in the returned queue.
    pub(crate) fn register(&self) -> mpsc::Receiver<Admission> {
        let (queue, requests) = mpsc::channel(MAX_WAITING);
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(queue);
        requests
    }

    /// Asks for a permit.
    pub(crate) async fn admit(
        &self,
        name: &StreamName,
        when_taken: WhenTaken,
    ) -> Result<Permit, AdmissionError> {
        let queue = self
            .0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let Some(queue) = queue else {
            return Ok(Permit::default());
        };
        let (answer, answered) = oneshot::channel();
        let name = name.clone();
        let admission = Admission {
            name,
            when_taken,
            answer,
        };
        if queue.try_send(admission).is_err() {
            return Err(AdmissionError::NoArbiter);
        }
        answered.await.unwrap_or(Err(AdmissionError::NoArbiter))
    }
}

impl fmt::Debug for Arbiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Arbiter")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Hub, HubConfig};

    fn name() -> StreamName {
        StreamName::parse("live/test").unwrap()
    }

    #[tokio::test]
    async fn without_an_arbiter_every_name_is_admitted() {
        let hub = Hub::new(HubConfig::default());
        assert!(hub.admit(&name(), WhenTaken::Refused).await.is_ok());
    }

    #[tokio::test]
    async fn arbiter_grants_refuses_and_is_told_when_a_permit_ends() {
        let hub = Hub::new(HubConfig::default());
        let mut requests = hub.arbitrate();
        let mut end = None;
        let arbiter = async {
            end = Some(requests.recv().await.unwrap().grant(&Tenure::default()));
            let refused = requests.recv().await.unwrap();
            assert_eq!(refused.when_taken(), WhenTaken::TakesOver);
            refused.refuse(AdmissionError::Elsewhere("a".into()));
            drop(requests.recv().await.unwrap());
        };
        let publisher = async {
            let permit = hub.admit(&name(), WhenTaken::Refused).await.unwrap();
            let refused = hub.admit(&name(), WhenTaken::TakesOver).await.unwrap_err();
            assert_eq!(refused, AdmissionError::Elsewhere("a".into()));
            let dropped = hub.admit(&name(), WhenTaken::StandsBy).await.unwrap_err();
            assert_eq!(dropped, AdmissionError::NoArbiter);
            permit
        };
        let ((), permit) = tokio::join!(arbiter, publisher);
        let mut end = end.unwrap();
        assert!(
            end.try_recv()
                .is_err_and(|error| error == oneshot::error::TryRecvError::Empty)
        );
        drop(permit);
        assert!(end.await.is_err());
    }
}
