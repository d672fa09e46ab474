//! What was negotiated for an RTP stream.

use distributary_media::VideoCodec;

use crate::rtp::StreamExtensions;
use crate::rtp::extension::{Mid, PlayoutDelay};
use crate::sdp::{
    ExtensionId, HeaderExtension, NegotiatedAudio, NegotiatedRtx, NegotiatedVideo, Token,
};

/// Identifiers of an RTP stream, as the answer announced them.
#[derive(Clone, Copy, Debug)]
pub struct SenderConfig {
    /// The source.
    pub ssrc: u32,
    /// The coding that was agreed on; `None` for sound. Pictures of another one are not sent.
    pub codec: Option<VideoCodec>,
    /// The payload type of the offer.
    pub payload_type: u8,
    /// The payload type of packets that carry the one before them as well (RFC 2198), if they do.
    pub red: Option<u8>,
    /// How packets that the viewer misses are sent again.
    pub resend: Resend,
    /// Header extensions that were negotiated.
    pub extensions: StreamExtensions,
    /// Whether the viewer's decoder can be made to put pictures in order (see [`crate::reorder`]).
    pub reorders: bool,
}

/// How lost packets are sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resend {
    /// Not at all.
    Never,
    /// In a stream of their own (RFC 4588).
    Rtx {
        /// Its source.
        ssrc: u32,
        /// Its payload type.
        payload_type: u8,
    },
    /// As they were, byte for byte: under the same index a cipher must not seal anything else, not
    /// even another header (RFC 7714 section 8.4). So the stream has no extension that changes.
    Same,
}

impl SenderConfig {
    /// How the video is sent that was agreed on; `playout_delay` is told where the viewer knows the
    /// extension.
    pub fn video(video: &NegotiatedVideo, playout_delay: Option<PlayoutDelay>) -> Self {
        let resend = match video.rtx {
            Some(NegotiatedRtx { payload_type, ssrc }) => Resend::Rtx { ssrc, payload_type },
            // There are players that ask for lost packets without having said so.
            None => Resend::Same,
        };
        Self {
            ssrc: video.ssrc,
            codec: Some(video.codec),
            payload_type: video.payload_type,
            red: None,
            resend,
            extensions: extensions(&video.extensions, video.mid.as_ref(), playout_delay),
            reorders: false,
        }
    }

    /// How the audio is sent that was agreed on.
    pub fn audio(audio: &NegotiatedAudio) -> Self {
        Self {
            ssrc: audio.ssrc,
            codec: None,
            payload_type: audio.payload_type,
            red: audio.red,
            resend: Resend::Never,
            extensions: extensions(&audio.extensions, audio.mid.as_ref(), None),
            reorders: false,
        }
    }

    /// The payload type that packets have.
    pub(super) fn packet_type(&self) -> u8 {
        self.red.unwrap_or(self.payload_type)
    }

    /// The extensions that packets of the stream can have.
    pub(super) fn usable_extensions(&self) -> StreamExtensions {
        match self.resend {
            Resend::Same => StreamExtensions {
                mid: self.extensions.mid,
                ..StreamExtensions::default()
            },
            Resend::Never | Resend::Rtx { .. } => self.extensions,
        }
    }

    /// The retransmission stream: source and payload type.
    pub(super) fn rtx(&self) -> Option<(u32, u8)> {
        match self.resend {
            Resend::Rtx { ssrc, payload_type } => Some((ssrc, payload_type)),
            Resend::Never | Resend::Same => None,
        }
    }
}

/// The extensions with what they say.
fn extensions(
    agreed: &[(HeaderExtension, ExtensionId)],
    mid: Option<&Token>,
    playout_delay: Option<PlayoutDelay>,
) -> StreamExtensions {
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
        playout_delay: id(HeaderExtension::PlayoutDelay).zip(playout_delay),
        abs_capture_time: id(HeaderExtension::AbsCaptureTime),
    }
}
