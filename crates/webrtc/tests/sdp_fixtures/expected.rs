//! The answer to each offer, field by field.

use distributary_media::VideoCodec;
use distributary_webrtc::data::DataConfig;
use distributary_webrtc::sdp::{
    Feedback, LocalAnswer, NegotiatedAudio, NegotiatedData, NegotiatedRtx, NegotiatedVideo, Offer,
    PacketizationMode,
};

use crate::support::*;

/// The expected result of one offer.
#[derive(Clone, Copy)]
struct Case {
    offer: &'static str,
    /// `a=group` of the answer, without `BUNDLE`.
    bundle: Option<&'static str>,
    sections: &'static [Expected],
    remote_ufrag: &'static str,
    fingerprints: usize,
    setup: &'static str,
}

/// The expected result of one `m=` section.
#[derive(Clone, Copy, Debug)]
enum Expected {
    Video(Video),
    Audio(Opus),
    /// Nothing is sent, but it describes the transport: its only format and that one's `a=rtpmap`.
    Inactive(u8, &'static str),
    /// A data channel, with the longest message that the player takes.
    Data(u32),
    Rejected,
}
use Expected::{Audio, Data, Inactive, Rejected};

#[derive(Clone, Copy, Debug)]
struct Video {
    payload_type: u8,
    rtpmap: &'static str,
    fmtp: Option<&'static str>,
    feedback: &'static [&'static str],
    rtx: Option<u8>,
    mode: PacketizationMode,
    rsize: bool,
}

#[derive(Clone, Copy, Debug)]
struct Opus {
    payload_type: u8,
    rtpmap: &'static str,
    fmtp: &'static str,
    rsize: bool,
}

const CHROMIUM_FMTP: &str =
    "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f";
const WITH_FEC: &str = "useinbandfec=1;stereo=1;sprop-stereo=1";
const WITHOUT_FEC: &str = "stereo=1;sprop-stereo=1";
const FULL_FEEDBACK: &[&str] = &["nack", "nack pli", "ccm fir"];
/// REMB only.
const WITH_REMB: &[&str] = &["nack", "nack pli", "ccm fir", "goog-remb"];

const HAND: Video = Video {
    payload_type: 96,
    rtpmap: "H264/90000",
    fmtp: Some(CHROMIUM_FMTP),
    feedback: FULL_FEEDBACK,
    rtx: Some(97),
    mode: PacketizationMode::NonInterleaved,
    rsize: true,
};
const OPUS: Opus = Opus {
    payload_type: 111,
    rtpmap: "opus/48000/2",
    fmtp: WITH_FEC,
    rsize: true,
};

const CHROMIUM_VIDEO: Expected = Expected::Video(Video {
    payload_type: 108,
    feedback: WITH_REMB,
    rtx: Some(109),
    ..HAND
});
const OPUS_111: Expected = Audio(OPUS);
const FIREFOX_OPUS: Expected = Audio(Opus {
    payload_type: 109,
    rsize: false,
    ..OPUS
});
const HAND_VIDEO: Expected = Expected::Video(HAND);

/// The common values of most hand-written offers.
const HAND_CASE: Case = Case {
    offer: "",
    bundle: Some("0 1"),
    sections: &[HAND_VIDEO, OPUS_111],
    remote_ufrag: "8hhY",
    fingerprints: 1,
    setup: "passive",
};

#[test]
fn chromium_with_audio_first() {
    check(&Case {
        offer: "chromium-offer",
        sections: &[OPUS_111, CHROMIUM_VIDEO],
        remote_ufrag: "CXKY",
        ..HAND_CASE
    });
}

#[test]
fn chromium_with_a_data_channel() {
    check(&Case {
        offer: "chromium-offer-datachannel",
        bundle: Some("0 1 2"),
        sections: &[OPUS_111, CHROMIUM_VIDEO, Data(262_144)],
        remote_ufrag: "+kW3",
        ..HAND_CASE
    });
}

#[test]
fn chromium_with_max_bundle_and_without_candidates() {
    check(&Case {
        offer: "chromium-max-bundle",
        sections: &[CHROMIUM_VIDEO, OPUS_111],
        remote_ufrag: "9CuN",
        ..HAND_CASE
    });
    check(&Case {
        offer: "chromium-max-compat",
        sections: &[OPUS_111, CHROMIUM_VIDEO],
        remote_ufrag: "qk67",
        ..HAND_CASE
    });
}

