//! Sends one stream of this node to the nodes that watch it.
//!
//! ```text
//! hub ──► bounded queue ──► Feed ──► one subject of NATS ──► every node that watches
//! ```
//!
//! The hub never waits: while the connection takes no more, the queue fills up, and the hub drops
//! what does not fit, for this subscriber alone, up to the next keyframe.

use std::sync::Arc;
use std::time::Duration;

use async_nats::Subject;
use bytes::Bytes;
use distributary_hub::{Delivery, Sink, Snapshot, Stream, StreamEvent, Subscription, Tracks};
use distributary_media::{Frame, MediaTime, TimedData};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};
use tracing::debug;

use crate::anchor::Place;
use crate::clock::{micros, now};
use crate::config::Label;
use crate::content::{EndReason, data_body};
use crate::context::Context;
use crate::form::Form;
use crate::interest::Interest;
use crate::message::{Header, Kind, encode, encode_frame, is_sendable};
use crate::tracks::TrackSet;

/// Interval of signs of life.
const TICK: Duration = Duration::from_millis(200);

/// Commands in the queue of a feed.
const MAX_COMMANDS: usize = 64;

/// Maximum bytes of the answer to a request to join. With a larger GOP the node gets no video before
/// the next keyframe: a NATS server would end the connection over so much at once.
pub(crate) const MAX_ANSWER: usize = 4 << 20;

/// Bytes and parts of an answer after which it pauses, so that it does not hold up live streams.
const BURST: (usize, usize) = (512 << 10, 128);

/// The pause within an answer.
const PAUSE: Duration = Duration::from_millis(10);

/// A command for a feed.
#[derive(Debug)]
pub(crate) enum FeedCommand {
    /// A node joins; the answer goes to the subject `reply`.
    Join { node: Label, reply: String },
    /// A node still watches, with this loss of audio packets in percent.
    Keep { node: Label, loss: u8 },
}

/// A feed that runs until its commands are dropped, or nobody watches any more.
#[derive(Debug)]
pub(crate) struct RunningFeed {
    pub(crate) commands: mpsc::Sender<FeedCommand>,
    pub(crate) task: JoinHandle<()>,
}

/// Sends one stream of this node to the nodes that watch it, in one form.
pub(crate) struct Feed {
    context: Arc<Context>,
    stream: Arc<Stream>,
    epoch: u64,
    form: Form,
    subject: Subject,
    /// The number of the next part.
    sequence: u64,
    interest: Interest,
    commands: mpsc::Receiver<FeedCommand>,
    queue: mpsc::Receiver<Delivery>,
    /// The subscription to the stream, until the feed ends.
    subscription: Option<Subscription>,
    /// The tracks as they were sent last.
    sent: Option<Tracks>,
    /// The stream is offline, and the other nodes know that.
    is_offline: bool,
}

impl Feed {
    /// Starts sending a stream. `None` if the hub does not have it.
    pub(crate) fn spawn(
        context: &Arc<Context>,
        stream: &Arc<Stream>,
        epoch: u64,
        form: Form,
    ) -> Option<RunningFeed> {
        let name = stream.name();
        let capacity = stream.settings().queue_frames.max(1);
        let (sink, queue) = Sink::channel(capacity);
        let sink = sink.with_audio(form.audio());
        let (subscription, _) = context.hub.subscribe(name, sink, 0)?;
        let (sender, commands) = mpsc::channel(MAX_COMMANDS);
        let media = context.subjects.media(&context.node, epoch, name, form);
        let feed = Self {
            context: Arc::clone(context),
            stream: Arc::clone(stream),
            epoch,
            form,
            subject: media.into(),
            sequence: 0,
            interest: Interest::default(),
            commands,
            queue,
            subscription: Some(subscription),
            sent: None,
            is_offline: false,
        };
        Some(RunningFeed {
            commands: sender,
            task: tokio::spawn(feed.run()),
        })
    }

