//! Providers of streams: one task for each requested stream.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use distributary_names::StreamName;
use distributary_net::reached;
use tokio::sync::{mpsc, watch};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, timeout_at};

use crate::demand::{Demand, DemandError};
use crate::stream::Stream;

/// Maximum demands in the queue of one stream.
const MAX_WAITING: usize = 1024;

/// Minimum time for which a stream without viewers is kept: a viewer that was just told that the
/// stream is live needs a moment to subscribe.
const ARRIVAL_TIMEOUT: Duration = Duration::from_secs(1);

/// Runs one task per published stream until `shutdown` completes: `begin` returns the task for the
/// first demand, and the task gets all later demands for that stream and its renditions. All tasks
/// end with the shutdown. If `begin` refuses, the demand is refused.
pub async fn provide_each<T>(
    mut demands: mpsc::Receiver<Demand>,
    begin: impl Fn(&Demand, DemandQueue) -> Result<T, DemandError>,
    shutdown: impl Future<Output = ()>,
) where
    T: Future<Output = ()> + Send + 'static,
{
    // The queue of each stream's task.
    let mut running: HashMap<StreamName, (Id, mpsc::Sender<Demand>)> = HashMap::new();
    let mut tasks = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        let demand = tokio::select! {
            () = &mut shutdown => return,
            Some(demand) = demands.recv() => demand,
            Some(ended) = tasks.join_next_with_id() => {
                let id = ended.as_ref().map_or_else(JoinError::id, |(id, ())| *id);
                running.retain(|_, (running, _)| *running != id);
                continue;
            }
            else => return,
        };
        let name = demand.name().published();
        let task = running.get(&name).map(|(_, task)| task);
        let Some(demand) = hand_over(demand, task) else {
            continue;
        };
        let (task, queue) = mpsc::channel(MAX_WAITING);
        match begin(&demand, DemandQueue::new(queue)) {
            Ok(provider) => {
                // The queue is empty: there is room.
                let _ = task.try_send(demand);
                let id = tasks.spawn(provider).id();
                running.insert(name, (id, task));
            }
            Err(error) => demand.answer(Err(error)),
        }
    }
}

/// Hands a demand to the task of its stream. Returns it if there is no task, or the task has just
/// ended.
fn hand_over(demand: Demand, task: Option<&mpsc::Sender<Demand>>) -> Option<Demand> {
    let Some(task) = task else {
        return Some(demand);
    };
    match task.try_send(demand) {
        Ok(()) => None,
        Err(mpsc::error::TrySendError::Full(demand)) => {
            demand.answer(Err(DemandError::Busy));
            None
        }
        Err(mpsc::error::TrySendError::Closed(demand)) => Some(demand),
    }
}

/// The queue of demands for one stream.
#[derive(Debug)]
pub struct DemandQueue {
    queue: mpsc::Receiver<Demand>,
    /// Demands taken from the queue that wait for their answer.
    held: VecDeque<Demand>,
}

impl DemandQueue {
    fn new(queue: mpsc::Receiver<Demand>) -> Self {
        Self {
            queue,
            held: VecDeque::new(),
        }
    }

    /// Returns the next demand; `None` when no more can arrive.
    pub async fn next(&mut self) -> Option<Demand> {
        match self.held.pop_front() {
            Some(demand) => Some(demand),
            None => self.queue.recv().await,
        }
    }

    /// Completes when no demand waits anymore. It may be dropped and called again.
    pub async fn abandoned(&mut self) {
        loop {
            while let Ok(demand) = self.queue.try_recv() {
                self.hold(demand);
            }
            self.held.retain(|demand| !demand.is_abandoned());
            let Some(first) = self.held.front_mut() else {
                return;
            };
            tokio::select! {
                () = first.abandoned() => {}
                Some(demand) = self.queue.recv() => self.hold(demand),
            }
        }
    }

    fn hold(&mut self, demand: Demand) {
        if self.held.len() < MAX_WAITING {
            self.held.push_back(demand);
        } else {
            demand.answer(Err(DemandError::Busy));
        }
    }

    /// Refuses the waiting demands, and those that arrive during the pause.
    pub async fn refuse(&mut self, error: DemandError, pause: Duration) {
        let over = Instant::now() + pause;
        // The queue does not end before the provider does.
        while let Ok(Some(demand)) = timeout_at(over, self.next()).await {
            demand.answer(Err(error.clone()));
        }
    }
}

/// Tracks whether a provided stream has viewers.
#[derive(Debug)]
pub struct Audience {
    /// Held, so that the watch channel stays open.
    _stream: Arc<Stream>,
    subscribers: watch::Receiver<usize>,
    unwatched_since: Option<Instant>,
    /// Time for which the stream is kept without viewers.
    idle_timeout: Duration,
}

impl Audience {
    /// Returns the audience of a stream that is kept without viewers for `idle_timeout`, at least a
    /// second.
    pub fn new(stream: &Arc<Stream>, idle_timeout: Duration) -> Self {
        let subscribers = stream.subscribers();
        let is_watched = *subscribers.borrow() > 0;
        Self {
            _stream: Arc::clone(stream),
            subscribers,
            unwatched_since: (!is_watched).then(Instant::now),
            idle_timeout: idle_timeout.max(ARRIVAL_TIMEOUT),
        }
    }