#[test]
fn chromium_with_one_kind_only() {
    check(&Case {
        offer: "chromium-audio-only",
        bundle: Some("0"),
        sections: &[OPUS_111],
        remote_ufrag: "OOV/",
        ..HAND_CASE
    });
    check(&Case {
        offer: "chromium-video-only",
        bundle: Some("0"),
        sections: &[CHROMIUM_VIDEO],
        remote_ufrag: "WFNg",
        ..HAND_CASE
    });
}

#[test]
fn chromium_with_two_videos_gets_the_first() {
    check(&Case {
        offer: "chromium-two-videos",
        sections: &[CHROMIUM_VIDEO, OPUS_111, Rejected],
        remote_ufrag: "LxMe",
        ..HAND_CASE
    });
}

#[test]
fn firefox_without_h264_gets_audio_alone() {
    check(&Case {
        offer: "firefox-no-h264",
        sections: &[Inactive(120, "VP8/90000"), FIREFOX_OPUS],
        remote_ufrag: "e658aa11",
        ..HAND_CASE
    });
}

#[test]
fn firefox_writes_mode_0_by_leaving_it_out() {
    const SECTIONS: &[Expected] = &[
        Expected::Video(Video {
            payload_type: 126,
            feedback: WITH_REMB,
            fmtp: Some("profile-level-id=42e01f;level-asymmetry-allowed=1;packetization-mode=1"),
            rtx: Some(127),
            rsize: true,
            ..HAND
        }),
        FIREFOX_OPUS,
    ];
    check(&Case {
        offer: "hand-firefox-h264",
        sections: SECTIONS,
        remote_ufrag: "e658aa11",
        ..HAND_CASE
    });
}

#[test]
fn aiortc_with_three_fingerprints_and_without_reduced_size_rtcp() {
    const SECTIONS: &[Expected] = &[
        Expected::Video(Video {
            payload_type: 101,
            feedback: &["nack", "nack pli", "goog-remb"],
            rtx: Some(102),
            rsize: false,
            ..HAND
        }),
        Audio(Opus {
            payload_type: 96,
            fmtp: WITHOUT_FEC,
            rsize: false,
            ..OPUS
        }),
    ];
    check(&Case {
        offer: "aiortc",
        sections: SECTIONS,
        remote_ufrag: "IjJF",
        fingerprints: 3,
        ..HAND_CASE
    });
}

#[test]
fn gstreamer_with_a_bundle_only_video_and_opus_without_channels() {
    const SECTIONS: &[Expected] = &[
        Audio(Opus {
            payload_type: 97,
            rtpmap: "OPUS/48000",
            fmtp: WITHOUT_FEC,
            ..OPUS
        }),
        Expected::Video(Video {
            fmtp: Some("packetization-mode=1;profile-level-id=42e01f"),
            feedback: &["nack pli", "ccm fir"],
            rtx: None,
            ..HAND
        }),
    ];
    check(&Case {
        offer: "gstreamer-max-bundle",
        bundle: Some("audio0 video1"),
        sections: SECTIONS,
        remote_ufrag: "BaTi9qXfYp32U6UKTYQeV8vrVZOt6s/F",
        ..HAND_CASE
    });
}

#[test]
fn gstreamer_without_bundle_gets_video_alone() {
    const SECTIONS: &[Expected] = &[
        Expected::Video(Video {
            fmtp: None,
            feedback: &["nack pli", "ccm fir"],
            rtx: None,
            mode: PacketizationMode::Unstated,
            ..HAND
        }),
        Rejected,
    ];
    check(&Case {
        offer: "gstreamer-no-bundle",
        bundle: None,
        sections: SECTIONS,
        remote_ufrag: "8S7F/1rVa2BK1/emDrTuqwccNa22+H64",
        ..HAND_CASE
    });
}

#[test]
fn libdatachannel_with_nack_and_without_rtx() {
    const SECTIONS: &[Expected] = &[
        Expected::Video(Video {
            fmtp: Some("profile-level-id=42e01f;packetization-mode=1;level-asymmetry-allowed=1"),
            feedback: &["nack", "nack pli", "goog-remb"],
            rtx: None,
            rsize: false,
            ..HAND
        }),
        Audio(Opus {
            rsize: false,
            ..OPUS
        }),
    ];
    check(&Case {
        offer: "libdatachannel",
        bundle: Some("video audio"),
        sections: SECTIONS,
        remote_ufrag: "hnqK",
        ..HAND_CASE
    });
}

