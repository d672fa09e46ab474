//! Errors of opening a session.

use distributary_hub::TooManyViewers;
use distributary_net::Full;
use rand::rngs::SysError;

use distributary_webrtc::sdp::{NegotiationError, UndecodableVideo};

/// The reason why a viewer gets no session, or no offer of one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Nothing of the stream can be sent to the player, or no connection to it is possible.
    #[error(transparent)]
    Negotiation(#[from] NegotiationError),
    /// The player asks for video, cannot decode the stream's, and may not get the audio alone.
    #[error(transparent)]
    UndecodableVideo(#[from] UndecodableVideo),
    /// A limit of viewers is reached.
    #[error(transparent)]
    Full(#[from] TooManyViewers),
    /// The system's random generator failed.
    #[error("the system's random generator failed: {0}")]
    Random(#[from] SysError),
    /// Another session has the same random id or ICE user name fragment.
    #[error("another session has the same random id")]
    NameTaken,
}

/// The reason why no session is prepared for a page.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PrepareError {
    /// Too many pages have not answered yet.
    #[error("prepared sessions: {0}")]
    Full(#[from] Full),
    /// There is nothing to offer.
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// The reason why a player's answer to a counter-offer leads to no session.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AcceptError {
    /// No offer with this id waits: it was never made, has expired or is answered.
    #[error("no offer with this id waits for an answer")]
    NoOffer,
    /// The answer leads to no session.
    #[error(transparent)]
    Open(#[from] OpenError),
}
