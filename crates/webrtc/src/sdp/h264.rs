//! The choice of an H.264 payload type (RFC 6184 section 8).

use super::{CodecParameters, MediaSection};

/// `profile-level-id` when the offer has none: Baseline, level 1 (RFC 6184 section 8.1).
const DEFAULT_PROFILE_LEVEL_ID: [u8; 3] = [0x42, 0x00, 0x0a];

/// H.264 profile, as the first two bytes of `profile-level-id` name it (RFC 6184 section 8.1,
/// table 5; ITU-T H.264 section A.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum H264Profile {
    /// Constrained Baseline.
    ConstrainedBaseline,
    /// Baseline.
    Baseline,
    /// Main.
    Main,
    /// High without interlacing and with the limits of section A.2.4.2.
    ConstrainedHigh,
    /// High.
    High,
    /// Any other.
    Other {
        /// `profile_idc`
        profile_idc: u8,
        /// The constraint flags.
        constraints: u8,
    },
}

impl H264Profile {
    /// Returns the profile of a `profile-level-id`; the level, its last byte, does not matter.
    pub fn of([profile_idc, constraints, _level]: [u8; 3]) -> Self {
        let matches = |mask: u8, value: u8| constraints & mask == value;
        match profile_idc {
            0x42 if matches(0b0100_1111, 0b0100_0000) => Self::ConstrainedBaseline,
            0x4d if matches(0b1000_1111, 0b1000_0000) => Self::ConstrainedBaseline,
            0x58 if matches(0b1100_1111, 0b1100_0000) => Self::ConstrainedBaseline,
            0x42 if matches(0b0100_1111, 0) => Self::Baseline,
            0x58 if matches(0b1100_1111, 0b1000_0000) => Self::Baseline,
            0x4d if matches(0b1010_1111, 0) => Self::Main,
            0x64 if constraints == 0 => Self::High,
            0x64 if constraints == 0b0000_1100 => Self::ConstrainedHigh,
            _ => Self::Other {
                profile_idc,
                constraints,
            },
        }
    }
}

/// Packetization mode (RFC 6184 section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PacketizationMode {
    /// `packetization-mode=1`: STAP-A and FU-A are supported.
    NonInterleaved,
    /// The parameter is missing. By the letter this is single NAL unit mode, but players that write
    /// their offer by hand or build it from partial caps omit it and support FU-A all the same.
    Unstated,
    /// `packetization-mode=0`: only single NAL units are guaranteed to be supported.
    SingleNal,
}

impl PacketizationMode {
    /// `None` for interleaved mode, which is not sent: it reorders, and so delays.
    fn of(codec: &CodecParameters) -> Option<Self> {
        match codec.parameter("packetization-mode") {
            Some("1") => Some(Self::NonInterleaved),
            Some("0") => Some(Self::SingleNal),
            None => Some(Self::Unstated),
            Some(_) => None,
        }
    }
}

/// The payload type that carries the stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct H264Choice<'a> {
    pub(super) codec: &'a CodecParameters,
    pub(super) mode: PacketizationMode,
}

/// Chooses a payload type for a stream with `profile_level_id`, `None` when that is not known yet.
///
/// Profile and level never rule out a payload type: browsers offer no High profile at all and
/// decode it on any payload type. They only order the choice: the packetization mode comes first,
/// then the profile of the stream, then those that every player has.
pub(super) fn choose(
    media: &MediaSection,
    profile_level_id: Option<[u8; 3]>,
) -> Option<H264Choice<'_>> {
    let h264 = media.codecs.iter().filter(|codec| is_h264(codec));
    let choices = h264
        .filter_map(|codec| PacketizationMode::of(codec).map(|mode| H264Choice { codec, mode }));
    // Of equals the first is chosen: the player's own order of preference.
    choices.min_by_key(|choice| (choice.mode, profile_rank(choice.codec, profile_level_id)))
}

/// Smaller is better.
fn profile_rank(codec: &CodecParameters, stream: Option<[u8; 3]>) -> u8 {
    let offered = profile_level_id(codec);
    let profile = H264Profile::of(offered);
    let [offered_idc, ..] = offered;
    match stream {
        Some(stream) if stream == offered => 0,
        Some(stream) if H264Profile::of(stream) == profile => 1,
        // Constrained High for a High stream: the decoder is the same, a limit of it is not needed.
        Some([0x64, ..]) if offered_idc == 0x64 => 2,
        _ if profile == H264Profile::ConstrainedBaseline => 3,
        _ if profile == H264Profile::Main => 4,
        _ => 5,
    }
}

fn is_h264(codec: &CodecParameters) -> bool {
    codec.name().eq_ignore_ascii_case("H264") && codec.clock_rate == 90_000
}

