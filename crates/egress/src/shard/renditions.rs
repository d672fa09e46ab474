//! Viewers that change from their stream to its rendition, and back when the rendition is gone.
//!
//! A viewer of a stream with B-frames gets the rendition at once if the policy says so. But a
//! session may be older than that decision: the viewer came with the first frames, waited for the
//! publisher, or stayed while the publisher came back with other settings; or as many transcoders
//! ran as are allowed. A rendition has the clock of its stream, so a viewer can change between them
//! within its session.

use std::time::{Duration, Instant};

use distributary_hub::{BFrameChoice, Hub};
use distributary_media::VideoCodec;
use distributary_names::{RenditionId, StreamName};

use super::stream::ShardStream;
use super::viewers::Viewers;

/// Time between two requests of a rendition that does not come.
const REQUEST_INTERVAL: Duration = Duration::from_secs(30);

/// Time that viewers wait for a rendition that is gone while its stream is live.
const GONE_TIMEOUT: Duration = Duration::from_secs(2);

/// Viewers that are to watch another form of their stream from now on.
pub(super) struct Change {
    /// Keys of the viewers.
    pub(super) viewers: Vec<usize>,
    /// The stream or its rendition.
    pub(super) to: StreamName,
}

/// Decides whether viewers of a stream change to another form of it. Requests a rendition that is
/// called for and not there.
pub(super) fn decide(
    stream: &mut ShardStream,
    viewers: &Viewers,
    hub: &Hub,
    now: Instant,
) -> Option<Change> {
    if stream.viewers.is_empty() {
        return None;
    }
    if stream.subscription.stream().name().is_rendition() {
        leave_rendition(stream, hub, now)
    } else {
        join_rendition(stream, viewers, hub, now)
    }
}

/// Changes viewers of a stream to its rendition, where the policy says so.
fn join_rendition(
    stream: &mut ShardStream,
    viewers: &Viewers,
    hub: &Hub,
    now: Instant,
) -> Option<Change> {
    let source = stream.subscription.stream();
    if !source.is_live() || !source.needs_transcoding() {
        return None;
    }
    let name = source.name().clone();
    let may_change = |key: &usize| {
        viewers.get(*key).is_some_and(|viewer| {
            viewer.b_frames == BFrameChoice::Policy
                // Renditions are in H264.
                && viewer.peer.video_codec() == Some(VideoCodec::H264)
        })
    };
    let viewers: Vec<usize> = stream.viewers.iter().copied().filter(may_change).collect();
    if viewers.is_empty() {
        return None;
    }
    if hub.live_rendition(&name, &RenditionId::H264).is_none() {
        if stream.take_request(REQUEST_INTERVAL, now) {
            hub.request_rendition(&name.rendition(&RenditionId::H264));
        }
        return None;
    }
    Some(Change {
        viewers,
        to: name.rendition(&RenditionId::H264),
    })
}

/// Changes the viewers of a rendition that is gone back to the stream, if that is live.
fn leave_rendition(stream: &ShardStream, hub: &Hub, now: Instant) -> Option<Change> {
    if !stream.is_over(Some(GONE_TIMEOUT), now) {
        return None;
    }
    let published = stream.subscription.stream().name().published();
    // If the publisher has just come back, so will the rendition.
    let since = hub.stream(&published)?.stats().live_since?;
    (now.saturating_duration_since(since) > GONE_TIMEOUT).then(|| Change {
        viewers: stream.viewers.clone(),
        to: published,
    })
}
