//! Requests for streams that are provided on demand.

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};

use distributary_media::MediaTime;
use distributary_names::StreamName;
use tokio::sync::{mpsc, oneshot};

/// Maximum requests in the queue of one provider.
const MAX_WAITING: usize = 1024;

/// A request for a stream that is not live. It fails when it is dropped without an answer.
#[derive(Debug)]
pub struct Demand {
    name: StreamName,
    asker: Option<IpAddr>,
    keyframe_after: Option<MediaTime>,
    answer: oneshot::Sender<Result<(), DemandError>>,
}

/// The reason why a stream is not available.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DemandError {
    /// Nobody publishes it, and no provider accepts its name.
    #[error("nobody publishes it")]
    NoProvider,
    /// Another gateway that shares its streams with this one has it by now: it is asked for again.
    #[error("another node of the cluster has it by now")]
    Elsewhere,
    /// The provider has too many requests.
    #[error("too many streams are requested at once")]
    Busy,
    /// The provider failed; the text says why.
    #[error("{0}")]
    Failed(Arc<str>),
}

impl Demand {
    /// Returns the requested stream.
    pub fn name(&self) -> &StreamName {
        &self.name
    }

    /// Returns the address of the client that asks, if it is known.
    pub fn asker(&self) -> Option<IpAddr> {
        self.asker
    }

    /// Returns the presentation time after which a keyframe of the rendition is needed, if one is
    /// requested. See [`Hub::request_keyframe`](crate::Hub::request_keyframe).
    pub fn keyframe_after(&self) -> Option<MediaTime> {
        self.keyframe_after
    }

    /// Returns whether nobody waits for the answer anymore.
    pub fn is_abandoned(&self) -> bool {
        self.answer.is_closed()
    }

    /// Completes when nobody waits for the answer anymore.
    pub async fn abandoned(&mut self) {
        self.answer.closed().await;
    }

    /// Answers the request: the stream is live now, with its tracks known, or the error.
    pub fn answer(self, result: Result<(), DemandError>) {
        // The requester may have left.
        let _ = self.answer.send(result);
    }
}

/// The registered providers of streams.
#[derive(Default)]
pub(crate) struct Providers(RwLock<Vec<Provider>>);

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) name: &'a StreamName,
    /// It is a rendition of a stream that arrives from another gateway.
    pub(crate) is_elsewhere: bool,
}

struct Provider {
    accepts: Box<dyn Fn(Wanted<'_>) -> bool + Send + Sync>,
    queue: mpsc::Sender<Demand>,
}

impl Providers {
    pub(crate) fn add(
        &self,
        accepts: impl Fn(Wanted<'_>) -> bool + Send + Sync + 'static,
    ) -> mpsc::Receiver<Demand> {
        let (queue, demands) = mpsc::channel(MAX_WAITING);
        let accepts = Box::new(accepts);
        let provider = Provider { accepts, queue };
        let mut providers = self.0.write().unwrap_or_else(PoisonError::into_inner);
        providers.push(provider);
        demands
    }

    /// Asks the providers that accept what is wanted, one after the other, until one has the stream,
    /// or fails to provide it.
    pub(crate) async fn ask(
        &self,
        wanted: Wanted<'_>,
        asker: Option<IpAddr>,
    ) -> Result<(), DemandError> {
        match self.ask_in_turn(wanted, asker).await {
            Err(DemandError::Elsewhere) => self.ask_in_turn(wanted, asker).await,
            answer => answer,
        }
    }

    async fn ask_in_turn(
        &self,
        wanted: Wanted<'_>,
        asker: Option<IpAddr>,
    ) -> Result<(), DemandError> {
        for queue in self.queues(wanted) {
            let answer = match send(&queue, wanted.name, asker, None) {
                Ok(answered) => answered
                    .await
                    .unwrap_or_else(|_| Err(DemandError::Failed("it has just ended".into()))),
                Err(error) => Err(error),
            };
            if answer != Err(DemandError::NoProvider) {
                return answer;
            }
        }
        Err(DemandError::NoProvider)
    }

    /// Asks the first provider that accepts what is wanted. The answer arrives in the returned channel.
    pub(crate) fn request(
        &self,
        wanted: Wanted<'_>,
        keyframe_after: Option<MediaTime>,
    ) -> Result<oneshot::Receiver<Result<(), DemandError>>, DemandError> {
        let queues = self.queues(wanted);
        let queue = queues.first().ok_or(DemandError::NoProvider)?;
        send(queue, wanted.name, None, keyframe_after)
    }

    /// Returns the queues of the providers that accept what is wanted, in the order of registration.
    fn queues(&self, wanted: Wanted<'_>) -> Vec<mpsc::Sender<Demand>> {
        let providers = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let accepting = providers
            .iter()
            .filter(|provider| (provider.accepts)(wanted));
        accepting.map(|provider| provider.queue.clone()).collect()
    }
}

/// Sends a request to a provider. The answer arrives in the returned channel.
fn send(
    queue: &mpsc::Sender<Demand>,
    name: &StreamName,
    asker: Option<IpAddr>,
    keyframe_after: Option<MediaTime>,
) -> Result<oneshot::Receiver<Result<(), DemandError>>, DemandError> {
    let (answer, answered) = oneshot::channel();
    let name = name.clone();
    let demand = Demand {
        name,
        asker,
        keyframe_after,
        answer,
    };
    queue.try_send(demand).map_err(|error| match error {
        mpsc::error::TrySendError::Full(_) => DemandError::Busy,
        mpsc::error::TrySendError::Closed(_) => DemandError::NoProvider,
    })?;
    Ok(answered)
}

impl fmt::Debug for Providers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let providers = self.0.read().unwrap_or_else(PoisonError::into_inner);
        write!(f, "Providers({})", providers.len())
    }
}

