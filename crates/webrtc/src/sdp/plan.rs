//! The gateway's input to an answer.

use distributary_media::VideoCodec;

use super::{HeaderExtension, HostCandidate, Token};
use crate::certificate::Fingerprint;
use crate::dtls::DtlsRole;
use crate::ice::Credentials;

/// The tracks to send to a player.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MediaPlan {
    /// The stream has, or will have, video.
    pub video: Option<VideoPlan>,
    /// The stream has, or will have, audio, which is sent as Opus.
    pub audio: Option<AudioPlan>,
}

/// Video to be sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VideoPlan {
    /// Codec of the stream; H264, which nearly all publishers send, while it is not known.
    pub codec: VideoCodec,
    /// Profile and level of the stream, see [`distributary_media::VideoTrack::profile_level_id`];
    /// `None` while the publisher has not sent its sequence header.
    pub profile_level_id: Option<[u8; 3]>,
    /// Header extensions to be used where the player offers them.
    pub extensions: Vec<HeaderExtension>,
}

/// Audio to be sent, always Opus in stereo.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AudioPlan {
    /// Header extensions to be used where the player offers them.
    pub extensions: Vec<HeaderExtension>,
    /// Packets carry the previous one as well, if the player offers it (RFC 2198).
    pub red: bool,
}

/// Our end of the session.
#[derive(Clone, Debug)]
pub struct LocalParameters {
    /// `<sess-id>` of the `o=` line, below 2^62 (RFC 9429 section 5.2.1).
    pub session_id: u64,
    /// `<sess-version>` of the `o=` line; grows with each answer of the session.
    pub session_version: u64,
    /// Our ICE credentials.
    pub ice: Credentials,
    /// Fingerprint of our certificate.
    pub fingerprint: Fingerprint,
    /// Our candidates, the best first.
    pub candidates: Vec<HostCandidate>,
    /// CNAME of both tracks: one source, one clock (RFC 7022).
    pub cname: Token,
    /// Id of the MediaStream that both tracks belong to (RFC 8830).
    pub stream_id: Token,
    /// Id of the video track.
    pub video_track_id: Token,
    /// Id of the audio track.
    pub audio_track_id: Token,
    /// SSRC of the video.
    pub video_ssrc: u32,
    /// SSRC of the video's retransmissions.
    pub video_rtx_ssrc: u32,
    /// SSRC of the audio.
    pub audio_ssrc: u32,
    /// Our DTLS role if the player leaves it open (`a=setup:actpass`).
    pub role: DtlsRole,
}