    async fn run(mut self) {
        debug!(stream = %self.stream.name(), "sending to other nodes");
        let mut tick = interval_at(Instant::now() + TICK, TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                command = self.commands.recv() => match command {
                    Some(command) => self.handle(command).await,
                    None => break,
                },
                Some(delivery) = self.queue.recv() => self.deliver(delivery).await,
                _ = tick.tick() => {
                    if !self.interest.expire(now()) && self.commands.is_empty() {
                        return self.leave().await;
                    }
                    if !self.is_offline {
                        self.tick().await;
                    }
                }
            }
        }
        // Nothing more comes in while the queue is emptied.
        self.subscription = None;
        while let Ok(delivery) = self.queue.try_recv() {
            self.deliver(delivery).await;
        }
        if !self.is_offline {
            self.end(EndReason::Moved).await;
        }
    }

    /// Ends because no other node watches.
    async fn leave(mut self) {
        debug!(stream = %self.stream.name(), "no other node watches");
        self.commands.close();
        // Whoever has just come asks again.
        while let Some(command) = self.commands.recv().await {
            if let FeedCommand::Join { reply, .. } = command {
                refuse(&self.context, &reply, EndReason::Moved).await;
            }
        }
    }

    async fn handle(&mut self, command: FeedCommand) {
        match command {
            // Whoever watches joins again once it is live.
            FeedCommand::Keep { .. } if self.is_offline => {}
            FeedCommand::Keep { node, loss } => self.interest.renew(&node, loss, now()),
            FeedCommand::Join { reply, .. } if self.is_offline => {
                refuse(&self.context, &reply, EndReason::Lost).await;
            }
            FeedCommand::Join { node, reply } => {
                self.interest.renew(&node, 0, now());
                self.answer(reply).await;
            }
        }
    }

    async fn tick(&mut self) {
        if let Some(subscription) = &self.subscription {
            subscription.set_audio_loss(self.interest.loss());
        }
        self.send_tracks().await;
        self.send(&Header::new(Kind::Tick, self.epoch), &[]).await;
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
                self.send_frame(frame, age).await;
            }
            StreamEvent::Data(data) => self.send_data(data).await,
            StreamEvent::Offline => {
                let reason = if self.stream.has_ended() {
                    EndReason::Finished
                } else {
                    EndReason::Lost
                };
                self.end(reason).await;
                self.is_offline = true;
            }
            // Its owner announces it to the other nodes.
            StreamEvent::Online => self.is_offline = false,
            StreamEvent::Renditions => {}
        }
    }

    /// Tells the other nodes that the stream ends.
    async fn end(&mut self, reason: EndReason) {
        let header = Header::new(Kind::End, self.epoch);
        self.send(&header, &[&reason.to_body()]).await;
    }

    async fn send_frame(&mut self, frame: &Frame, age: Duration) {
        let header = Header::of_frame(frame, self.epoch, age_field(age));
        let clock = self.context.clock(now());
        let parts = encode_frame(frame, &header, self.sequence, clock);
        if parts.is_empty() {
            // The others notice a gap, and wait for the next keyframe.
            self.sequence += 1;
            self.context.counters.dropped_large.note();
            return;
        }
        self.context.counters.frames_out.note();
        self.publish(parts).await;
    }

    async fn send_data(&mut self, data: &TimedData) {
        if let Some(body) = data_body(data) {
            let header = data_header(data, self.epoch);
            self.send(&header, &[&body]).await;
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
        let body = TrackSet::of(&self.stream.stats(), self.form).to_json();
        let header = Header::new(Kind::Tracks, self.epoch);
        self.send(&header, &[&body]).await;
    }

    async fn send(&mut self, header: &Header, body: &[&[u8]]) {
        let clock = self.context.clock(now());
        let parts = encode(header, body, self.sequence, clock);
        self.publish(parts).await;
    }

    async fn publish(&mut self, parts: Vec<Bytes>) {
        for part in parts {
            // Counted even if it is not sent, so that the others notice.
            self.sequence += 1;
            let len = part.len() as u64;
            let subject = self.subject.clone();
            if self.context.link.publish_on(subject, part).await {
                self.context.counters.bytes_out.add(len);
            } else {
                self.context.counters.dropped_away.note();
            }
        }
    }

    /// Returns the number of the stream's timeline, which no other stream and no other process has.
    fn timeline(&self) -> u64 {
        let origin = self.context.clock(self.stream.epoch());
        self.context.instance.wrapping_add(origin)
    }

    /// Answers a request to join, beside the live stream.
    async fn answer(&self, reply: String) {
        let Ok(slot) = Arc::clone(&self.context.joins).try_acquire_owned() else {
            return refuse(&self.context, &reply, EndReason::Busy).await;
        };
        let now = now();
        let mut snapshot = self.stream.snapshot(now);
        bound(&mut snapshot.frames);
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
            tracks: TrackSet::of(&self.stream.stats(), self.form).at(place),
            epoch: self.epoch,
            next_live: self.sequence,
            reply,
            sequence: 0,
            burst: (0, 0),
        };
        tokio::spawn(async move {
            // If it ends early, the other node joins again.
            let _ = answer.send().await;
            drop(slot);
        });
    }
}