#[cfg(test)]
#[allow(
    clippy::disallowed_methods,
    reason = "an origin for the simulated clock"
)]
mod tests {
    use super::*;
    use crate::{Hub, HubConfig};
    use std::time::Instant;

    fn name(text: &str) -> StreamName {
        StreamName::parse(text).unwrap()
    }

    #[tokio::test]
    async fn request_goes_to_the_provider_that_accepts_the_name() {
        let hub = Hub::new(HubConfig::default());
        assert_eq!(
            hub.ensure_live(&name("live/a")).await,
            Err(DemandError::NoProvider)
        );
        let mut demands = hub.provide(|name| name.as_str().starts_with("live/"));
        assert_eq!(
            hub.ensure_live(&name("other/a")).await,
            Err(DemandError::NoProvider)
        );
        let provider = async {
            let demand = demands.recv().await.unwrap();
            assert_eq!(demand.name().as_str(), "live/a");
            demand.answer(Ok(()));
            demands.recv().await.unwrap().answer(Err(DemandError::Busy));
            // Dropped without an answer.
            demands.recv().await.unwrap();
        };
        let asker = async {
            assert_eq!(hub.ensure_live(&name("live/a")).await, Ok(()));
            assert_eq!(
                hub.ensure_live(&name("live/b")).await,
                Err(DemandError::Busy)
            );
            let dropped = hub.ensure_live(&name("live/c")).await;
            assert!(matches!(dropped, Err(DemandError::Failed(_))));
        };
        tokio::join!(provider, asker);
    }

    #[tokio::test]
    async fn next_provider_is_asked_when_one_does_not_have_the_stream() {
        let hub = Hub::new(HubConfig::default());
        let mut everything = hub.provide(|_| true);
        let mut some = hub.provide(|name| name.as_str() != "live/b");
        let providers = async {
            for _ in 0..2 {
                let demand = everything.recv().await.unwrap();
                demand.answer(Err(DemandError::NoProvider));
            }
            let demand = everything.recv().await.unwrap();
            demand.answer(Err(DemandError::Busy));
        };
        let asker = async {
            assert_eq!(hub.ensure_live(&name("live/a")).await, Ok(()));
            let nobody = hub.ensure_live(&name("live/b")).await;
            assert_eq!(nobody, Err(DemandError::NoProvider));
            let busy = hub.ensure_live(&name("live/a")).await;
            assert_eq!(busy, Err(DemandError::Busy), "it has the stream, but fails");
        };
        let second = async { some.recv().await.unwrap().answer(Ok(())) };
        tokio::join!(providers, asker, second);
    }

    #[tokio::test]
    async fn live_stream_is_not_requested() {
        let hub = Hub::new(HubConfig::default());
        let mut demands = hub.provide(|_| true);
        let _publisher = hub.publish(&name("live/a"), Instant::now()).unwrap();
        assert_eq!(hub.ensure_live(&name("live/a")).await, Ok(()));
        assert!(demands.try_recv().is_err());
    }
}
