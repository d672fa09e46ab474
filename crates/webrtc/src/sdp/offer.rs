//! A player's offer.

use std::io::Cursor;

use super::media::SessionDefaults;
use super::normalise::{Normalised, normalise};
use super::{BundleGroup, OfferedMedia, SdpError};

/// What a player offers to receive.
///
/// The sections are checked one by one: a section that cannot be used does not spoil the others.
/// Whether anything can be sent is decided by [`Offer::answer`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The `m=` sections, in order.
    pub media: Vec<OfferedMedia>,
    /// The BUNDLE groups, in order.
    pub bundles: Vec<BundleGroup>,
}

impl Offer {
    /// Reads an offer.
    ///
    /// # Errors
    /// [`SdpError::TooLarge`] and [`SdpError::Malformed`].
    pub fn parse(text: &str) -> Result<Self, SdpError> {
        let Normalised { text, media_lines } = normalise(text)?;
        let session = ::sdp::SessionDescription::unmarshal(&mut Cursor::new(text))
            .map_err(|error| SdpError::malformed("a session description", &error.to_string()))?;
        let defaults = SessionDefaults::of(&session.attributes);
        let sections = media_lines.into_iter().zip(&session.media_descriptions);
        let media = sections
            .map(|(line, section)| OfferedMedia::parse(line, &section.attributes, &defaults))
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
}

/// Each section has a name of its own (RFC 5888 section 4).
fn check_mids(media: &[OfferedMedia]) -> Result<(), SdpError> {
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
