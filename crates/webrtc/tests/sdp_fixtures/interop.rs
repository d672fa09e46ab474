//! Another implementation accepts our answer to its own offer.

#![allow(
    clippy::disallowed_methods,
    reason = "str0m wants an instant to begin with"
)]

use std::time::Instant;

use distributary_webrtc::sdp::{Direction as OurDirection, MediaPlan};
use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::media::{Direction, MediaKind, Mid};
use str0m::{Candidate, Rtc};

use crate::support::*;

struct Player {
    rtc: Rtc,
    pending: SdpPendingOffer,
    offer: String,
    video: Mid,
    audio: Mid,
}

/// Returns a str0m that wants to watch, perhaps with a data channel.
fn player(data_channel: bool) -> Player {
    let mut rtc = Rtc::builder().build(Instant::now());
    let address = "192.0.2.77:5000".parse().expect("an address");
    rtc.add_local_candidate(Candidate::host(address, "udp").expect("a candidate"));
    let mut changes = rtc.sdp_api();
    let video = changes.add_media(MediaKind::Video, Direction::RecvOnly, None, None, None);
    let audio = changes.add_media(MediaKind::Audio, Direction::RecvOnly, None, None, None);
    if data_channel {
        changes.add_channel("metadata".to_owned());
    }
    let (offer, pending) = changes.apply().expect("changes");
    let offer = offer.to_sdp_string();
    Player {
        rtc,
        pending,
        offer,
        video,
        audio,
    }
}

#[test]
fn str0m_accepts_the_answer_to_its_offer() {
    for data_channel in [false, true] {
        let player = player(data_channel);
        let answer = answer_to(&player.offer).unwrap();
        let video = answer.negotiated.video.expect("str0m offers H264");
        assert!(video.nack && video.rtx.is_some(), "{}", player.offer);
        assert_eq!(video.mid.unwrap().as_str(), &*player.video);
        let audio = answer.negotiated.audio.expect("str0m offers Opus");
        assert_eq!(audio.mid.unwrap().as_str(), &*player.audio);

        let theirs = SdpAnswer::from_sdp_string(&answer.sdp).expect("an answer to str0m");
        let mut rtc = player.rtc;
        rtc.sdp_api()
            .accept_answer(player.pending, theirs)
            .expect("an answer that fits the offer");
        for (mid, payload_type) in [
            (player.video, video.payload_type),
            (player.audio, audio.payload_type),
        ] {
            let media = rtc.media(mid).expect("the section is there");
            assert_eq!(media.direction(), Direction::RecvOnly);
            assert!(!media.disabled());
            assert!(
                media.remote_pts().iter().any(|pt| **pt == payload_type),
                "{media:?}"
            );
        }
        let mut direct = rtc.direct_api();
        let video = direct
            .stream_rx(&VIDEO_SSRC.into())
            .expect("the video's source");
        assert_eq!(
            (video.mid(), video.rtx()),
            (player.video, Some(RTX_SSRC.into()))
        );
        let audio = direct
            .stream_rx(&AUDIO_SSRC.into())
            .expect("the audio's source");
        assert_eq!((audio.mid(), audio.rtx()), (player.audio, None));
    }
}

#[test]
fn str0m_accepts_an_answer_with_one_kind_only() {
    let without_audio = MediaPlan {
        audio: None,
        ..plan()
    };
    let without_video = MediaPlan {
        video: None,
        ..plan()
    };
    for plan in [without_audio, without_video] {
        let player = player(true);
        let answer = answer_with(&player.offer, &plan).expect("one kind is enough");
        let theirs = SdpAnswer::from_sdp_string(&answer.sdp).expect("an answer to str0m");
        let mut rtc = player.rtc;
        rtc.sdp_api()
            .accept_answer(player.pending, theirs)
            .expect("an answer that fits the offer");
        let direction = |mid: Mid| rtc.media(mid).map(|media| media.direction());
        let receives = |sent: bool| {
            Some(if sent {
                Direction::RecvOnly
            } else {
                Direction::Inactive
            })
        };
        assert_eq!(
            direction(player.video),
            receives(plan.video.is_some()),
            "{}",
            answer.sdp
        );
        assert_eq!(
            direction(player.audio),
            receives(plan.audio.is_some()),
            "{}",
            answer.sdp
        );
    }
}

#[test]
fn sdp_crate_reads_every_answer() {
    for (name, offer) in all_fixtures() {
        // It does not support transport protocols with TCP.
        let Ok(answer) = answer_to(&offer.replace("TCP/", "UDP/")) else {
            continue;
        };
        let session = sdp::SessionDescription::unmarshal(&mut std::io::Cursor::new(&answer.sdp));
        let session = session.unwrap_or_else(|error| panic!("{name}: {error}\n{}", answer.sdp));
        assert_eq!(session.marshal(), answer.sdp, "{name}");
    }
}

#[test]
fn offer_of_str0m_is_parsed_completely() {
    let player = player(true);
    let offer = distributary_webrtc::sdp::Offer::parse(&player.offer).unwrap();
    assert_eq!(offer.media().len(), 3);
    assert_eq!(offer.bundles()[0].mids().len(), 3);
    assert!(
        offer.media()[..2]
            .iter()
            .all(|media| media.direction == OurDirection::RecvOnly)
    );
    assert!(offer.media().iter().all(|media| media.transport.is_ok()));
}
