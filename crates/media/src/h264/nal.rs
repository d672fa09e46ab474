//! NAL units: their types, the length-prefixed framing of FLV and MP4, emulation prevention.

use std::borrow::Cow;

use bytes::Bytes;
use memchr::memmem;

use super::error::H264Error;

/// `nal_unit_type`, the low five bits of a NAL unit's first byte (ITU-T H.264 table 7-1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct NalType(u8);

impl NalType {
    /// Coded slice of a picture that is not IDR.
    pub const SLICE: Self = Self(1);
    /// Coded slice of an IDR picture: decoding can start here.
    pub const IDR: Self = Self(5);
    /// Supplemental enhancement information.
    pub const SEI: Self = Self(6);
    /// Sequence parameter set.
    pub const SPS: Self = Self(7);
    /// Picture parameter set.
    pub const PPS: Self = Self(8);
    /// Access unit delimiter.
    pub const AUD: Self = Self(9);
    /// End of sequence.
    pub const END_OF_SEQUENCE: Self = Self(10);
    /// End of stream.
    pub const END_OF_STREAM: Self = Self(11);
    /// Filler data.
    pub const FILLER: Self = Self(12);

    /// Returns the type of a NAL unit; the unspecified type 0 for an empty one.
    pub fn of(unit: &[u8]) -> Self {
        Self(unit.first().map_or(0, |header| header & 0x1f))
    }

    /// Returns whether it carries a part of the primary coded picture: a slice or a data partition.
    pub fn is_slice(self) -> bool {
        matches!(self.0, 1..=5)
    }

    /// Returns whether it starts with a slice header: a slice, or the first partition of one.
    pub fn has_slice_header(self) -> bool {
        matches!(self.0, 1 | 2 | 5)
    }

    /// Returns whether it precedes the slices of an access unit: a parameter set, SEI, or a type
    /// that is reserved for that (ITU-T H.264 section 7.4.1.2.3). The prefix of a slice (14) does
    /// not count: each slice may have one.
    pub fn is_prefix(self) -> bool {
        matches!(self, Self::SEI | Self::SPS | Self::PPS) || matches!(self.0, 15..=18)
    }

    /// Returns whether an RTP receiver does not need it, since packets mark the access units and
    /// need no padding, or it cannot be sent: the payload format uses the unspecified types for its
    /// own packets (RFC 6184 section 5.2).
    pub fn is_framing(self) -> bool {
        matches!(
            self,
            Self::AUD | Self::END_OF_SEQUENCE | Self::END_OF_STREAM | Self::FILLER
        ) || matches!(self.0, 0 | 24..)
    }
}

/// Returns whether other frames may reference the NAL unit's content: `nal_ref_idc` is not 0 (ITU-T
/// H.264 section 7.4.1).
pub fn is_reference(unit: &[u8]) -> bool {
    unit.first().is_some_and(|header| header & 0x60 != 0)
}

/// Maximum units of an access unit that are looked at, among them those that are empty or dropped.
/// Each costs time, however few bytes it has: without a limit, one message of a publisher could
/// hold a thread for a quarter of a second.
pub const MAX_PARTS: usize = 4096;

/// Iterates over the NAL units of an access unit with length prefixes (ISO/IEC 14496-15 section
/// 5.3.3.1), as slices of it. Empty units are among them.
#[derive(Clone, Debug)]
pub struct LengthPrefixed {
    rest: Bytes,
    length_size: usize,
}

impl LengthPrefixed {
    /// Returns an iterator over `data`, with lengths of `length_size` bytes: 1 to 4.
    pub fn new(data: Bytes, length_size: u8) -> Self {
        Self {
            rest: data,
            length_size: usize::from(length_size),
        }
    }

    fn next_unit(&mut self) -> Result<Option<Bytes>, H264Error> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        if self.rest.len() < self.length_size {
            return Err(H264Error::Truncated {
                structure: "NAL unit length",
                len: self.rest.len(),
            });
        }
        let prefix = self.rest.split_to(self.length_size);
        let needed = prefix
            .iter()
            .fold(0, |len, byte| len << 8 | usize::from(*byte));
        let left = self.rest.len();
        if needed > left {
            return Err(H264Error::NalUnitTooLong { needed, left });
        }
        Ok(Some(self.rest.split_to(needed)))
    }
}