/// Removes the video of a GOP that is too large for an answer, or has a frame that cannot be sent.
fn bound(frames: &mut Vec<Arc<Frame>>) {
    let mut total = 0;
    let fits = frames.iter().all(|frame| {
        total += frame.payload_len();
        total <= MAX_ANSWER && is_sendable(frame)
    });
    if !fits {
        frames.retain(|frame| matches!(**frame, Frame::Audio(_)));
    }
}

/// The answer to a request to join.
struct Answer {
    context: Arc<Context>,
    snapshot: Snapshot,
    /// The time that the stream has reached.
    present: MediaTime,
    tracks: TrackSet,
    epoch: u64,
    /// The number of the live part that follows.
    next_live: u64,
    reply: String,
    sequence: u64,
    /// The bytes and parts since the last pause.
    burst: (usize, usize),
}

impl Answer {
    /// Sends the answer. It ends early if a part cannot be sent: without it the rest is of no use.
    async fn send(mut self) -> Option<()> {
        let tracks = self.tracks.to_json();
        let header = Header::new(Kind::Tracks, self.epoch);
        self.publish(|sequence, clock| encode(&header, &[&tracks], sequence, clock))
            .await?;
        if let Some(data) = self.snapshot.metadata.take()
            && let Some(body) = data_body(&data)
        {
            let header = data_header(&data, self.epoch);
            self.publish(|sequence, clock| encode(&header, &[&body], sequence, clock))
                .await?;
        }
        let frames = std::mem::take(&mut self.snapshot.frames);
        for frame in frames {
            let age = self.present.saturating_since(frame.dts());
            let header = Header::of_frame(&frame, self.epoch, age_field(age));
            self.publish(|sequence, clock| encode_frame(&frame, &header, sequence, clock))
                .await?;
        }
        let mut header = Header::new(Kind::Joined, self.epoch);
        header.dts = self.present;
        let next = self.next_live.to_be_bytes();
        self.publish(|sequence, clock| encode(&header, &[&next], sequence, clock))
            .await
    }

    /// Sends the parts of a message. `None` if one of them cannot be sent.
    async fn publish(&mut self, encode: impl FnOnce(u64, u64) -> Vec<Bytes>) -> Option<()> {
        for part in encode(self.sequence, self.context.clock(now())) {
            self.sequence += 1;
            let len = part.len();
            if !self.context.link.publish(&self.reply, part).await {
                self.context.counters.dropped_away.note();
                return None;
            }
            self.context.counters.bytes_out.add(len as u64);
            self.burst = (self.burst.0 + len, self.burst.1 + 1);
            if self.burst.0 >= BURST.0 || self.burst.1 >= BURST.1 {
                self.burst = (0, 0);
                sleep(PAUSE).await;
            }
        }
        Some(())
    }
}

/// Refuses a request to join.
pub(crate) async fn refuse(context: &Context, reply: &str, reason: EndReason) {
    let header = Header::new(Kind::End, 0);
    let clock = context.clock(now());
    for part in encode(&header, &[&reason.to_body()], 0, clock) {
        context.link.publish(reply, part).await;
    }
}

fn data_header(data: &TimedData, epoch: u64) -> Header {
    let mut header = Header::new(Kind::Data, epoch);
    header.dts = data.time;
    header
}

fn age_field(age: Duration) -> u32 {
    u32::try_from(micros(age)).unwrap_or(u32::MAX)
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
    use super::*;
    use distributary_media::test_util::{opus_frame, video_frame};

    fn gop(bytes: usize) -> Vec<Arc<Frame>> {
        vec![
            Arc::new(Frame::Video(video_frame(0, true, bytes / 2))),
            Arc::new(Frame::Audio(opus_frame(0, &[1]))),
            Arc::new(Frame::Video(video_frame(40, false, bytes / 2))),
        ]
    }

    #[test]
    fn answer_with_a_large_gop_has_no_video() {
        let mut frames = gop(MAX_ANSWER / 2);
        bound(&mut frames);
        assert_eq!(frames.len(), 3);
        let mut frames = gop(2 * MAX_ANSWER);
        bound(&mut frames);
        assert!(matches!(&frames[..], [frame] if matches!(**frame, Frame::Audio(_))));
    }

    #[test]
    fn answer_with_a_frame_that_cannot_be_sent_has_no_video() {
        let mut frames = gop(100);
        let mut empty = video_frame(80, false, 10);
        empty.units.clear();
        frames.push(Arc::new(Frame::Video(empty)));
        bound(&mut frames);
        assert_eq!(frames.len(), 1);
    }
}
