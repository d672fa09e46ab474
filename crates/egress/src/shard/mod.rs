//! An egress shard: some of the viewers, and a copy of the logs of the streams they watch.
//!
//! [`Shard`] is a state machine. Datagrams, deliveries of the hub, commands and the time go in.
//! Datagrams come out by an [`Outlet`], commands to other shards by their inboxes, and the next
//! deadline by [`Shard::poll_timeout`]. `driver` runs it on a thread of its own and is the only
//! part that reads a clock.
//!
//! * `admission`: sessions that wait for their viewer.
//! * `addresses`, `strays`: which viewer, or which other shard, datagrams of an address are for.
//! * `viewers`: the viewers, by address, user name fragment, session and connection.
//! * `schedule`: the viewers by the time at which something is due.
//! * `stream`, `streams`: the streams that are watched and their logs.
//! * `b_frames`, `held_audio`: frames on their way into the logs.
//! * `renditions`: viewers that change between a stream and its rendition.
//! * `transmitter`, `unsent`: sending.
//! * `stats`: stats of the viewers for the API and the audio encoder.

mod addresses;
mod admission;
mod b_frames;
mod driver;
mod held_audio;
mod renditions;
mod schedule;
mod stats;
mod strays;
mod stream;
mod streams;
#[cfg(test)]
mod tests;
mod transmitter;
mod unsent;
mod viewers;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use distributary_hub::{Delivery, Sink, StreamEvent};
use distributary_media::TimedData;
use distributary_names::StreamName;
use distributary_net::FairPermit;
use distributary_webrtc::data::Notice;
use distributary_webrtc::demux::DatagramKind;
use distributary_webrtc::ice::{CandidatePair, Credentials};
use distributary_webrtc::peer::{CloseReason, MediaClock, Peer, PeerEvent};
use distributary_webrtc::stun::{is_named_check, local_ufrag};

use crate::command::Command;
use crate::datagrams::{Outlet, Received};
use crate::ice_tcp::Connection;
use crate::session::{PendingSession, SessionId};
use crate::state::{EngineState, JoinProgress};
use admission::Admission;
use schedule::Schedule;
use stats::StatsWriter;
use strays::Strays;
use stream::Reaction;
use streams::Streams;
use transmitter::Transmitter;
use unsent::turns;
use viewers::{Viewer, Viewers};

pub(crate) use driver::spawn;

/// Time between two rounds of everything that needs no exact deadline.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(1);

/// Time between two such rounds while a requested rendition is about to come.
const RENDITION_INTERVAL: Duration = Duration::from_millis(100);

/// Some of the viewers of the gateway.
pub(crate) struct Shard<O> {
    index: usize,
    shared: Arc<EngineState>,
    /// The queue of the hub's deliveries to this shard.
    sink: Sink,
    streams: Streams,
    viewers: Viewers,
    schedule: Schedule,
    strays: Strays,
    transmitter: Transmitter<O>,
    stats: StatsWriter,
    next_upkeep: Instant,
}

impl<O: Outlet> Shard<O> {
    /// Creates the shard of number `index`, to which the hub delivers by `sink`.
    pub(crate) fn new(
        index: usize,
        shared: Arc<EngineState>,
        outlet: O,
        sink: Sink,
        now: Instant,
    ) -> Self {
        Self {
            index,
            shared,
            sink,
            streams: Streams::default(),
            viewers: Viewers::default(),
            schedule: Schedule::new(now),
            strays: Strays::default(),
            transmitter: Transmitter::new(outlet),
            stats: StatsWriter::new(now),
            next_upkeep: now,
        }
    }

    /// Returns the way out.
    pub(crate) fn outlet(&self) -> &O {
        self.transmitter.outlet()
    }

    /// Returns whether datagrams wait for room in the kernel: [`Self::handle_writable`] is due when
    /// there is some.
    pub(crate) fn has_unsent(&self) -> bool {
        self.transmitter.has_unsent()
    }

