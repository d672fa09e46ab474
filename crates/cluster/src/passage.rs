//! The passage of a stream from its owners, one after the other, to the hub of this node.

use std::sync::Arc;

use bytes::Bytes;
use distributary_hub::{Dismissal, Tenure};
use distributary_names::StreamName;

use crate::anchor::Anchor;
use crate::clock::now;
use crate::config::Label;
use crate::context::Context;
use crate::follow::{Answered, Event, Faults, Follower};
use crate::message::Part;
use crate::relay::{OwnerTimeline, Relay};
use crate::tracks::TrackSet;

/// The passage of a stream from its owners, one after the other, to the hub of this node.
pub(crate) struct Passage {
    context: Arc<Context>,
    name: StreamName,
    /// The ownership of this node that has ended, if the stream is taken from publishers of it.
    replaces: Option<Tenure>,
    /// The owner that is followed, and its epoch.
    follower: Option<(Label, u64, Follower)>,
    /// The tracks of this owner, as far as they are known.
    tracks: Option<TrackSet>,
    /// The stream in the hub, once it is live.
    relay: Option<Relay>,
    /// A publisher of this node has the stream.
    is_displaced: bool,
}

impl Passage {
    /// Returns a passage that begins with its first frame. With `replaces` it takes the stream from
    /// the publishers of this node that were admitted during this ownership.
    pub(crate) fn new(context: Arc<Context>, name: StreamName, replaces: Option<Tenure>) -> Self {
        Self {
            context,
            name,
            replaces,
            follower: None,
            tracks: None,
            relay: None,
            is_displaced: false,
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

    /// Returns whether a publisher of this node has the stream.
    pub(crate) fn is_displaced(&self) -> bool {
        self.is_displaced
    }

    /// Prepares the follower for a request to join.
    pub(crate) fn prepare(&mut self, node: &Label, epoch: u64) {
        let is_watched = self.is_watched();
        match &mut self.follower {
            Some((known, current, follower)) if known == node => {
                if *current == epoch {
                    follower.rejoin(now());
                } else {
                    *current = epoch;
                    follower.change_epoch(epoch, is_watched, now());
                }
            }
            _ => {
                let follower = Follower::new(epoch, is_watched, now());
                self.follower = Some((node.clone(), epoch, follower));
                self.tracks = None;
            }
        }
    }

    /// Prepares for another subscription to the live messages, which may take another way.
    pub(crate) fn resubscribe(&mut self) {
        if let Some((_, _, follower)) = &mut self.follower {
            follower.resubscribe(now());
        }
    }

    /// Returns the time of the last message of the owner.
    pub(crate) fn heard(&self) -> std::time::Instant {
        let follower = self.follower.as_ref();
        follower.map_or_else(now, |(_, _, follower)| follower.heard())
    }

    /// Handles a message of the answer to a request to join. `Err` if the answer is complete, or cannot
    /// be used.
    pub(crate) fn handle_answer(&mut self, part: &Part) -> Result<(), Answered> {
        let Some((_, _, follower)) = &mut self.follower else {
            return Err(Answered::Broken);
        };
        let answered = follower
            .handle_answer(part, now())
            .map(|event| self.pass(event));
        if answered == Err(Answered::Complete) {
            // It is live also if no frame has come yet.
            self.begin(Anchor {
                time: part.header.dts,
                at: now(),
            });
        }
        self.note_faults();
        answered
    }

    /// Counts the faults of the follower.
    fn note_faults(&mut self) {
        let Some((_, _, follower)) = &mut self.follower else {
            return;
        };
        let (faults, counters) = (follower.take_faults(), &self.context.counters);
        if faults != Faults::default() {
            counters.gaps.add(faults.gaps);
            counters.dropped_late.add(faults.late);
            counters.malformed.add(faults.malformed);
        }
    }

    /// Handles a live message. Returns what ends or repeats the join.
    pub(crate) fn handle(&mut self, message: &Bytes) -> Option<Event> {
        let counters = &self.context.counters;
        counters.bytes_in.add(message.len() as u64);
        let part = match Part::decode(message) {
            Ok(part) => part,
            Err(fault) => {
                self.context.note_fault(fault);
                return None;
            }
        };
        let (_, _, follower) = self.follower.as_mut()?;
        let event = follower.handle(&part, now());
        self.note_faults();
        match event {
            event @ Some(Event::End(_) | Event::Rejoin) => event,
            event => {
                self.pass(event);
                None
            }
        }
    }

    /// Passes an event on to the hub.
    fn pass(&mut self, event: Option<Event>) {
        match event {
            Some(Event::Frame(frame, arrived)) => {
                self.context.counters.frames_in.note();
                let anchor = self.follower.as_ref().and_then(|(_, _, one)| one.anchor());
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
            }
            Some(Event::End(_) | Event::Rejoin) | None => {}
        }
    }

    fn is_current(&self, relay: &Relay) -> bool {
        let follower = self.follower.as_ref();
        follower.is_some_and(|(node, _, follower)| relay.is_of(node, follower.timeline()))
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
        let Some((node, _, follower)) = &self.follower else {
            return;
        };
        let owner = OwnerTimeline {
            node,
            timeline: follower.timeline(),
        };
        let relay = Relay::begin(&self.context, &self.name, &owner, origin, now());
        self.is_displaced = relay.is_none();
        if let Some(relay) = relay {
            if let Some(tracks) = &self.tracks {
                relay.set_tracks(tracks);
            }
            self.replaces = None;
            self.relay = Some(relay);
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
        let Some(relay) = &mut self.relay else {
            return std::future::pending().await;
        };
        let (gone, dismissed) = relay.ends();
        tokio::select! {
            dismissal = dismissed => Some(dismissal),
            () = gone => None,
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
