//! The contribution of one publisher to its stream, in addition to the frames.

use std::sync::Arc;
use std::time::Instant;

use distributary_media::{AudioTrack, TimedData, VideoTrack};

use super::stats::{MissingAudio, MissingVideo, PublisherInfo};
use crate::meter::Meter;
use crate::offer::{JoinAlignment, RenditionOffer};

/// The tracks, the metadata and the measured stats of one publisher. A publisher that stands by has
/// its own, which become those of the stream when it takes over.
#[derive(Debug)]
pub(super) struct Contribution {
    pub(super) info: Option<Arc<PublisherInfo>>,
    /// The gateway from which it arrives, if it is another one.
    pub(super) node: Option<Arc<str>>,
    /// The renditions that this gateway has of it.
    pub(super) offers: Arc<[RenditionOffer]>,
    pub(super) missing_video: Option<Arc<MissingVideo>>,
    pub(super) missing_audio: Option<Arc<MissingAudio>>,
    /// The last `onMetaData`.
    pub(super) metadata: Option<Arc<TimedData>>,
    pub(super) video: Option<Arc<VideoTrack>>,
    pub(super) audio: Option<Arc<AudioTrack>>,
    /// True once the publisher has declared a video track; `video` may be that of an earlier one.
    pub(super) has_video: bool,
    /// Alignment of its frames with the clock of the stream, if they are those of another one.
    pub(super) alignment: Option<JoinAlignment>,
    pub(super) meter: Meter,
}

impl Contribution {
    /// Returns that of a publisher that begins at `now`.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            info: None,
            node: None,
            offers: Arc::default(),
            missing_video: None,
            missing_audio: None,
            metadata: None,
            video: None,
            audio: None,
            has_video: false,
            alignment: None,
            meter: Meter::new(now),
        }
    }

    /// Clears all that describes a publisher which has left. The tracks stay: viewers that wait for
    /// it to reconnect negotiate its codecs.
    pub(super) fn end(&mut self) {
        self.info = None;
        self.node = None;
        self.offers = Arc::default();
        self.missing_video = None;
        self.missing_audio = None;
        self.metadata = None;
    }

    /// Makes the audio track a new one even if it is equal: its audio starts at another time.
    pub(super) fn renew_audio(&mut self) {
        self.audio = self.audio.take().map(|track| Arc::new((*track).clone()));
    }
}
