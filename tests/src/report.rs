//! The state of a video in the browser, and assertions about it.

use std::fmt;
use std::ops::Deref;

use serde::Deserialize;

use crate::ffmpeg::{CLIP_FRAMES, Clip, FRAME_RATE};

/// The state of a video on the page.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VideoReport {
    /// `RTCPeerConnection.connectionState`, `none` when there is no connection.
    pub connection_state: String,
    /// `RTCPeerConnection.iceConnectionState`, `none` when there is no connection.
    pub ice_connection_state: String,
    /// Width of the video, 0 before the first frame.
    pub width: u32,
    /// Height of the video, 0 before the first frame.
    pub height: u32,
    /// `RTCDtlsTransport.state` of the connection, `none` when there is no transport.
    pub dtls_state: String,
    /// The element is muted.
    pub muted: bool,
    /// The element is paused.
    pub paused: bool,
    /// The number of each shown frame, `None` for one that could not be read.
    pub counters: Counters,
    /// Statistics of the received video, once there are some.
    pub video: Option<InboundVideo>,
    /// Statistics of the received audio, once there are some.
    pub audio: Option<InboundAudio>,
    /// Number of connections that the page has made.
    pub peers: u32,
}

/// Frame numbers. There may be thousands, so `Debug` prints only the last ones.
#[derive(Clone, Deserialize)]
pub struct Counters(Vec<Option<u32>>);

impl Deref for Counters {
    type Target = [Option<u32>];

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl fmt::Debug for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = &self[self.len().saturating_sub(10)..];
        write!(f, "{} frames, the last ones are {last:?}", self.len())
    }
}

/// `RTCInboundRtpStreamStats` of a video track, as far as the tests use it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InboundVideo {
    /// Frames received completely.
    #[serde(default)]
    pub frames_received: u64,
    /// Frames decoded.
    #[serde(default)]
    pub frames_decoded: u64,
    /// Frames not shown.
    #[serde(default)]
    pub frames_dropped: u64,
    /// Keyframes decoded.
    #[serde(default)]
    pub key_frames_decoded: u64,
    /// RTP packets lost, also those that came again.
    #[serde(default)]
    pub packets_lost: i64,
    /// RTP packets that came again, as requested.
    #[serde(default)]
    pub retransmitted_packets_received: i64,
    /// Keyframe requests of the decoder.
    #[serde(default)]
    pub pli_count: u64,
    /// Requested retransmissions.
    #[serde(default)]
    pub nack_count: u64,
}

/// `RTCInboundRtpStreamStats` of an audio track, as far as the tests use it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InboundAudio {
    /// Current volume, from 0 to 1.
    #[serde(default)]
    pub audio_level: f64,
    /// Energy of all audio played so far.
    #[serde(default)]
    pub total_audio_energy: f64,
    /// RTP packets received.
    #[serde(default)]
    pub packets_received: u64,
    /// Samples played.
    #[serde(default)]
    pub total_samples_received: u64,
    /// Samples synthesized because a packet was missing.
    #[serde(default)]
    pub concealed_samples: u64,
    /// RTP packets lost.
    #[serde(default)]
    pub packets_lost: i64,
}

/// Frames that a player may have received and not decoded yet: those of a second, as on a busy
/// machine. A decoder that fails leaves many more.
const IN_FLIGHT: u64 = 30;

impl VideoReport {
    /// Returns the last shown frame number.
    #[must_use]
    pub fn last_counter(&self) -> Option<u32> {
        self.counters.iter().rev().find_map(|counter| *counter)
    }

    /// Returns the energy of all audio played so far, 0 without audio.
    #[must_use]
    pub fn audio_energy(&self) -> f64 {
        self.audio
            .as_ref()
            .map_or(0.0, |audio| audio.total_audio_energy)
    }

