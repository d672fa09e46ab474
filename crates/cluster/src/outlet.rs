//! The subject of one strand of a stream of this node: numbers what is sent on it.

use std::sync::Arc;
use std::time::Duration;

use async_nats::Subject;
use bytes::Bytes;
use distributary_media::{Frame, TimedData};
use distributary_names::StreamName;
use tokio::time::Instant;

use crate::answer::{age_field, data_header};
use crate::clock::now;
use crate::content::{EndReason, data_body};
use crate::context::Context;
use crate::message::{Header, Kind, encode, encode_frame};
use crate::strand::Strand;
use crate::tracks::TrackSet;

/// The subject of one strand of a stream of this node, in one epoch.
pub(crate) struct Outlet {
    context: Arc<Context>,
    subject: Subject,
    epoch: u64,
    /// The number of the next part.
    sequence: u64,
    /// Time of the last message.
    last: Instant,
}

impl Outlet {
    /// Returns the subject of a strand on which nothing was sent yet.
    pub(crate) fn new(
        context: &Arc<Context>,
        name: &StreamName,
        epoch: u64,
        strand: Strand,
    ) -> Self {
        let subject = context.subjects.media(&context.node, epoch, name, strand);
        Self {
            context: Arc::clone(context),
            subject: subject.into(),
            epoch,
            sequence: 0,
            last: Instant::now(),
        }
    }

    /// Returns the epoch.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Returns the number of the next part.
    pub(crate) fn next(&self) -> u64 {
        self.sequence
    }

    /// Returns the time of the last message.
    pub(crate) fn last(&self) -> Instant {
        self.last
    }

    /// Sends a frame that arrived some time ago.
    pub(crate) async fn send_frame(&mut self, frame: &Frame, age: Duration) {
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

    /// Sends timed data.
    pub(crate) async fn send_data(&mut self, data: &TimedData) {
        if let Some(body) = data_body(data) {
            let header = data_header(data, self.epoch);
            self.send(&header, &body).await;
        }
    }

    /// Sends the tracks.
    pub(crate) async fn send_tracks(&mut self, tracks: &TrackSet) {
        let header = Header::new(Kind::Tracks, self.epoch);
        self.send(&header, &tracks.to_json()).await;
    }

    /// Sends a sign of life.
    pub(crate) async fn send_tick(&mut self) {
        self.send(&Header::new(Kind::Tick, self.epoch), &[]).await;
    }

    /// Tells the other nodes that the stream ends.
    pub(crate) async fn send_end(&mut self, reason: EndReason) {
        let header = Header::new(Kind::End, self.epoch);
        self.send(&header, &reason.to_body()).await;
    }

    async fn send(&mut self, header: &Header, body: &[u8]) {
        let clock = self.context.clock(now());
        let parts = encode(header, &[body], self.sequence, clock);
        self.publish(parts).await;
    }

    async fn publish(&mut self, parts: Vec<Bytes>) {
        self.last = Instant::now();
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
}
