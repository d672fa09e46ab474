//! VP9 syntax, as far as a gateway that never decodes video needs it (VP9 Bitstream & Decoding
//! Process Specification, version 0.6).

use crate::bits::BitReader;

/// `frame_marker`: the first two bits of each frame.
const FRAME_MARKER: u32 = 2;

/// `frame_sync_code` of keyframes.
const SYNC_CODE: u32 = 0x49_8342;

/// The `color_space` without a `color_range` field.
const CS_RGB: u32 = 7;

/// The first fields of a frame (`uncompressed_header`, section 6.2), or of the first frame in a
/// superframe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// `profile`, 0 to 3.
    pub profile: u8,
    /// The size, if it is a keyframe, at which decoding can start.
    pub keyframe: Option<FrameSize>,
}

/// The size of a frame, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameSize {
    /// Its width.
    pub width: u32,
    /// Its height.
    pub height: u32,
}

impl FrameHeader {
    /// Parses the start of a frame. Returns `None` if it is not a frame of VP9.
    pub fn parse(frame: &[u8]) -> Option<Self> {
        let mut reader = BitReader::new(frame);
        if reader.bits(2)? != FRAME_MARKER {
            return None;
        }
        let profile = reader.bits(1)? | reader.bits(1)? << 1;
        if profile == 3 {
            reader.skip(1)?;
        }
        let show_existing_frame = reader.flag()?;
        let is_key = !show_existing_frame && !reader.flag()?;
        let mut header = Self {
            profile: profile as u8,
            keyframe: None,
        };
        if is_key {
            // show_frame, error_resilient_mode.
            reader.skip(2)?;
            if reader.bits(24)? != SYNC_CODE {
                return None;
            }
            skip_color_config(&mut reader, profile)?;
            header.keyframe = Some(FrameSize {
                width: reader.bits(16)? + 1,
                height: reader.bits(16)? + 1,
            });
        }
        Some(header)
    }
}

/// Section 6.2.2.
fn skip_color_config(reader: &mut BitReader<'_>, profile: u32) -> Option<()> {
    if profile >= 2 {
        reader.skip(1)?;
    }
    let has_subsampling = profile & 1 == 1;
    if reader.bits(3)? == CS_RGB {
        reader.skip(if has_subsampling { 1 } else { 0 })
    } else {
        reader.skip(if has_subsampling { 4 } else { 1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_util::hex;
    use proptest::prelude::*;

    #[test]
    fn profile_and_size_of_a_keyframe_are_parsed() {
        for (bytes, profile, width, height) in [
            // As libvpx writes them: 8 bits, and 10 bits in profile 2.
            ("824983420013f00ef0", 0, 320, 240),
            ("924983420027f80b30", 2, 1280, 359),
        ] {
            let header = FrameHeader::parse(&hex(bytes)).unwrap();
            let size = FrameSize { width, height };
            assert_eq!((header.profile, header.keyframe), (profile, Some(size)));
        }
    }

    #[test]
    fn other_frames_are_distinguished_from_keyframes_and_noise() {
        // An inter frame, and one that shows another again.
        for bytes in [[0x86, 0], [0x88, 0]] {
            let header = FrameHeader::parse(&bytes).unwrap();
            assert_eq!(header.keyframe, None, "{bytes:x?}");
        }
        for bytes in ["", "82", "42", "82498343", "8249834200"] {
            assert_eq!(FrameHeader::parse(&hex(bytes)), None, "{bytes}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = FrameHeader::parse(&bytes);
        }
    }
}
