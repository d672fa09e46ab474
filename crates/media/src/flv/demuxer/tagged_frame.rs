//! A frame in one or several tags, and the part of it in each tag.

use bytes::Bytes;

use super::super::video::CompositionTime;
use crate::MediaTime;
use crate::h264::slice::SliceHead;
use crate::h264::{self, H264Error};
use crate::h265;

/// A frame in one or several tags.
#[derive(Debug)]
pub(super) struct TaggedFrame {
    pub(super) timestamp: MediaTime,
    pub(super) composition: CompositionTime,
    /// The data of the first tag, and of further ones, if any.
    pub(super) data: Bytes,
    pub(super) more: Vec<Bytes>,
    /// Bytes of the tags that the slices keep in memory.
    pub(super) held: usize,
}

/// A tag's part of an access unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// True if an access unit delimiter starts it.
    pub(super) is_delimited: bool,
    pub(super) content: Content,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// The first slice, with or without others.
    FirstSlice,
    /// Slices without the first.
    LaterSlices,
    /// Units that precede the slices, and no slice.
    Prefix,
    /// Only units that may be anywhere.
    Other,
}

impl Part {
    /// Parses a tag's NAL units of H264.
    pub(super) fn of_h264(units: impl Iterator<Item = Result<Bytes, H264Error>>) -> Self {
        use h264::NalType;
        let is_delimiter = |unit: &[u8]| NalType::of(unit) == NalType::AUD;
        Self::of(units, is_delimiter, |unit| match NalType::of(unit) {
            kind if kind.has_slice_header() => match SliceHead::parse(unit) {
                Some(head) if head.first_macroblock > 0 => Content::LaterSlices,
                _ => Content::FirstSlice,
            },
            // The partitions B and C of a slice follow its partition A.
            kind if kind.is_slice() => Content::LaterSlices,
            kind if kind.is_prefix() => Content::Prefix,
            _ => Content::Other,
        })
    }

    /// Parses a tag's NAL units of H265.
    pub(super) fn of_h265(units: impl Iterator<Item = Result<Bytes, H264Error>>) -> Self {
        use h265::NalType;
        let is_delimiter = |unit: &[u8]| NalType::of(unit) == NalType::AUD;
        Self::of(units, is_delimiter, |unit| match NalType::of(unit) {
            kind if kind.is_slice() => {
                if h265::nal::starts_picture(unit) {
                    Content::FirstSlice
                } else {
                    Content::LaterSlices
                }
            }
            kind if kind.is_prefix() => Content::Prefix,
            _ => Content::Other,
        })
    }

    /// Classifies the tag by its first slice, or by a prefix unit if it has no slice.
    fn of(
        units: impl Iterator<Item = Result<Bytes, H264Error>>,
        is_delimiter: impl Fn(&[u8]) -> bool,
        content_of: impl Fn(&[u8]) -> Content,
    ) -> Self {
        let mut part = Self {
            is_delimited: false,
            content: Content::Other,
        };
        for unit in units.map_while(Result::ok) {
            part.is_delimited |= is_delimiter(&unit);
            match content_of(&unit) {
                Content::Other => {}
                content => part.content = content,
            }
            if part.has_slice() {
                break;
            }
        }
        part
    }

    pub(super) fn has_slice(self) -> bool {
        matches!(self.content, Content::FirstSlice | Content::LaterSlices)
    }

    /// Returns whether it continues an access unit that has its first slice.
    pub(super) fn is_rest(self) -> bool {
        !self.is_delimited && self.content == Content::LaterSlices
    }
}
