//! The stream's influence on answers, and the reasons for refused offers.

use distributary_media::{VideoCodec, VideoTrack};
use distributary_webrtc::sdp::{
    AudioPlan, HeaderExtension, MAX_MEDIA_SECTIONS, MediaPlan, NegotiationError, Note, Offer,
    PacketizationMode, Rejection, SdpError, TransportError, VideoPlan,
};

use crate::support::*;

fn video_of(profile_level_id: [u8; 3]) -> MediaPlan {
    let mut plan = plan();
    plan.video = Some(VideoPlan {
        profile_level_id: Some(profile_level_id),
        ..VideoPlan::default()
    });
    plan
}

fn video_only() -> MediaPlan {
    MediaPlan {
        audio: None,
        ..plan()
    }
}

fn transport_error(offer: &str) -> TransportError {
    match answer_to(offer) {
        Err(NegotiationError::Transport(error)) => error,
        other => panic!("no transport error: {other:?}"),
    }
}

/// `hand-no-mid` is the shortest offer: one video section.
fn without(line: &str) -> String {
    let offer = fixture("hand-no-mid");
    let kept: Vec<&str> = offer
        .lines()
        .filter(|kept| !kept.starts_with(line))
        .collect();
    assert!(kept.len() < offer.lines().count(), "there is no {line}");
    kept.join("\r\n")
}

#[test]
fn profile_of_the_stream_determines_the_payload_type() {
    let cases = [
        ([0x42, 0xc0, 0x1f], 108, 109),
        ([0x42, 0x00, 0x1f], 102, 103),
        ([0x4d, 0x40, 0x29], 116, 117),
        ([0x64, 0x00, 0x28], 108, 109),
    ];
    for (profile, payload_type, rtx) in cases {
        let answer = answer_with(&fixture("chromium-offer"), &video_of(profile)).unwrap();
        let video = answer.negotiated.video.unwrap();
        assert_eq!(video.payload_type, payload_type, "{profile:x?}");
        assert_eq!(
            video.rtx.map(|rtx| rtx.payload_type),
            Some(rtx),
            "{profile:x?}"
        );
    }
}

#[test]
fn audio_section_of_a_stream_without_audio_is_rejected_or_inactive() {
    for (offer, bundle, audio_index, is_first) in [
        ("chromium-offer", "BUNDLE 0 1", 0, true),
        ("chromium-max-bundle", "BUNDLE 0", 1, false),
        ("gstreamer-max-bundle", "BUNDLE audio0 video1", 0, true),
    ] {
        let answer = answer_with(&fixture(offer), &video_only()).unwrap();
        let session = Description::of(&answer.sdp);
        assert_eq!(values(&session.lines, "group"), [bundle], "{offer}");
        let audio = &session.sections[audio_index];
        let video = &session.sections[1 - audio_index];
        assert!(
            audio.has("inactive") && !audio.has("ssrc"),
            "{offer}: {audio:?}"
        );
        assert!(video.has("sendonly"), "{offer}: {video:?}");
        assert_eq!(audio.port != 0, is_first, "{offer}");
        assert!(audio.has("candidate") && video.has("candidate"), "{offer}");
        assert_eq!(answer.negotiated.audio, None);
        let notes = &answer.negotiated.notes;
        let not_in_stream = |note: &Note| matches!(note, Note::NotSent(media) if media.index == audio_index && media.reason == Rejection::NotInStream);
        assert!(notes.iter().any(not_in_stream), "{offer}: {notes:?}");
    }
}

#[test]
fn first_section_with_a_port_comes_first_in_the_answered_group() {
    let answer =
        answer_to(&fixture("hand-bundle-only").replace("BUNDLE 1 0", "BUNDLE 0 1")).unwrap();
    let session = Description::of(&answer.sdp);
    assert_eq!(values(&session.lines, "group"), ["BUNDLE 1 0"]);
    assert!(session.sections[1].has("candidate"), "{}", answer.sdp);
}

const DATA_CHANNEL: &str = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:d\r\n";

