//! Datagrams in: whose they are, and what they bring about.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use super::viewers::Viewer;
use super::{Command, Shard};
use crate::data::Notice;
use crate::demux::DatagramKind;
use crate::engine::Shared;
use crate::ice::{CandidatePair, Credentials, IceLite, IceOutcome};
use crate::peer::{CloseReason, MediaClock, Peer, PeerEvent};
use crate::session::{Claim, PendingSession, SessionId};
use crate::socket::Received;
use crate::stun::{is_goog_ping, local_ufrag};

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

/// Addresses remembered whose datagrams belong to another shard.
const MAX_STRAYS: usize = 4096;

impl Shard {
    pub(super) fn handle_datagram(&mut self, datagram: Received<'_>, now: Instant) {
        let key = match DatagramKind::of(datagram.bytes) {
            // A check in the short form names nobody: like media, it is known by where it comes from.
            DatagramKind::Stun if !is_goog_ping(datagram.bytes) => {
                let pair = CandidatePair::udp(datagram.local, datagram.source);
                match self.find_by_ufrag(pair, datagram.bytes, now) {
                    Found::Here(key) => Some(key),
                    Found::Elsewhere(shard) => {
                        self.note_stray(datagram.source, shard);
                        None
                    }
                    Found::Refused(error) => {
                        let (to, from) = (datagram.source, datagram.local);
                        self.unsent.send_control(&self.socket, (to, from), &error);
                        return;
                    }
                    Found::Nowhere => None,
                }
            }
            _ => self.viewers.by_address(&datagram.source),
        };
        let Some(key) = key else {
            self.hand_over_stray(&datagram);
            return;
        };
        let Received {
            source,
            local,
            bytes,
        } = datagram;
        let Some(viewer) = self.viewers.get_mut(key) else {
            return;
        };
        viewer.peer.handle_datagram(now, source, local, bytes);
        if viewer.peer.is_at(CandidatePair::udp(local, source)) {
            self.viewers.note_address(key, source);
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
        let mut refusal = None;
        let is_valid = |session: &PendingSession| {
            let config = &session.peer;
            let mut ice = IceLite::new(now, config.local.clone(), &config.remote_ufrag);
            let mut response = Vec::new();
            let outcome = ice.handle_stun(now, pair, check, &mut response);
            if matches!(outcome, IceOutcome::Refused { .. }) {
                refusal = Some(response);
            }
            matches!(outcome, IceOutcome::Valid(_))
        };
        let shared = Arc::clone(&self.shared);
        match shared.registry.claim(ufrag, self.index, is_valid) {
            Claim::Claimed(session) => self
                .admit(*session, ufrag, now)
                .map_or(Found::Nowhere, Found::Here),
            Claim::Elsewhere(shard) => Found::Elsewhere(shard),
            Claim::Unknown => refusal.map_or(Found::Nowhere, Found::Refused),
        }
    }

    fn note_stray(&mut self, source: SocketAddr, shard: usize) {
        if self.strays.len() >= MAX_STRAYS {
            self.strays.clear();
        }
        self.strays.insert(source, shard);
    }

    /// Gives a datagram of another shard's viewer to that shard. When its inbox is full the datagram
    /// is lost, as datagrams may be.
    fn hand_over_stray(&self, datagram: &Received<'_>) {
        let Some(shard) = self.strays.get(&datagram.source) else {
            return;
        };
        let Some(inbox) = self
            .shared
            .inboxes
            .get(*shard)
            .filter(|_| *shard != self.index)
        else {
            return;
        };
        let _ = inbox.try_send(Command::Datagram {
            source: datagram.source,
            local: datagram.local,
            bytes: (&*datagram.bytes).into(),
        });
    }

    /// Makes a viewer of a session that was heard of for the first time.
    fn admit(&mut self, session: PendingSession, ufrag: &str, now: Instant) -> Option<usize> {
        let PendingSession {
            id,
            stream: name,
            peer: config,
            b_frames,
            dtls,
            created,
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
        let peer = match Peer::new(config, clock, &dtls, now) {
            Ok(peer) => peer,
            Err(error) => {
                tracing::error!(parent: &visit.span, %error, "cannot serve the viewer");
                self.shared.registry.remove(&id);
                return None;
            }
        };
        let key = self.viewers.insert(Viewer {
            id,
            ufrags: vec![ufrag.into()],
            peer,
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
                        let after = now.saturating_duration_since(viewer.since).as_millis();
                        tracing::info!(
                            parent: &viewer.visit.span,
                            remote = viewer.peer.remote().map(canonical).map(tracing::field::display),
                            %profile,
                            "connected {after} ms after the answer"
                        );
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
    pub(super) fn restart_ice(&mut self, id: &SessionId, local: Credentials, remote_ufrag: &str) {
        let Some(key) = self.viewers.by_id(id) else {
            return;
        };
        self.viewers.note_ufrag(key, local.ufrag());
        if let Some(viewer) = self.viewers.get_mut(key) {
            viewer.peer.restart_ice(local, remote_ufrag);
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
        self.shared.registry.remove(&viewer.id);
        self.shared.figures.remove(&viewer.id);
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
    }
}

/// The address as people write it: one that came over IPv4 to an IPv6 socket is shown as IPv4.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
