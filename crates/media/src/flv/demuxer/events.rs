//! What comes out of tags.

use std::collections::VecDeque;

use super::super::TagKind;
use crate::{AudioTrack, Frame, VideoTrack};

/// What the body of a tag holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FlvEvent {
    /// The video track begins, or changes with the next frame.
    VideoTrack(VideoTrack),
    /// The audio track begins, or changes with the next frame.
    AudioTrack(AudioTrack),
    /// A picture or a block of sound.
    Frame(Frame),
    /// The publisher sends one more track, which is not used. Comes once for each.
    OtherTrack(OtherTrack),
}

/// A track of a multitrack publisher (Enhanced RTMP, version 2) beside the one that is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherTrack {
    /// Audio or video.
    pub kind: TagKind,
    /// Its number; the track that is used has 0.
    pub id: u8,
    /// Its codec's FourCC.
    pub codec: String,
}

/// The events of one tag, in order: at most a track, its frames, and other tracks.
#[derive(Clone, Debug, Default)]
pub struct FlvEvents {
    pub(super) track: Option<FlvEvent>,
    pub(super) frames: VecDeque<Frame>,
    /// Last one first.
    pub(super) others: Vec<OtherTrack>,
}

impl FlvEvents {
    /// Lets go of the tag's body, of `held` bytes, if the frames use little of it.
    pub(super) fn compact(&mut self, held: usize) {
        for frame in &mut self.frames {
            frame.compact(held);
        }
    }
}

impl Iterator for FlvEvents {
    type Item = FlvEvent;

    fn next(&mut self) -> Option<FlvEvent> {
        self.track
            .take()
            .or_else(|| self.frames.pop_front().map(FlvEvent::Frame))
            .or_else(|| self.others.pop().map(FlvEvent::OtherTrack))
    }
}
