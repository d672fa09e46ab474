//! The viewers of a shard, the streams that they watch, and sending to them.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Instant;

use distributary_hub::{Delivery, Sink, StreamEvent};
use distributary_media::{Frame, TimedData};
use distributary_net::{FairPermit, canonical_address};
use distributary_webrtc::data::Notice;
use distributary_webrtc::demux::DatagramKind;
use distributary_webrtc::ice::{CandidatePair, Credentials};
use distributary_webrtc::peer::{CloseReason, PeerEvent};
use distributary_webrtc::sender::RepairLogs;

use super::codec_change::outdated;
use super::newcomer::{self, Watched};
use super::schedule::Schedule;
use super::stream::Reaction;
use super::streams::Streams;
use super::transmitter::{Logs, Transmitter};
use super::unsent::turns;
use super::viewers::{Viewer, Viewers};
use crate::datagrams::Outlet;
use crate::ice_tcp::Connection;
use crate::session::{PendingSession, SessionId};
use crate::state::EngineState;

/// The viewers of a shard and all that it takes to serve them.
///
/// After each input to a viewer, [`Self::settle`] sends and notes everything that came of it.
pub(super) struct FanOut<O> {
    shard: usize,
    pub(super) shared: Arc<EngineState>,
    /// The queue of the hub's deliveries to this shard.
    pub(super) sink: Sink,
    pub(super) streams: Streams,
    pub(super) viewers: Viewers,
    pub(super) schedule: Schedule,
    pub(super) transmitter: Transmitter<O>,
}

impl<O: Outlet> FanOut<O> {
    pub(super) fn new(
        shard: usize,
        shared: Arc<EngineState>,
        outlet: O,
        sink: Sink,
        now: Instant,
    ) -> Self {
        Self {
            shard,
            shared,
            sink,
            streams: Streams::default(),
            viewers: Viewers::default(),
            schedule: Schedule::new(now),
            transmitter: Transmitter::new(outlet),
        }
    }

    /// Makes a viewer of an admitted session, and returns its key.
    pub(super) fn add(
        &mut self,
        session: PendingSession,
        handshake: FairPermit,
        now: Instant,
    ) -> Option<usize> {
        let (id, span) = (session.id, session.context.span.clone());
        let EngineState { hub, config, .. } = &*self.shared;
        let mut open = |name| self.streams.open(name, hub, &self.sink, config, now);
        // The home first: a rendition has its tag.
        let published = session.stream.published();
        let home = open(&published);
        let tags = home.zip(open(&session.stream));
        let watched = tags.and_then(|(home, video)| {
            Some(Watched {
                home,
                stream: self.streams.get(home)?,
                video,
            })
        });
        let Some(watched) = watched else {
            tracing::info!(parent: &span, "the stream ended before the viewer came");
            self.shared.registry.remove(&id);
            return None;
        };
        let Watched { home, video, .. } = watched;
        match newcomer::viewer(session, handshake, watched, &self.shared, self.shard, now) {
            Ok(viewer) => {
                let key = self.viewers.insert(viewer);
                self.streams.watch(key, home, video);
                self.begin_choice(key, now);
                Some(key)
            }
            Err(error) => {
                tracing::error!(parent: &span, %error, "cannot serve the viewer");
                self.shared.registry.remove(&id);
                None
            }
        }
    }

    /// Gives a datagram to a viewer.
    pub(super) fn feed(
        &mut self,
        key: usize,
        pair: CandidatePair,
        datagram: &mut [u8],
        now: Instant,
    ) {
        let Some(viewer) = self.viewers.get_mut(key) else {
            return;
        };
        // Feedback shows nothing new about addresses.
        let is_feedback = DatagramKind::of(datagram) == DatagramKind::Rtcp;
        viewer.peer.handle_packet(now, pair, datagram);
        if !is_feedback && viewer.peer.is_at(pair) {
            let is_proven = viewer.peer.is_proven(pair);
            self.viewers.note_address(key, pair.remote, is_proven);
        }
        self.settle(key, now);
    }

