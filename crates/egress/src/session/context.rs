//! The state that accompanies a session from its offer to its end.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use distributary_hub::ViewerPermit;
use distributary_media::VideoCodec;
use distributary_names::StreamName;
use tracing::Span;

use super::id::SessionId;
use super::options::{ViewerClient, ViewerOptions};

/// State that moves along with a session: from a counter-offer to the registry and to a shard. It
/// is dropped when the session ends, wherever it is by then.
pub(crate) struct SessionContext {
    /// Names the viewer in each line of the log. Events name it as their parent and nothing enters
    /// it, so it costs nothing per packet.
    pub(crate) span: Span,
    /// The address of the viewer.
    pub(crate) address: Option<IpAddr>,
    /// The browser and the page of the viewer.
    pub(crate) client: Option<Arc<ViewerClient>>,
    /// The address or network that the limits count the session against.
    pub(crate) counts_as: Option<IpAddr>,
    /// Video codecs that the player can decode, if it gets audio alone because it cannot decode the
    /// stream's.
    pub(crate) awaits: Vec<VideoCodec>,
    /// Counts the session among the viewers.
    _permit: ViewerPermit,
}

impl SessionContext {
    pub(crate) fn new(
        id: &SessionId,
        stream: &StreamName,
        options: &ViewerOptions,
        permit: ViewerPermit,
    ) -> Self {
        let address = options.address;
        // Of the highest level, so that events of all levels name the viewer.
        let span = tracing::error_span!(
            "viewer",
            viewer = %id.short(),
            %stream,
            address = address.map(tracing::field::display),
        );
        Self {
            span,
            address,
            client: options.client.clone(),
            counts_as: options.counts_as,
            awaits: Vec::new(),
            _permit: permit,
        }
    }
}

impl fmt::Debug for SessionContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SessionContext").field(&self.span).finish()
    }
}
