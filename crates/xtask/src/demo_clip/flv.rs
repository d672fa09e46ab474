//! The part of FLV that it takes to split a file of ffmpeg and to write another one.
//!
//! This crate stays free of the workspace's own crates, so that it can say which of them does not
//! build.

/// `TagType` of audio.
pub(super) const AUDIO: u8 = 8;
/// `TagType` of video.
pub(super) const VIDEO: u8 = 9;

const FILE_HEADER: [u8; 13] = *b"FLV\x01\x05\0\0\0\x09\0\0\0\0";
const TAG_HEADER: usize = 11;
const PREVIOUS_TAG_SIZE: usize = 4;

/// Returns the bodies of a track of AVC or AAC: that with the decoder configuration, and those with
/// media.
pub(super) fn media(file: &[u8], kind: u8) -> (&[u8], Vec<&[u8]>) {
    let mut header = &[][..];
    let mut media = Vec::new();
    let mut rest = file.get(FILE_HEADER.len()..).unwrap_or_default();
    while let Some(&[tag, high, middle, low]) = rest.get(..4) {
        let len = u32::from_be_bytes([0, high, middle, low]) as usize;
        let body = rest.get(TAG_HEADER..TAG_HEADER + len).unwrap_or_default();
        rest = rest
            .get(TAG_HEADER + len + PREVIOUS_TAG_SIZE..)
            .unwrap_or_default();
        // The second byte is the packet type: 0 configuration, 1 media, 2 end of the sequence.
        match body.get(1) {
            Some(0) if tag == kind => header = body,
            Some(1) if tag == kind => media.push(body),
            _ => {}
        }
    }
    (header, media)
}

/// Returns a file of tags: time in milliseconds, type, body.
pub(super) fn file(tags: &[(u64, u8, &[u8])]) -> Vec<u8> {
    let mut file = FILE_HEADER.to_vec();
    for (time, kind, body) in tags {
        let [.., s2, s1, s0] = (body.len() as u32).to_be_bytes();
        let [t3, t2, t1, t0] = (*time as u32).to_be_bytes();
        file.extend([*kind, s2, s1, s0, t2, t1, t0, t3, 0, 0, 0]);
        file.extend(*body);
        file.extend(((TAG_HEADER + body.len()) as u32).to_be_bytes());
    }
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_file_is_parsed_again() {
        let tags: [(u64, u8, &[u8]); 5] = [
            (0, VIDEO, &[0x17, 0, 1]),
            (0, AUDIO, &[0xaf, 0, 2]),
            (0x0102_0304, VIDEO, &[0x17, 1, 3]),
            (0x0102_0304, AUDIO, &[0xaf, 1, 4]),
            (0x0102_0304, VIDEO, &[0x17, 2]),
        ];
        let file = file(&tags);
        assert_eq!(
            file[49..60],
            [9, 0, 0, 3, 2, 3, 4, 1, 0, 0, 0],
            "{file:02x?}"
        );
        assert_eq!(
            media(&file, VIDEO),
            (&[0x17, 0, 1][..], vec![&[0x17, 1, 3][..]])
        );
        assert_eq!(
            media(&file, AUDIO),
            (&[0xaf, 0, 2][..], vec![&[0xaf, 1, 4][..]])
        );
    }
}
