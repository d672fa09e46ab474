//! Sends one strand of a stream of this node to the nodes that watch it.
//!
//! ```text
//! hub ──► bounded queue ──► Feed ──► one subject of NATS ──► every node that watches
//! ```
//!
//! The hub never waits: while the connection takes no more, the queue fills up, and the hub drops
//! what does not fit, for this subscriber alone, up to the next keyframe.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use distributary_hub::{Delivery, RenditionOffer, Sink, Stream, StreamEvent, Subscription, Tracks};
use distributary_media::{Frame, MediaTime};
use distributary_names::StreamName;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tracing::debug;

use crate::anchor::Place;
use crate::answer::{Answer, Progress, bound, refuse, refuse_all};
use crate::clock::now;
use crate::config::Label;
use crate::content::EndReason;
use crate::context::Context;
use crate::interest::Interest;
use crate::keyframe_requests::KeyframeRequests;
use crate::offers::{are_near, offers};
use crate::outlet::Outlet;
use crate::strand::Strand;
use crate::tracks::TrackSet;

/// Time without a message after which a sign of life is sent.
const TICK: Duration = Duration::from_millis(200);

/// Interval at which the renditions are compared with those that were sent: bitrates, and what can be
/// made, change without an event.
const COMPARISON: Duration = Duration::from_secs(1);

/// Time after the present up to which a keyframe may be requested. The present is that of decoding:
/// frames that viewers have are shown later.
const MAX_AHEAD: Duration = Duration::from_secs(1);

/// Commands in the queue of a feed.
const MAX_COMMANDS: usize = 64;

/// A command for a feed.
#[derive(Debug)]
pub(crate) enum FeedCommand {
    /// A node joins; the answer goes to the subject `reply`.
    Join { node: Label, reply: String },
    /// A node still watches, with this loss of audio packets in percent. It may need a keyframe of a
    /// rendition that is later than a time.
    Keep {
        node: Label,
        loss: u8,
        keyframe_after: Option<MediaTime>,
    },
}

/// A feed that runs until its commands are dropped, or nobody watches any more.
#[derive(Debug)]
pub(crate) struct RunningFeed {
    pub(crate) commands: mpsc::Sender<FeedCommand>,
    pub(crate) task: JoinHandle<()>,
}

/// Sends one strand of a stream of this node to the nodes that watch it.
pub(crate) struct Feed {
    context: Arc<Context>,
    /// The stream of the hub that carries the strand.
    stream: Arc<Stream>,
    strand: Strand,
    outlet: Outlet,
    interest: Interest,
    keyframes: KeyframeRequests,
    commands: mpsc::Receiver<FeedCommand>,
    queue: mpsc::Receiver<Delivery>,
    /// The subscription to the stream, until the feed ends.
    subscription: Option<Subscription>,
    /// The tracks as they were sent last.
    sent: Option<Tracks>,
    /// The renditions as they were sent last, and when they were compared.
    offers: Vec<RenditionOffer>,
    compared: Instant,
    /// The stream is offline, and the other nodes know that.
    is_offline: bool,
}

impl Feed {
    /// Starts sending a strand of a stream. `None` if the hub does not have it, or nobody publishes
    /// it.
    pub(crate) fn spawn(
        context: &Arc<Context>,
        name: &StreamName,
        epoch: u64,
        strand: Strand,
    ) -> Option<RunningFeed> {
        let carrier = strand.stream(name);
        let stream = context.hub.stream(&carrier);
        let stream = stream.filter(|stream| stream.is_live())?;
        let capacity = stream.settings().queue_frames.max(1);
        let (sink, queue) = Sink::channel(capacity);
        let (subscription, _) = context.hub.subscribe(&carrier, strand.sink(sink), 0)?;
        let (sender, commands) = mpsc::channel(MAX_COMMANDS);
        let feed = Self {
            context: Arc::clone(context),
            stream,
            strand,
            outlet: Outlet::new(context, name, epoch, strand),
            interest: Interest::default(),
            keyframes: KeyframeRequests::new(),
            commands,
            queue,
            subscription: Some(subscription),
            sent: None,
            offers: Vec::new(),
            compared: Instant::now(),
            is_offline: false,
        };
        Some(RunningFeed {
            commands: sender,
            task: tokio::spawn(feed.run()),
        })
    }