#[test]
fn werift_with_lower_case_h264() {
    const SECTIONS: &[Expected] = &[
        Expected::Video(Video {
            payload_type: 97,
            rtpmap: "h264/90000",
            fmtp: Some("profile-level-id=42e01f;packetization-mode=1;level-asymmetry-allowed=1"),
            feedback: &["nack", "nack pli", "goog-remb"],
            rtx: None,
            rsize: false,
            ..HAND
        }),
        Audio(Opus {
            payload_type: 96,
            rtpmap: "OPUS/48000/2",
            fmtp: WITHOUT_FEC,
            rsize: false,
        }),
    ];
    check(&Case {
        offer: "werift",
        sections: SECTIONS,
        remote_ufrag: "aaac",
        ..HAND_CASE
    });
}

#[test]
fn safari_with_high_profile_first_and_a_data_channel() {
    const SECTIONS: &[Expected] = &[
        // Only the video section has `rtcp-rsize`.
        Audio(Opus {
            rsize: false,
            ..OPUS
        }),
        Expected::Video(Video {
            payload_type: 98,
            rtx: Some(99),
            feedback: WITH_REMB,
            ..HAND
        }),
        Data(262_144),
    ];
    check(&Case {
        offer: "hand-safari",
        bundle: Some("0 1 2"),
        sections: SECTIONS,
        remote_ufrag: "Qx4z",
        ..HAND_CASE
    });
}

#[test]
fn pion_with_repeated_feedback_lines_and_every_profile() {
    const SECTIONS: &[Expected] = &[
        Expected::Video(Video {
            payload_type: 106,
            rtx: Some(107),
            feedback: WITH_REMB,
            ..HAND
        }),
        OPUS_111,
    ];
    check(&Case {
        offer: "hand-pion",
        sections: SECTIONS,
        remote_ufrag: "nVbRtYqLmKzXcWdE",
        ..HAND_CASE
    });
}

#[test]
fn player_like_obs_with_its_transport_at_session_level() {
    const SECTIONS: &[Expected] = &[
        Audio(Opus {
            rsize: false,
            ..OPUS
        }),
        Expected::Video(Video {
            fmtp: Some("profile-level-id=42e01f;packetization-mode=1;level-asymmetry-allowed=1"),
            feedback: &["nack", "nack pli", "goog-remb"],
            rtx: None,
            rsize: false,
            ..HAND
        }),
    ];
    check(&Case {
        offer: "hand-obs-like",
        sections: SECTIONS,
        remote_ufrag: "4Wkq",
        ..HAND_CASE
    });
}

#[test]
fn shapes_that_change_nothing_get_the_plain_answer() {
    for offer in [
        "hand-session-level",
        "hand-lf-line-ends",
        "hand-legacy-profile",
        "hand-tcp-profile",
        "hand-sendrecv",
        "hand-direction-missing",
        "hand-strange-lines",
        "hand-extensions",
    ] {
        check(&Case { offer, ..HAND_CASE });
    }
}

#[test]
fn section_without_mid_stays_without_one() {
    check(&Case {
        offer: "hand-no-mid",
        bundle: None,
        sections: &[HAND_VIDEO],
        ..HAND_CASE
    });
}

#[test]
fn without_bundle_video_goes_before_audio() {
    check(&Case {
        offer: "hand-no-bundle",
        bundle: None,
        sections: &[Rejected, HAND_VIDEO],
        ..HAND_CASE
    });
}

#[test]
fn retransmission_needs_nack_and_rtx() {
    const NO_RTX: Expected = Expected::Video(Video { rtx: None, ..HAND });
    const NO_NACK: Expected = Expected::Video(Video {
        rtx: None,
        feedback: &[],
        ..HAND
    });
    check(&Case {
        offer: "hand-no-rtx",
        sections: &[NO_RTX, OPUS_111],
        ..HAND_CASE
    });
    check(&Case {
        offer: "hand-no-nack",
        sections: &[NO_NACK, OPUS_111],
        ..HAND_CASE
    });
}

