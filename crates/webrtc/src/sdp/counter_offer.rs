//! Counter-offers: offers of the gateway for players whose own offer cannot be answered
//! (draft-ietf-wish-whep, "Server Sends Counter-Offer").
//!
//! A player's description decides which media it is sent, so the counter-offer is written as the
//! answer to a player that wants everything, with the DTLS role left open.

use std::sync::LazyLock;

use super::description::Description;
use super::{LocalParameters, MediaKind, MediaPlan, NegotiationError, Setup};

/// The offer of a player that wants everything. Its credentials and fingerprint are placeholders.
const WANTS_ALL: &str = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n\
    a=group:BUNDLE 0 1\r\na=ice-ufrag:none\r\na=ice-pwd:nonenonenonenonenonenone\r\na=setup:actpass\r\n\
    a=fingerprint:sha-1 00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00\r\n\
    m=video 9 UDP/TLS/RTP/SAVPF 96 97 98 99 100 101 102 103\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=recvonly\r\n\
    a=rtcp-mux\r\na=rtcp-rsize\r\n\
    a=extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid\r\n\
    a=extmap:2 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time\r\n\
    a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\n\
    a=extmap:4 http://www.webrtc.org/experiments/rtp-hdrext/playout-delay\r\n\
    a=extmap:5 http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time\r\n\
    a=rtpmap:96 H264/90000\r\n\
    a=fmtp:96 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\r\n\
    a=rtcp-fb:* nack\r\na=rtcp-fb:* nack pli\r\na=rtcp-fb:* ccm fir\r\n\
    a=rtcp-fb:* transport-cc\r\na=rtcp-fb:* goog-remb\r\n\
    a=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n\
    a=rtpmap:98 VP9/90000\r\na=fmtp:98 profile-id=0\r\n\
    a=rtpmap:99 rtx/90000\r\na=fmtp:99 apt=98\r\n\
    a=rtpmap:100 AV1/90000\r\na=fmtp:100 level-idx=5;profile=0;tier=0\r\n\
    a=rtpmap:101 rtx/90000\r\na=fmtp:101 apt=100\r\n\
    a=rtpmap:102 H265/90000\r\na=fmtp:102 level-id=180;profile-id=1;tier-flag=0;tx-mode=SRST\r\n\
    a=rtpmap:103 rtx/90000\r\na=fmtp:103 apt=102\r\n\
    m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\na=recvonly\r\n\
    a=rtcp-mux\r\na=rtcp-rsize\r\n\
    a=extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid\r\n\
    a=extmap:2 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time\r\n\
    a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\n\
    a=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10;useinbandfec=1\r\na=rtcp-fb:111 transport-cc\r\n";

static WANTS_ALL_PARSED: LazyLock<Description> = LazyLock::new(|| {
    Description::parse(WANTS_ALL).expect("a constant, which the tests below parse")
});

impl MediaPlan {
    /// Returns the text of an offer of everything in this plan.
    /// [`Answer::accept`](super::Answer::accept) with the same plan and parameters returns what the
    /// player accepts.
    ///
    /// # Errors
    /// If the plan is empty.
    pub fn counter_offer(&self, local: &LocalParameters) -> Result<String, NegotiationError> {
        let mut wants_all = WANTS_ALL_PARSED.clone();
        wants_all.media.retain(|media| match media.kind {
            MediaKind::Video => self.video.is_some(),
            _ => self.audio.is_some(),
        });
        let agreement = wants_all.agree(self, local, |_| Setup::ActPass)?;
        Ok(agreement.describe(local))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::{Fingerprint, HashAlgorithm};
    use crate::dtls::DtlsRole;
    use crate::ice::Credentials;
    use crate::sdp::{Answer, AudioPlan, HeaderExtension, VideoPlan};
    use crate::test_util::local_parameters;
    use distributary_media::VideoCodec;

    fn local() -> LocalParameters {
        LocalParameters {
            role: DtlsRole::Client,
            ..local_parameters(
                Credentials::new("ours", "0123456789012345678901").unwrap(),
                Fingerprint::of(HashAlgorithm::Sha256, b"certificate"),
                "198.51.100.1:8189".parse().unwrap(),
            )
        }
    }

    fn plan() -> MediaPlan {
        let extensions = vec![HeaderExtension::Mid, HeaderExtension::TransportWideCc];
        MediaPlan {
            video: Some(VideoPlan {
                codec: VideoCodec::H264,
                profile_level_id: Some([0x64, 0, 0x1f]),
                extensions: extensions.clone(),
            }),
            audio: Some(AudioPlan {
                extensions,
                red: false,
            }),
        }
    }

    fn lines(sdp: &str, line: &str) -> usize {
        sdp.lines().filter(|other| *other == line).count()
    }

    #[test]
    fn all_tracks_are_offered_on_one_transport_with_an_open_role() {
        let offer = plan().counter_offer(&local()).unwrap();
        for (line, count) in [
            ("a=group:BUNDLE 0 1", 1),
            ("a=ice-lite", 1),
            ("a=setup:actpass", 2),
            ("a=sendonly", 2),
            ("a=rtcp-mux", 2),
            ("a=rtcp-mux-only", 2),
            ("a=rtpmap:96 H264/90000", 1),
            ("a=rtpmap:97 rtx/90000", 1),
            ("a=rtpmap:111 opus/48000/2", 1),
            ("a=end-of-candidates", 2),
            ("a=recvonly", 0),
        ] {
            assert_eq!(lines(&offer, line), count, "{line} in\n{offer}");
        }
        assert!(!offer.contains("none"), "{offer}");
    }

    #[test]
    fn missing_tracks_are_not_offered() {
        let audio_only = MediaPlan {
            video: None,
            ..plan()
        };
        let offer = audio_only.counter_offer(&local()).unwrap();
        assert_eq!(lines(&offer, "a=group:BUNDLE 1"), 1, "{offer}");
        assert_eq!(offer.matches("m=").count(), 1, "{offer}");
        let nothing = MediaPlan::default().counter_offer(&local());
        assert!(matches!(
            nothing,
            Err(NegotiationError::NothingToSend { .. })
        ));
    }

    #[test]
    fn answer_takes_the_role_that_the_player_leaves() {
        // A browser's answer has its own transport and the other direction.
        let answer = |setup: &str| {
            plan()
                .counter_offer(&local())
                .unwrap()
                .replace("a=sendonly", "a=recvonly")
                .replace("a=setup:actpass", setup)
                .replace("a=ice-ufrag:ours", "a=ice-ufrag:them")
        };
        for (theirs, ours) in [
            ("a=setup:active", Setup::Passive),
            ("a=setup:passive", Setup::Active),
            // Not an answer, and yet answered as before: the player is the client.
            ("a=setup:actpass", Setup::Passive),
        ] {
            let answer = Answer::parse(&answer(theirs)).unwrap();
            let negotiated = answer.accept(&plan(), &local()).unwrap();
            assert_eq!(negotiated.setup, ours);
            assert_eq!(negotiated.remote.ice.ufrag(), "them");
            let video = negotiated.video.unwrap();
            assert_eq!((video.payload_type, video.ssrc), (96, 1));
            assert_eq!(video.rtx.unwrap().payload_type, 97);
            assert_eq!(negotiated.audio.unwrap().payload_type, 111);
        }
    }
}
