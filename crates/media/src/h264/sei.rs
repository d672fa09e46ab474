//! Supplemental enhancement information (ITU-T H.264 section 7.3.2.3 and annex D).

use super::nal::rbsp;

/// `payloadType` of the messages about decoder buffers, and of filler: buffering period, picture
/// timing, pan-scan rectangle, filler.
const TIMING: std::ops::RangeInclusive<u32> = 0..=3;

/// `payloadType` of a recovery point.
const RECOVERY_POINT: u32 = 6;

/// Maximum messages to check. A unit with more is kept as it is.
const MAX_MESSAGES: usize = 32;

/// Longest unit that is looked at, in bytes. A longer one is kept as it is.
const MAX_LEN: usize = 64 << 10;

/// Returns whether a NAL unit of SEI only describes decoder buffers, which an RTP receiver does not
/// need. Encoders with a constant bitrate (the default of OBS) put one into every access unit, and
/// each would take a separate packet.
pub fn is_only_timing(unit: &[u8]) -> bool {
    if unit.len() > MAX_LEN {
        return false;
    }
    let payload = rbsp(unit);
    let mut messages = Messages::new(&payload);
    messages.by_ref().all(|kind| TIMING.contains(&kind)) && messages.is_at_end()
}

/// Returns whether a NAL unit of SEI has a recovery point: a decoder can start at its access unit
/// and shows correct frames some time later, as with intra refresh (section D.2.8).
pub fn has_recovery_point(unit: &[u8]) -> bool {
    unit.len() <= MAX_LEN && Messages::new(&rbsp(unit)).any(|kind| kind == RECOVERY_POINT)
}

/// Returns the `payloadType` of each message, as far as they can be parsed.
struct Messages<'a> {
    rest: &'a [u8],
    left: usize,
}

impl<'a> Messages<'a> {
    fn new(payload: &'a [u8]) -> Self {
        Self {
            rest: payload,
            left: MAX_MESSAGES,
        }
    }

    /// Returns whether only the trailing bits are left: a one, and zeros.
    fn is_at_end(&self) -> bool {
        matches!(self.rest, [0x80, zeros @ ..] if zeros.iter().all(|byte| *byte == 0))
    }
}

impl Iterator for Messages<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        if self.is_at_end() {
            return None;
        }
        self.left = self.left.checked_sub(1)?;
        let mut rest = self.rest;
        let (kind, len) = (number(&mut rest)?, number(&mut rest)?);
        self.rest = rest.get(len as usize..)?;
        Some(kind)
    }
}

/// Parses a number in bytes of 255 each and one that is less (section 7.3.2.3.1).
fn number(bytes: &mut &[u8]) -> Option<u32> {
    let mut number = 0u32;
    loop {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number = number.checked_add(byte.into())?;
        if byte != 0xFF {
            return Some(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_util::hex;

    #[test]
    fn picture_timing_is_distinguished_from_useful_messages() {
        for (unit, expected) in [
            // Buffering period and picture timing, as x264 writes them.
            ("060007821f40000003000f80", true),
            ("0601011280", true),
            ("06000381234580", true),
            ("0600038123450101128000", true),
            // A caption (user data of ITU-T T.35), alone and behind timing.
            ("060403b5003180", false),
            ("060101120403b5003180", false),
            // Decoders use a recovery point.
            ("0606018480", false),
            // Cut short, empty, not a message.
            ("060105128000", false),
            ("06", false),
            ("0601", false),
        ] {
            let unit = hex(unit);
            assert_eq!(is_only_timing(&unit), expected, "{unit:02x?}");
        }
    }

    #[test]
    fn very_long_unit_is_kept() {
        let unit = |len| [&[6, 1, 1, 0x12, 0x80][..], &vec![0; len - 5]].concat();
        assert!(is_only_timing(&unit(MAX_LEN)));
        assert!(!is_only_timing(&unit(MAX_LEN + 1)));
    }

    #[test]
    fn recovery_point_is_found_after_other_messages() {
        for (unit, expected) in [
            ("0606018480", true),
            ("0601011206018480", true),
            ("060101120403b5003180", false),
            ("0606", false),
            ("06", false),
        ] {
            let unit = hex(unit);
            assert_eq!(has_recovery_point(&unit), expected, "{unit:02x?}");
        }
    }

    #[test]
    fn lengths_of_more_than_255_bytes_are_parsed() {
        let mut unit = vec![6, 3, 0xFF, 45];
        unit.extend([0xFF; 300]);
        unit.push(0x80);
        assert!(is_only_timing(&unit));
        unit.truncate(200);
        assert!(!is_only_timing(&unit));
    }
}
