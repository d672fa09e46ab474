//! The feeds of one stream.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use distributary_media::MediaTime;
use distributary_names::{RenditionId, StreamName};
use futures_util::future::join_all;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::timeout;

use super::awaited::{Awaited, AwaitedJoins};
use crate::answer::{refuse, refuse_all};
use crate::clock::now;
use crate::config::Label;
use crate::content::EndReason;
use crate::context::Context;
use crate::control::{Join, Kept};
use crate::feed::{Feed, FeedCommand, RunningFeed};
use crate::offers::offers;
use crate::strand::Strand;

/// Maximum time for which the feeds tell other nodes that they end.
const FEED_END: Duration = Duration::from_millis(300);

/// The feeds of one stream, and the requests to join a rendition that is about to be made.
pub(super) struct Feeds {
    context: Arc<Context>,
    name: StreamName,
    epoch: u64,
    running: HashMap<Strand, RunningFeed>,
    awaited: AwaitedJoins,
}

impl Feeds {
    pub(super) fn new(context: Arc<Context>, name: StreamName) -> Self {
        Self {
            awaited: AwaitedJoins::new(context.hub.clone(), name.clone()),
            context,
            name,
            epoch: 0,
            running: HashMap::new(),
        }
    }

    /// Uses another epoch from now on. Nodes that watch, or wait, have to join again.
    pub(super) async fn change_epoch(&mut self, epoch: u64) {
        self.epoch = epoch;
        self.running.clear();
        self.end_waiting().await;
    }

    /// Answers the request of a node to join a strand. A rendition that is not live is requested first.
    pub(super) async fn join(&mut self, join: Join, reply: String) {
        let Strand::Rendition(id) = join.strand else {
            return self.answer(join, reply).await;
        };
        let is_live = self.context.hub.live_rendition(&self.name, &id).is_some();
        if is_live || join.epoch != self.epoch {
            return self.answer(join, reply).await;
        }
        if !self.is_offered(id) {
            return refuse(&self.context, &reply, EndReason::Lost).await;
        }
        if let Err(reply) = self.awaited.add(Awaited { id, join, reply }) {
            refuse(&self.context, &reply, EndReason::Busy).await;
        }
    }

    /// Returns the next requests whose rendition has been waited for; `None` if there are none. It may
    /// be dropped and called again.
    pub(super) async fn next_awaited(&mut self) -> Option<Vec<Awaited>> {
        self.awaited.next().await
    }

    /// Answers requests whose rendition has been waited for.
    pub(super) async fn answer_awaited(&mut self, awaited: Vec<Awaited>) {
        for Awaited { join, reply, .. } in awaited {
            self.answer(join, reply).await;
        }
    }

    /// Answers a request from the feed of its strand, which is started if there is none.
    async fn answer(&mut self, join: Join, reply: String) {
        if join.epoch != self.epoch {
            return refuse(&self.context, &reply, EndReason::Moved).await;
        }
        let command = FeedCommand::Join {
            node: join.node,
            reply: reply.clone(),
        };
        if let Err(reason) = self.send(join.strand, command) {
            refuse(&self.context, &reply, reason).await;
        }
    }

    /// Notes that a node still watches.
    pub(super) fn keep(&self, node: Label, kept: &Kept) {
        let feed = self.running.get(&kept.strand);
        let Some(feed) = feed.filter(|_| kept.epoch == self.epoch) else {
            return;
        };
        let command = FeedCommand::Keep {
            node,
            loss: kept.loss,
            keyframe_after: kept.keyframe_after.map(MediaTime::from_nanos),
        };
        // Fails if the feed is busy, or has just ended; the node renews it or joins again.
        let _ = feed.commands.try_send(command);
    }

    /// Ends all feeds, which tell other nodes so, and the requests that wait.
    pub(super) async fn end(&mut self) {
        let feeds: Vec<_> = self.running.drain().map(|(_, feed)| feed).collect();
        tokio::join!(end_all(feeds), self.end_waiting());
    }