#[test]
fn data_channel_first_in_the_group_describes_the_transport() {
    let transport: String = fixture("hand-bundle-only")
        .lines()
        .filter(|line| line.starts_with("a=ice-") || line.starts_with("a=fingerprint"))
        .map(|line| format!("{line}\r\n"))
        .collect();
    let data = format!("{DATA_CHANNEL}{transport}a=setup:actpass\r\n");
    let offer = fixture("hand-bundle-only").replace("BUNDLE 1 0", "BUNDLE d 0 1") + &data;
    let answer = answer_to(&offer).unwrap();
    let session = Description::of(&answer.sdp);
    assert_eq!(values(&session.lines, "group"), ["BUNDLE d 1 0"]);
    let data = &session.sections[2];
    assert!(data.port != 0 && data.has("candidate"), "{}", answer.sdp);
    assert!(answer.negotiated.video.is_some() && answer.negotiated.audio.is_some());
    // Without port and size, the defaults of RFC 8841 apply.
    let config = answer.negotiated.data.unwrap().config;
    assert_eq!((config.port, config.max_message_size), (5000, 65_536));
}

#[test]
fn data_channel_is_accepted_only_beside_media_on_the_same_transport() {
    let rejection = |offer: &str| {
        let answer = answer_to(offer).unwrap();
        assert_eq!(answer.negotiated.data, None);
        let session = Description::of(&answer.sdp);
        let last = session.sections.last().unwrap();
        assert_eq!((last.kind.as_str(), last.port), ("application", 0));
        let notes = answer.negotiated.notes.into_iter();
        let mut rejections = notes.filter_map(|note| match note {
            Note::NotSent(media) => Some(media.reason),
            _ => None,
        });
        rejections.next_back().unwrap()
    };
    let offer = fixture("hand-lf-line-ends");
    let unbundled = format!("{offer}{DATA_CHANNEL}");
    assert_eq!(rejection(&unbundled), Rejection::NotBundled);
    let bundled = |sections: &str| offer.replace("BUNDLE 0 1", "BUNDLE 0 1 d e") + sections;
    let answer = answer_to(&bundled(DATA_CHANNEL)).unwrap();
    let session = Description::of(&answer.sdp);
    assert_eq!(values(&session.lines, "group"), ["BUNDLE 0 1 d"]);
    let second = DATA_CHANNEL.replace("mid:d", "mid:e");
    let two = bundled(&format!("{DATA_CHANNEL}{second}"));
    let answer = answer_to(&two).unwrap();
    assert_eq!(answer.negotiated.data.unwrap().mid.unwrap().as_str(), "d");
    for unknown in [
        DATA_CHANNEL.replace("UDP/DTLS/SCTP", "SCTP"),
        DATA_CHANNEL.replace("webrtc-datachannel", "5000"),
        format!("{DATA_CHANNEL}a=sctp-port:0\r\n"),
        format!("{DATA_CHANNEL}a=sctp-port:65536\r\n"),
    ] {
        let reason = rejection(&bundled(&unknown));
        assert_eq!(reason, Rejection::UnsupportedKind, "{unknown}");
    }

    let alone = format!(
        "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE d\r\n{DATA_CHANNEL}"
    );
    let NegotiationError::NothingToSend { rejected } = answer_to(&alone).unwrap_err() else {
        panic!("a data channel alone");
    };
    assert_eq!(rejected[0].reason, Rejection::DataAlone);
}

#[test]
fn notes_explain_later_problems() {
    let notes = |offer: &str| answer_to(&fixture(offer)).unwrap().negotiated.notes;
    assert_eq!(notes("chromium-offer"), []);
    assert_eq!(notes("hand-no-nack"), [Note::NoRetransmission]);
    assert_eq!(notes("hand-no-rtx"), []);
    let unstated = Note::PacketizationMode(PacketizationMode::Unstated);
    assert_eq!(notes("hand-no-packetization-mode"), [unstated]);
    let [no_h264] = notes("hand-no-h264").try_into().unwrap();
    assert_eq!(
        no_h264.to_string(),
        "nothing is sent on m=video (number 1): H264 is needed, offered are VP8, VP9"
    );
}