    /// Asserts that the video plays without errors: each shown frame is one of `clip`, intact and
    /// in order, and the decoder decoded every received frame.
    ///
    /// # Panics
    /// When something went wrong.
    pub fn assert_plays(&self, clip: &Clip) {
        assert_eq!(self.connection_state, "connected");
        assert_eq!((self.width, self.height), (clip.width, clip.height));
        assert!(!self.paused, "the video is paused");
        self.assert_order();

        self.assert_decodes();
        let video = self.inbound_video();
        assert!(
            video.key_frames_decoded > 0,
            "no keyframe was decoded: {video:?}"
        );
        // The browser reads its socket too late if it waits for the CPU.
        assert!(
            video.packets_lost <= video.retransmitted_packets_received,
            "packets were lost on loopback: {video:?}"
        );
    }

    /// Asserts that the decoder decodes the received frames without an error. It may drop some if the
    /// browser waits for the CPU.
    ///
    /// # Panics
    /// When something went wrong.
    pub fn assert_decodes(&self) {
        let video = self.inbound_video();
        let whole = video.frames_decoded + video.frames_dropped + IN_FLIGHT;
        assert!(
            whole >= video.frames_received,
            "frames that were not decoded: {video:?}"
        );
        // A decoder that fails requests a keyframe every 200 ms.
        assert!(
            video.pli_count <= 1,
            "the decoder asked for keyframes: {video:?}"
        );
    }

    /// Returns whether most frames of the clip that were played since an earlier report were received,
    /// however few of them a busy page shows: the longer it takes, the less those count that a viewer
    /// who falls behind misses. Without B-frames, half of them is missing at least.
    #[must_use]
    pub fn has_all_frames_since(&self, earlier: &Self) -> bool {
        let played = earlier.last_counter().zip(self.last_counter());
        let played = played.map_or(0, |(from, to)| step(from, to));
        let received = |report: &Self| report.video.as_ref().map_or(0, |one| one.frames_received);
        let received = received(self) - received(earlier);
        played >= 3 * FRAME_RATE && 4 * received > 3 * u64::from(played)
    }

    /// Returns the differences between the numbers of consecutive shown frames.
    #[must_use]
    pub fn steps(&self) -> Vec<u32> {
        let numbers: Vec<u32> = self.counters.iter().flatten().copied().collect();
        let pairs = numbers.windows(2);
        pairs.map(|pair| step(pair[0], pair[1])).collect()
    }

    fn inbound_video(&self) -> &InboundVideo {
        self.video.as_ref().expect("statistics of received video")
    }

    /// Asserts that all packets of the audio arrive.
    ///
    /// # Panics
    /// When some were lost, and not because the browser waited for the CPU.
    pub fn assert_hears_all(&self) {
        let audio = self.audio.as_ref();
        let audio = audio.expect("statistics of received audio");
        // A browser that reads its socket too late loses packets of both kinds.
        let is_late = self.inbound_video().packets_lost > 0;
        assert!(
            audio.packets_lost == 0 || is_late,
            "audio was lost on loopback: {audio:?}"
        );
    }

    /// Asserts that each shown frame is one of the clip, intact, and that all are in order.
    ///
    /// # Panics
    /// When something went wrong.
    pub fn assert_order(&self) {
        let mut previous = None;
        for (at, counter) in self.counters.iter().enumerate() {
            let before = &self.counters[at.saturating_sub(5)..at];
            let counter = counter.unwrap_or_else(|| {
                panic!("frame {at} is damaged, or is none of the clip; before it: {before:?}")
            });
            // The clip loops: less than half of it forward is forward.
            let forward = |from: u32| step(from, counter) < CLIP_FRAMES / 2;
            assert!(
                previous.is_none_or(forward),
                "frame {at} is {counter} after {before:?}"
            );
            previous = Some(counter);
        }
    }
}

/// Returns the number of frames from one frame of the clip, which loops, to another.
fn step(from: u32, to: u32) -> u32 {
    (to + CLIP_FRAMES - from) % CLIP_FRAMES
}
