//! Passes the video of a member on, as a rendition of the stream that it is joined to.

use std::sync::Arc;
use std::time::Instant;

use distributary_media::{Frame, MediaTime, VideoFrame, VideoTrack, nanos_between};
use distributary_names::RenditionId;
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::alignment::Alignment;
use crate::hub::Hub;
use crate::stream::{Publisher, Stream};
use crate::subscriber::{AudioForm, Delivery, Sink, StreamEvent};

/// Maximum deliveries in the queue of a member.
const QUEUE: usize = 256;

/// Joins `member` to `stream` as the rendition `id`, until one of them has no publisher.
pub(super) async fn join(hub: Hub, stream: Arc<Stream>, member: Arc<Stream>, id: RenditionId) {
    let (sink, queue) = Sink::channel(QUEUE);
    // Audio is that of the stream.
    let sink = sink.with_audio(AudioForm::Without);
    let Some((_subscription, cached)) = hub.subscribe(member.name(), sink, 0) else {
        return;
    };
    let (mut source, mut own) = (stream.liveness(), member.liveness());
    let mut joined = Joined::new(hub, stream, member, id);
    for frame in cached {
        joined.handle(&frame);
    }
    tokio::select! {
        _ = source.wait_for(|is_live| !is_live) => {}
        // A full queue loses the event.
        _ = own.wait_for(|is_live| !is_live) => {}
        () = joined.relay(queue) => {}
    }
}

/// A member of a stream.
struct Joined {
    hub: Hub,
    stream: Arc<Stream>,
    member: Arc<Stream>,
    id: RenditionId,
    alignment: Alignment,
    /// The tracks of the member and the stream that were last compared, and the publisher if they
    /// fit.
    tracks: Option<(Arc<VideoTrack>, Arc<VideoTrack>)>,
    publisher: Option<Publisher>,
    /// Presentation time of the latest frame passed on.
    newest: Option<MediaTime>,
    /// True while no frame can be passed on before a keyframe that is later.
    awaits_keyframe: bool,
    /// True after a line said that the member is aligned.
    logged_aligned: bool,
}

impl Joined {
    fn new(hub: Hub, stream: Arc<Stream>, member: Arc<Stream>, id: RenditionId) -> Self {
        let origins = nanos_between(stream.epoch(), member.epoch());
        Self {
            hub,
            stream,
            member,
            id,
            alignment: Alignment::new(origins),
            tracks: None,
            publisher: None,
            newest: None,
            awaits_keyframe: true,
            logged_aligned: false,
        }
    }

    /// Passes on what comes in the queue until the publisher of the member leaves.
    async fn relay(&mut self, mut queue: mpsc::Receiver<Delivery>) {
        while let Some(delivery) = queue.recv().await {
            match delivery.event {
                StreamEvent::Frame(frame) => self.handle(&frame),
                StreamEvent::Offline => return,
                _ => {}
            }
        }
    }

    fn handle(&mut self, frame: &Frame) {
        let Frame::Video(frame) = frame else {
            return;
        };
        let now = tokio::time::Instant::now().into_std();
        if frame.keyframe {
            self.alignment.handle_keyframe(frame.pts);
        }
        if let Some((keyframe, _)) = self.stream.keyframe()
            && let Frame::Video(keyframe) = &*keyframe
        {
            self.alignment.handle_stream_keyframe(keyframe.pts);
        }
        if frame.keyframe {
            self.begin_gop(frame, now);
        }
        if self.awaits_keyframe {
            return;
        }
        if let Some(publisher) = &self.publisher {
            let frame = VideoFrame {
                pts: self.alignment.place(frame.pts),
                dts: self.alignment.place(frame.dts),
                ..frame.clone()
            };
            self.newest = self.newest.max(Some(frame.pts));
            // A refusal of its B-frames holds until the track changes.
            if publisher.push(Frame::Video(frame), now).is_err() {
                self.publisher = None;
            }
        }
    }

    /// Handles the first frame of a GOP, from which on times may have another correction. If that
    /// would make them earlier than those passed on, the GOP is dropped.
    fn begin_gop(&mut self, keyframe: &VideoFrame, now: Instant) {
        self.alignment.begin_gop();
        let time = self.alignment.place(keyframe.pts);
        self.awaits_keyframe = self.newest.is_some_and(|newest| time <= newest);
        if self.alignment.is_settled() {
            self.follow_track(now);
        }
        if let Some(publisher) = &self.publisher {
            publisher.set_alignment(self.alignment.state());
        }
        if self.publisher.is_some() && self.alignment.is_aligned() && !self.logged_aligned {
            self.logged_aligned = true;
            let (stream, member) = (self.stream.name(), self.member.name());
            info!(%stream, from = %member, "a joined stream has the keyframes of the stream");
        }
    }

    /// Publishes the member's track, if it is a rendition of the stream's.
    fn follow_track(&mut self, now: Instant) {
        let video = self.member.source_video(now);
        let (Some(video), Some(main)) = (video, self.stream.source_video(now)) else {
            return;
        };
        let tracks = (Arc::clone(&video.track), main.track);
        if self.tracks.as_ref() == Some(&tracks) {
            return;
        }
        let main = &tracks.1;
        let track = &video.track;
        let (stream, member) = (self.stream.name(), self.member.name());
        let size = format_args!("{}x{}", track.width, track.height);
        if track.has_aspect_of(main) {
            info!(%stream, rendition = %self.id, from = %member, codec = %track.codec, %size, "a stream is joined");
            let publisher = self.publisher.take();
            let publisher =
                publisher.unwrap_or_else(|| self.hub.publish_joined(&self.stream, &self.id, now));
            publisher.set_video_track((**track).clone());
            self.publisher = Some(publisher);
        } else {
            warn!(
                %stream, from = %member, %size,
                "a stream is not joined: it has another aspect ratio, so it is not a rendition"
            );
            self.publisher = None;
        }
        self.tracks = Some(tracks);
    }
}