#[test]
fn answer_has_the_codec_of_the_stream() {
    for (codec, profile_level_id, payload_type, rtx) in [
        (VideoCodec::Av1, Some([0, 0, 8]), 45, 46),
        (VideoCodec::Av1, Some([1, 0, 8]), 47, 48),
        (VideoCodec::Vp9, None, 98, 99),
        (VideoCodec::Vp9, Some([2, 0, 0]), 100, 101),
    ] {
        let plan = MediaPlan {
            video: Some(VideoPlan {
                codec,
                profile_level_id,
                ..VideoPlan::default()
            }),
            ..plan()
        };
        let answer = answer_with(&fixture("chromium-offer"), &plan).unwrap();
        let video = answer.negotiated.video.unwrap();
        assert_eq!((video.codec, video.payload_type), (codec, payload_type));
        assert_eq!(video.rtx.unwrap().payload_type, rtx);
        assert!(video.nack && video.feedback.nack_pli);
        assert_eq!(video.packetization_mode, None);
        let session = Description::of(&answer.sdp);
        let video = session
            .sections
            .iter()
            .find(|section| section.has("ssrc-group"));
        let encoding = format!("{payload_type} {codec}/90000");
        assert_eq!(values(&video.unwrap().lines, "rtpmap")[0], encoding);
    }
}

#[test]
fn error_names_the_missing_codec_and_the_offered_ones() {
    let offer = Offer::parse(&fixture("chromium-offer")).unwrap();
    assert!(offer.supports(VideoCodec::Av1, None));
    assert!(!offer.supports(VideoCodec::H265, None));
    assert!(!offer.supports(VideoCodec::Av1, Some([2, 0, 8])));
    let track = |codec, profile_level_id| VideoTrack {
        codec,
        width: 1280,
        height: 720,
        profile_level_id,
        config: Default::default(),
    };
    let h264 = track(VideoCodec::H264, [0x64, 0, 0x28]);
    let h265 = track(VideoCodec::H265, [1, 0, 93]);
    assert_eq!(offer.check_video(&h264), Ok(()));
    let error = offer.check_video(&h265).unwrap_err();
    assert_eq!(
        (error.needed, error.offered.join(", ").as_str()),
        ("H265", "VP8, VP9, H264, AV1")
    );
    let plan = MediaPlan {
        video: Some(VideoPlan {
            codec: VideoCodec::H265,
            ..VideoPlan::default()
        }),
        ..plan()
    };
    let answer = offer.answer(&plan, &local()).unwrap();
    assert_eq!(answer.negotiated.video, None);
    assert_eq!(
        answer.negotiated.notes[0].to_string(),
        "nothing is sent on m=video (number 2): H265 is needed, offered are VP8, VP9, H264, AV1"
    );
    let audio_only = Offer::parse(&fixture("chromium-audio-only")).unwrap();
    assert_eq!(audio_only.check_video(&h265), Ok(()));
    let sends = Offer::parse(&fixture("hand-video-sendonly")).unwrap();
    assert_eq!(sends.check_video(&h265), Ok(()));
    assert!(!sends.supports(VideoCodec::H264, None));
}

#[test]
fn extensions_are_answered_with_the_ids_of_the_offer() {
    let wanted = vec![
        HeaderExtension::AbsSendTime,
        HeaderExtension::AbsCaptureTime,
        HeaderExtension::Mid,
        HeaderExtension::PlayoutDelay,
    ];
    let plan = MediaPlan {
        video: Some(VideoPlan {
            extensions: wanted,
            ..VideoPlan::default()
        }),
        audio: Some(AudioPlan {
            extensions: vec![HeaderExtension::Mid],
            red: false,
        }),
    };
    let answer = answer_with(&fixture("hand-extensions"), &plan).unwrap();
    let session = Description::of(&answer.sdp);
    // abs-send-time has an id above 14, and the player does not receive playout-delay.
    let expected = [
        "9/sendonly http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time",
        "4 urn:ietf:params:rtp-hdrext:sdes:mid",
    ];
    assert_eq!(session.sections[0].values("extmap"), expected);
    assert_eq!(session.sections[1].only("extmap"), expected[1]);
    let ids = |extensions: &[(HeaderExtension, distributary_webrtc::sdp::ExtensionId)]| {
        let ids = extensions
            .iter()
            .map(|(extension, id)| (*extension, id.get()));
        ids.collect::<Vec<_>>()
    };
    assert_eq!(
        ids(&answer.negotiated.video.unwrap().extensions),
        [
            (HeaderExtension::AbsCaptureTime, 9),
            (HeaderExtension::Mid, 4)
        ]
    );
    assert_eq!(
        ids(&answer.negotiated.audio.unwrap().extensions),
        [(HeaderExtension::Mid, 4)]
    );
}