fn profile_level_id(codec: &CodecParameters) -> [u8; 3] {
    let parse = |text: &str| {
        let valid = text.len() == 6 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
        let number = u32::from_str_radix(text, 16).ok().filter(|_| valid)?;
        let [_, profile_idc, constraints, level] = number.to_be_bytes();
        Some([profile_idc, constraints, level])
    };
    let value = codec.parameter("profile-level-id").and_then(parse);
    value.unwrap_or(DEFAULT_PROFILE_LEVEL_ID)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sdp::Offer;

    /// Returns the payload type chosen from `(payload type, fmtp)` pairs.
    fn chosen(offered: &[(u8, &str)], stream: Option<[u8; 3]>) -> Option<(u8, PacketizationMode)> {
        let formats: String = offered.iter().map(|(pt, _)| format!(" {pt}")).collect();
        let mut offer = format!("v=0\nm=video 9 UDP/TLS/RTP/SAVPF{formats}\n");
        for (payload_type, fmtp) in offered {
            offer += &format!("a=rtpmap:{payload_type} H264/90000\n");
            if !fmtp.is_empty() {
                offer += &format!("a=fmtp:{payload_type} {fmtp}\n");
            }
        }
        let offer = Offer::parse(&offer).unwrap();
        choose(&offer.media()[0], stream).map(|choice| (choice.codec.payload_type, choice.mode))
    }

    const BROWSER: [(u8, &str); 8] = [
        (102, "packetization-mode=1;profile-level-id=42001f"),
        (104, "packetization-mode=0;profile-level-id=42001f"),
        (108, "packetization-mode=1;profile-level-id=42e01f"),
        (114, "packetization-mode=0;profile-level-id=42e01f"),
        (116, "packetization-mode=1;profile-level-id=4d001f"),
        (39, "packetization-mode=0;profile-level-id=4d001f"),
        (41, "packetization-mode=1;profile-level-id=f4001f"),
        (43, "packetization-mode=0;profile-level-id=f4001f"),
    ];

    #[test]
    fn offered_profile_of_the_stream_is_chosen_else_the_most_common_one() {
        let cases = [
            (None, 108),
            (Some([0x42, 0xc0, 0x1e]), 108),
            (Some([0x42, 0x00, 0x1f]), 102),
            (Some([0x4d, 0x40, 0x28]), 116),
            (Some([0x64, 0x00, 0x28]), 108),
            (Some([0xf4, 0x00, 0x28]), 41),
            (Some([0x58, 0x00, 0x1e]), 108),
        ];
        for (stream, payload_type) in cases {
            let expected = Some((payload_type, PacketizationMode::NonInterleaved));
            assert_eq!(chosen(&BROWSER, stream), expected, "{stream:x?}");
        }
    }

    #[test]
    fn main_follows_constrained_baseline_and_any_other_profile_is_better_than_none() {
        assert_eq!(chosen(&BROWSER[4..], None).unwrap().0, 116);
        assert_eq!(chosen(&BROWSER[6..], None).unwrap().0, 41);
    }

    #[test]
    fn high_stream_uses_constrained_high_if_offered() {
        let safari = [
            (96, "packetization-mode=1;profile-level-id=42e01f"),
            (98, "packetization-mode=1;profile-level-id=640c1f"),
        ];
        assert_eq!(chosen(&safari, Some([0x64, 0x00, 0x28])).unwrap().0, 98);
        assert_eq!(chosen(&safari, Some([0x42, 0xc0, 0x28])).unwrap().0, 96);
    }

    #[test]
    fn packetization_mode_decides_before_the_profile() {
        let stream = Some([0x42, 0xc0, 0x1f]);
        let offered = [
            (96, "profile-level-id=42e01f"),
            (97, "packetization-mode=0;profile-level-id=42e01f"),
            (98, "packetization-mode=1;profile-level-id=f4001f"),
            (99, "packetization-mode=2;profile-level-id=42e01f"),
        ];
        let mode_of = |offered: &[(u8, &str)]| chosen(offered, stream);
        assert_eq!(
            mode_of(&offered),
            Some((98, PacketizationMode::NonInterleaved))
        );
        assert_eq!(
            mode_of(&offered[..2]),
            Some((96, PacketizationMode::Unstated))
        );
        assert_eq!(
            mode_of(&offered[1..2]),
            Some((97, PacketizationMode::SingleNal))
        );
        assert_eq!(mode_of(&offered[3..]), None);
    }

    #[test]
    fn payload_type_without_parameters_is_usable() {
        assert_eq!(
            chosen(&[(96, "")], None),
            Some((96, PacketizationMode::Unstated))
        );
        let broken = [(96, "packetization-mode=1;profile-level-id=+2e01f")];
        assert_eq!(chosen(&broken, None).unwrap().0, 96);
    }

    #[test]
    fn profiles_are_identified_by_their_constraint_flags() {
        use H264Profile::*;
        let cases = [
            ([0x42, 0xe0, 0x1f], ConstrainedBaseline),
            ([0x42, 0xc0, 0x1f], ConstrainedBaseline),
            ([0x4d, 0x80, 0x1f], ConstrainedBaseline),
            ([0x58, 0xc0, 0x1f], ConstrainedBaseline),
            ([0x42, 0x00, 0x0a], Baseline),
            ([0x42, 0x80, 0x0a], Baseline),
            ([0x58, 0x80, 0x0a], Baseline),
            ([0x4d, 0x00, 0x1f], Main),
            ([0x4d, 0x40, 0x28], Main),
            ([0x64, 0x00, 0x28], High),
            ([0x64, 0x0c, 0x28], ConstrainedHigh),
        ];
        for (id, profile) in cases {
            assert_eq!(H264Profile::of(id), profile, "{id:x?}");
        }
    }
}
