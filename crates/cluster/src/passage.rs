//! The passage of a stream from its owners, one after the other, to the hub of this node.

use std::sync::Arc;

use bytes::Bytes;
use distributary_hub::{Dismissal, Tenure};
use distributary_names::StreamName;

use crate::anchor::Anchor;
use crate::clock::now;
use crate::config::Label;
use crate::content::EndReason;
use crate::context::Context;
use crate::follow::{Answered, Event};
use crate::following::Following;
use crate::message::Part;
use crate::relay::{OwnerTimeline, Relay};
use crate::tracks::TrackSet;
use crate::trunk::Trunk;

/// The passage of a stream from its owners, one after the other, to the hub of this node.
pub(crate) struct Passage {
    context: Arc<Context>,
    name: StreamName,
    /// The ownership of this node that has ended, if the stream is taken from publishers of it.
    replaces: Option<Tenure>,
    following: Following,
    /// The tracks of the owner that is followed, as far as they are known.
    tracks: Option<TrackSet>,
    /// The stream in the hub, once it is live.
    relay: Option<Relay>,
    /// Viewers have seen the stream: this node published it before, or an answer was complete.
    is_seen: bool,
    /// A publisher of this node has the stream.
    is_displaced: bool,
    /// The stream in the hub, or what is known about it, is new.
    has_news: bool,
}

impl Passage {
    /// Returns a passage that begins with its first frame. With `replaces` it takes the stream from
    /// the publishers of this node that were admitted during this ownership.
    pub(crate) fn new(context: Arc<Context>, name: StreamName, replaces: Option<Tenure>) -> Self {
        Self {
            following: Following::new(Arc::clone(&context)),
            context,
            name,
            is_seen: replaces.is_some(),
            replaces,
            tracks: None,
            relay: None,
            is_displaced: false,
            has_news: false,
        }
    }

    /// Returns whether the stream is live in the hub.
    pub(crate) fn is_live(&self) -> bool {
        self.relay.is_some()
    }

    /// Returns whether viewers see the stream, from an owner or from publishers of this node.
    pub(crate) fn is_watched(&self) -> bool {
        self.relay.is_some() || self.replaces.is_some()
    }

    /// Returns whether the stream in the hub, or what is known about it, is new since the last call.
    pub(crate) fn take_news(&mut self) -> bool {
        std::mem::take(&mut self.has_news)
    }

    /// Returns the stream in the hub as its owner has it in this epoch, if it is live.
    pub(crate) fn trunk(&self, epoch: u64) -> Option<Trunk> {
        let relay = self.relay.as_ref().filter(|relay| self.is_current(relay))?;
        let tracks = self.tracks.as_ref();
        let further = tracks.map(TrackSet::further).unwrap_or_default();
        Some(relay.trunk(epoch, further))
    }

    /// Returns whether a publisher of this node has the stream.
    pub(crate) fn is_displaced(&self) -> bool {
        self.is_displaced
    }

    /// Prepares the follower for a request to join.
    pub(crate) fn prepare(&mut self, node: &Label, epoch: u64) {
        if self.following.prepare(node, epoch, self.is_seen) {
            self.tracks = None;
        }
    }

    /// Prepares for another subscription to the live messages, which may take another way.
    pub(crate) fn resubscribe(&mut self) {
        self.following.resubscribe();
    }

    /// Returns the time of the last message of the owner.
    pub(crate) fn heard(&self) -> std::time::Instant {
        self.following.heard()
    }

    /// Handles a message of the answer to a request to join. `Err` if the answer is complete, or cannot
    /// be used.
    pub(crate) fn handle_answer(&mut self, part: &Part) -> Result<(), Answered> {
        let event = self.following.handle_answer(part);
        let answered = event.map(|event| self.pass(event));
        if answered == Err(Answered::Complete) {
            // It is live also if no frame has come yet.
            self.begin(Anchor {
                time: part.header.dts,
                at: now(),
            });
            self.is_seen = true;
        }
        self.note_gap();
        answered
    }