impl Iterator for LengthPrefixed {
    type Item = Result<Bytes, H264Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let unit = self.next_unit();
        if unit.is_err() {
            // Everything after a wrong length is invalid.
            self.rest.clear();
        }
        unit.transpose()
    }
}

/// Iterates over the NAL units of an access unit, with length prefixes or, as some encoders send
/// them against the FLV specification, with start codes. Others put several units after one length,
/// with start codes between them; they are split, since no unit contains a start code (ITU-T H.264
/// section 7.4.1). Empty units are skipped. After [`MAX_PARTS`] units, empty or not, an error is the
/// last item.
pub fn units(data: Bytes, length_size: u8) -> impl Iterator<Item = Result<Bytes, H264Error>> {
    let (prefixed, delimited) = if is_annex_b(&data, length_size) {
        (None, Some(AnnexB::new(&data).map(Ok)))
    } else {
        (Some(LengthPrefixed::new(data, length_size)), None)
    };
    let parts = prefixed
        .into_iter()
        .flatten()
        .flat_map(|unit| match unit {
            Ok(unit) => Parts::of(unit),
            Err(error) => Parts::Broken(Some(error)),
        })
        .chain(delimited.into_iter().flatten());
    let limited = parts.scan(Some(MAX_PARTS), |left, part| {
        *left = (*left)?.checked_sub(1);
        let limit = MAX_PARTS;
        Some(match left {
            Some(_) => part,
            None => Err(H264Error::TooManyNalUnits { limit }),
        })
    });
    limited.filter(|part| !part.as_ref().is_ok_and(Bytes::is_empty))
}

/// The content of one length-prefixed unit.
enum Parts {
    One(Option<Bytes>),
    Many(Option<Bytes>, AnnexB),
    Broken(Option<H264Error>),
}

impl Parts {
    fn of(mut unit: Bytes) -> Self {
        let Some((end, _)) = start_code(&unit) else {
            return Self::One(Some(unit));
        };
        let behind = AnnexB::new(&unit);
        unit.truncate(end);
        Self::Many(Some(without_trailing_zeros(unit)), behind)
    }
}

impl Iterator for Parts {
    type Item = Result<Bytes, H264Error>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::One(unit) => unit.take().map(Ok),
            Self::Many(first, behind) => first.take().or_else(|| behind.next()).map(Ok),
            Self::Broken(error) => error.take().map(Err),
        }
    }
}

/// Removes zeros before a start code, which belong to no unit; no unit ends with a zero.
fn without_trailing_zeros(mut unit: Bytes) -> Bytes {
    let last = unit.iter().rposition(|byte| *byte != 0);
    unit.truncate(last.map_or(0, |last| last + 1));
    unit
}

/// Returns whether data starts with a start code (ITU-T H.264 section B.1).
pub fn begins_with_start_code(data: &[u8]) -> bool {
    data.starts_with(&[0, 0, 0, 1]) || data.starts_with(&[0, 0, 1])
}

/// Returns whether these are NAL units with start codes. A start code is also a length of 1, so
/// valid length prefixes take precedence.
fn is_annex_b(data: &Bytes, length_size: u8) -> bool {
    begins_with_start_code(data)
        && LengthPrefixed::new(data.clone(), length_size)
            .take(MAX_PARTS)
            .any(|unit| unit.is_err())
}

/// Iterates over NAL units with start codes (ITU-T H.264 section B.1), as slices of the data. Bytes
/// before the first start code are skipped. Empty units are among them.
#[derive(Clone, Debug)]
pub struct AnnexB {
    /// The bytes after the next unit's start code; empty at the end.
    rest: Bytes,
}

impl AnnexB {
    /// Returns an iterator over `data`.
    pub fn new(data: &Bytes) -> Self {
        let begin = start_code(data).map_or(data.len(), |(_, behind)| behind);
        Self {
            rest: data.slice(begin..),
        }
    }
}

