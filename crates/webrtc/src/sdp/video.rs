//! The choice of a payload type for video of any codec.

use distributary_media::VideoCodec;

use super::{CodecParameters, MediaSection, PacketizationMode, h264};

/// The RTP clock of all video codecs here, in Hz (RFC 6184, RFC 7798 and RFC 9628 section 8 or 7,
/// RTP Payload Format For AV1 section 7).
const CLOCK_RATE: u32 = 90_000;

/// H265: the profile that is meant when the offer names none, and the one it lies in (RFC 7798
/// section 7.1; ITU-T H.265 section A.3.3: a decoder of Main 10 decodes Main).
const H265_MAIN: u8 = 1;
const H265_MAIN_10: u8 = 2;

/// The payload type that carries the stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct VideoChoice<'a> {
    pub(super) codec: &'a CodecParameters,
    /// H264 alone has modes.
    pub(super) mode: Option<PacketizationMode>,
}

/// Chooses a payload type for a stream of this codec, and of profile and level if they are known
/// (see
///
/// Levels never rule out a payload type: browsers offer the least that they support. A
/// profile does where it needs another decoder.
pub(super) fn choose(
    media: &MediaSection,
    codec: VideoCodec,
    profile_level_id: Option<[u8; 3]>,
) -> Option<VideoChoice<'_>> {
    let profile = profile_level_id.map(|[profile, tier, _]| (profile, tier));
    match codec {
        VideoCodec::H264 => {
            let choice = h264::choose(media, profile_level_id)?;
            Some(VideoChoice {
                codec: choice.codec,
                mode: Some(choice.mode),
            })
        }
        VideoCodec::H265 => best(media, "H265", |offered| h265_rank(offered, profile)),
        VideoCodec::Av1 => best(media, "AV1", |offered| av1_rank(offered, profile)),
        VideoCodec::Vp9 => best(media, "VP9", |offered| vp9_rank(offered, profile)),
        _ => None,
    }
}

/// Returns the name of the codec that a player has to offer for a stream of this codec and profile.
pub(super) fn name(codec: VideoCodec, profile_level_id: Option<[u8; 3]>) -> &'static str {
    let profile = profile_level_id.map_or(0, |[profile, ..]| profile);
    match (codec, profile) {
        (VideoCodec::H264, _) => "H264",
        (VideoCodec::H265, 0 | H265_MAIN) => "H265",
        (VideoCodec::H265, H265_MAIN_10) => "H265 with Main 10 profile",
        (VideoCodec::H265, _) => "H265 with a profile beyond Main 10",
        (VideoCodec::Av1, 0) => "AV1",
        (VideoCodec::Av1, 1) => "AV1 with High profile",
        (VideoCodec::Av1, _) => "AV1 with Professional profile",
        (VideoCodec::Vp9, 0) => "VP9",
        (VideoCodec::Vp9, 1) => "VP9 with profile 1",
        (VideoCodec::Vp9, 2) => "VP9 with profile 2",
        (VideoCodec::Vp9, _) => "VP9 with profile 3",
        _ => "another codec",
    }
}

/// Returns the payload type of this encoding with the smallest rank; of equals the first, which the
/// player prefers.
fn best<'a>(
    media: &'a MediaSection,
    encoding: &str,
    rank: impl Fn(&CodecParameters) -> Option<u8>,
) -> Option<VideoChoice<'a>> {
    let offered = media.codecs.iter().filter(|codec| {
        codec.name().eq_ignore_ascii_case(encoding) && codec.clock_rate == CLOCK_RATE
    });
    let ranked = offered.filter_map(|codec| Some((rank(codec)?, codec)));
    let (_, codec) = ranked.min_by_key(|(rank, _)| *rank)?;
    Some(VideoChoice { codec, mode: None })
}

/// Returns a number among the format parameters; `default` where it is not given, `None` where it
/// is none.
fn number(codec: &CodecParameters, key: &str, default: u8) -> Option<u8> {
    match codec.parameter(key) {
        Some(value) => value.parse().ok(),
        None => Some(default),
    }
}

/// RFC 7798 section 7.1. A tier is a limit like a level. Players that are written by hand leave the
/// profile out and take any.
fn h265_rank(offered: &CodecParameters, stream: Option<(u8, u8)>) -> Option<u8> {
    // Several RTP streams for one video (MRST, MRMT) are not supported.
    if offered
        .parameter("tx-mode")
        .is_some_and(|mode| mode != "SRST")
    {
        return None;
    }
    let is_stated = offered.parameter("profile-id").is_some();
    let profile = number(offered, "profile-id", H265_MAIN)?;
    let tier = number(offered, "tier-flag", 0)?;
    match stream {
        None | Some((0, _)) => Some(profile.abs_diff(H265_MAIN)),
        Some(stream) if stream == (profile, tier) => Some(0),
        Some((wanted, _)) if wanted == profile => Some(1),
        Some((H265_MAIN, _)) if profile == H265_MAIN_10 => Some(2),
        Some(_) if !is_stated => Some(3),
        Some(_) => None,
    }
}

