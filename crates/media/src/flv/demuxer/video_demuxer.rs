//! The demuxer of one video track.

use bytes::Bytes;

use super::super::video::VideoTag;
use super::super::{FlvError, TagKind};
use super::join::Join;
use super::tagged_frame::TaggedFrame;
use super::video_state::VideoState;
use super::{FlvEvent, FlvEvents, check_configuration};
use crate::{MediaTime, VideoCodec};

/// Demuxes the tags of one video track.
#[derive(Debug, Default)]
pub(super) struct VideoDemuxer {
    state: Option<VideoState>,
    pub(super) join: Join,
}

impl VideoDemuxer {
    /// Returns a demuxer that holds the first access unit: its slices may be in separate tags.
    pub(super) fn live() -> Self {
        Self {
            state: None,
            join: Join::holding_first(),
        }
    }

    pub(super) fn is_holding(&self) -> bool {
        self.join.is_holding()
    }

    pub(super) fn held_tags(&self) -> u64 {
        self.join.held_tags()
    }

    /// Returns the access unit that is held, as far as it has arrived.
    pub(super) fn flush(&mut self) -> Result<FlvEvents, FlvError> {
        match &mut self.state {
            Some(video) => self.join.release(video),
            None => Ok(FlvEvents::default()),
        }
    }

    /// Handles the content of a tag of `held` bytes.
    pub(super) fn handle(
        &mut self,
        timestamp: MediaTime,
        tag: VideoTag,
        held: usize,
    ) -> Result<FlvEvents, FlvError> {
        match tag {
            VideoTag::SequenceHeader { codec, config } => self.configure(codec, &config),
            VideoTag::Frame {
                codec,
                composition,
                data,
            } => {
                let tag = TagKind::Video;
                let video = self.state.as_mut();
                let video = video
                    .filter(|video| video.track.codec == codec)
                    .ok_or(FlvError::NoSequenceHeader { tag })?;
                let frame = TaggedFrame {
                    timestamp,
                    composition,
                    data,
                    more: Vec::new(),
                    held,
                };
                self.join.handle(frame, video)
            }
            VideoTag::Nothing => Ok(FlvEvents::default()),
        }
    }

    fn configure(&mut self, codec: VideoCodec, config: &Bytes) -> Result<FlvEvents, FlvError> {
        check_configuration(TagKind::Video, config)?;
        let mut tracks = self.state.iter().map(|video| &video.track);
        if codec != VideoCodec::H264
            && tracks.any(|track| track.codec == codec && track.config == *config)
        {
            // The information in later frames is newer.
            return Ok(FlvEvents::default());
        }
        let mut state = VideoState::configure(codec, config)?;
        let mut events = FlvEvents::default();
        let mut before = None;
        if let Some(mut video) = self.state.take() {
            // It belongs to the previous configuration. A broken one must not prevent the next one.
            events = self.join.release(&mut video).unwrap_or_default();
            // Some publishers repeat the header: the verdict on their B-frames stays.
            state.inspector = video.inspector;
            before = Some(video.track);
        }
        let track = state.track.clone();
        self.state = Some(state);
        if before.as_ref() != Some(&track) {
            events.push(FlvEvent::VideoTrack(track));
        }
        Ok(events)
    }
}
