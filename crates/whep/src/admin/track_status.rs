//! The admin API: the tracks of a stream.

use std::time::Duration;

use distributary_hub::{Gop, PublisherStats};
use distributary_media::{AudioTrack, VideoTrack};
use serde::Serialize;

/// The video track, and its stats over the last seconds.
#[derive(Serialize)]
pub(super) struct VideoStatus {
    codec: String,
    width: u32,
    height: u32,
    /// `profile-level-id` of RFC 6184 section 8.1, six hexadecimal digits.
    profile_level_id: String,
    pub(super) frame_rate: f64,
    pub(super) bitrate_bps: u64,
    /// The last complete GOP.
    gop: Option<GopStatus>,
}

/// A complete GOP.
#[derive(Serialize)]
struct GopStatus {
    seconds: f64,
    frames: u64,
}

/// The audio track, and its stats over the last seconds.
#[derive(Serialize)]
pub(super) struct AudioStatus {
    codec: String,
    sample_rate: u32,
    channels: u8,
    pub(super) bitrate_bps: u64,
    /// The recent peak in decibels relative to full scale, -100 at least; `None` while the gateway
    /// does not decode the audio: it decodes all but Opus, for viewers.
    level_dbfs: Option<f64>,
}

impl VideoStatus {
    /// Describes a track with these stats.
    pub(super) fn of(track: &VideoTrack, rates: &PublisherStats) -> Self {
        let [profile, constraints, level] = track.profile_level_id;
        Self {
            codec: track.codec.to_string(),
            width: track.width,
            height: track.height,
            profile_level_id: format!("{profile:02x}{constraints:02x}{level:02x}"),
            frame_rate: tenths(rates.frame_rate),
            bitrate_bps: rates.video_bps,
            gop: rates.gop.map(GopStatus::from),
        }
    }
}

impl AudioStatus {
    /// Describes a track with these stats, and the recent peak, where 1 is full scale.
    pub(super) fn of(track: &AudioTrack, rates: &PublisherStats, peak: Option<f32>) -> Self {
        Self {
            codec: track.codec.to_string(),
            sample_rate: track.sample_rate,
            channels: track.channels,
            bitrate_bps: rates.audio_bps,
            level_dbfs: peak.map(decibels),
        }
    }
}

impl From<Gop> for GopStatus {
    fn from(gop: Gop) -> Self {
        Self {
            seconds: gop.duration.as_millis() as f64 / 1000.0,
            frames: gop.frames,
        }
    }
}

/// Converts a duration to milliseconds.
pub(super) fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// Converts a peak, where 1 is full scale, to decibels.
fn decibels(peak: f32) -> f64 {
    tenths((20.0 * f64::from(peak).log10()).max(-100.0))
}

/// Rounds to one decimal; more digits would be noise.
pub(super) fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peaks_are_decibels_below_full_scale() {
        assert_eq!([1.0, 0.5, 0.0].map(decibels), [0.0, -6.0, -100.0]);
    }
}
