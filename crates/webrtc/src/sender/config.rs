//! The negotiated parameters of an RTP stream.

use distributary_media::VideoCodec;

use crate::rtp::StreamExtensions;
use crate::rtp::extension::Mid;
use crate::sdp::{
    ExtensionId, HeaderExtension, NegotiatedAudio, NegotiatedRtx, NegotiatedVideo, Token,
};

/// Parameters of an RTP stream, as the answer announced them.
#[derive(Clone, Copy, Debug)]
pub struct SenderConfig {
    /// SSRC of the media.
    pub ssrc: u32,
    /// Negotiated video codec; `None` for audio. Frames of another codec are not sent.
    pub codec: Option<VideoCodec>,
    /// The payload type of the offer.
    pub payload_type: u8,
    /// Payload type of packets that carry the previous one as well (RFC 2198), if negotiated.
    pub red: Option<u8>,
    /// Mode of retransmission.
    pub resend: Resend,
    /// Negotiated header extensions.
    pub extensions: StreamExtensions,
    /// True if the viewer's decoder can be made to reorder frames (see [`crate::reorder`]).
    pub reorders: bool,
}

/// The way in which lost packets are retransmitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resend {
    /// Not at all.
    Never,
    /// In an RTX stream (RFC 4588).
    Rtx {
        /// Its SSRC.
        ssrc: u32,
        /// Its payload type.
        payload_type: u8,
    },
    /// Unchanged, byte for byte: under the same index a cipher must not seal anything else, not
    /// even another header (RFC 7714 section 8.4). So the stream has no extension that changes.
    Same,
}

impl SenderConfig {
    /// Returns the parameters of the negotiated video.
    pub fn video(video: &NegotiatedVideo) -> Self {
        let resend = match video.rtx {
            Some(NegotiatedRtx { payload_type, ssrc }) => Resend::Rtx { ssrc, payload_type },
            // Some players send NACKs without having negotiated RTX.
            None => Resend::Same,
        };
        Self {
            ssrc: video.ssrc,
            codec: Some(video.codec),
            payload_type: video.payload_type,
            red: None,
            resend,
            extensions: extensions(&video.extensions, video.mid.as_ref()),
            reorders: false,
        }
    }

    /// Returns the parameters of the negotiated audio.
    pub fn audio(audio: &NegotiatedAudio) -> Self {
        Self {
            ssrc: audio.ssrc,
            codec: None,
            payload_type: audio.payload_type,
            red: audio.red,
            resend: Resend::Never,
            extensions: extensions(&audio.extensions, audio.mid.as_ref()),
            reorders: false,
        }
    }

    /// Returns whether the viewer reports the arrival of each packet.
    pub fn has_transport_feedback(&self) -> bool {
        self.usable_extensions().transport_wide_cc.is_some()
    }

    /// Returns the payload type of packets.
    pub(super) fn packet_type(&self) -> u8 {
        self.red.unwrap_or(self.payload_type)
    }

    /// Returns the extensions that packets of the stream can have.
    pub(super) fn usable_extensions(&self) -> StreamExtensions {
        match self.resend {
            Resend::Same => StreamExtensions {
                mid: self.extensions.mid,
                ..StreamExtensions::default()
            },
            Resend::Never | Resend::Rtx { .. } => self.extensions,
        }
    }

    /// Returns SSRC and payload type of the RTX stream.
    pub(crate) fn rtx(&self) -> Option<(u32, u8)> {
        match self.resend {
            Resend::Rtx { ssrc, payload_type } => Some((ssrc, payload_type)),
            Resend::Never | Resend::Same => None,
        }
    }
}

/// Returns the negotiated extensions.
fn extensions(agreed: &[(HeaderExtension, ExtensionId)], mid: Option<&Token>) -> StreamExtensions {
    let id = |wanted: HeaderExtension| {
        let mut agreed = agreed.iter();
        agreed
            .find(|(extension, _)| *extension == wanted)
            .map(|(_, id)| *id)
    };
    StreamExtensions {
        mid: id(HeaderExtension::Mid).zip(mid.and_then(|mid| Mid::new(mid.as_str()))),
        abs_send_time: id(HeaderExtension::AbsSendTime),
        transport_wide_cc: id(HeaderExtension::TransportWideCc),
        playout_delay: id(HeaderExtension::PlayoutDelay),
        abs_capture_time: id(HeaderExtension::AbsCaptureTime),
    }
}