    /// Refuses the requests that wait for a rendition.
    async fn end_waiting(&mut self) {
        let requests = self.awaited.end().into_iter();
        let replies = requests.map(|request| request.reply).collect();
        refuse_all(&self.context, replies, EndReason::Moved).await;
    }

    /// Returns whether nodes may ask for a rendition.
    fn is_offered(&self, id: RenditionId) -> bool {
        // Some viewers can decode nothing else.
        id == RenditionId::H264
            || offers(&self.context.hub, &self.name, now())
                .iter()
                .any(|offer| offer.id == id)
    }

    /// Gives a command to the feed of a strand, which is started if there is none. Returns the reason if
    /// that is not possible.
    fn send(&mut self, strand: Strand, command: FeedCommand) -> Result<(), EndReason> {
        let running = self.running.get(&strand);
        let running = running.filter(|feed| !feed.commands.is_closed());
        let commands = if let Some(feed) = running {
            feed.commands.clone()
        } else {
            let feed = Feed::spawn(&self.context, &self.name, self.epoch, strand);
            let feed = feed.ok_or(EndReason::Lost)?;
            let commands = feed.commands.clone();
            self.running.insert(strand, feed);
            commands
        };
        commands.try_send(command).map_err(|error| match error {
            TrySendError::Full(_) => EndReason::Busy,
            // It has just ended: whoever asks again gets another one.
            TrySendError::Closed(_) => EndReason::Moved,
        })
    }
}

/// Ends feeds, and waits a moment until they have told other nodes so. Those learn it later otherwise,
/// by the silence.
async fn end_all(feeds: Vec<RunningFeed>) {
    // All of them know before the first is waited for.
    let tasks: Vec<_> = feeds.into_iter().map(|feed| feed.task).collect();
    let _ = timeout(FEED_END, join_all(tasks)).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Cluster;
    use distributary_hub::{Hub, HubConfig};
    use tokio::sync::mpsc;
    use tokio::time::Instant;

    #[tokio::test]
    async fn feed_with_too_many_commands_is_busy() {
        let (cluster, _driver) = Cluster::unconnected(Hub::new(HubConfig::default())).await;
        let name = StreamName::parse("live/test").unwrap();
        let mut feeds = Feeds::new(Arc::clone(cluster.context()), name);
        let (commands, queue) = mpsc::channel(1);
        let task = tokio::spawn(async {});
        feeds
            .running
            .insert(Strand::Main, RunningFeed { commands, task });
        let join = || FeedCommand::Join {
            node: "x".parse().unwrap(),
            reply: "_INBOX.x.1".to_owned(),
        };
        assert_eq!(feeds.send(Strand::Main, join()), Ok(()));
        assert_eq!(feeds.send(Strand::Main, join()), Err(EndReason::Busy));
        drop(queue);
        let gone = feeds.send(Strand::Main, join());
        assert_eq!(gone, Err(EndReason::Lost), "nobody publishes it");
    }

    #[tokio::test(start_paused = true)]
    async fn feeds_end_together_within_one_limit() {
        let stuck = |_| RunningFeed {
            commands: mpsc::channel(1).0,
            task: tokio::spawn(std::future::pending()),
        };
        let began = Instant::now();
        end_all((0..8).map(stuck).collect()).await;
        assert_eq!(began.elapsed(), FEED_END);
    }

    #[tokio::test(start_paused = true)]
    async fn all_feeds_know_that_they_end_before_the_first_has_ended() {
        let (last, mut last_commands) = mpsc::channel(1);
        let waits = RunningFeed {
            commands: mpsc::channel(1).0,
            task: tokio::spawn(async move {
                let command: Option<FeedCommand> = last_commands.recv().await;
                assert!(command.is_none());
            }),
        };
        let last = RunningFeed {
            commands: last,
            task: tokio::spawn(async {}),
        };
        let began = Instant::now();
        end_all(vec![waits, last]).await;
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
}