#[test]
fn h264_without_packetization_mode_is_better_than_nothing() {
    const SECTIONS: &[Expected] = &[
        Expected::Video(Video {
            fmtp: Some("profile-level-id=42e01f"),
            mode: PacketizationMode::Unstated,
            ..HAND
        }),
        OPUS_111,
    ];
    check(&Case {
        offer: "hand-no-packetization-mode",
        sections: SECTIONS,
        ..HAND_CASE
    });
}

#[test]
fn section_that_is_disabled_is_rejected() {
    check(&Case {
        offer: "hand-disabled-section",
        bundle: Some("1"),
        sections: &[Rejected, OPUS_111],
        ..HAND_CASE
    });
}

#[test]
fn first_section_of_a_group_keeps_the_transport_when_nothing_is_sent_on_it() {
    check(&Case {
        offer: "hand-no-h264",
        sections: &[Inactive(98, "VP8/90000"), OPUS_111],
        ..HAND_CASE
    });
    check(&Case {
        offer: "hand-video-sendonly",
        sections: &[Inactive(96, "H264/90000"), OPUS_111],
        ..HAND_CASE
    });
}

#[test]
fn bundle_only_section_has_the_transport_of_its_group() {
    check(&Case {
        offer: "hand-bundle-only",
        bundle: Some("1 0"),
        ..HAND_CASE
    });
}

#[test]
fn video_that_shares_the_transport_of_the_audio_is_chosen() {
    check(&Case {
        offer: "hand-two-bundles",
        bundle: Some("a0 v1"),
        sections: &[OPUS_111, Rejected, HAND_VIDEO],
        ..HAND_CASE
    });
}

#[test]
fn passive_player_gets_an_active_answer() {
    check(&Case {
        offer: "hand-setup-passive",
        setup: "active",
        ..HAND_CASE
    });
}

/// Compares the answer to the offer of `case` with what is expected, field by field.
fn check(case: &Case) {
    let text = fixture(case.offer);
    let offer = Offer::parse(&text).unwrap_or_else(|error| panic!("{}: {error}", case.offer));
    let answer = answer_to(&text).unwrap_or_else(|error| panic!("{}: {error}", case.offer));
    check_session(case, &answer);
    let session = Description::of(&answer.sdp);
    assert_eq!(
        session.sections.len(),
        case.sections.len(),
        "{}",
        case.offer
    );
    assert_eq!(offer.media().len(), case.sections.len(), "{}", case.offer);
    for ((expected, offered), section) in case
        .sections
        .iter()
        .zip(offer.media())
        .zip(&session.sections)
    {
        let context = format!("{}: {expected:?}\n{}", case.offer, answer.sdp);
        assert_eq!(section.kind, offered.kind.to_string(), "{context}");
        assert_eq!(section.protocol, offered.protocol, "{context}");
        let mids: Vec<String> = offered.mid.iter().map(ToString::to_string).collect();
        assert_eq!(section.values("mid"), mids, "{context}");
        match expected {
            Expected::Video(video) => check_video(section, video, &context),
            Audio(opus) => check_audio(section, opus, &context),
            Inactive(payload_type, rtpmap) => {
                check_inactive(section, *payload_type, rtpmap, &context);
            }
            Data(_) => check_data(section, &context),
            Rejected => check_rejected(section, &context),
        }
        check_transport(section, case, &context);
        if !matches!(expected, Rejected) {
            assert_eq!(section.port, 8189, "{context}");
            assert!(
                section.lines.contains(&"c=IN IP4 192.0.2.5".to_owned()),
                "{context}"
            );
        }
    }
    check_negotiated(case, &answer);
}

fn check_session(case: &Case, answer: &LocalAnswer) {
    let session = Description::of(&answer.sdp);
    let context = &answer.sdp;
    let head = [
        "v=0",
        "o=- 4611686018427387903 7 IN IP4 0.0.0.0",
        "s=-",
        "t=0 0",
    ];
    assert_eq!(session.lines[..4], head, "{context}");
    let bundle: Vec<String> = case
        .bundle
        .iter()
        .map(|mids| format!("BUNDLE {mids}"))
        .collect();
    assert_eq!(values(&session.lines, "group"), bundle, "{context}");
    assert_eq!(values(&session.lines, "ice-lite"), [""], "{context}");
}

