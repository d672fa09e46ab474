//! What accompanies a viewer from its offer to its end.

use std::fmt;
use std::net::IpAddr;

use distributary_hub::{StreamName, ViewerPlace};
use distributary_media::VideoCodec;
use tracing::Span;

use crate::session::id::SessionId;

/// What is dropped when the viewer is gone, wherever that happens.
pub(crate) struct Visit {
    /// Says in each line of the log whose it is. It is named as the parent of events and never entered,
    /// so that nothing of it is on the way of media.
    pub(crate) span: Span,
    /// The address or network that its session counts among.
    pub(crate) counts_as: Option<IpAddr>,
    /// It gets audio alone because its player cannot decode the video: codecs that it could decode.
    pub(crate) awaits: Vec<VideoCodec>,
    /// Counts it among the viewers.
    _place: ViewerPlace,
}

impl Visit {
    pub(crate) fn new(
        id: &SessionId,
        stream: &StreamName,
        address: Option<IpAddr>,
        (counts_as, place): (Option<IpAddr>, ViewerPlace),
    ) -> Self {
        // Of the highest level: whatever is logged of a viewer says whose it is.
        let span = tracing::error_span!(
            "viewer",
            viewer = %id.short(),
            %stream,
            address = address.map(tracing::field::display),
        );
        Self {
            span,
            counts_as,
            awaits: Vec::new(),
            _place: place,
        }
    }
}

impl fmt::Debug for Visit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Visit").field(&self.span).finish()
    }
}
