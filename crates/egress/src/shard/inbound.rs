//! Datagrams in: whose they are, and what they bring about.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use distributary_net::FairPermit;

use super::viewers::Viewer;
use super::{Command, Shard};
use crate::engine::Shared;
use crate::session::{Claim, PendingSession, SessionId};
use crate::udp::Received;
use distributary_webrtc::data::Notice;
use distributary_webrtc::demux::DatagramKind;
use distributary_webrtc::ice::{CandidatePair, Credentials, IceLite, IceOutcome};
use distributary_webrtc::peer::{CloseReason, MediaClock, Peer, PeerEvent};
use distributary_webrtc::stun::{is_named_check, local_ufrag};

/// Where the viewer is that a check names.
pub(super) enum Found {
    /// Here, by this key.
    Here(usize),
    /// With the shard of this number.
    Elsewhere(usize),
    /// Nowhere yet, and the check cannot be granted: this is the answer.
    Refused(Vec<u8>),
    /// There is none, or the check is not worth an answer.
    Nowhere,
}

impl Shard {
    pub(super) fn handle_datagram(&mut self, datagram: Received<'_>, now: Instant) {
        let Received {
            source,
            local,
            bytes,
        } = datagram;
        let (kind, pair) = (DatagramKind::of(bytes), CandidatePair::udp(local, source));
        // A check in the short form, and the answer to a check, name nobody: like media, they are known
        // by where they come from.
        let names_session = kind == DatagramKind::Stun && is_named_check(bytes);
        if names_session {
            match self.find_by_ufrag(pair, bytes, now) {
                Found::Here(key) => self.take_datagram(key, pair, bytes, now),
                Found::Elsewhere(shard) => {
                    self.strays.note(source, shard);
                    self.hand_over(shard, pair, bytes);
                }
                Found::Refused(error) => {
                    self.unsent
                        .send_control(&self.socket, (source, local), &error);
                }
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
                    self.take_datagram(key, pair, bytes, now);
                }
            }
            Some(holders) => self.take_datagram(holders.owner(), pair, bytes, now),
        }
    }

    /// Gives a datagram to a viewer of this shard.
    fn take_datagram(
        &mut self,
        key: usize,
        pair: CandidatePair,
        datagram: &mut [u8],
        now: Instant,
    ) {
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

    /// The viewer that a check is for: one of ours, or one that is waiting to be heard of.
    pub(super) fn find_by_ufrag(
        &mut self,
        pair: CandidatePair,
        check: &[u8],
        now: Instant,
    ) -> Found {
        let Some(ufrag) = local_ufrag(check) else {
            return Found::Nowhere;
        };
        if let Some(key) = self.viewers.by_ufrag(ufrag) {
            return Found::Here(key);
        }
        // A session that waits is taken over by its viewer only, which is told from others by the agent
        // it is going to have.
        let (mut refusal, mut handshake) = (None, None);
        let shared = Arc::clone(&self.shared);
        let is_valid = |session: &mut PendingSession| {
            let config = &session.peer;
            let mut ice = IceLite::new(now, config.local.clone(), config.remote.clone());
            if let Some((local, remote)) = session.restarted.clone() {
                ice.restart(local, remote);
            }
            let mut response = Vec::new();
            let outcome = ice.handle_stun(now, pair, check, &mut response);
            if matches!(outcome, IceOutcome::Refused { .. }) {
                refusal = Some(response);
            }
            if matches!(outcome, IceOutcome::Valid(_)) {
                handshake = shared.handshakes.begin(session.visit.counts_as, now);
                session.was_heard = true;
            }
            handshake.is_some()
        };
        match shared.registry.claim(ufrag, self.index, is_valid) {
            Claim::Claimed(session) => self
                .admit(*session, handshake, now)
                .map_or(Found::Nowhere, Found::Here),
            Claim::Elsewhere(shard) => Found::Elsewhere(shard),
            Claim::Unknown => refusal.map_or(Found::Nowhere, Found::Refused),
        }
    }

    /// Gives a datagram of another shard's viewer to that shard. When its inbox is full the datagram
    /// is lost, as datagrams may be.
    fn hand_over(&self, shard: usize, pair: CandidatePair, datagram: &[u8]) {
        let inbox = self.shared.inboxes.get(shard);
        if let Some(inbox) = inbox.filter(|_| shard != self.index) {
            let _ = inbox.try_send(Command::Datagram {
                source: pair.remote,
                local: pair.local,
                bytes: datagram.into(),
            });
        }
    }

    /// Makes a viewer of a session that was heard of for the first time.
    fn admit(
        &mut self,
        session: PendingSession,
        handshake: Option<FairPermit>,
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
            visit,
        } = session;
        let Shared {
            hub,
            config: engine,
            ..
        } = &*self.shared;
        let Some(tag) = self.streams.open(&name, hub, &self.sink, engine, now) else {
            tracing::info!(parent: &visit.span, "the stream ended before the viewer came");
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
                tracing::error!(parent: &visit.span, %error, "cannot serve the viewer");
                self.shared.registry.remove(&id);
                return None;
            }
        };
        if let Some((local, remote)) = restarted {
            peer.restart_ice(local, remote);
        }
        let key = self.viewers.insert(Viewer {
            id,
            ufrags,
            peer,
            handshake,
            b_frames,
            stream: tag,
            addresses: Vec::new(),
            connections: Vec::new(),
            is_held_back: false,
            since: created,
            is_listed: false,
            figures: self
                .shared
                .figures
                .enter(id, name.clone(), self.index, created),
            visit,
        });
        stream.viewers.push(key);
        Some(key)
    }

    /// Sends and notes what a viewer has to say after something went into it.
    pub(super) fn after_input(&mut self, key: usize, now: Instant) {
        self.send_control(key);
        while let Some(event) = self
            .viewers
            .get_mut(key)
            .and_then(|viewer| viewer.peer.poll_event())
        {
            match event {
                PeerEvent::Moved { remote } => {
                    if let Some(viewer) = self.viewers.get_mut(key) {
                        tracing::debug!(parent: &viewer.visit.span, %remote, "sends go here");
                    }
                }
                PeerEvent::Connected { profile } => {
                    if let Some(viewer) = self.viewers.get_mut(key) {
                        viewer.handshake = None;
                        let after = now.saturating_duration_since(viewer.since).as_millis();
                        tracing::info!(
                            parent: &viewer.visit.span,
                            remote = viewer.peer.remote().map(canonical).map(tracing::field::display),
                            %profile,
                            "connected {after} ms after the answer"
                        );
                        self.shared.registry.note_connected(&viewer.id);
                    }
                    self.send_media(key, now);
                }
                PeerEvent::ChannelOpened { channel, label } => {
                    self.greet(key, channel, &label, now);
                }
                PeerEvent::Closed(reason) => {
                    self.remove(key, &reason, now);
                    return;
                }
            }
        }
        self.retransmit(key, now);
        self.note_behind(key);
    }

    /// Tells a viewer on its new channel how the publisher describes the stream.
    fn greet(&mut self, key: usize, channel: u16, label: &str, now: Instant) {
        let Some(viewer) = self.viewers.get_mut(key) else {
            return;
        };
        tracing::debug!(parent: &viewer.visit.span, channel, label, "opened a data channel");
        let stream = self.streams.get_mut(viewer.stream);
        let metadata = stream.and_then(|stream| stream.subscription.stream().metadata());
        if let Some(metadata) = metadata {
            let text = Notice::of(&metadata).to_text();
            viewer.peer.send_text_on(now, channel, &text);
            self.send_control(key);
        }
    }

    /// Ends a viewer's session.
    pub(super) fn close(&mut self, key: usize, now: Instant) {
        if let Some(viewer) = self.viewers.get_mut(key) {
            viewer.peer.close();
            self.after_input(key, now);
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
            tracing::info!(parent: &viewer.visit.span, "restarts ICE");
        }
    }

    /// Ends the session of this name, if it is here.
    pub(super) fn close_session(&mut self, id: &SessionId, now: Instant) {
        if let Some(key) = self.viewers.by_id(id) {
            self.close(key, now);
        }
    }

    fn remove(&mut self, key: usize, reason: &CloseReason, now: Instant) {
        let Some(viewer) = self.viewers.remove(key) else {
            return;
        };
        if let Some(stream) = self.streams.get_mut(viewer.stream) {
            stream.viewers.retain(|other| *other != key);
        }
        self.behind.retain(|other| *other != key);
        let (video, audio) = viewer.peer.sender_stats();
        tracing::info!(
            parent: &viewer.visit.span,
            seconds = now.saturating_duration_since(viewer.since).as_secs(),
            packets = video.packets + audio.packets,
            retransmitted = video.retransmitted,
            skips = video.skips,
            dropped = video.dropped_pictures,
            missed_texts = viewer.peer.missed_texts(),
            "{reason}"
        );
        // Its place is free before anybody learns that it has ended.
        let id = viewer.id;
        drop(viewer);
        self.shared.registry.remove(&id);
        self.shared.figures.remove(&id);
    }
}

/// The address as people write it: one that came over IPv4 to an IPv6 socket is shown as IPv4.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
