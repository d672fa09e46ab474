//! A stream that a client publishes over its connection.

use std::fmt::Display;
use std::time::Instant;

use distributary_hub::Refusal;
use tokio::task::JoinHandle;
use tracing::Span;

use super::advice::AdviceSender;
use super::end::End;
use crate::proto::session::MediaMessage;
use crate::server::holders::HolderEntry;
use crate::server::ingest::Ingest;

/// A stream that the client publishes. It goes offline when this is dropped.
pub(super) struct Published {
    pub(super) ingest: Ingest,
    /// Deadline of the first frame.
    pub(super) first_frame: Option<Instant>,
    /// The log span of the stream, since the connection can have several.
    pub(super) span: Span,
    pub(super) watcher: JoinHandle<()>,
    pub(super) holder: HolderEntry,
    pub(super) advice: AdviceSender,
}

/// A dismissed stream.
pub(super) struct Dismissed {
    pub(super) stream_id: u32,
    pub(super) description: &'static str,
    pub(super) end: End,
}

impl Published {
    pub(super) fn handle(&mut self, message: MediaMessage, now: Instant) -> Result<(), Refusal> {
        self.feed(now, |ingest| ingest.handle(message, now))
    }

    /// Handles passed deadlines.
    pub(super) fn handle_deadline(&mut self, now: Instant) -> Result<(), Refusal> {
        self.feed(now, |ingest| ingest.handle_deadline(now))
    }

    /// Feeds the ingest, and notes the frames that come of it.
    fn feed(
        &mut self,
        now: Instant,
        feed: impl FnOnce(&mut Ingest) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let _entered = self.span.enter();
        let before = self.ingest.frames();
        feed(&mut self.ingest)?;
        if self.ingest.frames() > before {
            self.holder.last_frame().note_at(now);
            self.first_frame = None;
        }
        Ok(())
    }

    /// Returns advice for the publisher that is new.
    pub(super) fn advice(&mut self, now: Instant) -> Option<String> {
        self.advice.next(self.ingest.stream(), now)
    }

    /// Returns the earliest deadline.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let held = self.ingest.deadline();
        held.into_iter().chain(self.first_frame).min()
    }

    /// Ends the stream by the command `reason` of the publisher.
    pub(super) fn finish(mut self, reason: &dyn Display) {
        self.ingest.finish();
        self.end(reason);
    }

    /// Logs the end of the stream and its reason.
    pub(super) fn end(self, reason: &dyn Display) {
        let _entered = self.span.enter();
        self.watcher.abort();
        self.ingest.end(reason);
    }
}