fn check_transport(section: &Section, case: &Case, context: &str) {
    assert_eq!(section.only("ice-ufrag"), UFRAG, "{context}");
    assert_eq!(section.only("ice-pwd"), PWD, "{context}");
    assert_eq!(section.only("fingerprint"), FINGERPRINT, "{context}");
    assert_eq!(section.only("setup"), case.setup, "{context}");
    let is_rtp = section.kind != "application";
    assert_eq!(section.has("rtcp-mux"), is_rtp, "{context}");
    // In every section, rejected ones too: of aiortc's the last counts.
    let expected = [
        "1 1 udp 2130706431 2001:db8::5 8189 typ host",
        "2 1 udp 2130706175 192.0.2.5 8189 typ host",
    ];
    assert_eq!(section.values("candidate"), expected, "{context}");
    assert_eq!(section.only("end-of-candidates"), "", "{context}");
}

fn check_video(section: &Section, video: &Video, context: &str) {
    let payload_type = video.payload_type;
    let mut formats = vec![payload_type.to_string()];
    let mut rtpmaps = vec![format!("{payload_type} {}", video.rtpmap)];
    let mut fmtps: Vec<String> = video
        .fmtp
        .iter()
        .map(|fmtp| format!("{payload_type} {fmtp}"))
        .collect();
    let mut sources = source_lines(VIDEO_SSRC, "video-track");
    let mut groups = Vec::new();
    if let Some(rtx) = video.rtx {
        formats.push(rtx.to_string());
        rtpmaps.push(format!("{rtx} rtx/90000"));
        fmtps.push(format!("{rtx} apt={payload_type}"));
        groups.push(format!("FID {VIDEO_SSRC} {RTX_SSRC}"));
        sources.extend(source_lines(RTX_SSRC, "video-track"));
    }
    let feedback: Vec<String> = video
        .feedback
        .iter()
        .map(|kind| format!("{payload_type} {kind}"))
        .collect();
    assert_eq!(section.formats, formats, "{context}");
    assert_eq!(section.values("rtpmap"), rtpmaps, "{context}");
    assert_eq!(section.values("fmtp"), fmtps, "{context}");
    assert_eq!(section.values("rtcp-fb"), feedback, "{context}");
    assert_eq!(section.values("ssrc-group"), groups, "{context}");
    assert_eq!(section.values("ssrc"), sources, "{context}");
    check_track(section, "stream video-track", video.rsize, context);
}

fn check_audio(section: &Section, opus: &Opus, context: &str) {
    let payload_type = opus.payload_type;
    assert_eq!(section.formats, [payload_type.to_string()], "{context}");
    assert_eq!(
        section.only("rtpmap"),
        format!("{payload_type} {}", opus.rtpmap),
        "{context}"
    );
    assert_eq!(
        section.only("fmtp"),
        format!("{payload_type} {}", opus.fmtp),
        "{context}"
    );
    assert!(!section.has("rtcp-fb"), "{context}");
    assert!(!section.has("ssrc-group"), "{context}");
    let sources = source_lines(AUDIO_SSRC, "audio-track");
    assert_eq!(section.values("ssrc"), sources, "{context}");
    check_track(section, "stream audio-track", opus.rsize, context);
}

fn check_track(section: &Section, msid: &str, rsize: bool, context: &str) {
    assert_eq!(section.only("msid"), msid, "{context}");
    assert_eq!(section.has("rtcp-rsize"), rsize, "{context}");
    assert!(section.has("sendonly"), "{context}");
    for other in ["sendrecv", "recvonly", "inactive", "extmap", "bundle-only"] {
        assert!(!section.has(other), "{other} in {context}");
    }
}

fn source_lines(ssrc: u32, track: &str) -> Vec<String> {
    vec![
        format!("{ssrc} cname:distributary"),
        format!("{ssrc} msid:stream {track}"),
    ]
}

fn check_inactive(section: &Section, payload_type: u8, rtpmap: &str, context: &str) {
    assert_eq!(section.formats, [payload_type.to_string()], "{context}");
    assert_eq!(
        section.only("rtpmap"),
        format!("{payload_type} {rtpmap}"),
        "{context}"
    );
    assert!(section.has("inactive"), "{context}");
    for other in [
        "sendonly",
        "ssrc",
        "ssrc-group",
        "msid",
        "rtcp-fb",
        "extmap",
    ] {
        assert!(!section.has(other), "{other} in {context}");
    }
}

