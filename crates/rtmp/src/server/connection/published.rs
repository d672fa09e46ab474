//! A stream that a client publishes over its connection.

use std::fmt::Display;
use std::time::Instant;

use distributary_hub::{Refusal, Standing};
use tokio::task::JoinHandle;
use tracing::{Span, info};

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
    /// Messages to the client about its standing that are left.
    pub(super) standings_left: u32,
}

/// A message from the task that watches a published stream.
pub(super) struct Notice {
    pub(super) stream_id: u32,
    pub(super) news: News,
}

/// A change of a published stream.
pub(super) enum News {
    /// Its publisher is active now, or stands by now.
    Standing(Standing),
    /// It is dismissed.
    Dismissed { description: &'static str, end: End },
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
        // The stats of the stream are those of another publisher while this one stands by.
        if !self.ingest.is_active() {
            return None;
        }
        self.advice.next(self.ingest.stream(), now)
    }

    /// Logs a change of the publisher's standing. Returns the text for the client, if it is told.
    pub(super) fn note_standing(&mut self, standing: Standing) -> Option<&'static str> {
        let _entered = self.span.enter();
        let text = match standing {
            Standing::Active => {
                "It is published now: the publisher before is gone or silent, or was replaced."
            }
            Standing::Standby => "It stands by: viewers get the stream of another publisher.",
            Standing::Next => {
                "It stands by: the publisher before is gone, and viewers get it from its next keyframe on."
            }
            Standing::Dismissed(_) => return None,
        };
        match standing {
            Standing::Standby => info!("standing by: viewers get the stream of another publisher"),
            Standing::Next => info!("standing by: it takes over with its next keyframe"),
            // The hub logs the takeover.
            Standing::Active | Standing::Dismissed(_) => {}
        }
        self.standings_left = self.standings_left.checked_sub(1)?;
        Some(text)
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
