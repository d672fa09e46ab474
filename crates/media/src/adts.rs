//! ADTS, the framing of AAC in files and transport streams (ISO/IEC 14496-3 section 1.A.3.2). Some
//! encoders send it before the access units over RTMP, where it does not belong.
//!
//! ```text
//! syncword 12 | ID 1 | layer 2 | protection_absent 1 | profile 2 | sampling_frequency_index 4 | private 1 |
//! channel_configuration 3 | original 1, home 1, copyright 2 | aac_frame_length 13 | fullness 11 |
//! number_of_raw_data_blocks 2 | CRC 16, unless protection_absent
//! ```

use bytes::{Buf, Bytes};

/// Bytes of a header without CRC, and of the CRC.
const HEADER_LEN: usize = 7;
const CRC_LEN: usize = 2;

/// First `sampling_frequency_index` without a rate.
const RESERVED_RATES: u8 = 13;

/// The header of one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AdtsHeader {
    object_type: u8,
    rate_index: u8,
    channels: u8,
    /// Bytes of the header.
    header_len: usize,
    /// Bytes of the frame, header included.
    frame_len: usize,
}

impl AdtsHeader {
    /// Returns the bytes of the frame, header included.
    pub(crate) fn frame_len(&self) -> usize {
        self.frame_len
    }

    /// Parses a header. Returns `None` if there is none: an access unit never starts with the
    /// syncword, since that would be its end.
    pub(crate) fn parse(data: &[u8]) -> Option<Self> {
        let &[sync, flags, b2, b3, b4, b5, b6, ..] = data else {
            return None;
        };
        // Layer is always 0.
        if sync != 0xff || flags & 0xf6 != 0xf0 {
            return None;
        }
        let header = Self {
            object_type: (b2 >> 6) + 1,
            rate_index: b2 >> 2 & 0x0f,
            channels: (b2 & 1) << 2 | b3 >> 6,
            header_len: HEADER_LEN + if flags & 1 == 0 { CRC_LEN } else { 0 },
            frame_len: usize::from(b3 & 3) << 11 | usize::from(b4) << 3 | usize::from(b5 >> 5),
        };
        let raw_data_blocks = b6 & 3;
        let is_valid = header.rate_index < RESERVED_RATES
            && header.frame_len > header.header_len
            && raw_data_blocks == 0;
        is_valid.then_some(header)
    }

    /// Returns the equivalent `AudioSpecificConfig`, or `None` if the access units themselves
    /// describe the channels.
    pub(crate) fn config(&self) -> Option<[u8; 2]> {
        let Self {
            object_type,
            rate_index,
            channels,
            ..
        } = *self;
        let config = [
            object_type << 3 | rate_index >> 1,
            rate_index << 7 | channels << 3,
        ];
        (channels > 0).then_some(config)
    }
}

/// Parsed frames of ADTS.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct AdtsFrames {
    /// The header of the first.
    pub(crate) header: AdtsHeader,
    /// The access units.
    pub(crate) units: Vec<Bytes>,
    /// True if the lengths in the headers match: no bytes remain after the last frame.
    pub(crate) fits: bool,
}

impl AdtsFrames {
    /// Parses frames. Returns `None` if there is no ADTS. It stops at a truncated frame and after
    /// `limit` frames.
    pub(crate) fn parse(mut data: Bytes, limit: usize) -> Option<Self> {
        let first = AdtsHeader::parse(&data)?;
        let mut units = Vec::new();
        while units.len() < limit
            && let Some(header) = AdtsHeader::parse(&data)
            && header.frame_len <= data.len()
        {
            let mut unit = data.split_to(header.frame_len);
            unit.advance(header.header_len);
            units.push(unit);
        }
        Some(Self {
            header: first,
            fits: data.is_empty() || units.len() == limit,
            units,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aac::AudioSpecificConfig;
    use proptest::prelude::*;

    /// AAC-LC, 48 kHz, stereo, with or without CRC.
    fn frame(payload: &[u8], has_crc: bool) -> Vec<u8> {
        let len = payload.len() + HEADER_LEN + if has_crc { CRC_LEN } else { 0 };
        let mut frame = vec![
            0xff,
            if has_crc { 0xf0 } else { 0xf1 },
            0x4c,
            0x80 | (len >> 11) as u8,
            (len >> 3) as u8,
            ((len & 7) << 5) as u8 | 0x1f,
            0xfc,
        ];
        if has_crc {
            frame.extend([0xaa, 0xbb]);
        }
        frame.extend(payload);
        frame
    }

    #[test]
    fn configuration_matches_the_header() {
        let header = AdtsHeader::parse(&frame(&[1, 2, 3], false)).unwrap();
        let config = header.config().unwrap();
        assert_eq!(config, [0x11, 0x90]);
        let config = AudioSpecificConfig::parse(&config).unwrap();
        assert_eq!((config.sample_rate(), config.channels()), (48_000, 2));
    }

    #[test]
    fn headers_are_removed_and_a_truncated_frame_is_dropped() {
        let data = [
            frame(&[1, 2, 3], false),
            frame(&[4, 5], true),
            frame(&[6; 100], false)[..50].to_vec(),
        ]
        .concat();
        let parse = |data: &[u8], limit| {
            let frames = AdtsFrames::parse(Bytes::copy_from_slice(data), limit).unwrap();
            (frames.units, frames.fits)
        };
        let (units, fits) = parse(&data, 16);
        assert_eq!((units.len(), fits), (2, false));
        assert_eq!(units, [&[1, 2, 3][..], &[4, 5]]);
        let (units, fits) = parse(&data[..data.len() - 50], 16);
        assert_eq!((units.len(), fits), (2, true));
        assert_eq!(parse(&data, 1).0.len(), 1);
    }

    #[test]
    fn access_units_are_not_mistaken_for_adts() {
        for data in [
            &[0x21, 0x10, 5, 0, 0xa0, 0x19, 0x33][..],
            &[0xff, 0xf1],
            &[],
        ] {
            assert_eq!(AdtsFrames::parse(Bytes::copy_from_slice(data), 16), None);
        }
        // A length that does not even hold the header, and a reserved rate.
        let mut short = frame(&[1], false);
        (short[3], short[4], short[5]) = (0x80, 0, 0xe0);
        assert_eq!(AdtsHeader::parse(&short), None);
        let mut reserved = frame(&[1], false);
        reserved[2] = 0x7c;
        assert_eq!(AdtsHeader::parse(&reserved), None);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(data in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Some(frames) = AdtsFrames::parse(data.into(), 4) {
                prop_assert!(frames.units.len() <= 4);
                prop_assert!(frames.units.iter().all(|unit| !unit.is_empty()));
                frames.header.config();
            }
        }
    }
}
