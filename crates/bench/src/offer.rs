//! The offer of a viewer.

use distributary_webrtc::certificate::Fingerprint;
use distributary_webrtc::ice::Credentials;

use crate::feedback::{EXTENSION, EXTENSION_URI};

/// Payload type that is offered for Opus.
pub const AUDIO: u8 = 111;
/// Payload type that is offered for H264 in packetization mode 1.
pub const VIDEO: u8 = 102;
/// Payload type that is offered for the retransmissions of [`VIDEO`] (RFC 4588).
pub const RTX: u8 = 103;

/// Returns an offer to receive H264 and Opus, in the form a browser gives it, without the codecs
/// that are not wanted. Both sections share one transport, and there are no candidates: the viewer
/// is the one who sends checks, and the server learns its address from them. With `feedback` it can
/// tell when each packet arrives.
#[must_use]
pub fn offer(
    session: u64,
    credentials: &Credentials,
    fingerprint: &Fingerprint,
    feedback: bool,
) -> String {
    // A session id is a positive 63-bit number (RFC 9429 section 5.2.1).
    let session = session >> 1;
    let transport = format!(
        "c=IN IP4 0.0.0.0\n\
         a=rtcp:9 IN IP4 0.0.0.0\n\
         a=ice-ufrag:{}\n\
         a=ice-pwd:{}\n\
         a=ice-options:trickle\n\
         a=fingerprint:{fingerprint}\n\
         a=setup:actpass\n",
        credentials.ufrag(),
        credentials.password(),
    );
    let feedback_of = |payload_type: u8| {
        if feedback {
            format!(
                "a=extmap:{EXTENSION} {EXTENSION_URI}\n\
                 a=rtcp-fb:{payload_type} transport-cc\n"
            )
        } else {
            String::new()
        }
    };
    let (audio_feedback, video_feedback) = (feedback_of(AUDIO), feedback_of(VIDEO));
    let text = format!(
        "v=0\n\
         o=- {session} 2 IN IP4 127.0.0.1\n\
         s=-\n\
         t=0 0\n\
         a=group:BUNDLE 0 1\n\
         a=extmap-allow-mixed\n\
         a=msid-semantic: WMS\n\
         m=audio 9 UDP/TLS/RTP/SAVPF {AUDIO}\n\
         {transport}\
         a=mid:0\n\
         a=recvonly\n\
         a=rtcp-mux\n\
         a=rtcp-rsize\n\
         a=rtpmap:{AUDIO} opus/48000/2\n\
         a=fmtp:{AUDIO} minptime=10;useinbandfec=1\n\
         {audio_feedback}\
         m=video 9 UDP/TLS/RTP/SAVPF {VIDEO} {RTX}\n\
         {transport}\
         a=mid:1\n\
         a=recvonly\n\
         a=rtcp-mux\n\
         a=rtcp-rsize\n\
         a=rtpmap:{VIDEO} H264/90000\n\
         {video_feedback}\
         a=rtcp-fb:{VIDEO} goog-remb\n\
         a=rtcp-fb:{VIDEO} ccm fir\n\
         a=rtcp-fb:{VIDEO} nack\n\
         a=rtcp-fb:{VIDEO} nack pli\n\
         a=fmtp:{VIDEO} level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\n\
         a=rtpmap:{RTX} rtx/90000\n\
         a=fmtp:{RTX} apt={VIDEO}\n"
    );
    text.replace('\n', "\r\n")
}

#[cfg(test)]
mod tests {
    use distributary_webrtc::certificate::HashAlgorithm;
    use distributary_webrtc::sdp::{MediaKind, Offer, Setup};

    use super::*;

    #[test]
    fn gateway_parses_the_offer() {
        let credentials = Credentials::generate().unwrap();
        let fingerprint = Fingerprint::of(HashAlgorithm::Sha256, b"certificate");
        let text = offer(u64::MAX, &credentials, &fingerprint, false);
        assert!(text.contains(" 9223372036854775807 2 IN "), "{text}");
        let offer = Offer::parse(&text).unwrap();
        let kinds: Vec<_> = offer.media().iter().map(|media| &media.kind).collect();
        assert!(matches!(kinds[..], [MediaKind::Audio, MediaKind::Video]));
        for media in offer.media() {
            let transport = media.transport.as_ref().unwrap();
            assert_eq!(transport.ice, credentials);
            assert_eq!(transport.fingerprints, std::slice::from_ref(&fingerprint));
            assert_eq!(transport.setup, Setup::ActPass);
        }
    }
}