/// Everything that the gateway would write into packets.
fn with_extensions() -> MediaPlan {
    let extensions = vec![
        HeaderExtension::Mid,
        HeaderExtension::AbsSendTime,
        HeaderExtension::AbsCaptureTime,
        HeaderExtension::TransportWideCc,
        HeaderExtension::PlayoutDelay,
    ];
    MediaPlan {
        video: Some(VideoPlan {
            extensions: extensions.clone(),
            ..VideoPlan::default()
        }),
        audio: Some(AudioPlan {
            extensions,
            red: false,
        }),
    }
}

const TRANSPORT_WIDE_CC: &str =
    "3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";

#[test]
fn transport_feedback_replaces_remb() {
    let answer = answer_with(&fixture("chromium-offer"), &with_extensions()).unwrap();
    let session = Description::of(&answer.sdp);
    let (audio, video) = (&session.sections[0], &session.sections[1]);
    assert_eq!(
        video.values("extmap"),
        [
            "4 urn:ietf:params:rtp-hdrext:sdes:mid",
            "2 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
            TRANSPORT_WIDE_CC,
            "5 http://www.webrtc.org/experiments/rtp-hdrext/playout-delay",
        ]
    );
    let feedback = [
        "108 nack",
        "108 nack pli",
        "108 ccm fir",
        "108 transport-cc",
    ];
    assert_eq!(video.values("rtcp-fb"), feedback);
    assert!(audio.values("extmap").contains(&TRANSPORT_WIDE_CC));
    assert_eq!(audio.only("rtcp-fb"), "111 transport-cc");
    assert_eq!(audio.only("rtcp-xr"), "rcvr-rtt=all");
    assert_eq!(video.only("rtcp-xr"), "rcvr-rtt=all");
}

#[test]
fn packets_that_are_resent_unchanged_have_no_transport_wide_number() {
    let offer = fixture("chromium-offer");
    let without_rtx: Vec<&str> = offer
        .lines()
        .filter(|line| !line.contains(" apt="))
        .collect();
    let answer = answer_with(&without_rtx.join("\r\n"), &with_extensions()).unwrap();
    let session = Description::of(&answer.sdp);
    let (audio, video) = (&session.sections[0], &session.sections[1]);
    assert_eq!(
        video.only("extmap"),
        "4 urn:ietf:params:rtp-hdrext:sdes:mid"
    );
    let feedback = ["108 nack", "108 nack pli", "108 ccm fir", "108 goog-remb"];
    assert_eq!(video.values("rtcp-fb"), feedback);
    assert!(!audio.values("extmap").contains(&TRANSPORT_WIDE_CC));
    assert!(!audio.has("rtcp-fb"));
}

#[test]
fn redundant_audio_is_negotiated_if_offered_and_configured() {
    let mut plan = plan();
    plan.audio = Some(AudioPlan {
        red: true,
        ..AudioPlan::default()
    });
    let answer = answer_with(&fixture("chromium-offer"), &plan).unwrap();
    let session = Description::of(&answer.sdp);
    let audio = &session.sections[0];
    assert_eq!(audio.formats, ["63", "111"]);
    assert_eq!(
        audio.values("rtpmap"),
        ["111 opus/48000/2", "63 red/48000/2"]
    );
    assert_eq!(
        audio.values("fmtp"),
        ["111 useinbandfec=1;stereo=1;sprop-stereo=1", "63 111/111"]
    );
    assert_eq!(answer.negotiated.audio.unwrap().red, Some(63));
    let answer = answer_with(&fixture("aiortc"), &plan).unwrap();
    assert_eq!(answer.negotiated.audio.unwrap().red, None, "not offered");
}

#[test]
fn dtx_is_never_negotiated() {
    let offer = fixture("chromium-offer").replace("useinbandfec=1", "useinbandfec=1;usedtx=1");
    let answer = answer_with(&offer, &plan()).unwrap();
    let session = Description::of(&answer.sdp);
    let [parameters] = session.sections[0].values("fmtp")[..] else {
        panic!("{}", answer.sdp)
    };
    assert!(
        parameters.split(';').any(|one| one == "usedtx=0"),
        "{parameters}"
    );
}

#[test]
fn audio_alone_has_no_congestion_feedback() {
    let answer = answer_with(&fixture("chromium-audio-only"), &with_extensions()).unwrap();
    let session = Description::of(&answer.sdp);
    let audio = session
        .sections
        .iter()
        .find(|section| section.kind == "audio")
        .unwrap();
    assert!(!audio.values("extmap").contains(&TRANSPORT_WIDE_CC));
    assert!(!audio.has("rtcp-fb"));
}