impl Iterator for AnnexB {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if self.rest.is_empty() {
            return None;
        }
        let (end, next) = start_code(&self.rest).unwrap_or((self.rest.len(), self.rest.len()));
        let mut unit = self.rest.split_to(next);
        unit.truncate(end);
        Some(without_trailing_zeros(unit))
    }
}

/// Finds the first start code. Returns its position and the position after it.
fn start_code(data: &[u8]) -> Option<(usize, usize)> {
    let at = memmem::find(data, &[0, 0, 1])?;
    Some((at, at + 3))
}

/// Returns the raw byte sequence payload of a NAL unit: without its header byte and without the
/// bytes that prevent the emulation of a start code (ITU-T H.264 section 7.3.1).
pub fn rbsp(unit: &[u8]) -> Cow<'_, [u8]> {
    let payload = unit.get(1..).unwrap_or_default();
    if !payload.windows(3).any(|window| window == [0, 0, 3]) {
        return Cow::Borrowed(payload);
    }
    let mut raw = Vec::with_capacity(payload.len());
    let mut zeros = 0;
    for &byte in payload {
        if zeros >= 2 && byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        raw.push(byte);
    }
    Cow::Owned(raw)
}

/// Returns a NAL unit with this header byte and raw byte sequence payload: the inverse of [`rbsp`].
pub fn unit_of(header: u8, rbsp: &[u8]) -> Vec<u8> {
    let mut unit = Vec::with_capacity(rbsp.len() + 8);
    unit.push(header);
    let mut zeros = 0;
    for &byte in rbsp {
        if zeros >= 2 && byte <= 3 {
            unit.push(3);
            zeros = 0;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        unit.push(byte);
    }
    unit
}

#[cfg(test)]
mod tests {
    use super::*;

    fn units(data: &'static [u8], length_size: u8) -> Result<Vec<Bytes>, H264Error> {
        super::units(Bytes::from_static(data), length_size).collect()
    }

    #[test]
    fn lengths_of_one_two_and_four_bytes_are_parsed_and_empty_units_skipped() {
        let expected = [Bytes::from_static(&[0x65, 1]), Bytes::from_static(&[0x41])];
        assert_eq!(units(&[2, 0x65, 1, 0, 1, 0x41], 1).unwrap(), expected);
        assert_eq!(
            units(&[0, 2, 0x65, 1, 0, 0, 0, 1, 0x41], 2).unwrap(),
            expected
        );
        let four = &[0, 0, 0, 2, 0x65, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0x41];
        assert_eq!(units(four, 4).unwrap(), expected);
        assert_eq!(units(&[], 4).unwrap(), Vec::<Bytes>::new());
    }

    #[test]
    fn units_are_slices_of_the_access_unit() {
        let data = Bytes::from(vec![2, 0x65, 1]);
        let unit = LengthPrefixed::new(data.clone(), 1)
            .next()
            .unwrap()
            .unwrap();
        assert_eq!(unit.as_ptr(), data[1..].as_ptr());
    }

    #[test]
    fn length_past_the_end_is_an_error_and_ends_the_iteration() {
        let wrong = H264Error::NalUnitTooLong { needed: 3, left: 2 };
        assert_eq!(units(&[1, 0x41, 3, 0x65, 1], 1), Err(wrong));
        assert!(units(&[0xff, 0xff, 0xff, 0xff, 1], 4).is_err());
        let mut reader = LengthPrefixed::new(Bytes::from_static(&[0, 0, 1]), 4);
        assert!(matches!(
            reader.next(),
            Some(Err(H264Error::Truncated { len: 3, .. }))
        ));
        assert!(reader.next().is_none());
    }

    #[test]
    fn emulation_prevention_bytes_are_removed() {
        assert_eq!(
            *rbsp(&[0x67, 0, 0, 3, 1, 0, 0, 3, 0, 0, 3]),
            [0, 0, 1, 0, 0, 0, 0]
        );
        assert_eq!(*rbsp(&[0x67, 0, 0, 0, 3, 1]), [0, 0, 0, 1]);
        assert!(matches!(
            rbsp(&[0x67, 0, 3, 0, 3]),
            Cow::Borrowed([0, 3, 0, 3])
        ));
        assert!(rbsp(&[]).is_empty());
    }

    #[test]
    fn units_with_start_codes_are_found() {
        let units = |data: &[u8]| {
            AnnexB::new(&Bytes::copy_from_slice(data))
                .map(|unit| unit.to_vec())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            units(&[
                0, 0, 0, 1, 0x67, 1, 0, 0, 1, 0x68, 2, 0, 0, 0, 1, 0x65, 0, 3, 0, 0
            ]),
            [vec![0x67, 1], vec![0x68, 2], vec![0x65, 0, 3]]
        );
        assert_eq!(units(&[9, 9, 0, 0, 1, 0x65]), [vec![0x65]]);
        assert_eq!(units(&[0, 0, 1, 0, 0, 1]), [[0; 0]], "an empty unit");
        assert!(units(&[0x65, 1, 2]).is_empty());
        assert!(units(&[]).is_empty());
    }

    #[test]
    fn units_after_one_length_are_split_at_start_codes() {
        let units = |data: &'static [u8]| -> Vec<Vec<u8>> {
            super::units(Bytes::from_static(data), 4)
                .map(|unit| unit.unwrap().to_vec())
                .collect()
        };
        let parts = [vec![0x06, 5, 0x80], vec![0x65, 1, 2], vec![0x41, 3]];
        assert_eq!(
            units(&[
                0, 0, 0, 10, 0x06, 5, 0x80, 0, 0, 0, 1, 0x65, 1, 2, 0, 0, 0, 2, 0x41, 3
            ]),
            parts
        );
        // A start code after the length too, and start codes of three bytes.
        assert_eq!(
            units(&[
                0, 0, 0, 18, 0, 0, 0, 1, 0x06, 5, 0x80, 0, 0, 1, 0x65, 1, 2, 0, 0, 1, 0x41, 3
            ]),
            parts
        );
    }

    #[test]
    fn start_codes_are_distinguished_from_lengths() {
        let is = |data: &[u8], size| is_annex_b(&Bytes::copy_from_slice(data), size);
        assert!(is(&[0, 0, 0, 1, 0x65, 0x88, 0x84, 0, 0x21], 4));
        assert!(is(&[0, 0, 1, 0x65, 0x88, 0x84, 0, 0x21], 4));
        // An end of sequence of one byte, and a slice.
        assert!(!is(&[0, 0, 0, 1, 0x0a, 0, 0, 0, 2, 0x65, 0x88], 4));
        assert!(!is(&[0, 0, 0, 2, 0x65, 0x88], 4));
        assert!(!is(&[], 4));
    }

    /// Each unit costs time, also one that is empty.
    #[test]
    fn number_of_units_is_limited_in_every_form() {
        let slice = [0x41, 0x9a];
        for (prefixed, part) in [
            (true, &[0, 0, 0, 0][..]),
            (true, &[0, 0, 0, 1, 0x0c]),
            (false, &[0, 0, 1]),
            (false, &[0, 0, 1, 0x0c]),
        ] {
            for (parts, ends_early) in [(MAX_PARTS - 2, false), (2 * MAX_PARTS, true)] {
                let many = part.repeat(parts);
                let first = if prefixed {
                    [&[0, 0, 0, 2][..], &slice].concat()
                } else {
                    // Behind one length, which is not that of a start code.
                    [
                        &((slice.len() + many.len()) as u32).to_be_bytes()[..],
                        &slice,
                    ]
                    .concat()
                };
                let data = Bytes::from([first, many].concat());
                let mut units = super::units(data, 4);
                assert_eq!(units.next(), Some(Ok(slice.to_vec().into())));
                let rest: Vec<_> = units.collect();
                assert!(rest.len() <= MAX_PARTS, "{part:?}: {}", rest.len());
                let limit = MAX_PARTS;
                let too_many = Err(H264Error::TooManyNalUnits { limit });
                assert_eq!(rest.contains(&too_many), ends_early, "{part:?}");
                assert_eq!(rest.last() == Some(&too_many), ends_early, "{part:?}");
            }
        }
    }
}