/// `profile` is the highest that the player decodes, and decoders of one decode those below (RTP
/// Payload Format For AV1, section 7.2.1; AV1 specification, section 6.4.1).
fn av1_rank(offered: &CodecParameters, stream: Option<(u8, u8)>) -> Option<u8> {
    let wanted = stream.map_or(0, |(profile, _)| profile);
    number(offered, "profile", 0)?.checked_sub(wanted)
}

/// Profiles of VP9 do not contain each other: each has a payload type of its own (RFC 9628 section
/// 6).
fn vp9_rank(offered: &CodecParameters, stream: Option<(u8, u8)>) -> Option<u8> {
    let wanted = stream.map_or(0, |(profile, _)| profile);
    (number(offered, "profile-id", 0)? == wanted).then_some(0)
}

#[cfg(test)]
mod tests {
    use VideoCodec::{Av1, H264, H265, Vp9};

    use super::*;
    use crate::sdp::Offer;

    /// As Chromium offers them, and H265 as Safari does.
    const OFFERED: [(u8, &str, &str); 10] = [
        (96, "VP8/90000", ""),
        (98, "VP9/90000", "profile-id=0"),
        (100, "VP9/90000", "profile-id=2"),
        (102, "H264/90000", "packetization-mode=1"),
        (45, "AV1/90000", "level-idx=5;profile=0;tier=0"),
        (46, "AV1/90000", "level-idx=5;profile=1;tier=0"),
        (
            50,
            "H265/90000",
            "level-id=93;profile-id=2;tier-flag=0;tx-mode=SRST",
        ),
        (
            49,
            "h265/90000",
            "level-id=93;profile-id=1;tier-flag=0;tx-mode=SRST",
        ),
        (51, "H265/90000", "profile-id=1;tx-mode=MRST"),
        (52, "H265/8000", "profile-id=4"),
    ];

    fn chosen(
        offered: &[(u8, &str, &str)],
        codec: VideoCodec,
        profile: Option<[u8; 3]>,
    ) -> Option<u8> {
        let formats: String = offered.iter().map(|(pt, ..)| format!(" {pt}")).collect();
        let mut offer = format!("v=0\nm=video 9 UDP/TLS/RTP/SAVPF{formats}\n");
        for (payload_type, encoding, fmtp) in offered {
            offer += &format!("a=rtpmap:{payload_type} {encoding}\n");
            if !fmtp.is_empty() {
                offer += &format!("a=fmtp:{payload_type} {fmtp}\n");
            }
        }
        let offer = Offer::parse(&offer).unwrap();
        choose(&offer.media()[0], codec, profile).map(|choice| choice.codec.payload_type)
    }

    #[test]
    fn payload_type_matches_codec_and_profile_of_the_stream() {
        for (codec, profile, payload_type) in [
            (H264, None, Some(102)),
            (Av1, None, Some(45)),
            (Av1, Some([0, 0, 8]), Some(45)),
            (Av1, Some([1, 0, 8]), Some(46)),
            (Av1, Some([2, 0, 8]), None),
            (Vp9, None, Some(98)),
            (Vp9, Some([0, 0, 0]), Some(98)),
            (Vp9, Some([2, 0, 0]), Some(100)),
            (Vp9, Some([1, 0, 0]), None),
            (H265, None, Some(49)),
            (H265, Some([1, 0, 120]), Some(49)),
            (H265, Some([1, 1, 120]), Some(49)),
            (H265, Some([2, 0, 93]), Some(50)),
            (H265, Some([4, 0, 93]), None),
        ] {
            assert_eq!(
                chosen(&OFFERED, codec, profile),
                payload_type,
                "{codec} {profile:?}"
            );
        }
    }

    #[test]
    fn decoder_of_a_higher_profile_accepts_a_lower_one() {
        assert_eq!(chosen(&OFFERED[5..6], Av1, Some([0, 0, 8])), Some(46));
        assert_eq!(chosen(&OFFERED[6..7], H265, Some([1, 0, 93])), Some(50));
        assert_eq!(chosen(&OFFERED[7..8], H265, Some([2, 0, 93])), None);
        let bare = [(96, "H265/90000", ""), (97, "AV1/90000", "")];
        assert_eq!(chosen(&bare, H265, Some([2, 0, 93])), Some(96));
        assert_eq!(chosen(&bare, Av1, None), Some(97));
        assert_eq!(chosen(&bare, Av1, Some([1, 0, 0])), None);
        assert_eq!(chosen(&bare, Vp9, None), None);
    }
}
