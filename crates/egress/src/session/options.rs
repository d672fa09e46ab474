//! Properties of a viewer besides its offer.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use distributary_hub::BFrameChoice;
use distributary_names::RenditionId;
use distributary_webrtc::quality::Preference;

/// The browser and the page of a viewer, for display.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ViewerClient {
    /// The name of its browser or program.
    pub browser: Option<String>,
    /// The page with the player.
    pub page: Option<String>,
}

/// Properties of a viewer besides its offer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ViewerOptions {
    /// True if its decoder can be made to reorder frames (see [`distributary_webrtc::reorder`]).
    /// Other viewers are sent only the keyframes of a stream with B-frames that other frames refer
    /// to.
    pub reorders: bool,
    /// True if its player is known to play media that comes right behind our DTLS Finished, before
    /// its own is sent. It is a DTLS server then, and supports AES-128-GCM for SRTP (RFC 7714).
    pub early_media: bool,
    /// Source of the decision what to send of a stream with B-frames. If the policy decides, the
    /// viewer gets the rendition, also when that starts only later.
    pub b_frames: BFrameChoice,
    /// The rendition or the size that it asks for.
    pub quality: Preference<RenditionId>,
    /// Its address, for the log and the API.
    pub address: Option<IpAddr>,
    /// Its browser and page, for the API.
    pub client: Option<Arc<ViewerClient>>,
    /// The address or network that the limit per address counts the session against; `None`: not
    /// counted.
    pub counts_as: Option<IpAddr>,
    /// Expiry of the token that it showed, if the session ends with it. The engine keeps it for
    /// those who end sessions.
    pub token_expires: Option<SystemTime>,
}
