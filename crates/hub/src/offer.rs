//! Offers of renditions: what can be made of the video of a stream.

use std::sync::Arc;

use distributary_media::{VideoCodec, VideoTrack};
use distributary_names::{RenditionId, StreamName};

/// The origin of a rendition. A rendition that is published comes before a transcode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RenditionOrigin {
    /// The stream as published.
    Source,
    /// A further video track of the publisher.
    Track,
    /// Another published stream, which the configuration joins to this one.
    Joined,
    /// A transcode that the gateway makes.
    Transcoded,
}

/// The way in which frames of a joined stream are put on the clock of the stream that it is joined to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinAlignment {
    /// By their arrival: no keyframes agree.
    Arrival,
    /// By keyframes that are those of the same frames.
    Keyframes {
        /// By how many milliseconds the frames are moved from their arrival, later or (negative)
        /// earlier.
        offset: i64,
    },
}

/// The video of a stream for which renditions can be offered.
#[derive(Clone, Debug)]
pub struct SourceVideo {
    /// The stream.
    pub stream: StreamName,
    /// Its track.
    pub track: Arc<VideoTrack>,
    /// Its measured bitrate in bit/s, as in [`Rendition`](crate::Rendition); 0 before the first
    /// measurement.
    pub bitrate: u64,
    /// True if it has B-frames that its policy transcodes.
    pub needs_transcoding: bool,
}

/// A rendition that is there on request: this gateway makes it, or the one from which the stream
/// arrives has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RenditionOffer {
    /// Its id.
    pub id: RenditionId,
    /// Its origin.
    pub origin: RenditionOrigin,
    /// Its codec.
    pub codec: VideoCodec,
    /// Width of its frames in pixels.
    pub width: u32,
    /// Height of its frames in pixels.
    pub height: u32,
    /// Its bitrate in bit/s: of a transcode, at most.
    pub bitrate: u64,
    /// True if it has B-frames that the policy of the stream transcodes.
    pub needs_transcoding: bool,
}

impl RenditionOffer {
    /// Returns the offer of a transcode, which is H264 without B-frames.
    pub fn transcode(id: RenditionId, width: u32, height: u32, bitrate: u64) -> Self {
        Self {
            id,
            origin: RenditionOrigin::Transcoded,
            codec: VideoCodec::H264,
            width,
            height,
            bitrate,
            needs_transcoding: false,
        }
    }
}

/// Returns the renditions that can be made of a stream. It is called often and must be cheap.
pub(crate) type Offers = dyn Fn(&SourceVideo) -> Vec<RenditionOffer> + Send + Sync;
