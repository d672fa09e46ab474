//! A player's answer to an offer of ours.

use super::description::Description;
use super::{LocalParameters, MediaPlan, Negotiated, NegotiationError, SdpError, Setup};
use crate::dtls::DtlsRole;

/// The answer of a player to an offer of ours, see [`MediaPlan::counter_offer`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer(Description);

impl Answer {
    /// Parses an answer.
    ///
    /// # Errors
    /// [`SdpError::TooLarge`], [`SdpError::IsFragment`] and [`SdpError::Malformed`].
    pub fn parse(text: &str) -> Result<Self, SdpError> {
        Description::parse(text).map(Self)
    }

    /// Returns the negotiated parameters, from this answer to the offer that was made of `plan` and
    /// `local`.
    ///
    /// # Errors
    /// If the player accepts none of the offered tracks, or the answer lacks something for a
    /// connection.
    pub fn accept(
        &self,
        plan: &MediaPlan,
        local: &LocalParameters,
    ) -> Result<Negotiated, NegotiationError> {
        // An answer decides on the role; one that leaves it open is wrong, and gets the server.
        let setup = |theirs: Setup| theirs.answer(DtlsRole::Server);
        Ok(self.0.agree(plan, local, setup)?.negotiated)
    }
}
