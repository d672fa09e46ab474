//! Sessions that end because their publisher has changed the video codec.

use super::stream::ShardStream;
use super::viewers::Viewers;

/// Returns the viewers of a stream whose codec is no longer the negotiated one, and those that get
/// audio alone although they could now decode the video: their players connect again, and get it.
pub(super) fn outdated(stream: &ShardStream, viewers: &Viewers) -> Vec<usize> {
    let Some(comes) = stream.video.codec() else {
        return Vec::new();
    };
    let is_outdated = |key: &usize| {
        let Some(viewer) = viewers.get(*key) else {
            return false;
        };
        let agreed = viewer.peer.video_codec();
        let is_outdated = match agreed {
            Some(agreed) => agreed != comes,
            None => viewer.context.awaits.contains(&comes),
        };
        if is_outdated {
            let agreed = agreed.map(tracing::field::display);
            tracing::info!(
                parent: &viewer.context.span, agreed, %comes,
                "the publisher has changed the video codec: the session ends, so that the player \
                 asks again"
            );
        }
        is_outdated
    };
    stream.viewers.iter().copied().filter(is_outdated).collect()
}
