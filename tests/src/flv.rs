//! FLV files cut tag by tag (Adobe FLV specification version 10.1, annex E), as from an encoder
//! whose track begins late or ends early.

use std::ops::RangeInclusive;

/// Bytes of the file header and of the length after it.
const HEADER_LEN: usize = 9 + 4;

/// Bytes before a tag's body, and of the length after it.
const TAG_HEADER_LEN: usize = 11;
const TAG_TRAILER_LEN: usize = 4;

const AUDIO: u8 = 8;
const VIDEO: u8 = 9;

/// Returns the file with the tags of each track that lie within these times in milliseconds. A
/// track begins with its sequence header, which is moved there. Metadata is dropped, because it
/// might not match.
///
/// # Panics
/// When `file` is no FLV file of H264 and AAC that begins with both sequence headers.
#[must_use]
pub fn cut(file: &[u8], video: RangeInclusive<u32>, audio: RangeInclusive<u32>) -> Vec<u8> {
    let mut out = file[..HEADER_LEN].to_vec();
    let mut headers: [Option<Vec<u8>>; 2] = [None, None];
    let mut rest = &file[HEADER_LEN..];
    while rest.len() > TAG_HEADER_LEN {
        let size = u32::from_be_bytes([0, rest[1], rest[2], rest[3]]) as usize;
        let time = u32::from_be_bytes([rest[7], rest[4], rest[5], rest[6]]);
        let (tag, behind) = rest.split_at(TAG_HEADER_LEN + size + TAG_TRAILER_LEN);
        rest = behind;
        let (range, header) = match tag[0] {
            VIDEO => (&video, &mut headers[0]),
            AUDIO => (&audio, &mut headers[1]),
            _ => continue,
        };
        let is_sequence_header = tag[TAG_HEADER_LEN + 1] == 0;
        if is_sequence_header {
            *header = Some(tag.to_vec());
        } else if range.contains(&time) {
            if let Some(mut header) = header.take() {
                header[4..8].copy_from_slice(&tag[4..8]);
                out.extend(header);
            }
            out.extend(tag);
        }
    }
    assert!(
        headers.iter().all(Option::is_none),
        "a track has nothing at these times, or never a sequence header again"
    );
    out
}
