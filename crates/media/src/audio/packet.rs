//! Opus packets (RFC 6716 section 3).

use bytes::{BufMut, Bytes, BytesMut};

/// The bits of the TOC byte with the frame count code (section 3.1); all others describe the
/// frames.
const COUNT: u8 = 0x03;

/// Code for two frames with a length before the first (section 3.2.4).
const TWO_FRAMES: u8 = 2;

/// Maximum length of a frame (section 3.4).
const MAX_FRAME: usize = 1275;

/// Longer lengths take two bytes (section 3.2.1).
const MAX_SHORT_LENGTH: usize = 251;

/// Joins two packets into one. Returns `None` if one of them does not have exactly one frame, or
/// their encoding differs.
pub fn join(first: &[u8], second: &[u8]) -> Option<Bytes> {
    let (&toc, first) = first.split_first()?;
    let (&second_toc, second) = second.split_first()?;
    let is_alike = toc == second_toc && toc & COUNT == 0;
    if !is_alike || first.len().max(second.len()) > MAX_FRAME {
        return None;
    }
    let mut packet = BytesMut::with_capacity(3 + first.len() + second.len());
    packet.put_u8(toc | TWO_FRAMES);
    if first.len() <= MAX_SHORT_LENGTH {
        packet.put_u8(first.len() as u8);
    } else {
        // The second byte counts in units of four, the first has the remainder.
        let low = 252 + (first.len() - 252) % 4;
        packet.put_u8(low as u8);
        packet.put_u8(((first.len() - low) / 4) as u8);
    }
    packet.put_slice(first);
    packet.put_slice(second);
    Some(packet.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Splits a packet with code 2 into its two frames (section 3.2.4).
    fn frames(packet: &[u8]) -> (&[u8], &[u8]) {
        assert_eq!(packet[0] & COUNT, TWO_FRAMES);
        let (len, start) = match packet[1] {
            short @ 0..=251 => (usize::from(short), 2),
            low => (usize::from(low) + 4 * usize::from(packet[2]), 3),
        };
        packet[start..].split_at(len)
    }

    #[test]
    fn two_packets_become_one_with_both_frames() {
        for (first, second) in [
            (0, 0),
            (1, 300),
            (251, 7),
            (252, 7),
            (255, 0),
            (256, 1),
            (1275, 3),
        ] {
            let packet = |len: usize, fill: u8| {
                let mut packet = vec![fill; 1 + len];
                packet[0] = 0xFC;
                packet
            };
            let joined = join(&packet(first, 1), &packet(second, 2)).unwrap();
            assert_eq!(joined[0], 0xFE);
            let (one, two) = frames(&joined);
            assert_eq!((one, two), (&vec![1; first][..], &vec![2; second][..]));
        }
    }

    #[test]
    fn packets_with_different_encoding_are_not_joined() {
        assert_eq!(join(&[0xFC, 1], &[0xF8, 1]), None, "mono and stereo");
        assert_eq!(
            join(&[0xFE, 1, 1, 1], &[0xFE, 1, 1, 1]),
            None,
            "two frames each"
        );
        assert_eq!(join(&[], &[0xFC]), None);
        assert_eq!(
            join(&[0xFC; 1277], &[0xFC, 1]),
            None,
            "longer than any Opus frame"
        );
    }
}