fn check_data(section: &Section, context: &str) {
    assert_eq!(section.formats, ["webrtc-datachannel"], "{context}");
    assert_eq!(section.only("sctp-port"), "5000", "{context}");
    assert_eq!(section.only("max-message-size"), "4096", "{context}");
    for other in ["sendonly", "msid", "rtcp-mux", "rtcp-rsize", "rtpmap"] {
        assert!(!section.has(other), "{other} in {context}");
    }
}

/// The transport attributes of a section.
const TRANSPORT: [&str; 9] = [
    "a=ice-ufrag:",
    "a=ice-pwd:",
    "a=fingerprint:",
    "a=setup:",
    "a=rtcp-mux",
    "a=rtcp-rsize",
    "a=rtcp-xr:",
    "a=candidate:",
    "a=end-of-candidates",
];

fn check_rejected(section: &Section, context: &str) {
    assert_eq!(section.port, 0, "{context}");
    assert_eq!(section.formats.len(), 1, "{context}");
    assert!(section.has("inactive"), "{context}");
    let described = format!("a=rtpmap:{} ", section.formats[0]);
    let known = |line: &&String| {
        line.starts_with("a=mid:")
            || line.starts_with("c=")
            || line.starts_with(&described)
            || **line == "a=inactive"
            || TRANSPORT.iter().any(|start| line.starts_with(start))
    };
    assert_eq!(
        section.has("rtpmap"),
        section.kind != "application",
        "{context}"
    );
    let others: Vec<&String> = section.lines.iter().filter(|line| !known(line)).collect();
    assert_eq!(others, Vec::<&String>::new(), "{context}");
}

fn check_negotiated(case: &Case, answer: &LocalAnswer) {
    let negotiated = &answer.negotiated;
    let offer = Offer::parse(&fixture(case.offer)).expect("it was parsed before");
    let mut video = None;
    let (mut audio, mut data) = (None, None);
    for (section, offered) in case.sections.iter().zip(offer.media()) {
        match section {
            Expected::Video(expected) => {
                video = Some(NegotiatedVideo {
                    mid: offered.mid.clone(),
                    payload_type: expected.payload_type,
                    ssrc: VIDEO_SSRC,
                    rtx: expected.rtx.map(|payload_type| NegotiatedRtx {
                        payload_type,
                        ssrc: RTX_SSRC,
                    }),
                    nack: expected.feedback.contains(&"nack"),
                    feedback: Feedback {
                        nack: expected.feedback.contains(&"nack"),
                        nack_pli: expected.feedback.contains(&"nack pli"),
                        ccm_fir: expected.feedback.contains(&"ccm fir"),
                        transport_cc: false,
                        goog_remb: expected.feedback.contains(&"goog-remb"),
                    },
                    codec: VideoCodec::H264,
                    packetization_mode: Some(expected.mode),
                    rtcp_rsize: expected.rsize,
                    extensions: Vec::new(),
                });
            }
            Audio(expected) => {
                audio = Some(NegotiatedAudio {
                    mid: offered.mid.clone(),
                    payload_type: expected.payload_type,
                    red: None,
                    ssrc: AUDIO_SSRC,
                    transport_cc: false,
                    rtcp_rsize: expected.rsize,
                    extensions: Vec::new(),
                });
            }
            Data(max_message_size) => {
                data = Some(NegotiatedData {
                    mid: offered.mid.clone(),
                    config: DataConfig {
                        port: 5000,
                        max_message_size: *max_message_size,
                    },
                });
            }
            Inactive(..) | Rejected => {}
        }
    }
    assert_eq!(negotiated.data, data, "{}", case.offer);
    assert_eq!(negotiated.video, video, "{}", case.offer);
    assert_eq!(negotiated.audio, audio, "{}", case.offer);
    assert_eq!(
        negotiated.remote.ice.ufrag(),
        case.remote_ufrag,
        "{}",
        case.offer
    );
    assert_eq!(
        negotiated.remote.fingerprints.len(),
        case.fingerprints,
        "{}",
        case.offer
    );
    assert_eq!(negotiated.setup.to_string(), case.setup, "{}", case.offer);
}
