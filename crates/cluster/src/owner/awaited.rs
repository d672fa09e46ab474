//! The requests of nodes to join renditions that are about to be made.

use std::collections::HashMap;
use std::time::Duration;

use distributary_hub::Hub;
use distributary_names::{RenditionId, StreamName};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

use crate::control::Join;

/// Maximum time for which a request waits for its rendition.
const TIMEOUT: Duration = Duration::from_secs(8);

/// Maximum number of requests.
const MAX_REQUESTS: usize = 256;

/// A request to join a rendition.
#[derive(Debug)]
pub(super) struct Awaited {
    pub(super) id: RenditionId,
    pub(super) join: Join,
    pub(super) reply: String,
}

/// The requests of nodes to join renditions that are about to be made: one for each node and rendition.
pub(super) struct AwaitedJoins {
    hub: Hub,
    name: StreamName,
    /// The requests, with the time until which each waits.
    requests: Vec<(Awaited, Instant)>,
    /// The tasks that wait, one for each rendition.
    tasks: JoinSet<()>,
    renditions: HashMap<RenditionId, AbortHandle>,
}

impl AwaitedJoins {
    pub(super) fn new(hub: Hub, name: StreamName) -> Self {
        Self {
            hub,
            name,
            requests: Vec::new(),
            tasks: JoinSet::new(),
            renditions: HashMap::new(),
        }
    }

    /// Requests the rendition of a request, which waits for it in the place of an earlier one of the same
    /// node. Returns the subject for the answer if no more can wait.
    pub(super) fn add(&mut self, request: Awaited) -> Result<(), String> {
        let id = request.id;
        self.requests
            .retain(|(one, _)| one.id != id || one.join.node != request.join.node);
        if self.requests.len() >= MAX_REQUESTS {
            return Err(request.reply);
        }
        self.requests.push((request, Instant::now() + TIMEOUT));
        self.renditions.entry(id).or_insert_with(|| {
            let (hub, rendition) = (self.hub.clone(), self.name.rendition(&id));
            self.tasks.spawn(async move {
                // Whether it is live is looked up afterwards.
                let _ = hub.ensure_live(&rendition).await;
            })
        });
        Ok(())
    }

    /// Returns the next requests that have waited for long enough, or for a rendition that is decided;
    /// `None` if none waits. It may be dropped and called again.
    pub(super) async fn next(&mut self) -> Option<Vec<Awaited>> {
        let until = self.requests.iter().map(|(_, until)| *until).min()?;
        tokio::select! {
            Some(ended) = self.tasks.join_next_with_id() => {
                // Also one that has failed.
                let task = ended.map_or_else(|error| error.id(), |(task, ())| task);
                let mut ended = self.renditions.extract_if(|_, waits| waits.id() == task);
                let id = ended.next().map(|(id, _)| id);
                drop(ended);
                Some(self.take(|one, _| Some(one.id) == id))
            }
            () = sleep_until(until) => {
                let now = Instant::now();
                let over = self.take(|_, until| until <= now);
                let requests = &self.requests;
                let unused = self.renditions.extract_if(|id, _| {
                    !requests.iter().any(|(one, _)| one.id == *id)
                });
                unused.for_each(|(_, task)| task.abort());
                Some(over)
            }
        }
    }

    /// Ends the waiting. Returns the requests.
    pub(super) fn end(&mut self) -> Vec<Awaited> {
        self.tasks = JoinSet::new();
        self.renditions.clear();
        self.take(|_, _| true)
    }

    /// Removes the requests that `is_over` chooses.
    fn take(&mut self, is_over: impl Fn(&Awaited, Instant) -> bool) -> Vec<Awaited> {
        let over = self
            .requests
            .extract_if(.., |(request, until)| is_over(request, *until));
        over.map(|(request, _)| request).collect()
    }
}

#[cfg(test)]
mod tests {
    use distributary_hub::{Demand, HubConfig};
    use tokio::sync::mpsc;
    use tokio::time::sleep;

    use super::*;
    use crate::strand::Strand;

    /// Returns the requests for renditions that come in time.
    fn awaited() -> (AwaitedJoins, mpsc::Receiver<Demand>) {
        let hub = Hub::new(HubConfig::default());
        let demands = hub.provide_renditions(|_| Vec::new());
        let name = StreamName::parse("live/test").unwrap();
        (AwaitedJoins::new(hub, name), demands)
    }

    fn request(node: &str, reply: &str) -> Awaited {
        let id = RenditionId::H264;
        let join = Join {
            node: node.parse().unwrap(),
            stream: StreamName::parse("live/test").unwrap(),
            epoch: 1,
            strand: Strand::Rendition(id),
        };
        let reply = reply.to_owned();
        Awaited { id, join, reply }
    }

    fn replies(requests: Option<Vec<Awaited>>) -> Vec<String> {
        let requests = requests.unwrap_or_default().into_iter();
        requests.map(|request| request.reply).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn each_request_waits_for_its_whole_time() {
        let (mut awaited, mut demands) = awaited();
        awaited.add(request("x", "1")).unwrap();
        sleep(TIMEOUT * 9 / 10).await;
        awaited.add(request("y", "2")).unwrap();
        let began = Instant::now();
        assert_eq!(replies(awaited.next().await), ["1"]);
        assert_eq!(began.elapsed(), TIMEOUT / 10);
        let demand = demands.recv().await.unwrap();
        assert_eq!(replies(awaited.next().await), ["2"]);
        assert_eq!(began.elapsed(), TIMEOUT);
        assert!(demands.try_recv().is_err(), "it is requested once");
        // The next request asks again.
        awaited.add(request("x", "3")).unwrap();
        assert!(demands.recv().await.is_some());
        assert!(demand.is_abandoned());
    }

    #[tokio::test(start_paused = true)]
    async fn requests_learn_together_that_the_rendition_is_decided() {
        let (mut awaited, mut demands) = awaited();
        awaited.add(request("x", "1")).unwrap();
        awaited.add(request("y", "2")).unwrap();
        demands.recv().await.unwrap().answer(Ok(()));
        assert_eq!(replies(awaited.next().await), ["1", "2"]);
        assert!(awaited.next().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn node_has_one_place_for_each_rendition() {
        let (mut awaited, _demands) = awaited();
        for number in 0..=2 * MAX_REQUESTS {
            awaited.add(request("x", &number.to_string())).unwrap();
        }
        let last = (2 * MAX_REQUESTS).to_string();
        assert_eq!(replies(awaited.next().await), [last]);
        for number in 0..MAX_REQUESTS {
            awaited.add(request(&format!("n{number}"), "1")).unwrap();
        }
        assert!(awaited.add(request("x", "2")).is_err());
        awaited.add(request("n0", "2")).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn failed_task_does_not_keep_later_requests_waiting() {
        let (mut awaited, mut demands) = awaited();
        awaited.add(request("x", "1")).unwrap();
        awaited.tasks.abort_all();
        assert_eq!(replies(awaited.next().await), ["1"]);
        awaited.add(request("x", "2")).unwrap();
        demands.recv().await.unwrap().answer(Ok(()));
        assert_eq!(replies(awaited.next().await), ["2"]);
    }
}
