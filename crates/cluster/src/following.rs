//! The follower of a strand's owners, one after the other, with the counters of its faults.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use crate::anchor::Anchor;
use crate::clock::now;
use crate::config::Label;
use crate::context::Context;
use crate::follow::{Answered, Event, Faults, Follower};
use crate::message::Part;

/// The follower of a strand's owners, one after the other.
pub(crate) struct Following {
    context: Arc<Context>,
    current: Option<Current>,
}

/// The owner that is followed.
struct Current {
    node: Label,
    epoch: u64,
    follower: Follower,
}

impl Following {
    pub(crate) fn new(context: Arc<Context>) -> Self {
        Self {
            context,
            current: None,
        }
    }

    /// Prepares for a request to join. `is_watched`: viewers have seen the stream.
    /// Returns whether the node is another one than before.
    pub(crate) fn prepare(&mut self, node: &Label, epoch: u64, is_watched: bool) -> bool {
        match &mut self.current {
            Some(current) if current.node == *node => {
                if current.epoch == epoch {
                    current.follower.rejoin(is_watched, now());
                } else {
                    current.epoch = epoch;
                    current.follower.change_epoch(epoch, is_watched, now());
                }
                false
            }
            _ => {
                self.current = Some(Current {
                    node: node.clone(),
                    epoch,
                    follower: Follower::new(epoch, is_watched, now()),
                });
                true
            }
        }
    }

    /// Forgets what was passed on: nobody watches it any more.
    pub(crate) fn forget(&mut self) {
        self.current = None;
    }

    /// Prepares for another subscription to the live messages, which may take another way.
    pub(crate) fn resubscribe(&mut self) {
        if let Some(current) = &mut self.current {
            current.follower.resubscribe(now());
        }
    }

    /// Returns the node and the timeline that are followed.
    pub(crate) fn owner(&self) -> Option<(&Label, u64)> {
        let current = self.current.as_ref()?;
        Some((&current.node, current.follower.timeline()))
    }

    /// Returns the place of this timeline on the clock of this node, if its owner describes it.
    pub(crate) fn anchor(&self) -> Option<Anchor> {
        self.current.as_ref()?.follower.anchor()
    }

    /// Returns the time of the last message of the owner.
    pub(crate) fn heard(&self) -> Instant {
        let current = self.current.as_ref();
        current.map_or_else(now, |current| current.follower.heard())
    }

    /// Handles a message of the answer to a request to join. `Err` if the answer is complete, or cannot
    /// be used.
    pub(crate) fn handle_answer(&mut self, part: &Part) -> Result<Option<Event>, Answered> {
        let Some(current) = &mut self.current else {
            return Err(Answered::Broken);
        };
        let event = current.follower.handle_answer(part, now());
        self.note_faults();
        event
    }

    /// Handles a live message. After it, [`Self::rejoin_if_due`] is to be asked.
    pub(crate) fn handle(&mut self, message: &Bytes) -> Option<Event> {
        self.context.counters.bytes_in.add(message.len() as u64);
        let part = match Part::decode(message) {
            Ok(part) => part,
            Err(fault) => {
                self.context.note_fault(fault);
                return None;
            }
        };
        let event = self.current.as_mut()?.follower.handle(&part, now());
        self.note_faults();
        event
    }

    /// Returns whether the stream has to be joined again now, because frames were lost.
    pub(crate) fn rejoin_if_due(&mut self) -> bool {
        let current = self.current.as_mut();
        current.is_some_and(|current| current.follower.rejoin_if_due(now()))
    }

    /// Returns whether the video goes on at the next keyframe.
    pub(crate) fn awaits_keyframe(&self) -> bool {
        let current = self.current.as_ref();
        current.is_some_and(|current| current.follower.awaits_keyframe())
    }

    /// Returns whether the video that was passed on has become so old that nobody should begin with it,
    /// with a gap after it, since the last call.
    pub(crate) fn take_gap(&mut self) -> bool {
        let current = self.current.as_mut();
        current.is_some_and(|current| current.follower.take_gap())
    }

    /// Counts the faults of the follower.
    fn note_faults(&mut self) {
        let Some(current) = &mut self.current else {
            return;
        };
        let (faults, counters) = (current.follower.take_faults(), &self.context.counters);
        if faults != Faults::default() {
            counters.gaps.add(faults.gaps);
            counters.dropped_late.add(faults.late);
            counters.malformed.add(faults.malformed);
        }
    }
}
