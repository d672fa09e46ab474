//! A player's session description, whether it is an offer or an answer (RFC 8866).

use std::io::Cursor;

use super::media::SessionDefaults;
use super::normalize::{Normalized, normalize};
use super::{BundleGroup, MediaSection, SdpError};

/// A player's session description.
///
/// Each section is checked on its own: a section that cannot be used does not make the others
/// unusable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Description {
    /// The `m=` sections, in order.
    pub(super) media: Vec<MediaSection>,
    /// The BUNDLE groups, in order.
    pub(super) bundles: Vec<BundleGroup>,
}

impl Description {
    /// Parses a session description.
    ///
    /// # Errors
    /// [`SdpError::TooLarge`], [`SdpError::IsFragment`] and [`SdpError::Malformed`].
    pub(super) fn parse(text: &str) -> Result<Self, SdpError> {
        let Normalized { text, media_lines } = normalize(text)?;
        let session = ::sdp::SessionDescription::unmarshal(&mut Cursor::new(text))
            .map_err(|error| SdpError::malformed("a session description", &error.to_string()))?;
        let defaults = SessionDefaults::of(&session.attributes);
        let sections = media_lines.into_iter().zip(&session.media_descriptions);
        let media = sections
            .map(|(line, section)| MediaSection::parse(line, &section.attributes, &defaults))
            .collect::<Result<Vec<_>, _>>()?;
        check_mids(&media)?;
        let groups = session
            .attributes
            .iter()
            .filter(|attribute| attribute.key == "group");
        let values = groups.filter_map(|attribute| attribute.value.as_deref());
        Ok(Self {
            media,
            bundles: values.filter_map(BundleGroup::parse).collect(),
        })
    }

    /// Returns the first BUNDLE group that has the section at `index` as a member.
    pub(super) fn group_of(&self, index: usize) -> Option<&BundleGroup> {
        let mid = self.media.get(index)?.mid.as_ref()?;
        self.bundles.iter().find(|group| group.contains(mid))
    }
}

/// Checks that each section has a name of its own (RFC 5888 section 4).
fn check_mids(media: &[MediaSection]) -> Result<(), SdpError> {
    for (index, section) in media.iter().enumerate() {
        let Some(mid) = &section.mid else { continue };
        let earlier = media.iter().take(index);
        if earlier
            .filter_map(|other| other.mid.as_ref())
            .any(|other| other == mid)
        {
            return Err(SdpError::malformed(
                "`a=mid` different in each section",
                mid.as_str(),
            ));
        }
    }
    Ok(())
}
