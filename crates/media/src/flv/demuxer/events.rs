//! The events of the demuxer.

use std::collections::VecDeque;

use super::super::tag_kind::TagKind;
use crate::{AudioTrack, Frame, VideoTrack};

/// An event of a tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FlvEvent {
    /// The video track begins, or changes with the next frame.
    VideoTrack(VideoTrack),
    /// The audio track begins, or changes with the next frame.
    AudioTrack(AudioTrack),
    /// A video or audio frame.
    Frame(Frame),
    /// The publisher sends another track, which is not used. Returned once for each.
    OtherTrack(OtherTrack),
    /// The publisher sends the slices of an access unit in several tags: from now on they are
    /// joined, and every frame is returned one video tag later, or by
    /// [`flush`](super::FlvDemuxer::flush). Returned once.
    SlicesJoined,
}

/// A track of a multitrack publisher (Enhanced RTMP, version 2) that is not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherTrack {
    /// Audio or video.
    pub kind: TagKind,
    /// Its number; the track that is used has 0.
    pub id: u8,
    /// Its codec's FourCC.
    pub codec: String,
}

/// The events of one tag, in order.
#[derive(Clone, Debug, Default)]
pub struct FlvEvents {
    events: VecDeque<FlvEvent>,
}

impl FlvEvents {
    /// Appends an event.
    pub(super) fn push(&mut self, event: FlvEvent) {
        self.events.push_back(event);
    }

    /// Releases the tag's body, of `held` bytes, if the frames use little of it.
    pub(super) fn compact(&mut self, held: usize) {
        for event in &mut self.events {
            if let FlvEvent::Frame(frame) = event {
                frame.compact(held);
            }
        }
    }

    /// Returns whether a frame is among them.
    pub(super) fn has_frame(&self) -> bool {
        let mut events = self.events.iter();
        events.any(|event| matches!(event, FlvEvent::Frame(_)))
    }
}

impl Extend<FlvEvent> for FlvEvents {
    fn extend<T: IntoIterator<Item = FlvEvent>>(&mut self, events: T) {
        self.events.extend(events);
    }
}

impl FromIterator<FlvEvent> for FlvEvents {
    fn from_iter<T: IntoIterator<Item = FlvEvent>>(events: T) -> Self {
        let events = events.into_iter().collect();
        Self { events }
    }
}

impl Iterator for FlvEvents {
    type Item = FlvEvent;

    fn next(&mut self) -> Option<FlvEvent> {
        self.events.pop_front()
    }
}