    async fn run(mut self) {
        debug!(stream = %self.stream.name(), "sending to other nodes");
        let mut tick = pin!(sleep(TICK));
        loop {
            tokio::select! {
                command = self.commands.recv() => match command {
                    Some(command) => self.handle(command).await,
                    None => break,
                },
                Some(delivery) = self.queue.recv() => self.deliver(delivery).await,
                () = self.keyframes.due() => self.request_keyframe(),
                () = tick.as_mut() => {
                    if !self.interest.expire(now()) && self.commands.is_empty() {
                        return self.leave().await;
                    }
                    let since = if self.is_offline {
                        Instant::now()
                    } else {
                        self.tick().await;
                        self.outlet.last()
                    };
                    tick.as_mut().reset(since + TICK);
                }
            }
        }
        // Nothing more comes in while the queue is emptied.
        self.subscription = None;
        while let Ok(delivery) = self.queue.try_recv() {
            self.deliver(delivery).await;
        }
        if !self.is_offline {
            self.outlet.send_end(EndReason::Moved).await;
        }
    }

    /// Ends because no other node watches.
    async fn leave(mut self) {
        debug!(stream = %self.stream.name(), "no other node watches");
        self.commands.close();
        // Whoever has just come asks again.
        let mut joins = Vec::new();
        while let Some(command) = self.commands.recv().await {
            if let FeedCommand::Join { reply, .. } = command {
                joins.push(reply);
            }
        }
        refuse_all(&self.context, joins, EndReason::Moved).await;
    }

    async fn handle(&mut self, command: FeedCommand) {
        match command {
            // Whoever watches joins again once it is live.
            FeedCommand::Keep { .. } if self.is_offline => {}
            FeedCommand::Keep {
                node,
                loss,
                keyframe_after,
            } => {
                self.interest.renew(&node, loss, now());
                if let Some(after) = keyframe_after.filter(|_| self.is_rendition()) {
                    self.keyframes.add(after);
                }
            }
            FeedCommand::Join { reply, .. } if self.is_offline => {
                refuse(&self.context, &reply, EndReason::Lost).await;
            }
            FeedCommand::Join { node, reply } => {
                self.interest.renew(&node, 0, now());
                self.answer(reply).await;
            }
        }
    }

    fn is_rendition(&self) -> bool {
        matches!(self.strand, Strand::Rendition(_))
    }

    /// Passes on that viewers of other nodes need a keyframe of the rendition.
    fn request_keyframe(&mut self) {
        let Some(after) = self.keyframes.take().filter(|_| !self.is_offline) else {
            return;
        };
        let (hub, name) = (&self.context.hub, self.stream.name());
        // No viewer has more. With a later time, none would get the keyframe that it needs.
        let source = hub.stream(&name.published());
        let Some(present) = source.and_then(|source| source.reached(now())) else {
            return;
        };
        let after = after.min(present + MAX_AHEAD);
        if hub.request_keyframe(name, after) {
            self.keyframes.await_keyframe(after);
        }
    }

    async fn tick(&mut self) {
        if let Some(subscription) = &self.subscription {
            subscription.set_audio_loss(self.interest.loss());
        }
        if self.compared.elapsed() >= COMPARISON {
            self.compare_offers();
        }
        self.send_tracks().await;
        // Frames are signs of life, too.
        if self.outlet.last().elapsed() >= TICK {
            self.outlet.send_tick().await;
        }
    }

