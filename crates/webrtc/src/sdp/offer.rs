//! A player's offer, and our answer to it.

use distributary_media::{VideoCodec, VideoTrack};

use super::description::Description;
use super::select::{acceptable, codec_names};
use super::{
    BundleGroup, LocalParameters, MediaKind, MediaPlan, MediaSection, Negotiated, NegotiationError,
    SdpError, Setup, UndecodableVideo, video,
};

/// The offer of a player. [`Offer::answer`] decides which media the player is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer(Description);

/// Our answer to an offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalAnswer {
    /// The session description for the player.
    pub sdp: String,
    /// The negotiated parameters.
    pub negotiated: Negotiated,
}

impl Offer {
    /// Parses an offer.
    ///
    /// # Errors
    /// [`SdpError::TooLarge`], [`SdpError::IsFragment`] and [`SdpError::Malformed`].
    pub fn parse(text: &str) -> Result<Self, SdpError> {
        Description::parse(text).map(Self)
    }

    /// Decides which tracks of `plan` this player is sent, and writes the answer.
    ///
    /// # Errors
    /// If no track of `plan` can be sent, or the offer lacks something for a connection.
    pub fn answer(
        &self,
        plan: &MediaPlan,
        local: &LocalParameters,
    ) -> Result<LocalAnswer, NegotiationError> {
        let setup = |theirs: Setup| theirs.answer(local.role);
        let agreement = self.0.agree(plan, local, setup)?;
        Ok(LocalAnswer {
            sdp: agreement.describe(local),
            negotiated: agreement.negotiated,
        })
    }

    /// Returns the `m=` sections, in order.
    pub fn media(&self) -> &[MediaSection] {
        &self.0.media
    }

    /// Returns the BUNDLE groups, in order.
    pub fn bundles(&self) -> &[BundleGroup] {
        &self.0.bundles
    }

    /// Returns whether the player supports video of this codec, and of this profile and level where
    /// they are known (see [`VideoTrack::profile_level_id`]).
    pub fn supports(&self, codec: VideoCodec, profile_level_id: Option<[u8; 3]>) -> bool {
        self.video_sections()
            .any(|media| video::choose(media, codec, profile_level_id).is_some())
    }

    /// Checks that the player can decode the video of this track, or asks for none.
    ///
    /// # Errors
    /// If it asks for video and cannot decode this one.
    pub fn check_video(&self, track: &VideoTrack) -> Result<(), UndecodableVideo> {
        let profile_level_id = Some(track.profile_level_id);
        let Some(first) = self.video_sections().next() else {
            return Ok(());
        };
        if self.supports(track.codec, profile_level_id) {
            return Ok(());
        }
        Err(UndecodableVideo {
            needed: video::name(track.codec, profile_level_id),
            offered: codec_names(first),
        })
    }

    /// Returns the sections on which video could be sent.
    fn video_sections(&self) -> impl Iterator<Item = &MediaSection> {
        let sections = self.media().iter();
        sections
            .filter(|media| media.kind == MediaKind::Video && acceptable(&self.0, media).is_ok())
    }
}