    /// Handles a live message. Returns the reason if the owner sends no more. Otherwise
    /// [`Self::rejoin_if_due`] is to be asked.
    pub(crate) fn handle(&mut self, message: &Bytes) -> Option<EndReason> {
        match self.following.handle(message) {
            Some(Event::End(reason)) => Some(reason),
            event => {
                self.pass(event);
                self.note_gap();
                None
            }
        }
    }

    /// Returns whether the stream has to be joined again now, because frames were lost.
    pub(crate) fn rejoin_if_due(&mut self) -> bool {
        self.following.rejoin_if_due()
    }

    /// Tells the hub of a gap that has become long.
    fn note_gap(&mut self) {
        if self.following.take_gap()
            && let Some(relay) = self.relay.as_ref().filter(|relay| self.is_current(relay))
        {
            relay.note_gap();
        }
    }

    /// Passes an event on to the hub.
    fn pass(&mut self, event: Option<Event>) {
        match event {
            Some(Event::Frame(frame, arrived)) => {
                self.context.counters.frames_in.note();
                let anchor = self.following.anchor();
                let frame_anchor = Anchor {
                    time: frame.dts(),
                    at: arrived,
                };
                let origin = anchor.map_or(frame_anchor, |anchor| anchor.at_frame(frame.dts()));
                self.begin(origin);
                if let Some(relay) = &mut self.relay {
                    relay.push(frame, arrived, now());
                }
            }
            Some(Event::Data(data)) => {
                if let Some(relay) = &mut self.relay {
                    relay.push_data(data, now());
                }
            }
            Some(Event::Tracks(tracks)) => {
                if let Some(relay) = self.relay.as_ref().filter(|relay| self.is_current(relay)) {
                    relay.set_tracks(&tracks);
                }
                self.tracks = Some(tracks);
                self.has_news = true;
            }
            Some(Event::End(_)) | None => {}
        }
    }

    fn is_current(&self, relay: &Relay) -> bool {
        let owner = self.following.owner();
        owner.is_some_and(|(node, timeline)| relay.is_of(node, timeline))
    }

    /// Makes the stream live, or lets it continue with the owner that is followed now, unless that
    /// has happened. Its timeline begins at `origin`.
    fn begin(&mut self, origin: Anchor) {
        if self
            .relay
            .as_ref()
            .is_some_and(|relay| self.is_current(relay))
        {
            return;
        }
        let Some((node, timeline)) = self.following.owner() else {
            return;
        };
        let owner = OwnerTimeline { node, timeline };
        let relay = Relay::begin(&self.context, &self.name, &owner, origin, now());
        self.is_displaced = relay.is_none();
        if let Some(relay) = relay {
            if let Some(tracks) = &self.tracks {
                relay.set_tracks(tracks);
            }
            self.replaces = None;
            self.relay = Some(relay);
            self.has_news = true;
        }
    }

    /// Notes that a viewer is about to subscribe.
    pub(crate) fn expect(&mut self) {
        if let Some(relay) = &mut self.relay {
            relay.expect();
        }
    }

    /// Completes when the hub dismisses the stream, with the reason, or it has had no viewers for some
    /// time.
    pub(crate) async fn ended(&mut self) -> Option<Dismissal> {
        match &mut self.relay {
            Some(relay) => relay.ended().await,
            None => std::future::pending().await,
        }
    }

    /// Notes that the publisher itself has ended the stream.
    pub(crate) fn finish(&mut self) {
        if let Some(relay) = &mut self.relay {
            relay.finish();
        }
    }

    /// Ends the stream in the hub, and the publishers that it was to be taken from.
    pub(crate) fn end(&mut self) {
        if let Some(tenure) = &self.replaces {
            self.context.hub.end_tenure(&self.name, tenure, now());
        }
        self.relay = None;
    }
}

#[cfg(test)]
mod tests;
