//! Sequences of tags in a file or a pipe (Adobe FLV specification version 10.1,
//! annexes E.2 to E.4.1).
//!
//! ```text
//! "FLV" 1 flags | header size, 32 bits | 0, 32 bits | tag | size of the tag, 32 bits | tag | ...
//!
//! tag:  type 8 | body size 24 | timestamp 24 | its bits 24 to 31, 8 | stream id 24 | body
//! ```

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::tag_kind::TagKind;

/// The header of a file with video only, and the size field before the first tag.
pub const VIDEO_FILE_HEADER: &[u8; 13] = b"FLV\x01\x01\0\0\0\x09\0\0\0\0";

pub(super) const TAG_HEADER: usize = 11;
pub(super) const PREVIOUS_TAG_SIZE: usize = 4;

/// Minimum size of a file header.
const MIN_FILE_HEADER: usize = 9;

/// One tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlvTag {
    /// Its kind.
    pub kind: TagKind,
    /// Decoding time in milliseconds.
    pub timestamp_millis: u32,
    /// The body: the payload of the RTMP message.
    pub body: Bytes,
}

impl FlvTag {
    /// Appends the tag and its size.
    pub fn write(&self, out: &mut BytesMut) {
        let [t3, low @ ..] = self.timestamp_millis.to_be_bytes();
        out.reserve(TAG_HEADER + self.body.len() + PREVIOUS_TAG_SIZE);
        out.put_u8(self.kind.number());
        out.put_uint(self.body.len() as u64, 3);
        out.put_slice(&low);
        out.put_slice(&[t3, 0, 0, 0]);
        out.put_slice(&self.body);
        out.put_u32((TAG_HEADER + self.body.len()) as u32);
    }
}

/// The header of a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TagHeader {
    pub(super) kind: TagKind,
    pub(super) timestamp_millis: u32,
    pub(super) body_len: usize,
}

/// The error for a tag that is none of audio, video and script data, or is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a tag has the unknown type {0}")]
pub struct UnknownTagType(pub u8);

impl TagHeader {
    /// Parses the first bytes of a tag. Returns `None` if they are incomplete.
    pub(super) fn parse(bytes: &[u8]) -> Result<Option<Self>, UnknownTagType> {
        let &[tag_type, s2, s1, s0, t2, t1, t0, t3, _, _, _, ..] = bytes else {
            return Ok(None);
        };
        Ok(Some(Self {
            kind: TagKind::of_number(tag_type).ok_or(UnknownTagType(tag_type))?,
            timestamp_millis: u32::from_be_bytes([t3, t2, t1, t0]),
            body_len: u32::from_be_bytes([0, s2, s1, s0]) as usize,
        }))
    }
}

/// The error of a stream that is not FLV.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FlvStreamError {
    /// It does not begin with an FLV header of version 1.
    #[error("it does not start as FLV of version 1")]
    NotFlv,
    /// There is something other than a tag.
    #[error(transparent)]
    UnknownTagType(#[from] UnknownTagType),
    /// The body of a tag is longer than the limit.
    #[error("a tag has {len} bytes, more than {max}")]
    TooLong {
        /// Its length in bytes.
        len: usize,
        /// The limit in bytes.
        max: usize,
    },
}

/// Parses FLV that arrives piece by piece.
///
/// Append the bytes to [`Self::buffer`], and call [`Self::next_tag`] until it returns `None`.
/// The longest tag bounds the buffer.
#[derive(Debug)]
pub struct FlvStream {
    max_body: usize,
    buffer: BytesMut,
    has_header: bool,
}

impl FlvStream {
    /// Returns a parser of tags whose bodies have at most `max_body` bytes.
    pub fn new(max_body: usize) -> Self {
        Self {
            max_body,
            buffer: BytesMut::new(),
            has_header: false,
        }
    }

