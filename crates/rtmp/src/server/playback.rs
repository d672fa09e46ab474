//! A stream on its way from the hub to an RTMP player.

mod backlog;

use std::fmt::Display;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use distributary_hub::{
    AudioForm, Delivery, Hub, Player, PlayerId, Sink, StreamEvent, Subscription, ViewerPermit,
};
use distributary_media::flv::muxer;
use distributary_media::{AudioTrack, Frame, MediaTime, TimedData, VideoTrack};
use distributary_names::StreamName;
use distributary_net::reached;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::info;

use crate::clock::now;
use crate::proto::session::ServerSession;
use crate::server::json::from_json;
use backlog::Backlog;

/// Capacity of the queue from the hub to a player's [`Backlog`], in events.
const QUEUE_FRAMES: usize = 512;

/// A subscription to a stream, and the state of its player.
#[derive(Debug)]
pub(crate) struct Playback {
    subscription: Subscription,
    /// Lists the player among the viewers.
    player: Player,
    /// Expiry of the player's permission.
    until: Option<Instant>,
    queue: mpsc::Receiver<Delivery>,
    backlog: Backlog,
    /// Set when no more events arrive; the backlog is still sent.
    over: Option<Over>,
    video: Option<Arc<VideoTrack>>,
    audio: Option<Arc<AudioTrack>>,
    /// Time of the stream at which the player's timestamps start.
    origin: Option<MediaTime>,
}

/// The reason why playing ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    /// The stream has ended.
    Stream,
    /// The player's token has expired.
    Token,
    /// The player was removed through the API.
    Removed,
}

impl Playback {
    /// Subscribes a player at the address `peer` to a live stream; `None` if it is not live. The
    /// backlog starts with the GOP so far. Playing ends at `until`, if set.
    pub(crate) fn begin(
        hub: &Hub,
        name: &StreamName,
        peer: SocketAddr,
        permit: ViewerPermit,
        until: Option<Instant>,
    ) -> Option<Self> {
        hub.stream(name).filter(|stream| stream.is_live())?;
        let (sink, queue) = Sink::channel(QUEUE_FRAMES);
        let (subscription, cached) =
            hub.subscribe(name, sink.with_audio(AudioForm::Published), 0)?;
        Some(Self {
            subscription,
            player: hub.list_player(name, peer, permit, now()),
            until,
            queue,
            backlog: Backlog::new(cached),
            over: None,
            video: None,
            audio: None,
            origin: None,
        })
    }

    /// Waits for the next event of the stream and queues it. The future may be dropped and the
    /// function called again.
    pub(crate) async fn receive(&mut self) {
        match self.over {
            None => {}
            // A slow player can be removed while it is sent the rest.
            Some(Over::Stream | Over::Token) => {
                self.player.removed().await;
                self.remove();
                return;
            }
            Some(Over::Removed) => return std::future::pending().await,
        }
        let delivery = tokio::select! {
            delivery = self.queue.recv() => delivery,
            () = reached(self.until) => {
                self.over = Some(Over::Token);
                return;
            }
            () = self.player.removed() => return self.remove(),
        };
        match delivery.map(|delivery| delivery.event) {
            None | Some(StreamEvent::Offline) => self.over = Some(Over::Stream),
            Some(event) => self.backlog.push(event),
        }
    }

    fn remove(&mut self) {
        self.over = Some(Over::Removed);
        self.backlog = Backlog::new(Vec::new());
    }

    /// Returns the identifier of the player.
    pub(crate) fn id(&self) -> PlayerId {
        self.player.id()
    }

    /// Sends the publisher's metadata, before anything else.
    pub(crate) fn describe(&self, session: &mut ServerSession) {
        if let Some(metadata) = self.subscription.stream().metadata() {
            send_data(0, &metadata, session);
        }
    }

    /// Sends the next event of the backlog. Returns `false` if the backlog is empty.
    pub(crate) fn send_next(&mut self, session: &mut ServerSession) -> bool {
        match self.backlog.pop() {
            Some(StreamEvent::Frame(frame)) => self.send(&frame, session),
            Some(StreamEvent::Data(data)) => self.send_timed_data(&data, session),
            Some(_) => {}
            None => return false,
        }
        true
    }

    /// Returns the reason why playing ends, once the backlog is sent.
    pub(crate) fn over(&self) -> Option<Over> {
        self.over.filter(|_| self.backlog.is_empty())
    }

    /// Sends timed data. Data from before the player's first frame gets the time of that frame.
    fn send_timed_data(&self, data: &TimedData, session: &mut ServerSession) {
        let timestamp = self
            .origin
            .map_or(0, |origin| since(origin, data.time.max(origin)));
        send_data(timestamp, data, session);
    }

    /// Sends a frame, after the sequence header that it needs.
    fn send(&mut self, frame: &Frame, session: &mut ServerSession) {
        let origin = *self.origin.get_or_insert(frame.dts());
        // Drops audio from before the cached keyframe with which the player starts.
        if frame.dts() < origin {
            return;
        }
        let timestamp = since(origin, frame.dts());
        self.send_headers(frame, timestamp, session);
        let bytes = match frame {
            Frame::Video(frame) => {
                session.send_video(timestamp, &muxer::video_frame_parts(frame));
                frame.units.iter().map(Bytes::len).sum()
            }
            Frame::Audio(frame) => {
                let Some(track) = &self.audio else {
                    return;
                };
                session.send_audio(timestamp, &[muxer::audio_frame(frame, track)]);
                frame.data.len()
            }
        };
        self.player.note_frame(bytes, self.backlog.skips(), now());
    }

    /// Logs the end of playing and its reason.
    pub(crate) fn end(self, reason: &dyn Display) {
        let skipped = self.backlog.skipped();
        let frames = self.player.frames();
        info!(%reason, frames, skipped, "playing ended");
    }

    /// Sends the sequence header of the frame's track unless it is the one that was sent last.
    fn send_headers(&mut self, frame: &Frame, timestamp: u32, session: &mut ServerSession) {
        let stats = self.subscription.stream().stats();
        match frame {
            Frame::Video(frame) if frame.keyframe || self.video.is_none() => {
                if let Some(track) = stats
                    .video
                    .filter(|track| Some(track) != self.video.as_ref())
                {
                    session.send_video(timestamp, &[muxer::video_header(&track)]);
                    self.video = Some(track);
                }
            }
            Frame::Audio(_) => {
                if let Some(track) = stats
                    .audio
                    .filter(|track| Some(track) != self.audio.as_ref())
                {
                    if let Some(header) = muxer::audio_header(&track) {
                        session.send_audio(timestamp, &[header]);
                    }
                    self.audio = Some(track);
                }
            }
            Frame::Video(_) => {}
        }
    }
}

fn send_data(timestamp: u32, data: &TimedData, session: &mut ServerSession) {
    let values = data.values.iter().map(from_json).collect();
    session.send_data(timestamp, &data.name, values);
}

/// Returns the time since `origin` as an RTMP timestamp: milliseconds, modulo 2^32.
fn since(origin: MediaTime, time: MediaTime) -> u32 {
    time.as_millis().wrapping_sub(origin.as_millis()) as u32
}