#[test]
fn error_names_the_reason_for_each_rejected_section() {
    let error = answer_to(&fixture("hand-all-inactive")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "nothing of this stream can be sent to this player: \
         m=video (number 1): it is inactive, a player must offer recvonly or sendrecv; \
         m=audio (number 2): it is inactive, a player must offer recvonly or sendrecv"
    );
    let error = answer_with(&fixture("firefox-no-h264"), &video_only()).unwrap_err();
    let NegotiationError::NothingToSend { rejected } = &error else {
        panic!("{error}");
    };
    assert_eq!(rejected[1].reason, Rejection::NotInStream);
    assert!(
        matches!(&rejected[0].reason, Rejection::NoCodec { needed: "H264", offered } if offered.iter().any(|name| name == "VP8")),
        "{error}"
    );
    let empty = answer_to("v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n").unwrap_err();
    assert_eq!(
        empty,
        NegotiationError::NothingToSend {
            rejected: Vec::new()
        }
    );
    let nothing_planned = answer_with(&fixture("chromium-offer"), &MediaPlan::default());
    assert!(matches!(
        nothing_planned,
        Err(NegotiationError::NothingToSend { .. })
    ));
}

#[test]
fn error_names_an_unsupported_transport_protocol() {
    let offer = fixture("hand-no-mid").replace("UDP/TLS/RTP/SAVPF", "udp");
    let error = answer_to(&offer).unwrap_err().to_string();
    assert!(error.contains("`udp` is not served"), "{error}");
}

#[test]
fn missing_transport_attributes_are_errors() {
    assert_eq!(
        transport_error(&without("a=ice-ufrag")),
        TransportError::MissingIceCredentials
    );
    assert_eq!(
        transport_error(&without("a=ice-pwd")),
        TransportError::MissingIceCredentials
    );
    assert_eq!(
        transport_error(&without("a=fingerprint")),
        TransportError::MissingFingerprint
    );
    assert_eq!(
        transport_error(&without("a=setup")),
        TransportError::MissingSetup
    );
    assert_eq!(
        transport_error(&without("a=rtcp-mux")),
        TransportError::MissingRtcpMux
    );
}

#[test]
fn unusable_transport_attributes_are_errors() {
    let with = |from: &str, to: &str| transport_error(&fixture("hand-no-mid").replace(from, to));
    assert_eq!(
        with("ufrag:8hhY", "ufrag:8h"),
        TransportError::InvalidIceCredentials
    );
    assert_eq!(with("sha-256", "md5"), TransportError::UnusableFingerprint);
    assert_eq!(
        with("setup:actpass", "setup:holdconn"),
        TransportError::UnusableSetup
    );
}

#[test]
fn sections_beyond_the_limit_make_an_offer_malformed() {
    let section = "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\n";
    let offer = fixture("hand-no-mid") + &section.repeat(MAX_MEDIA_SECTIONS - 1);
    let answer = answer_to(&offer).unwrap();
    assert_eq!(
        Description::of(&answer.sdp).sections.len(),
        MAX_MEDIA_SECTIONS
    );
    let error = Offer::parse(&(offer + section)).unwrap_err();
    assert!(matches!(error, SdpError::Malformed { .. }), "{error}");
}

#[test]
fn two_sections_with_the_same_mid_make_an_offer_malformed() {
    let offer = fixture("hand-lf-line-ends").replace("a=mid:1", "a=mid:0");
    let error = Offer::parse(&offer).unwrap_err();
    assert!(matches!(error, SdpError::Malformed { .. }), "{error}");
    let offer = fixture("hand-lf-line-ends").replace("a=mid:1", "a=mid:a b");
    let error = Offer::parse(&offer).unwrap_err();
    assert!(matches!(error, SdpError::Malformed { .. }), "{error}");
}

#[test]
fn section_outside_the_group_of_the_video_is_rejected() {
    let offer = fixture("hand-lf-line-ends").replace("BUNDLE 0 1", "BUNDLE 0");
    let answer = answer_to(&offer).unwrap();
    assert_eq!(answer.negotiated.audio, None);
    let [Note::NotSent(audio)] = answer.negotiated.notes.as_slice() else {
        panic!("{:?}", answer.negotiated.notes);
    };
    assert_eq!(audio.reason, Rejection::NotBundled);
}