    /// Returns when [`Self::handle_timeout`] is due; `None` while there is nothing to wait for.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let upkeep = self.needs_upkeep().then_some(self.next_upkeep);
        let deadlines = [
            upkeep,
            self.schedule.poll_timeout(),
            self.streams.poll_timeout(),
        ];
        deadlines.into_iter().flatten().min()
    }

    /// Handles a datagram that came in at the socket of this shard.
    pub(crate) fn handle_datagram(&mut self, datagram: Received<'_>, now: Instant) {
        let Received {
            source,
            local,
            bytes,
        } = datagram;
        let (kind, pair) = (DatagramKind::of(bytes), CandidatePair::udp(local, source));
        // A check in the short form and the answer to a check name no session. Like media, they
        // belong to a viewer by their source.
        if kind == DatagramKind::Stun && is_named_check(bytes) {
            match self.find_by_check(pair, bytes, now) {
                Found::Here(key) => self.feed(key, pair, bytes, now),
                Found::Elsewhere(shard) => {
                    self.strays.note(source, shard);
                    self.hand_over(shard, pair, bytes);
                }
                Found::Refused(refusal) => self.transmitter.refuse(pair, &refusal),
                Found::Nowhere => {}
            }
            return;
        }
        match self.viewers.by_address(&source) {
            None => {
                for shard in self.strays.shards(&source) {
                    self.hand_over(shard, pair, bytes);
                }
            }
            Some(holders) if kind == DatagramKind::Stun => {
                for key in holders.all() {
                    self.feed(key, pair, bytes, now);
                }
            }
            Some(holders) => self.feed(holders.owner(), pair, bytes, now),
        }
    }

    /// Handles a command. [`Command::Shutdown`] is for the driver.
    pub(crate) fn handle_command(&mut self, command: Command, now: Instant) {
        match command {
            Command::Datagram {
                source,
                local,
                mut bytes,
            } => {
                let datagram = Received {
                    source,
                    local,
                    bytes: &mut bytes,
                };
                self.handle_datagram(datagram, now);
            }
            Command::Frame {
                connection,
                mut bytes,
            } => self.handle_frame(&connection, &mut bytes, now),
            Command::Restart { id, local, remote } => self.restart_ice(&id, local, remote),
            Command::Close(id) => {
                if let Some(key) = self.viewers.by_id(&id) {
                    self.close(key, now);
                }
            }
            Command::Shutdown => {}
            #[cfg(any(test, debug_assertions))]
            Command::Panic => panic!("panicked on command"),
        }
    }

    /// Logs a delivery of the hub, and sends it to all viewers at the live edge.
    pub(crate) fn handle_delivery(&mut self, delivery: &Delivery, now: Instant) {
        let tag = delivery.tag;
        let Some(stream) = self.streams.get_mut(tag) else {
            return;
        };
        if let StreamEvent::Data(data) = &delivery.event {
            let viewers = stream.viewers.clone();
            self.tell(&viewers, data, now);
            return;
        }
        let codec = stream.video.codec();
        let bundle_from = self.shared.config.viewers.bundle_audio_from;
        let reaction = stream.handle(&delivery.event, bundle_from, now);
        if stream.video.codec() != codec {
            self.close_undecodable(tag, now);
        }
        match reaction {
            Reaction::None => self.streams.note_audio_wait(tag),
            Reaction::Send => self.send_stream(tag, now),
            Reaction::SendAndFollow => {
                self.send_stream(tag, now);
                self.follow_rendition(tag, now);
            }
        }
    }

    /// Sends packets that the kernel's full buffer held back, and then brings all viewers up to
    /// date.
    pub(crate) fn handle_writable(&mut self, now: Instant) {
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

    /// Performs the work that is due at `now`.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        for key in self.schedule.take_turns(now) {
            self.send_media(key, now);
        }
        for tag in self.streams.release_due_audio(now) {
            self.send_stream(tag, now);
        }
        for key in self.schedule.take_due(now) {
            if let Some(viewer) = self.viewers.get_mut(key) {
                viewer.armed = None;
                if viewer.is_displaced() {
                    viewer.peer.displace();
                }
                viewer.peer.handle_timeout(now);
                self.after_input(key, now);
            }
        }
        if self.needs_upkeep() && now >= self.next_upkeep {
            self.keep_up(now);
            let interval = if self.streams.await_rendition(now) {
                RENDITION_INTERVAL
            } else {
                UPKEEP_INTERVAL
            };
            self.next_upkeep = now + interval;
        }
    }

    /// Ends all sessions.
    pub(crate) fn close_all(&mut self, now: Instant) {
        for key in self.viewers.keys() {
            self.close(key, now);
        }
    }

    /// Handles a frame that came on a TCP connection, as a datagram from an address of its own.
    fn handle_frame(&mut self, connection: &Arc<Connection>, bytes: &mut [u8], now: Instant) {
        let pair = connection.pair();
        let key = match DatagramKind::of(bytes) {
            DatagramKind::Stun if is_named_check(bytes) => {
                match self.find_by_check(pair, bytes, now) {
                    Found::Here(key) => key,
                    Found::Elsewhere(shard) => {
                        self.hand_over_frame(connection, bytes, shard);
                        return;
                    }
                    Found::Refused(refusal) => return connection.send(&refusal),
                    Found::Nowhere => return,
                }
            }
            _ => match self.viewers.by_connection(connection.id()) {
                Some(key) => key,
                None => return,
            },
        };
        let Some(viewer) = self.viewers.get_mut(key) else {
            return;
        };
        viewer.peer.handle_packet(now, pair, bytes);
        if viewer.peer.is_at(pair) {
            self.viewers.note_connection(key, connection);
        } else {
            // A refusal goes back on a connection that is nobody's.
            self.transmitter.send_control(viewer, Some(connection));
        }
        self.after_input(key, now);
    }

    /// Gives a datagram to a viewer of this shard.
    fn feed(&mut self, key: usize, pair: CandidatePair, datagram: &mut [u8], now: Instant) {
        let Some(viewer) = self.viewers.get_mut(key) else {
            return;
        };
        viewer.peer.handle_packet(now, pair, datagram);
        if viewer.peer.is_at(pair) {
            let is_proven = viewer.peer.is_proven(pair);
            self.viewers.note_address(key, pair.remote, is_proven);
        }
        self.after_input(key, now);
    }

    /// Finds the viewer that a check names. One that waits becomes a viewer of this shard.
    fn find_by_check(&mut self, pair: CandidatePair, check: &[u8], now: Instant) -> Found {
        let Some(ufrag) = local_ufrag(check) else {
            return Found::Nowhere;
        };
        if let Some(key) = self.viewers.by_ufrag(ufrag) {
            return Found::Here(key);
        }
        match admission::admit(&self.shared, self.index, ufrag, (pair, check), now) {
            Admission::Admitted(session, handshake) => self
                .add_viewer(*session, handshake, now)
                .map_or(Found::Nowhere, Found::Here),
            Admission::Elsewhere(shard) => Found::Elsewhere(shard),
            Admission::Refused(refusal) => Found::Refused(refusal),
            Admission::Nothing => Found::Nowhere,
        }
    }

    /// Gives a datagram of another shard's viewer to that shard. When its inbox is full the
    /// datagram is lost, as datagrams may be.
    fn hand_over(&self, shard: usize, pair: CandidatePair, datagram: &[u8]) {
        self.hand_over_command(shard, || Command::Datagram {
            source: pair.remote,
            local: pair.local,
            bytes: datagram.into(),
        });
    }

    /// Gives a connection to the shard that has its session. When the inbox of that shard is full
    /// the frame is lost, and the viewer checks again.
    fn hand_over_frame(&self, connection: &Arc<Connection>, bytes: &[u8], shard: usize) {
        connection.set_shard(shard);
        self.hand_over_command(shard, || Command::Frame {
            connection: Arc::clone(connection),
            bytes: bytes.into(),
        });
    }

    fn hand_over_command(&self, shard: usize, command: impl FnOnce() -> Command) {
        let inbox = self.shared.inboxes.get(shard);
        if let Some(inbox) = inbox.filter(|_| shard != self.index) {
            let _ = inbox.try_send(command());
        }
    }

    /// Makes a viewer of an admitted session.
    fn add_viewer(
        &mut self,
        session: PendingSession,
        handshake: FairPermit,
        now: Instant,
    ) -> Option<usize> {
        let ufrags = session.ufrags().map(Into::into).collect();
        let PendingSession {
            id,
            stream: name,
            peer: config,
            restarted,
            b_frames,
            dtls,
            created,
            was_heard: _,
            // Given up once the shard has subscribed.
            reservation: _reservation,
            context,
        } = session;
        let EngineState {
            hub,
            config: engine,
            ..
        } = &*self.shared;
        let Some(tag) = self.streams.open(&name, hub, &self.sink, engine, now) else {
            tracing::info!(parent: &context.span, "the stream ended before the viewer came");
            self.shared.registry.remove(&id);
            return None;
        };
        let stream = self.streams.get_mut(tag)?;
        let clock = MediaClock {
            epoch: stream.subscription.stream().epoch(),
            wall: self.shared.wall,
        };
        let mut peer = match Peer::new(config, clock, &dtls, now) {
            Ok(peer) => peer,
            Err(error) => {
                tracing::error!(parent: &context.span, %error, "cannot serve the viewer");
                self.shared.registry.remove(&id);
                return None;
            }
        };
        if let Some((local, remote)) = restarted {
            peer.restart_ice(local, remote);
        }
        let table = &self.shared.stats;
        let key = self.viewers.insert(Viewer {
            id,
            ufrags,
            peer,
            handshake: Some(handshake),
            b_frames,
            stream: tag,
            addresses: Vec::new(),
            connections: Vec::new(),
            is_held_back: false,
            since: created,
            join: Some(JoinProgress::begin(&self.shared.joins, created, now)),
            is_listed: false,
            armed: None,
            stats: table.enter(id, name.clone(), self.index, created),
            context,
        });
        stream.viewers.push(key);
        Some(key)
    }

    /// Sends and notes everything that came of an input to a viewer.
    fn after_input(&mut self, key: usize, now: Instant) {
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
                        remote = viewer.peer.remote().map(canonical).map(tracing::field::display),
                        %profile,
                        "connected {after} ms after the answer"
                    );
                    self.shared.registry.note_connected(&viewer.id);
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
        if let Some(stream) = self.streams.get(viewer.stream) {
            self.transmitter.retransmit(viewer, stream, now);
        }
        self.schedule.note(key, viewer, now);
    }

    /// Sends a viewer the media that is due.
    fn send_media(&mut self, key: usize, now: Instant) {
        let Some(viewer) = self.viewers.get_mut(key) else {
            return;
        };
        let Some(stream) = self.streams.get(viewer.stream) else {
            return;
        };
        self.transmitter.send_media(key, viewer, stream, now);
        viewer.note_media(&self.shared.joins, now);
        self.transmitter.send_control(viewer, None);
        self.schedule.note(key, viewer, now);
    }

    /// Sends the media that is due to the viewers of a stream that are at the live edge.
    fn send_stream(&mut self, tag: u64, now: Instant) {
        let Some(stream) = self.streams.get(tag) else {
            return;
        };
        for key in &stream.viewers {
            if self.transmitter.is_full() {
                // The others are behind from here on, and continue when the socket is writable.
                return;
            }
            let Some(viewer) = self.viewers.get_mut(*key).filter(|viewer| viewer.is_live()) else {
                continue;
            };
            self.transmitter.send_media(*key, viewer, stream, now);
            viewer.note_media(&self.shared.joins, now);
            self.schedule.note_sent(*key, viewer, now);
        }
    }

    /// Sends the publisher's data to the viewers that have a data channel.
    fn tell(&mut self, viewers: &[usize], data: &TimedData, now: Instant) {
        // Serialised for the first viewer that has a channel: most have none.
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
    fn restart_ice(&mut self, id: &SessionId, local: Credentials, remote: Credentials) {
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
    fn close(&mut self, key: usize, now: Instant) {
        if let Some(viewer) = self.viewers.get_mut(key) {
            viewer.peer.close();
            self.after_input(key, now);
        }
    }

    /// Removes a viewer whose session is over.
    fn remove(&mut self, key: usize, reason: &CloseReason, now: Instant) {
        let Some(mut viewer) = self.viewers.remove(key) else {
            return;
        };
        self.schedule.remove(key, &mut viewer);
        self.streams.unwatch(viewer.stream, key);
        self.shared.registry.remove(&viewer.id);
        self.shared.stats.remove(&viewer.id);
        let (video, audio) = viewer.peer.sender_stats();
        tracing::info!(
            parent: &viewer.context.span,
            seconds = now.saturating_duration_since(viewer.since).as_secs(),
            packets = video.packets + audio.packets,
            retransmitted = video.retransmitted,
            skips = video.skips,
            dropped = video.dropped_frames,
            missed_texts = viewer.peer.missed_texts(),
            "{reason}"
        );
    }

    /// Returns whether [`Self::keep_up`] has any work. The first shard also maintains the shared
    /// state.
    fn needs_upkeep(&self) -> bool {
        self.index == 0 || !self.streams.is_empty()
    }

    /// Performs the work that needs no exact deadline.
    fn keep_up(&mut self, now: Instant) {
        self.streams.check_publishers(now);
        for tag in self.streams.tags() {
            self.follow_rendition(tag, now);
            self.close_undecodable(tag, now);
            self.close_if_over(tag, now);
        }
        self.stats.write(&self.viewers, &self.streams, now);
        self.streams.drop_unwatched();
        if self.index == 0 {
            self.shared.keep_up(now);
        }
    }

    /// Lets viewers of a stream watch the form of it that they can decode best.
    fn follow_rendition(&mut self, tag: u64, now: Instant) {
        let Some(stream) = self.streams.get_mut(tag) else {
            return;
        };
        let change = renditions::decide(stream, &self.viewers, &self.shared.hub, now);
        if let Some(change) = change {
            self.change_stream(&change.viewers, &change.to, now);
        }
    }

    /// Lets viewers watch another form of their stream.
    fn change_stream(&mut self, keys: &[usize], name: &StreamName, now: Instant) {
        let EngineState { hub, config, .. } = &*self.shared;
        let Some(tag) = self.streams.open(name, hub, &self.sink, config, now) else {
            return;
        };
        for key in keys {
            let Some(viewer) = self.viewers.get_mut(*key) else {
                continue;
            };
            let before = std::mem::replace(&mut viewer.stream, tag);
            viewer.stats.set_stream(name.clone());
            viewer.peer.change_logs();
            tracing::info!(
                parent: &viewer.context.span, transcoded = name.is_rendition(),
                "the viewer changes to another form of its stream"
            );
            self.streams.unwatch(before, *key);
            self.streams.watch(tag, *key);
            self.send_media(*key, now);
        }
    }

    /// Ends the sessions of a stream whose publisher has been gone for too long.
    fn close_if_over(&mut self, tag: u64, now: Instant) {
        let grace = self.shared.config.offline_grace;
        let over = self
            .streams
            .get(tag)
            .filter(|stream| stream.is_over(grace, now));
        for key in over.map_or(Vec::new(), |stream| stream.viewers.clone()) {
            self.close(key, now);
        }
    }

    /// Ends the sessions of a stream whose codec is no longer the negotiated one, and those that
    /// get audio alone although they could now decode the video: their players connect again, and
    /// get it.
    fn close_undecodable(&mut self, tag: u64, now: Instant) {
        let Some(stream) = self.streams.get(tag) else {
            return;
        };
        let Some(comes) = stream.video.codec() else {
            return;
        };
        let mut keys = Vec::new();
        for key in &stream.viewers {
            let Some(viewer) = self.viewers.get(*key) else {
                continue;
            };
            let agreed = viewer.peer.video_codec();
            let is_over = match agreed {
                Some(agreed) => agreed != comes,
                None => viewer.context.awaits.contains(&comes),
            };
            if is_over {
                let agreed = agreed.map(tracing::field::display);
                tracing::info!(
                    parent: &viewer.context.span, agreed, %comes,
                    "the publisher has changed the video codec: the session ends, so that the player \
                     asks again"
                );
                keys.push(*key);
            }
        }
        for key in keys {
            self.close(key, now);
        }
    }
}

/// The owner of the viewer that a check names.
enum Found {
    /// This shard, under this key.
    Here(usize),
    /// The shard of this number.
    Elsewhere(usize),
    /// None, and this error response refuses the check.
    Refused(Vec<u8>),
    /// None, and the check gets no answer.
    Nowhere,
}

/// Writes an address as people do: one that came over IPv4 to an IPv6 socket is shown as IPv4.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
