//! A session whose offer was answered and whose first packet has not arrived.

use std::time::{Duration, Instant};

use distributary_hub::{BFrameChoice, Reservation};
use distributary_names::{RenditionId, StreamName};

use super::id::SessionId;
use crate::session::SessionContext;
use distributary_webrtc::dtls::DtlsContext;
use distributary_webrtc::ice::Credentials;
use distributary_webrtc::peer::PeerConfig;
use distributary_webrtc::quality::Preference;

/// Timeout of an answered session for the viewer's first valid check.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// A session whose offer was answered and whose first packet has not arrived.
pub(crate) struct PendingSession {
    pub(crate) id: SessionId,
    pub(crate) stream: StreamName,
    pub(crate) peer: PeerConfig,
    /// The newest credentials, ours and the viewer's, if ICE was restarted before the viewer came.
    /// The old ones are valid as well until the viewer has nominated a pair with these.
    pub(crate) restarted: Option<(Credentials, Credentials)>,
    /// Source of the decision what to send of B-frames.
    pub(crate) b_frames: BFrameChoice,
    /// The viewer's preference among renditions.
    pub(crate) preference: Preference<RenditionId>,
    /// The certificate that its answer announced.
    pub(crate) dtls: DtlsContext,
    pub(crate) created: Instant,
    /// Keeps the stream until a shard subscribes to it.
    pub(crate) reservation: Reservation,
    /// True if a valid check has come and the handshake waits for a permit.
    pub(crate) was_heard: bool,
    pub(crate) context: SessionContext,
}

impl PendingSession {
    /// Returns our ICE user name fragments that the viewer's checks may name, the newest last.
    pub(crate) fn ufrags(&self) -> impl Iterator<Item = &str> {
        let newest = self.restarted.as_ref().map(|(local, _)| local.ufrag());
        std::iter::once(self.peer.local.ufrag()).chain(newest)
    }
}
