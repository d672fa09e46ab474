//! The section `[transcode]` of the configuration.

use std::time::Duration;

use distributary_config::Section;
use serde::{Deserialize, Serialize};

/// How streams are encoded anew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Section)]
#[serde(default, deny_unknown_fields)]
pub struct TranscodeConfig {
    /// The program: ffmpeg by name or path. Nothing is encoded anew when this is empty.
    pub command: String,
    /// Its options for decoding, separated by spaces.
    pub decode: String,
    /// Its options for encoding, separated by spaces. They choose an H264 encoder that holds no frame back.
    pub encode: String,
    /// How long an encoder is kept that nobody watches any more.
    #[serde(with = "distributary_config::time")]
    pub idle_timeout: Duration,
    /// Most encoders at a time.
    pub max: usize,
    /// How much lower than that of the gateway an encoder's priority is, 0 to 19: media that needs no encoder
    /// comes first.
    pub nice: u8,
    /// Most bytes of memory of an encoder; one that wants more ends. 0 is without limit.
    #[serde(with = "distributary_config::size")]
    pub max_memory: usize,
    /// Most pixels of a video frame. Larger streams are not transcoded; 0 is without limit.
    pub max_pixels: u64,
}

impl Default for TranscodeConfig {
    fn default() -> Self {
        Self {
            command: "ffmpeg".to_owned(),
            // With a thread for each picture, ffmpeg would hold as many pictures back as it has threads.
            decode: "-thread_type slice".to_owned(),
            // Every WebRTC receiver shows Constrained Baseline (RFC 7742 section 6.2).
            encode: "-c:v libx264 -preset veryfast -tune zerolatency -profile:v baseline \
                     -pix_fmt yuv420p -crf 23 -maxrate 6M -bufsize 6M"
                .to_owned(),
            idle_timeout: Duration::from_secs(10),
            max: 4,
            nice: 10,
            max_memory: 2 << 30,
            // The largest frame of H.264 level 5.1 (table A-1), which 4096x2304 fills.
            max_pixels: 36_864 * 256,
        }
    }
}
