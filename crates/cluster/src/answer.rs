//! The answer to a request to join.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use distributary_hub::Snapshot;
use distributary_media::{Frame, MediaTime, TimedData};
use futures_util::future::join_all;
use tokio::time::sleep;

use crate::clock::{micros, now};
use crate::content::{EndReason, data_body};
use crate::context::Context;
use crate::message::{Header, Kind, encode, encode_frame, is_sendable};
use crate::tracks::TrackSet;

/// Maximum bytes of the answer to a request to join. With a larger GOP the node gets no video before
/// the next keyframe: a NATS server would end the connection over so much at once.
pub(crate) const MAX_ANSWER: usize = 4 << 20;

/// Bytes and parts of an answer after which it pauses, so that it does not hold up live streams.
const BURST: (usize, usize) = (512 << 10, 128);

/// The pause within an answer.
const PAUSE: Duration = Duration::from_millis(10);

/// Removes the video of a GOP that is too large for an answer, or has a frame that cannot be sent.
pub(crate) fn bound(frames: &mut Vec<Arc<Frame>>) {
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
pub(crate) struct Answer {
    pub(crate) context: Arc<Context>,
    pub(crate) snapshot: Snapshot,
    /// The time that the stream has reached.
    pub(crate) present: MediaTime,
    pub(crate) tracks: TrackSet,
    pub(crate) epoch: u64,
    /// The number of the live part that follows.
    pub(crate) next_live: u64,
    pub(crate) reply: String,
    pub(crate) progress: Progress,
}

/// The progress of an answer that is being sent.
#[derive(Default)]
pub(crate) struct Progress {
    /// The number of the next part.
    sequence: u64,
    /// The bytes and parts since the last pause.
    burst: (usize, usize),
}

impl Answer {
    /// Sends the answer. It ends early if a part cannot be sent: without it the rest is of no use.
    pub(crate) async fn send(mut self) -> Option<()> {
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
        for part in encode(self.progress.sequence, self.context.clock(now())) {
            self.progress.sequence += 1;
            let len = part.len();
            if !self.context.link.publish(&self.reply, part).await {
                self.context.counters.dropped_away.note();
                return None;
            }
            self.context.counters.bytes_out.add(len as u64);
            let burst = &mut self.progress.burst;
            *burst = (burst.0 + len, burst.1 + 1);
            if burst.0 >= BURST.0 || burst.1 >= BURST.1 {
                *burst = (0, 0);
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

/// Refuses several requests to join together: a connection that takes nothing holds up all of them
/// once.
pub(crate) async fn refuse_all(context: &Context, replies: Vec<String>, reason: EndReason) {
    let refused = replies.iter().map(|reply| refuse(context, reply, reason));
    join_all(refused).await;
}

pub(crate) fn data_header(data: &TimedData, epoch: u64) -> Header {
    let mut header = Header::new(Kind::Data, epoch);
    header.dts = data.time;
    header
}

pub(crate) fn age_field(age: Duration) -> u32 {
    u32::try_from(micros(age)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Cluster;
    use crate::link::COMMAND_TIMEOUT;
    use distributary_cluster::test_util::NatsServer;
    use distributary_hub::{Hub, HubConfig};
    use distributary_media::test_util::{opus_frame, video_frame};
    use tokio::time::{Instant, pause, timeout};

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

    #[tokio::test]
    async fn connection_that_takes_nothing_holds_up_all_refusals_once() {
        let nats = NatsServer::start();
        let hub = Hub::new(HubConfig::default());
        let (cluster, running) = Cluster::connected(nats.url(), hub).await;
        let context = cluster.context();
        // Time passes from now on when there is nothing else to do.
        pause();
        nats.freeze();
        let fill = || {
            context
                .link
                .client()
                .publish("fill", vec![0; 64 << 10].into())
        };
        let mut taken_nothing = 0;
        while taken_nothing < 3 {
            let filled = timeout(Duration::from_millis(5), fill()).await;
            taken_nothing = if filled.is_err() {
                taken_nothing + 1
            } else {
                0
            };
        }
        let began = Instant::now();
        let replies = (0..8).map(|number| format!("_INBOX.x.{number}"));
        refuse_all(context, replies.collect(), EndReason::Busy).await;
        let took = began.elapsed();
        // Timers count whole milliseconds.
        let once = COMMAND_TIMEOUT..COMMAND_TIMEOUT + Duration::from_millis(5);
        assert!(once.contains(&took), "{took:?}");
        running.abort();
    }
}
