//! The file that the publishers send.

use std::path::PathBuf;

use distributary_media::flv::{FlvReader, FlvTag, TagKind};

use super::error::PublishersError;

/// A clip that can be sent again and again.
#[derive(Debug)]
pub struct Clip {
    /// Audio and video.
    pub tags: Vec<FlvTag>,
    /// From the beginning of one round to that of the next, in milliseconds.
    pub length: u64,
}

impl Clip {
    /// Reads an FLV file.
    ///
    /// # Errors
    /// When it cannot be read, or has neither audio nor video.
    pub fn read(path: &PathBuf) -> Result<Self, PublishersError> {
        let file = std::fs::read(path)?;
        let tags: Vec<_> = FlvReader::new(file.into())?.collect::<Result<_, _>>()?;
        let tags: Vec<_> = tags
            .into_iter()
            .filter(|tag| tag.kind != TagKind::Script)
            .collect();
        let times = |kind| {
            let tags = tags.iter().filter(move |tag: &&FlvTag| tag.kind == kind);
            tags.map(|tag| u64::from(tag.timestamp_millis))
        };
        let last = tags.iter().map(|tag| tag.timestamp_millis).max();
        let last = u64::from(last.ok_or(PublishersError::Empty)?);
        // One more step of the track that has the longer ones.
        let count = [TagKind::Video, TagKind::Audio]
            .map(|kind| times(kind).count())
            .into_iter()
            .filter(|count| *count > 1)
            .min();
        let step = count.map_or(1, |count| last / count as u64).max(1);
        Ok(Self {
            tags,
            length: last + step,
        })
    }
}
