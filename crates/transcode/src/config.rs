//! Which program encodes, with which options, and how many of it.

use std::time::Duration;

/// How streams are encoded anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TranscodeConfig {
    /// The program: ffmpeg by name or path. Nothing is encoded anew when this is empty.
    pub command: String,
    /// Its options for decoding.
    pub decode: Vec<String>,
    /// Its options for encoding. They choose an H264 encoder that holds no picture back.
    pub encode: Vec<String>,
    /// How long an encoder is kept that nobody watches any more.
    pub idle_timeout: Duration,
    /// Most encoders at a time.
    pub max: usize,
}

impl Default for TranscodeConfig {
    fn default() -> Self {
        let options = |text: &str| text.split_whitespace().map(str::to_owned).collect();
        Self {
            command: "ffmpeg".to_owned(),
            // With a thread for each picture, ffmpeg would hold as many pictures back as it has threads.
            decode: options("-thread_type slice"),
            // Every WebRTC receiver shows Constrained Baseline (RFC 7742 section 6.2).
            encode: options(
                "-c:v libx264 -preset veryfast -tune zerolatency -profile:v baseline \
                 -pix_fmt yuv420p -crf 23 -maxrate 6M -bufsize 6M",
            ),
            idle_timeout: Duration::from_secs(10),
            max: 4,
        }
    }
}
