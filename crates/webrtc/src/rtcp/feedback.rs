//! Feedback on one source (RFC 4585, RFC 5104, draft-alvestrand-rmcat-remb-03).

use super::word::word;

/// The `PID`/`BLP` pairs of a NACK (RFC 4585 section 6.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NackPairs<'a>(&'a [u8]);

impl<'a> NackPairs<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Returns the missing sequence numbers, in the order of the packet.
    pub fn sequences(&self) -> impl Iterator<Item = u16> + use<'a> {
        self.0.chunks_exact(4).flat_map(|pair| {
            let pid = u16::from_be_bytes([pair[0], pair[1]]);
            let blp = u16::from_be_bytes([pair[2], pair[3]]);
            let masked = (0..16).filter(move |bit| blp & 1 << bit != 0);
            std::iter::once(pid).chain(masked.map(move |bit| pid.wrapping_add(bit + 1)))
        })
    }
}

/// The entries of a full intra request (RFC 5104 section 4.3.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirRequests<'a>(&'a [u8]);

impl<'a> FirRequests<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// For each source asked for: its SSRC, and the number of the command, which stays the same
    /// when the command is repeated.
    pub fn iter(&self) -> impl Iterator<Item = (u32, u8)> + use<'a> {
        self.0
            .chunks_exact(8)
            .filter_map(|entry| Some((word(entry, 0)?, *entry.get(4)?)))
    }
}

/// A receiver's estimate of the maximum bitrate (draft-alvestrand-rmcat-remb-03 section 2.2).
///
/// ```text
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |  Unique identifier 'R' 'E' 'M' 'B'                            |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |  Num SSRC     | BR Exp    |  BR Mantissa (18 bits)            |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |   SSRCs ...
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remb {
    /// Bits per second, all sources of the session together.
    pub bitrate: u64,
}

impl Remb {
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        if bytes.get(..4)? != b"REMB" {
            return None;
        }
        let value = word(bytes, 4)?;
        let (exponent, mantissa) = (value >> 18 & 0x3f, u64::from(value & 0x3_ffff));
        // A number that overflows is above the bandwidth of any path.
        let bitrate = u128::from(mantissa) << exponent;
        Some(Self {
            bitrate: u64::try_from(bitrate).unwrap_or(u64::MAX),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bitrate_has_a_mantissa_and_an_exponent() {
        // 2.5 Mbit/s as Chromium writes it: 156250 << 4.
        let bytes = [b'R', b'E', b'M', b'B', 1, 0x12, 0x62, 0x5a, 0, 0, 0, 5];
        assert_eq!(Remb::parse(&bytes), Some(Remb { bitrate: 2_500_000 }));
        let huge = [b'R', b'E', b'M', b'B', 1, 0xff, 0xff, 0xff];
        assert_eq!(Remb::parse(&huge), Some(Remb { bitrate: u64::MAX }));
        assert_eq!(Remb::parse(b"RENB\x01\x12\x62\x5a"), None);
        assert_eq!(Remb::parse(b"REMB\x01\x12"), None);
    }

    #[test]
    fn intra_requests_name_their_sources() {
        let bytes = [0, 0, 0, 5, 9, 0, 0, 0, 0, 0, 0, 6, 1, 0, 0, 0, 0, 0];
        let requests: Vec<_> = FirRequests::new(&bytes).iter().collect();
        assert_eq!(requests, [(5, 9), (6, 1)]);
    }
}