    /// Returns whether the stream has viewers.
    pub fn is_there(&self) -> bool {
        *self.subscribers.borrow() > 0
    }

    /// Returns whether the stream had no viewers for the idle timeout.
    pub fn is_gone(&mut self) -> bool {
        // The stream holds the sender, so the channel is open.
        if self.subscribers.has_changed().unwrap_or(false) {
            self.note_viewers();
        }
        let over = self.unwatched_since.map(|since| since + self.idle_timeout);
        over.is_some_and(|over| over <= Instant::now())
    }

    fn note_viewers(&mut self) {
        let is_watched = *self.subscribers.borrow_and_update() > 0;
        self.unwatched_since = (!is_watched).then(Instant::now);
    }

    /// Restarts the idle timeout: a viewer was told that the stream is live.
    pub fn expect(&mut self) {
        self.unwatched_since = self.unwatched_since.map(|_| Instant::now());
    }

    /// Completes when the stream had no viewers for the idle timeout. It may be dropped and called
    /// again.
    pub async fn gone(&mut self) {
        loop {
            let over = self.unwatched_since.map(|since| since + self.idle_timeout);
            tokio::select! {
                _ = self.subscribers.changed() => self.note_viewers(),
                () = reached(over) => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Hub, HubConfig, Sink};
    use std::future::pending;

    fn name(text: &str) -> StreamName {
        StreamName::parse(text).unwrap()
    }

    #[tokio::test]
    async fn demands_for_a_stream_reach_one_task_and_later_ones_the_next() {
        let hub = Hub::new(HubConfig::default());
        let demands = hub.provide(|_| true);
        let (began, mut tasks) = mpsc::channel(8);
        // Each task answers two demands.
        let begin = |demand: &Demand, mut waiting: DemandQueue| {
            let (name, began) = (demand.name().clone(), began.clone());
            if name.as_str() == "live/none" {
                return Err(DemandError::NoProvider);
            }
            Ok(async move {
                for _ in 0..2 {
                    waiting.next().await.unwrap().answer(Ok(()));
                }
                began.send(name).await.unwrap();
            })
        };
        let askers = async {
            let (a, b) = (name("live/a"), name("live/b"));
            for _ in 0..2 {
                let all = tokio::join!(
                    hub.ensure_live(&a),
                    hub.ensure_live(&b),
                    hub.ensure_live(&a),
                    hub.ensure_live(&b)
                );
                assert_eq!(all, (Ok(()), Ok(()), Ok(()), Ok(())));
            }
            let refused = hub.ensure_live(&name("live/none")).await;
            assert_eq!(refused, Err(DemandError::NoProvider));
        };
        tokio::select! {
            () = provide_each(demands, begin, pending()) => panic!("it runs until shutdown"),
            () = askers => {}
        }
        let mut ended: Vec<_> = std::iter::from_fn(|| tasks.try_recv().ok()).collect();
        ended.sort();
        assert_eq!(ended, ["live/a", "live/a", "live/b", "live/b"].map(name));
    }

    #[tokio::test]
    async fn provider_is_notified_when_all_demands_are_abandoned() {
        let hub = Hub::new(HubConfig::default());
        let demands = hub.provide(|_| true);
        let begin = |_: &Demand, mut waiting: DemandQueue| {
            Ok(async move {
                waiting.abandoned().await;
                // Somebody asks again, and is answered.
                waiting.next().await.unwrap().answer(Ok(()));
            })
        };
        let askers = async {
            let a = name("live/a");
            {
                let (mut first, mut second) =
                    (Box::pin(hub.ensure_live(&a)), Box::pin(hub.ensure_live(&a)));
                for _ in 0..10 {
                    tokio::select! {
                        biased;
                        _ = &mut first => panic!("nobody answers"),
                        _ = &mut second => panic!("nobody answers"),
                        () = tokio::task::yield_now() => {}
                    }
                }
                drop(first);
                tokio::task::yield_now().await;
                drop(second);
            }
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            assert_eq!(hub.ensure_live(&a).await, Ok(()));
        };
        tokio::select! {
            () = provide_each(demands, begin, pending()) => panic!("it runs until shutdown"),
            () = askers => {}
        }
    }

    #[tokio::test(start_paused = true)]
    #[allow(
        clippy::disallowed_methods,
        reason = "an origin for the simulated clock"
    )]
    async fn audience_is_gone_after_the_idle_timeout() {
        let hub = Hub::new(HubConfig::default());
        let publisher = hub
            .publish(&name("live/a"), std::time::Instant::now())
            .unwrap();
        let (sink, _queue) = Sink::channel(1);
        let subscription = hub.subscribe(&name("live/a"), sink, 0).unwrap();
        let idle_timeout = Duration::from_secs(10);
        let mut audience = Audience::new(publisher.stream(), idle_timeout);
        assert!(audience.is_there());
        let hour = Duration::from_secs(3600);
        assert!(
            timeout_at(Instant::now() + hour, audience.gone())
                .await
                .is_err()
        );
        drop(subscription);
        let began = Instant::now();
        audience.gone().await;
        assert_eq!(began.elapsed(), idle_timeout);
        audience.expect();
        audience.gone().await;
        assert_eq!(began.elapsed(), 2 * idle_timeout);
    }
}
