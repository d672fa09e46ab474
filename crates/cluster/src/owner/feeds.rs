//! The feeds of one stream, and the requests to join a rendition that is about to be made.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use distributary_media::MediaTime;
use distributary_names::{RenditionId, StreamName};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::answer::refuse;
use crate::clock::now;
use crate::config::Label;
use crate::content::EndReason;
use crate::context::Context;
use crate::control::{Join, Kept};
use crate::feed::{Feed, FeedCommand, RunningFeed};
use crate::offers::offers;
use crate::strand::Strand;

/// Maximum time for which a feed tells other nodes that it ends.
const FEED_END: Duration = Duration::from_millis(300);

/// Maximum time for which a request to join a rendition waits for it.
const RENDITION_TIMEOUT: Duration = Duration::from_secs(8);

/// Maximum number of such requests.
const MAX_AWAITED: usize = 256;

/// The feeds of one stream, and the requests to join a rendition that is about to be made.
pub(super) struct Feeds {
    context: Arc<Context>,
    name: StreamName,
    epoch: u64,
    running: HashMap<Strand, RunningFeed>,
    awaited: JoinSet<Awaited>,
}

/// A request to join a rendition that has been waited for.
pub(super) struct Awaited {
    join: Join,
    reply: String,
}

impl Feeds {
    pub(super) fn new(context: Arc<Context>, name: StreamName) -> Self {
        Self {
            context,
            name,
            epoch: 0,
            running: HashMap::new(),
            awaited: JoinSet::new(),
        }
    }

    /// Uses another epoch from now on. Nodes that watch have to join again.
    pub(super) fn change_epoch(&mut self, epoch: u64) {
        self.epoch = epoch;
        self.running.clear();
    }

    /// Answers the request of a node to join a strand. A rendition that is not live is requested first.
    pub(super) async fn join(&mut self, join: Join, reply: String) {
        if let Strand::Rendition(id) = join.strand
            && self.context.hub.live_rendition(&self.name, &id).is_none()
            && join.epoch == self.epoch
        {
            if !self.is_offered(id) {
                return refuse(&self.context, &reply, EndReason::Lost).await;
            }
            if self.awaited.len() >= MAX_AWAITED {
                return refuse(&self.context, &reply, EndReason::Busy).await;
            }
            let (hub, rendition) = (self.context.hub.clone(), self.name.rendition(&id));
            self.awaited.spawn(async move {
                // Whether it is live is looked up afterwards.
                let _ = timeout(RENDITION_TIMEOUT, hub.ensure_live(&rendition)).await;
                Awaited { join, reply }
            });
            return;
        }
        self.answer(Awaited { join, reply }).await;
    }

    /// Returns the next request whose rendition has been waited for; `None` if there is none. It may be
    /// dropped and called again.
    pub(super) async fn next_awaited(&mut self) -> Option<Awaited> {
        self.awaited.join_next().await?.ok()
    }

    /// Answers a request from the feed of its strand, which is started if there is none.
    pub(super) async fn answer(&mut self, awaited: Awaited) {
        let Awaited { join, reply } = awaited;
        if join.epoch != self.epoch {
            return refuse(&self.context, &reply, EndReason::Moved).await;
        }
        let command = FeedCommand::Join {
            node: join.node,
            reply: reply.clone(),
        };
        if !self.send(join.strand, command) {
            refuse(&self.context, &reply, EndReason::Lost).await;
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

    /// Ends all feeds, which tell other nodes so.
    pub(super) async fn end(&mut self) {
        for (_, feed) in self.running.drain() {
            let RunningFeed { commands, task } = feed;
            drop(commands);
            // Others are told at once that the stream ends here, or learn it later by its silence.
            let _ = timeout(FEED_END, task).await;
        }
    }

    /// Returns whether nodes may ask for a rendition.
    fn is_offered(&self, id: RenditionId) -> bool {
        // Some viewers can decode nothing else.
        id == RenditionId::H264
            || offers(&self.context.hub, &self.name, now())
                .iter()
                .any(|offer| offer.id == id)
    }

    /// Gives a command to the feed of a strand, which is started if there is none. Returns whether
    /// that was possible.
    fn send(&mut self, strand: Strand, command: FeedCommand) -> bool {
        let feed = self.running.get(&strand);
        if feed.is_none_or(|feed| feed.commands.is_closed()) {
            let feed = Feed::spawn(&self.context, &self.name, self.epoch, strand);
            let Some(feed) = feed else {
                return false;
            };
            self.running.insert(strand, feed);
        }
        let feed = self.running.get(&strand);
        feed.is_some_and(|feed| feed.commands.try_send(command).is_ok())
    }
}
