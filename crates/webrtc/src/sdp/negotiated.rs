//! The negotiated parameters of a session.

use std::fmt;

use distributary_media::VideoCodec;

use crate::data::DataConfig;

use super::{
    ExtensionId, Feedback, HeaderExtension, MediaKind, PacketizationMode, RejectedMedia, Rejection,
    RemoteTransport, Setup, Token,
};

/// The parameters that follow from the descriptions of both sides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Negotiated {
    /// The video, if it is sent.
    pub video: Option<NegotiatedVideo>,
    /// The audio, if it is sent.
    pub audio: Option<NegotiatedAudio>,
    /// The data channel, if it is offered besides media that is sent.
    pub data: Option<NegotiatedData>,
    /// The player's ICE credentials, fingerprints and DTLS role.
    pub remote: RemoteTransport,
    /// Our DTLS role, `Active` or `Passive`.
    pub setup: Setup,
    /// Remarks about this player for the operator.
    pub notes: Vec<Note>,
}

/// Negotiated video.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NegotiatedVideo {
    /// Name of the section.
    pub mid: Option<Token>,
    /// RTP payload type.
    pub payload_type: u8,
    /// SSRC of the video.
    pub ssrc: u32,
    /// Payload type and SSRC of retransmissions (RFC 4588). With NACK and without this, lost
    /// packets are resent unchanged.
    pub rtx: Option<NegotiatedRtx>,
    /// The player asks for lost packets by NACK.
    pub nack: bool,
    /// The feedback that the player sends, as far as it is used.
    pub feedback: Feedback,
    /// Video codec.
    pub codec: VideoCodec,
    /// Packetization mode of H264.
    pub packetization_mode: Option<PacketizationMode>,
    /// RTCP packets of reduced size may be sent (RFC 5506).
    pub rtcp_rsize: bool,
    /// Header extensions that may be written, with their ids.
    pub extensions: Vec<(HeaderExtension, ExtensionId)>,
}

/// Negotiated retransmission stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NegotiatedRtx {
    /// RTP payload type.
    pub payload_type: u8,
    /// SSRC of the retransmissions.
    pub ssrc: u32,
}

/// Negotiated audio.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NegotiatedAudio {
    /// Name of the section.
    pub mid: Option<Token>,
    /// RTP payload type of Opus.
    pub payload_type: u8,
    /// RTP payload type of packets that carry the previous one as well (RFC 2198), if negotiated.
    pub red: Option<u8>,
    /// SSRC of the audio.
    pub ssrc: u32,
    /// The player sends transport-wide feedback on it.
    pub transport_cc: bool,
    /// RTCP packets of reduced size may be sent (RFC 5506).
    pub rtcp_rsize: bool,
    /// Header extensions that may be written, with their ids.
    pub extensions: Vec<(HeaderExtension, ExtensionId)>,
}

/// Negotiated data channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NegotiatedData {
    /// Name of the section.
    pub mid: Option<Token>,
    /// The player's end of the SCTP association.
    pub config: DataConfig,
}

/// A property of an offer that can explain later problems.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Note {
    /// Nothing is sent on this section, though something is on others.
    NotSent(RejectedMedia),
    /// Video is sent in packetization mode 1 though the player did not ask for it.
    PacketizationMode(PacketizationMode),
    /// The player does not ask for lost packets: each loss stays visible until the next keyframe.
    NoRetransmission,
}

impl Note {
    /// Returns the media that is not sent because its section shares no transport with the other.
    pub fn not_bundled(&self) -> Option<&MediaKind> {
        match self {
            Self::NotSent(RejectedMedia {
                kind: kind @ (MediaKind::Audio | MediaKind::Video),
                reason: Rejection::NotBundled,
                ..
            }) => Some(kind),
            _ => None,
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSent(media) => write!(f, "nothing is sent on {media}"),
            Self::PacketizationMode(_) => f.write_str(
                "the player offers no H264 with packetization-mode=1; it is sent all the same",
            ),
            Self::NoRetransmission => f.write_str(
                "the player offers no generic NACK; each loss shows until the next keyframe",
            ),
        }
    }
}