    /// Returns the buffer for received bytes.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// Returns the next tag once it is complete.
    ///
    /// # Errors
    /// When the data is not FLV, or a tag is too long. The stream cannot continue.
    pub fn next_tag(&mut self) -> Result<Option<FlvTag>, FlvStreamError> {
        if !self.has_header && !self.take_header()? {
            return Ok(None);
        }
        let Some(header) = TagHeader::parse(&self.buffer)? else {
            return Ok(None);
        };
        if header.body_len > self.max_body {
            let (len, max) = (header.body_len, self.max_body);
            return Err(FlvStreamError::TooLong { len, max });
        }
        let len = TAG_HEADER + header.body_len + PREVIOUS_TAG_SIZE;
        if self.buffer.len() < len {
            self.buffer.reserve(len - self.buffer.len());
            return Ok(None);
        }
        self.buffer.advance(TAG_HEADER);
        // A copy: a slice would keep the whole buffer alive, which is larger than most tags.
        let body = Bytes::copy_from_slice(self.buffer.get(..header.body_len).unwrap_or_default());
        self.buffer.advance(header.body_len + PREVIOUS_TAG_SIZE);
        Ok(Some(FlvTag {
            kind: header.kind,
            timestamp_millis: header.timestamp_millis,
            body,
        }))
    }

    /// Skips the header of the file. Returns whether it has arrived.
    fn take_header(&mut self) -> Result<bool, FlvStreamError> {
        let Some(header) = self.buffer.get(..MIN_FILE_HEADER) else {
            return Ok(false);
        };
        let &[b'F', b'L', b'V', 1, _, a, b, c, d] = header else {
            return Err(FlvStreamError::NotFlv);
        };
        // The use of a longer header is not known.
        if u32::from_be_bytes([a, b, c, d]) as usize != MIN_FILE_HEADER {
            return Err(FlvStreamError::NotFlv);
        }
        let len = MIN_FILE_HEADER + PREVIOUS_TAG_SIZE;
        self.has_header = self.buffer.len() >= len;
        if self.has_header {
            self.buffer.advance(len);
        }
        Ok(self.has_header)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tag(kind: TagKind, timestamp_millis: u32, body: &'static [u8]) -> FlvTag {
        FlvTag {
            kind,
            timestamp_millis,
            body: Bytes::from_static(body),
        }
    }

    fn read(stream: &mut FlvStream, piece: &[u8]) -> Vec<FlvTag> {
        stream.buffer().extend_from_slice(piece);
        std::iter::from_fn(|| stream.next_tag().unwrap()).collect()
    }

    #[test]
    fn tags_survive_writing_and_parsing_however_the_bytes_are_split() {
        let tags = [
            tag(TagKind::Script, 0, b"\x02\0\x01x"),
            tag(TagKind::Video, 0x1234_5678, b"\x17\x01"),
            tag(TagKind::Audio, 7, b""),
        ];
        let mut file = BytesMut::from(&VIDEO_FILE_HEADER[..]);
        for tag in &tags {
            tag.write(&mut file);
        }
        for size in [1, 2, 3, 12, 14, 1000] {
            let mut stream = FlvStream::new(2 * 1024);
            let pieces = file.chunks(size);
            let read: Vec<_> = pieces.flat_map(|piece| read(&mut stream, piece)).collect();
            assert_eq!(read, tags, "in pieces of {size}");
        }
    }

    #[test]
    fn other_data_is_an_error() {
        let error = |bytes: &[u8]| {
            let mut stream = FlvStream::new(6);
            stream.buffer().extend_from_slice(bytes);
            stream.next_tag().unwrap_err()
        };
        assert_eq!(error(b"ffmpeg version"), FlvStreamError::NotFlv);
        let bad_tag = [&VIDEO_FILE_HEADER[..], &[0x28; 11]].concat();
        assert_eq!(error(&bad_tag), UnknownTagType(0x28).into());
        // Refused by its header, before anything of it is stored.
        let long_tag = [&VIDEO_FILE_HEADER[..], &[9, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0]].concat();
        let too_long = FlvStreamError::TooLong { len: 7, max: 6 };
        assert_eq!(error(&long_tag), too_long);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut stream = FlvStream::new(1024);
            stream.buffer().extend_from_slice(VIDEO_FILE_HEADER);
            stream.buffer().extend_from_slice(&bytes);
            while let Ok(Some(_)) = stream.next_tag() {}
        }
    }
}
