//! FLV files (Adobe FLV specification version 10.1, annexes E.2 to E.4.1).

use bytes::Bytes;

use super::tag::{FlvTag, PREVIOUS_TAG_SIZE, TAG_HEADER, TagHeader, UnknownTagType};

/// The error of a file that is not FLV, or truncated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FlvFileError {
    /// It does not begin with an FLV header of version 1.
    #[error("the file does not start as an FLV file of version 1")]
    NotFlv,
    /// It ends in the middle of a tag.
    #[error("the file ends in the middle of the tag at byte {offset}")]
    Truncated {
        /// Position of the tag.
        offset: usize,
    },
    /// A tag is none of audio, video and script data, or it is encrypted.
    #[error("the tag at byte {offset} has the unknown type {tag_type}")]
    UnknownTag {
        /// Position of the tag.
        offset: usize,
        /// Its type.
        tag_type: u8,
    },
}

/// Iterates over the tags of a file in memory, with bodies that are slices of it. It ends after an
/// error.
#[derive(Clone, Debug)]
pub struct FlvReader {
    file: Bytes,
    /// Position of the next tag.
    offset: usize,
}

impl FlvReader {
    /// Returns a reader of `file`, and checks its header.
    ///
    /// # Errors
    /// When it does not begin with an FLV header.
    pub fn new(file: Bytes) -> Result<Self, FlvFileError> {
        let Some(&[b'F', b'L', b'V', 1, _, a, b, c, d]) = file.get(..9) else {
            return Err(FlvFileError::NotFlv);
        };
        let header = u32::from_be_bytes([a, b, c, d]) as usize;
        let offset = header.saturating_add(PREVIOUS_TAG_SIZE);
        if header < 9 {
            return Err(FlvFileError::NotFlv);
        }
        Ok(Self { file, offset })
    }

    fn next_tag(&mut self) -> Result<Option<FlvTag>, FlvFileError> {
        let offset = self.offset;
        if offset >= self.file.len() {
            return Ok(None);
        }
        let truncated = FlvFileError::Truncated { offset };
        let rest = self.file.get(offset..).unwrap_or_default();
        let header = TagHeader::parse(rest)
            .map_err(|UnknownTagType(tag_type)| FlvFileError::UnknownTag { offset, tag_type })?
            .ok_or(truncated)?;
        let begin = offset + TAG_HEADER;
        let end = begin + header.body_len;
        if end > self.file.len() {
            return Err(truncated);
        }
        self.offset = end + PREVIOUS_TAG_SIZE;
        Ok(Some(FlvTag {
            kind: header.kind,
            timestamp_millis: header.timestamp_millis,
            body: self.file.slice(begin..end),
        }))
    }
}

impl Iterator for FlvReader {
    type Item = Result<FlvTag, FlvFileError>;

    fn next(&mut self) -> Option<Self::Item> {
        let tag = self.next_tag();
        if tag.is_err() {
            self.offset = self.file.len();
        }
        tag.transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flv::TagKind;
    use crate::test_util::hex;
    use proptest::prelude::*;

    const HEADER: &str = "464c5601 05 00000009 00000000";
    const AUDIO: &str = "08 000002 345678 12 000000 af01 0000000d";
    const VIDEO: &str = "09 000001 000000 00 000000 17 0000000c";

    fn read(digits: &str) -> Result<Vec<FlvTag>, FlvFileError> {
        FlvReader::new(hex(digits).into())?.collect()
    }

    #[test]
    fn tags_are_in_order_with_extended_timestamps() {
        let tags = read(&format!("{HEADER} {AUDIO} {VIDEO}")).unwrap();
        assert_eq!(tags.len(), 2);
        assert_eq!(
            (tags[0].kind, tags[0].timestamp_millis),
            (TagKind::Audio, 0x1234_5678)
        );
        assert_eq!(tags[0].body[..], [0xaf, 1]);
        assert_eq!(
            (tags[1].kind, &tags[1].body[..]),
            (TagKind::Video, &[0x17][..])
        );
        assert_eq!(read(HEADER).unwrap(), []);
    }

    #[test]
    fn size_after_the_last_tag_may_be_missing() {
        let file = format!("{HEADER} {AUDIO}");
        assert_eq!(read(&file[..file.len() - 8]).unwrap().len(), 1);
    }

    #[test]
    fn truncated_file_and_other_formats_are_errors() {
        assert_eq!(read("464c5602 05 00000009"), Err(FlvFileError::NotFlv));
        assert_eq!(read("464c56"), Err(FlvFileError::NotFlv));
        assert_eq!(read("464c5601 05 00000003 00"), Err(FlvFileError::NotFlv));
        let cut = format!("{HEADER} 08 000003 000000 00 000000 af01");
        assert_eq!(read(&cut), Err(FlvFileError::Truncated { offset: 13 }));
        let cut = format!("{HEADER} {VIDEO} 08 00");
        assert_eq!(read(&cut), Err(FlvFileError::Truncated { offset: 29 }));
        let unknown = FlvFileError::UnknownTag {
            offset: 13,
            tag_type: 0x28,
        };
        assert_eq!(
            read(&format!("{HEADER} {}", AUDIO.replacen("08", "28", 1))),
            Err(unknown)
        );
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(rest in proptest::collection::vec(any::<u8>(), 0..200)) {
            let file = [hex(HEADER), rest].concat();
            let tags = FlvReader::new(file.into()).unwrap().count();
            prop_assert!(tags <= 200 / TAG_HEADER + 1);
        }
    }
}
