//! What the browser tells about a video, and what must be true of it.

use std::fmt;
use std::ops::Deref;

use serde::Deserialize;

use crate::ffmpeg::{CLIP_FRAMES, Clip};

/// What the browser tells about a video on the page.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VideoReport {
    /// `RTCPeerConnection.connectionState`, `none` when there is no connection.
    pub connection_state: String,
    /// `RTCPeerConnection.iceConnectionState`, `none` when there is no connection.
    pub ice_connection_state: String,
    /// Width of the picture, 0 before the first one.
    pub width: u32,
    /// Height of the picture, 0 before the first one.
    pub height: u32,
    /// `RTCDtlsTransport.state` of the connection, `none` when there is no transport.
    pub dtls_state: String,
    /// Whether the element is muted.
    pub muted: bool,
    /// Whether the element is paused.
    pub paused: bool,
    /// The frame number of each picture that was shown, `None` for one that could not be read.
    pub counters: Counters,
    /// Statistics of the received video, once there are some.
    pub video: Option<InboundVideo>,
    /// Statistics of the received audio, once there are some.
    pub audio: Option<InboundAudio>,
    /// Connections that the page has made so far.
    pub peers: u32,
}

/// Frame numbers, of which there may be thousands: `Debug` shows the last ones.
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
        write!(f, "{} pictures, the last ones are {last:?}", self.len())
    }
}

/// `RTCInboundRtpStreamStats` of a video track, as far as the tests need it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InboundVideo {
    /// Pictures that came in whole.
    #[serde(default)]
    pub frames_received: u64,
    /// Pictures that were decoded.
    #[serde(default)]
    pub frames_decoded: u64,
    /// Pictures that were not shown.
    #[serde(default)]
    pub frames_dropped: u64,
    /// Keyframes that were decoded.
    #[serde(default)]
    pub key_frames_decoded: u64,
    /// RTP packets that never came.
    #[serde(default)]
    pub packets_lost: i64,
    /// Keyframes that the decoder asked for.
    #[serde(default)]
    pub pli_count: u64,
    /// Retransmissions that were asked for.
    #[serde(default)]
    pub nack_count: u64,
}

/// `RTCInboundRtpStreamStats` of an audio track, as far as the tests need it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InboundAudio {
    /// Loudness of what is played now, from 0 to 1.
    #[serde(default)]
    pub audio_level: f64,
    /// Energy of all that was played so far.
    #[serde(default)]
    pub total_audio_energy: f64,
    /// RTP packets that came.
    #[serde(default)]
    pub packets_received: u64,
    /// Samples that were played.
    #[serde(default)]
    pub total_samples_received: u64,
    /// Samples that were made up because a packet was missing.
    #[serde(default)]
    pub concealed_samples: u64,
    /// RTP packets that never came.
    #[serde(default)]
    pub packets_lost: i64,
}

/// Pictures that may be on their way between two counters of the statistics.
const IN_FLIGHT: u64 = 5;

impl VideoReport {
    /// The last frame number that was shown.
    #[must_use]
    pub fn last_counter(&self) -> Option<u32> {
        self.counters.iter().rev().find_map(|counter| *counter)
    }

    /// Energy of all sound that was played so far, 0 without sound.
    #[must_use]
    pub fn audio_energy(&self) -> f64 {
        self.audio
            .as_ref()
            .map_or(0.0, |audio| audio.total_audio_energy)
    }

    /// Asserts that nothing went wrong since the connection was made: each picture that was shown
    /// is one of `clip`, whole and in order, and the decoder made a picture of everything it got.
    ///
    /// # Panics
    /// When something went wrong.
    pub fn assert_plays(&self, clip: &Clip) {
        assert_eq!(self.connection_state, "connected");
        assert_eq!((self.width, self.height), (clip.width, clip.height));
        assert!(!self.paused, "the video is paused");
        self.assert_order();

        let video = self.video.as_ref().expect("statistics of received video");
        let whole = video.frames_decoded + video.frames_dropped + IN_FLIGHT;
        assert!(
            whole >= video.frames_received,
            "pictures that were not decoded: {video:?}"
        );
        assert!(
            video.key_frames_decoded > 0,
            "no keyframe was decoded: {video:?}"
        );
        // A decoder that fails asks for a keyframe every 200 ms.
        assert!(
            video.pli_count <= 1,
            "the decoder asked for keyframes: {video:?}"
        );
        assert_eq!(
            video.packets_lost, 0,
            "packets were lost on loopback: {video:?}"
        );
    }

    fn assert_order(&self) {
        let mut previous = None;
        for (at, counter) in self.counters.iter().enumerate() {
            let before = &self.counters[at.saturating_sub(5)..at];
            let counter = counter.unwrap_or_else(|| {
                panic!("picture {at} is damaged, or is none of the clip; before it: {before:?}")
            });
            // The clip is played in a loop: less than half of it forward is forward.
            let forward =
                |from: u32| (counter + CLIP_FRAMES - from) % CLIP_FRAMES < CLIP_FRAMES / 2;
            assert!(
                previous.is_none_or(forward),
                "picture {at} is {counter} after {before:?}"
            );
            previous = Some(counter);
        }
    }
}