    async fn deliver(&mut self, delivery: Delivery) {
        match &delivery.event {
            StreamEvent::Frame(_) | StreamEvent::Data(_) if self.is_offline => {}
            StreamEvent::Frame(frame) => {
                if frame.is_keyframe() || self.sent.is_none() {
                    self.send_tracks().await;
                }
                let arrived = delivery.arrived;
                let age = arrived.map_or(Duration::ZERO, |at| now().saturating_duration_since(at));
                self.outlet.send_frame(frame, age).await;
                if let Frame::Video(video) = &**frame
                    && video.keyframe
                {
                    self.keyframes.note_keyframe(video.pts);
                }
            }
            StreamEvent::Data(data) if self.strand == Strand::Main => {
                self.outlet.send_data(data).await;
            }
            StreamEvent::Data(_) => {}
            StreamEvent::Offline => {
                let reason = if self.stream.has_ended() {
                    EndReason::Finished
                } else {
                    EndReason::Lost
                };
                self.outlet.send_end(reason).await;
                self.is_offline = true;
            }
            // Its owner announces it to the other nodes.
            StreamEvent::Online => self.is_offline = false,
            // Other nodes learn of another publisher by its first keyframe.
            StreamEvent::Gap => {}
            StreamEvent::Renditions => {
                self.compare_offers();
                self.send_tracks().await;
            }
        }
    }

    /// Sends the tracks if they have changed.
    async fn send_tracks(&mut self) {
        let tracks = self.stream.tracks();
        let is_same = self.sent.as_ref().is_some_and(|sent| {
            is_same(sent.0.as_ref(), tracks.0.as_ref())
                && is_same(sent.1.as_ref(), tracks.1.as_ref())
        });
        if is_same {
            return;
        }
        self.sent = Some(tracks);
        self.offers = self.list_offers();
        let tracks = self.describe();
        self.outlet.send_tracks(&tracks).await;
    }

    /// Lets the tracks be sent again if the renditions have changed.
    fn compare_offers(&mut self) {
        self.compared = Instant::now();
        if !are_near(&self.list_offers(), &self.offers) {
            self.sent = None;
        }
    }

    /// Returns the renditions that nodes may ask for.
    fn list_offers(&self) -> Vec<RenditionOffer> {
        match self.strand {
            Strand::Main => offers(&self.context.hub, self.stream.name(), now()),
            Strand::PublishedAudio | Strand::Rendition(_) => Vec::new(),
        }
    }

    /// Returns the tracks, and what else nodes need to know of the stream.
    fn describe(&self) -> TrackSet {
        TrackSet::of(&self.stream.stats()).with_renditions(&self.list_offers())
    }

    /// Returns the number of the stream's timeline, which no other stream and no other process has.
    fn timeline(&self) -> u64 {
        let origin = self.context.clock(self.stream.epoch());
        self.context.instance.wrapping_add(origin)
    }

    /// Answers a request to join, beside the live stream.
    async fn answer(&self, reply: String) {
        let asking = self.context.asking_node(&reply);
        let Some(slot) = self.context.joins.take(&asking) else {
            return refuse(&self.context, &reply, EndReason::Busy).await;
        };
        let now = now();
        let mut snapshot = self.stream.snapshot(now);
        if self.strand.has_video() {
            bound(&mut snapshot.frames);
        } else {
            snapshot.frames.clear();
        }
        if self.strand != Strand::Main {
            snapshot.metadata = None;
        }
        let since_origin = now.saturating_duration_since(self.stream.epoch());
        let present = snapshot.present.unwrap_or(MediaTime::ZERO + since_origin);
        let is_empty = snapshot.frames.is_empty();
        let place = Place {
            timeline: self.timeline(),
            present: present.as_nanos(),
            since: snapshot
                .since
                .filter(|_| !is_empty)
                .map(MediaTime::as_nanos),
        };
        let answer = Answer {
            context: Arc::clone(&self.context),
            snapshot,
            present,
            tracks: self.describe().at(place),
            epoch: self.outlet.epoch(),
            next_live: self.outlet.next(),
            reply,
            progress: Progress::default(),
        };
        tokio::spawn(async move {
            // If it ends early, the other node joins again.
            let _ = answer.send().await;
            drop(slot);
        });
    }
}

