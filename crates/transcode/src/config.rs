//! The section `[transcode]` of the configuration.

use std::time::Duration;

use distributary_config::Section;
use serde::{Deserialize, Serialize};

use crate::ladder::Ladder;

/// The configuration of transcoding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Section)]
#[serde(default, deny_unknown_fields)]
pub struct TranscodeConfig {
    /// The program: ffmpeg by name or path. Empty disables transcoding.
    pub command: String,
    /// Its options for decoding, separated by spaces.
    pub decode: String,
    /// Its options for encoding, separated by spaces. They select an H264 encoder without
    /// lookahead.
    pub encode: String,
    /// The smaller renditions that are made for viewers on slower paths.
    pub ladder: Ladder,
    /// Time for which a rendition without viewers is made.
    #[serde(with = "distributary_config::time")]
    pub idle_timeout: Duration,
    /// Maximum number of streams that are transcoded at a time.
    pub max: usize,
    /// Amount by which an encoder's priority is lower than the gateway's, 0 to 19: media that is
    /// not transcoded comes first.
    pub nice: u8,
    /// Maximum memory of an encoder in bytes; one that needs more ends. 0 means no limit.
    #[serde(with = "distributary_config::size")]
    pub max_memory: usize,
    /// Maximum pixels of a video frame. Larger streams are not transcoded; 0 means no limit.
    pub max_pixels: u64,
}

impl Default for TranscodeConfig {
    fn default() -> Self {
        Self {
            command: "ffmpeg".to_owned(),
            // With one thread per frame, ffmpeg would delay as many frames as it has threads.
            decode: "-thread_type slice".to_owned(),
            // Every WebRTC receiver supports Constrained Baseline (RFC 7742 section 6.2).
            encode: "-c:v libx264 -preset veryfast -tune zerolatency -profile:v baseline \
                     -pix_fmt yuv420p -crf 23 -maxrate 6M -bufsize 6M"
                .to_owned(),
            ladder: Ladder::default(),
            idle_timeout: Duration::from_secs(10),
            max: 4,
            nice: 10,
            max_memory: 2 << 30,
            // The largest frame of H.264 level 5.1 (table A-1), which 4096x2304 fills.
            max_pixels: 36_864 * 256,
        }
    }
}