    /// Gives a frame of a TCP connection to a viewer.
    pub(super) fn feed_frame(
        &mut self,
        key: usize,
        connection: &Arc<Connection>,
        frame: &mut [u8],
        now: Instant,
    ) {
        let Some(viewer) = self.viewers.get_mut(key) else {
            return;
        };
        let pair = connection.pair();
        viewer.peer.handle_packet(now, pair, frame);
        if viewer.peer.is_at(pair) {
            self.viewers.note_connection(key, connection);
        } else {
            // A refusal goes back on a connection that is nobody's.
            self.transmitter.send_control(viewer, Some(connection));
        }
        self.settle(key, now);
    }

    /// Lets the time of a viewer pass.
    fn handle_timeout_of(&mut self, key: usize, now: Instant) {
        if let Some(viewer) = self.viewers.get_mut(key) {
            viewer.armed = None;
            viewer.peer.handle_timeout(now);
            self.settle(key, now);
        }
    }

    /// Returns when [`Self::handle_timeout`] is due.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let deadlines = [self.schedule.poll_timeout(), self.streams.poll_timeout()];
        deadlines.into_iter().flatten().min()
    }

    /// Performs the work that is due at `now`.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        for key in self.schedule.take_turns(now) {
            self.send_media(key, now);
        }
        for tag in self.streams.release_due_audio(now) {
            self.send_stream(tag, now);
        }
        for key in self.schedule.take_due(now) {
            self.handle_timeout_of(key, now);
        }
    }

    /// Sends packets that the kernel's full buffer held back, and then brings all viewers up to
    /// date.
    pub(super) fn handle_writable(&mut self, now: Instant) {
        let Some(served) = self.transmitter.send_unsent() else {
            return;
        };
        for key in turns(&self.viewers.keys(), served) {
            if self.transmitter.is_full() {
                return;
            }
            self.send_media(key, now);
        }
    }

    /// Logs a delivery of the hub, and sends it to all viewers at the live edge.
    pub(super) fn handle_delivery(&mut self, delivery: &Delivery, now: Instant) {
        let tag = delivery.tag;
        let Some(stream) = self.streams.get_mut(tag) else {
            return;
        };
        if stream.source.is_some() && !is_for_viewers_of_rendition(&delivery.event) {
            return;
        }
        if let StreamEvent::Data(data) = &delivery.event {
            let viewers: Vec<usize> = stream.all_viewers().collect();
            self.tell(&viewers, data, now);
            return;
        }
        let codec = stream.video.codec();
        let bundle_from = self.shared.config.viewers.bundle_audio_from;
        let reaction = stream.handle(&delivery.event, bundle_from, now);
        if stream.video.codec() != codec {
            self.close_outdated(tag, now);
        }
        match reaction {
            Reaction::None => self.streams.note_audio_wait(tag),
            Reaction::Send => self.send_stream(tag, now),
            Reaction::SendAndFollow => {
                self.send_stream(tag, now);
                self.follow_renditions(tag, now);
            }
            Reaction::Follow => self.follow_renditions(tag, now),
        }
    }

    /// Performs the work that needs no exact deadline.
    pub(super) fn keep_up(&mut self, now: Instant) {
        self.streams.check_publishers(now);
        for tag in self.streams.tags() {
            self.keep_up_renditions(tag, now);
            self.close_outdated(tag, now);
            self.close_if_over(tag, now);
        }
        for key in self.viewers.displaced() {
            self.end_handshake(key, now);
        }
    }

    /// Ends the session of a viewer whose handshake must give way to another.
    pub(super) fn end_handshake(&mut self, key: usize, now: Instant) {
        let viewer = self.viewers.get_mut(key);
        if let Some(viewer) = viewer.filter(|viewer| viewer.is_displaced()) {
            viewer.peer.displace();
            self.settle(key, now);
        }
    }

    /// Ends the sessions of a stream for which its publisher's codec is not the right one any more.
    fn close_outdated(&mut self, tag: u64, now: Instant) {
        let stream = self.streams.get(tag);
        for key in stream.map_or(Vec::new(), |stream| outdated(stream, &self.viewers)) {
            self.close(key, now);
        }
    }

    /// Sends and notes everything that came of an input to a viewer.
    fn settle(&mut self, key: usize, now: Instant) {
        loop {
            let Some(viewer) = self.viewers.get_mut(key) else {
                return;
            };
            self.transmitter.send_control(viewer, None);
            match viewer.peer.poll_event() {
                None => break,
                Some(PeerEvent::Moved { remote }) => {
                    tracing::debug!(parent: &viewer.context.span, %remote, "sends go here");
                }
                Some(PeerEvent::Connected { profile }) => {
                    if let Some(join) = &mut viewer.join {
                        join.note_connected(&self.shared.joins, now);
                    }
                    let after = now.saturating_duration_since(viewer.since).as_millis();
                    tracing::info!(
                        parent: &viewer.context.span,
                        remote = viewer.peer.remote().map(canonical_address).map(tracing::field::display),
                        %profile,
                        "connected {after} ms after the answer"
                    );
                    self.shared.note_connected(&viewer.id, now);
                    self.send_media(key, now);
                }
                Some(PeerEvent::ChannelOpened { channel, label }) => {
                    self.greet(key, channel, &label, now);
                }
                Some(PeerEvent::Closed(reason)) => {
                    self.remove(key, &reason, now);
                    return;
                }
            }
        }
        let Some(viewer) = self.viewers.get_mut(key) else {
            return;
        };
        if viewer.peer.is_handshake_complete() {
            viewer.handshake = None;
        }
        if let Some(stream) = self.streams.get(viewer.video) {
            let former = viewer.quality.as_ref().and_then(|quality| quality.former);
            let former = former.and_then(|tag| self.streams.get(tag));
            let video = RepairLogs {
                present: &stream.video,
                former: former.map(|stream| &stream.video),
            };
            self.transmitter.retransmit(viewer, video, now);
        }
        self.schedule.note(key, viewer, now);
        self.follow_path(key, now);
    }

    /// Sends a viewer the media that is due.
    pub(super) fn send_media(&mut self, key: usize, now: Instant) {
        let Some(viewer) = self.viewers.get_mut(key) else {
            return;
        };
        let Some(logs) = logs(&self.streams, viewer) else {
            return;
        };
        self.transmitter.send_media(key, viewer, logs, now);
        viewer.note_media(&self.shared.joins, now);
        self.transmitter.send_control(viewer, None);
        self.schedule.note(key, viewer, now);
        if viewer.is_moving() {
            self.continue_move(key, now);
        }
    }

    /// Sends the media that is due to the viewers of a stream that are at the live edge.
    fn send_stream(&mut self, tag: u64, now: Instant) {
        let Some(stream) = self.streams.get(tag) else {
            return;
        };
        // A rendition's viewers get the audio of the stream.
        let home = stream.source.and_then(|home| self.streams.get(home));
        let audio = &home.unwrap_or(stream).audio;
        let mut is_moving = stream.is_awaited();
        for key in &stream.viewers {
            if self.transmitter.is_full() {
                // The others are behind from here on, and continue when the socket is writable.
                return;
            }
            let Some(viewer) = self.viewers.get_mut(*key).filter(|viewer| viewer.is_live()) else {
                continue;
            };
            let video = &stream.video;
            self.transmitter
                .send_media(*key, viewer, Logs { video, audio }, now);
            viewer.note_media(&self.shared.joins, now);
            self.schedule.note_sent(*key, viewer, now);
            is_moving |= viewer.is_moving();
        }
        for key in &stream.listeners {
            let viewer = self.viewers.get_mut(*key);
            let Some(viewer) = viewer.filter(|viewer| viewer.is_live()) else {
                continue;
            };
            if let Some(logs) = logs(&self.streams, viewer)
                && !self.transmitter.is_full()
            {
                self.transmitter.send_media(*key, viewer, logs, now);
                self.schedule.note_sent(*key, viewer, now);
            }
        }
        if is_moving {
            self.continue_moves(tag, now);
        }
    }

    /// Sends the publisher's data to the viewers that have a data channel.
    fn tell(&mut self, viewers: &[usize], data: &TimedData, now: Instant) {
        // Serialized for the first viewer that has a channel: most have none.
        let mut text = None;
        for key in viewers {
            let viewer = self.viewers.get_mut(*key);
            if let Some(viewer) = viewer.filter(|viewer| viewer.peer.has_channels()) {
                let text = text.get_or_insert_with(|| Notice::of(data).to_text());
                viewer.peer.send_text(now, text);
                self.transmitter.send_control(viewer, None);
                self.schedule.note(*key, viewer, now);
            }
        }
    }

    /// Sends the publisher's description of the stream on a viewer's new channel.
    fn greet(&mut self, key: usize, channel: u16, label: &str, now: Instant) {
        let Some(viewer) = self.viewers.get_mut(key) else {
            return;
        };
        tracing::debug!(parent: &viewer.context.span, channel, label, "opened a data channel");
        let stream = self.streams.get(viewer.stream);
        let metadata = stream.and_then(|stream| stream.subscription.stream().metadata());
        if let Some(metadata) = metadata {
            let text = Notice::of(&metadata).to_text();
            viewer.peer.send_text_on(now, channel, &text);
        }
    }

    /// Gives a viewer new ICE credentials beside those it has.
    pub(super) fn restart_ice(&mut self, id: &SessionId, local: Credentials, remote: Credentials) {
        let Some(key) = self.viewers.by_id(id) else {
            return;
        };
        self.viewers.note_ufrag(key, local.ufrag());
        if let Some(viewer) = self.viewers.get_mut(key) {
            viewer.peer.restart_ice(local, remote);
            tracing::info!(parent: &viewer.context.span, "restarts ICE");
        }
    }

    /// Ends a viewer's session.
    pub(super) fn close(&mut self, key: usize, now: Instant) {
        if let Some(viewer) = self.viewers.get_mut(key) {
            viewer.peer.close();
            self.settle(key, now);
        }
    }

    /// Removes a viewer whose session is over.
    fn remove(&mut self, key: usize, reason: &CloseReason, now: Instant) {
        let Some(mut viewer) = self.viewers.remove(key) else {
            return;
        };
        self.schedule.remove(key, &mut viewer);
        self.streams.unwatch(key, viewer.stream, viewer.video);
        let next = viewer.quality.as_ref().and_then(|quality| quality.next);
        self.streams.release(next.and_then(|next| next.tag));
        // Counts what was sent since the last time.
        viewer.write_stats(now);
        self.shared.end_session(&viewer.id, reason, now);
        self.shared.stats.remove(&viewer.id);
        let (video, audio) = viewer.peer.sender_stats();
        tracing::info!(
            parent: &viewer.context.span,
            seconds = now.saturating_duration_since(viewer.since).as_secs(),
            packets = video.packets + audio.packets,
            retransmitted = video.retransmitted,
            skips = video.skips,
            dropped = video.dropped_frames,
            missed_texts = NonZeroU64::new(viewer.peer.missed_texts()),
            "{reason}"
        );
    }

    /// Ends the sessions of a stream whose publisher has been gone for too long.
    fn close_if_over(&mut self, tag: u64, now: Instant) {
        let grace = self.shared.config.offline_grace;
        let over = self
            .streams
            .get(tag)
            .filter(|stream| stream.source.is_none() && stream.is_over(grace, now));
        for key in over.map_or(Vec::new(), |stream| stream.all_viewers().collect()) {
            self.close(key, now);
        }
    }
}

/// Returns the logs that a viewer reads.
fn logs<'a>(streams: &'a Streams, viewer: &Viewer) -> Option<Logs<'a>> {
    let video = streams.get(viewer.video)?;
    let home = if viewer.stream == viewer.video {
        video
    } else {
        streams.get(viewer.stream)?
    };
    Some(Logs {
        video: &video.video,
        audio: &home.audio,
    })
}

/// Returns whether an event of a rendition is used: its viewers get audio and data from the stream.
fn is_for_viewers_of_rendition(event: &StreamEvent) -> bool {
    match event {
        StreamEvent::Frame(frame) => matches!(**frame, Frame::Video(_)),
        StreamEvent::Data(_) => false,
        StreamEvent::Offline | StreamEvent::Online | StreamEvent::Gap | StreamEvent::Renditions => {
            true
        }
    }
}