fn is_same<T>(a: Option<&Arc<T>>, b: Option<&Arc<T>>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => Arc::ptr_eq(a, b),
        (None, None) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use distributary_cluster::test_util::NatsServer;
    use distributary_hub::{Hub, HubConfig};
    use distributary_media::test_util::video_frame;
    use tokio::time::timeout;

    use super::*;
    use crate::cluster::Cluster;
    use crate::content::Content;
    use crate::message::Part;
    use crate::subscription::Subscription;

    const LIMIT: Duration = Duration::from_secs(60);

    /// Returns the end of the next answer.
    async fn end(inbox: &mut Subscription) -> Content {
        loop {
            let message = timeout(LIMIT, inbox.next()).await.unwrap().unwrap();
            let part = Part::decode(&message.payload).unwrap();
            let content = Content::read(&part.header, part.body).unwrap();
            if matches!(content, Content::End(_) | Content::Joined { .. }) {
                return content;
            }
        }
    }

    #[tokio::test]
    async fn node_has_as_many_answers_at_a_time_as_there_are_slots_and_leaves_others_theirs() {
        let nats = NatsServer::start();
        let hub = Hub::new(HubConfig::default());
        let (cluster, running) = Cluster::connected(nats.url(), hub.clone()).await;
        let context = cluster.context();
        let known: Label = "test".parse().unwrap();
        let is_known = async {
            while !context.nodes().contains(&known) {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(LIMIT, is_known).await.unwrap();
        let name = StreamName::parse("live/test").unwrap();
        let _publisher = hub.publish(&name, now()).unwrap();
        let mut inbox = context.link.listen("_INBOX.*.lab").await.unwrap();
        let feed = Feed::spawn(context, &name, 1, Strand::Main).unwrap();
        let join = |node: &str| {
            let reply = format!("_INBOX.{node}.lab");
            let node = node.parse().unwrap();
            feed.commands.try_send(FeedCommand::Join { node, reply })
        };
        let slots = std::iter::from_fn(|| context.joins.take(""));
        let mut taken: Vec<_> = slots.collect();
        join("unknown").unwrap();
        assert_eq!(end(&mut inbox).await, Content::End(EndReason::Busy));
        join("test").unwrap();
        assert!(matches!(end(&mut inbox).await, Content::Joined { .. }));
        // An answer gives its slot back.
        drop(taken.pop());
        for _ in 0..3 {
            join("unknown").unwrap();
            assert!(matches!(end(&mut inbox).await, Content::Joined { .. }));
            let is_free = async {
                while context.joins.take("").is_none() {
                    sleep(Duration::from_millis(10)).await;
                }
            };
            timeout(LIMIT, is_free).await.unwrap();
        }
        running.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn signs_of_life_are_sent_while_there_are_no_frames() {
        let hub = Hub::new(HubConfig::default());
        let (cluster, _driver) = Cluster::unconnected(hub.clone()).await;
        let name = StreamName::parse("live/test").unwrap();
        let publisher = hub.publish(&name, now()).unwrap();
        let feed = Feed::spawn(cluster.context(), &name, 1, Strand::Main).unwrap();
        let keep = FeedCommand::Keep {
            node: "x".parse().unwrap(),
            loss: 0,
            keyframe_after: None,
        };
        feed.commands.try_send(keep).unwrap();
        // Without a connection nothing is sent, but counted.
        let sent = || cluster.context().counters.dropped_away.get();
        let push = async |number: i64| {
            let frame = video_frame(100 * number, number == 0, 10);
            publisher.push(Frame::Video(frame), now()).unwrap();
            sleep(TICK / 2).await;
        };
        push(0).await;
        let before = sent();
        for number in 1..=20 {
            push(number).await;
        }
        assert_eq!(sent() - before, 20, "the frames alone");
        let before = sent();
        sleep(5 * TICK).await;
        assert_eq!(sent() - before, 5);
    }
}
