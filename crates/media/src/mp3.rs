//! Frames of MP3: MPEG audio layer III (ISO/IEC 11172-3 section 2.4, ISO/IEC 13818-3 section 2.4),
//! and the unofficial MPEG 2.5 with half the rates of MPEG-2.

use bytes::{Buf, Bytes};

/// Bit rates of MPEG-1 by their index, in kbit/s. The first is that of a free format.
const MPEG1_KBPS: [u32; 15] = [
    0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320,
];

/// Bit rates of MPEG-2 and 2.5 by their index, in kbit/s.
const MPEG2_KBPS: [u32; 15] = [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160];

/// The header of a frame, which describes it completely.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mp3Header {
    /// Samples per second and channel.
    pub(crate) sample_rate: u32,
    /// Number of channels, 1 or 2.
    pub(crate) channels: u8,
    /// Samples per channel.
    pub(crate) samples: usize,
    /// Length of the frame with its header, in bytes: at most 1441.
    pub(crate) len: usize,
}

impl Mp3Header {
    /// Parses the header at the begin of a frame; `None` if it is not one of layer III, or the
    /// frame has a free format, whose length the header does not say.
    pub(crate) fn parse(frame: &[u8]) -> Option<Self> {
        let word = u32::from_be_bytes(*frame.first_chunk()?);
        let field = |shift: u32, bits: u32| (word >> shift & ((1 << bits) - 1)) as usize;
        if field(21, 11) != 0x7FF || field(17, 2) != 1 {
            return None;
        }
        let (divisor, samples, rates) = match field(19, 2) {
            0b11 => (1, 1152, MPEG1_KBPS),
            0b10 => (2, 576, MPEG2_KBPS),
            0b00 => (4, 576, MPEG2_KBPS),
            _ => return None,
        };
        let sample_rate = [44_100, 48_000, 32_000].get(field(10, 2))? / divisor;
        let kbps = *rates.get(field(12, 4)).filter(|kbps| **kbps > 0)?;
        let len = samples as u32 / 8 * kbps * 1000 / sample_rate;
        Some(Self {
            sample_rate,
            channels: if field(6, 2) == 0b11 { 1 } else { 2 },
            samples,
            len: len as usize + field(9, 1),
        })
    }
}

/// Splits data into whole frames that follow each other, at most `limit`. A tag of ID3 before the
/// first one, and what follows the last one, are left out.
pub(crate) fn frames(mut data: Bytes, limit: usize) -> Vec<(Mp3Header, Bytes)> {
    let mut frames = Vec::new();
    data.advance(id3_len(&data).min(data.len()));
    while frames.len() < limit
        && let Some(header) = Mp3Header::parse(&data)
        && header.len <= data.len()
    {
        frames.push((header, data.split_to(header.len)));
    }
    frames
}

/// Returns the length of the ID3 tag at the begin of data, which encoders that read files may send
/// along; 0 if there is none (ID3 tag version 2.4.0, main structure, sections 3.1 and 3.4).
fn id3_len(data: &[u8]) -> usize {
    let Some([b'I', b'D', b'3', _, _, flags, size @ ..]) = data.first_chunk::<10>() else {
        return 0;
    };
    let size = size
        .iter()
        .fold(0, |size, byte| size << 7 | usize::from(byte & 0x7F));
    let footer = if flags & 0x10 == 0 { 0 } else { 10 };
    10 + size + footer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_describes_its_frame() {
        for (header, sample_rate, channels, samples, len) in [
            // MPEG-1 at 128 kbit/s, without and with padding, joint stereo.
            ([0xFF, 0xFB, 0x90, 0x64], 44_100, 2, 1152, 417),
            ([0xFF, 0xFB, 0x92, 0x64], 44_100, 2, 1152, 418),
            // The longest one.
            ([0xFF, 0xFB, 0xEA, 0x00], 32_000, 2, 1152, 1441),
            // MPEG-2 and MPEG-2.5, mono.
            ([0xFF, 0xF3, 0x40, 0xC0], 22_050, 1, 576, 104),
            ([0xFF, 0xE3, 0x18, 0xC0], 8_000, 1, 576, 72),
        ] {
            let expected = Mp3Header {
                sample_rate,
                channels,
                samples,
                len,
            };
            assert_eq!(Mp3Header::parse(&header), Some(expected), "{header:x?}");
        }
    }

    #[test]
    fn other_layers_reserved_values_and_free_format_are_refused() {
        for header in [
            &[][..],
            &[0xFF, 0xFB, 0x90],
            &[0xFE, 0xFB, 0x90, 0x64],
            // Layer II, no layer, no version.
            &[0xFF, 0xFD, 0x90, 0x64],
            &[0xFF, 0xF9, 0x90, 0x64],
            &[0xFF, 0xEB, 0x90, 0x64],
            // A free format, no bit rate, no sample rate.
            &[0xFF, 0xFB, 0x00, 0x64],
            &[0xFF, 0xFB, 0xF0, 0x64],
            &[0xFF, 0xFB, 0x9C, 0x64],
        ] {
            assert_eq!(Mp3Header::parse(header), None, "{header:x?}");
        }
    }

    #[test]
    fn data_is_split_into_whole_frames() {
        let mut frame = vec![0xFF, 0xFB, 0x90, 0x64];
        frame.resize(417, 7);
        let mut data = frame.repeat(3);
        data.extend([0xFF, 0xFB, 0x90, 0x64, 7]);
        let split = |data: &[u8], limit| frames(Bytes::copy_from_slice(data), limit);
        assert_eq!(split(&data, 9).len(), 3);
        assert_eq!(split(&data, 2).len(), 2);
        assert!(split(&data, 9).iter().all(|(_, part)| *part == frame));
        assert!(split(&frame[..416], 9).is_empty());
        assert!(split(b"\0\xFF\xFB\x90\x64", 9).is_empty());
    }

    #[test]
    fn tag_of_id3_before_the_frames_is_left_out() {
        let mut frame = vec![0xFF, 0xFB, 0x90, 0x64];
        frame.resize(417, 7);
        let split = |head: &[u8], tag: usize| {
            let data = [head, &vec![7; tag], &frame.repeat(2)].concat();
            frames(Bytes::from(data), 9).len()
        };
        // 7 bits of each byte of the size count.
        assert_eq!(split(b"ID3\x04\0\0\0\0\x01\x03", 131), 2);
        // With a footer.
        assert_eq!(split(b"ID3\x04\0\x10\0\0\0\x03", 13), 2);
        // Longer than the data.
        assert_eq!(split(b"ID3\x04\0\0\x7F\x7F\x7F\x7F", 3), 0);
        assert_eq!(split(b"ID3\x04\0\0\0", 0), 0);
    }
}
