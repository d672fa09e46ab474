//! A session whose offer was answered and whose viewer has not been heard of yet.

use std::time::{Duration, Instant};

use distributary_hub::{BFrameChoice, Reservation};
use distributary_names::StreamName;

use super::id::SessionId;
use crate::session::SessionContext;
use distributary_webrtc::dtls::DtlsContext;
use distributary_webrtc::ice::Credentials;
use distributary_webrtc::peer::PeerConfig;

/// Time that an answered session waits for the viewer's first valid check.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// A session that has been answered and not yet been heard of.
pub(crate) struct PendingSession {
    pub(crate) id: SessionId,
    pub(crate) stream: StreamName,
    pub(crate) peer: PeerConfig,
    /// The newest credentials, ours and the viewer's, if ICE was restarted before the viewer came. Those
    /// before are good as well until it has nominated a pair with these.
    pub(crate) restarted: Option<(Credentials, Credentials)>,
    /// Who says what it is sent of B-frames.
    pub(crate) b_frames: BFrameChoice,
    /// The certificate that its answer announced.
    pub(crate) dtls: DtlsContext,
    pub(crate) created: Instant,
    /// Keeps the stream until a shard subscribes to it.
    pub(crate) reservation: Reservation,
    /// A valid check of its viewer came, who waits for the handshake since.
    pub(crate) was_heard: bool,
    pub(crate) context: SessionContext,
}

impl PendingSession {
    /// The fragments of our side that the viewer's checks may name, the newest last.
    pub(crate) fn ufrags(&self) -> impl Iterator<Item = &str> {
        let newest = self.restarted.as_ref().map(|(local, _)| local.ufrag());
        std::iter::once(self.peer.local.ufrag()).chain(newest)
    }
}
