//! Datagrams out: frames to the viewers of their stream, and what time brings about.

use std::sync::Arc;
use std::time::Instant;

use distributary_hub::{Delivery, StreamEvent};
use distributary_media::TimedData;

use super::streams::ShardStream;
use super::unsent::{Unsent, turns};
use super::viewers::Viewer;
use super::{FAST_TICK, SLOW_TICK, Shard, frames};
use crate::engine::Latency;
use crate::ice_tcp::Connection;
use crate::session::Expired;
use crate::udp::{Outlet as _, ShardSocket};
use distributary_webrtc::data::Notice;
use distributary_webrtc::ice::Transport;
use distributary_webrtc::send_buffer::SendBuffer;
use distributary_webrtc::sender::Progress;

impl Shard {
    /// Logs what the hub delivered and sends it to all viewers who stand at the live edge.
    pub(super) fn handle_delivery(&mut self, delivery: &Delivery, now: Instant) {
        let Some(stream) = self.streams.get_mut(delivery.tag) else {
            return;
        };
        let bundle_from = self.shared.config.bundle_sound_from;
        let is_due = stream.handle(&delivery.event, bundle_from, now);
        if let StreamEvent::Data(data) = &delivery.event {
            let viewers = stream.viewers.clone();
            self.tell(&viewers, data, now);
        } else if is_due {
            self.send_stream(delivery.tag, now);
        } else if stream.sound_due().is_some() && !self.sound_waits.contains(&delivery.tag) {
            self.sound_waits.push(delivery.tag);
        }
    }

    /// Sends the sound that has waited long enough for a picture.
    fn send_due_sound(&mut self, now: Instant) {
        for tag in std::mem::take(&mut self.sound_waits) {
            let Some(stream) = self.streams.get_mut(tag) else {
                continue;
            };
            match stream.sound_due() {
                Some(due) if now < due => self.sound_waits.push(tag),
                Some(_) => {
                    stream.release_sound(now);
                    self.send_stream(tag, now);
                }
                // It went with a picture.
                None => {}
            }
        }
    }

    /// When [`Self::send_due_sound`] has something to do next.
    pub(super) fn sound_due(&self) -> Option<Instant> {
        let streams = self.sound_waits.iter();
        streams
            .filter_map(|tag| self.streams.get(*tag)?.sound_due())
            .min()
    }

    /// Sends what is due to the viewers of a stream who stand at the live edge.
    fn send_stream(&mut self, tag: u64, now: Instant) {
        let Some(stream) = self.streams.get_mut(tag) else {
            return;
        };
        for key in &stream.viewers {
            if self.unsent.has_media() {
                // They are behind from here on, and go on when the kernel has room.
                return;
            }
            let Some(viewer) = self.viewers.get_mut(*key).filter(|viewer| viewer.is_live()) else {
                continue;
            };
            let (socket, unsent) = (&self.socket, &mut self.unsent);
            pump(
                (*key, viewer),
                stream,
                socket,
                unsent,
                &mut self.buffer,
                now,
            );
            if viewer.is_behind() && !viewer.is_listed {
                viewer.is_listed = true;
                self.behind.push(*key);
            }
        }
    }

    /// Tells the viewers that have a data channel what the publisher says.
    fn tell(&mut self, viewers: &[usize], data: &TimedData, now: Instant) {
        // Written when the first viewer wants it: most streams are watched without data channels.
        let mut text = None;
        for key in viewers {
            let viewer = self.viewers.get_mut(*key);
            if let Some(viewer) = viewer.filter(|viewer| viewer.peer.has_channels()) {
                let text = text.get_or_insert_with(|| Notice::of(data).to_text());
                viewer.peer.send_text(now, text);
                self.send_control(*key);
            }
        }
    }

    /// Sends a viewer what is due.
    pub(super) fn send_media(&mut self, key: usize, now: Instant) {
        let Some(viewer) = self.viewers.get_mut(key) else {
            return;
        };
        let Some(stream) = self.streams.get_mut(viewer.stream) else {
            return;
        };
        if !self.unsent.has_media() {
            let (socket, unsent) = (&self.socket, &mut self.unsent);
            pump((key, viewer), stream, socket, unsent, &mut self.buffer, now);
        }
        self.note_behind(key);
        self.send_control(key);
    }

    /// Keeps the list of those who are behind.
    pub(super) fn note_behind(&mut self, key: usize) {
        let Some(viewer) = self.viewers.get_mut(key) else {
            return;
        };
        let is_behind = viewer.is_behind();
        if is_behind == std::mem::replace(&mut viewer.is_listed, is_behind) {
            return;
        }
        if is_behind {
            self.behind.push(key);
        } else {
            self.behind.retain(|other| *other != key);
        }
    }

    /// Sends what the kernel had no room for, and then brings all viewers up to date.
    pub(super) fn send_unsent(&mut self, now: Instant) {
        let Some(served) = self.unsent.send(&self.socket) else {
            return;
        };
        for key in turns(&self.viewers.keys(), served) {
            if self.unsent.has_media() {
                return;
            }
            self.send_media(key, now);
        }
    }

    /// Sends what is not media: answers to checks, handshake, reports.
    pub(super) fn send_control(&mut self, key: usize) {
        self.send_control_besides(key, None);
    }

    /// The same, also on a connection on which the viewer has not proved to be.
    pub(super) fn send_control_besides(&mut self, key: usize, other: Option<&Arc<Connection>>) {
        let Some(viewer) = self.viewers.get_mut(key) else {
            return;
        };
        while let Some(transmit) = viewer.peer.poll_transmit() {
            if let Transport::Tcp(id) = transmit.transport {
                let other = other.filter(|other| other.id() == id);
                if let Some(connection) = viewer.connection(id).or(other) {
                    connection.send(&transmit.bytes);
                }
                continue;
            }
            let (to, from) = (transmit.destination, transmit.local);
            self.unsent
                .send_control(&self.socket, (to, from), &transmit.bytes);
        }
    }

    /// Sends again what a viewer has asked for.
    pub(super) fn retransmit(&mut self, key: usize, now: Instant) {
        let Some(viewer) = self.viewers.get_mut(key) else {
            return;
        };
        let Some(stream) = self.streams.get_mut(viewer.stream) else {
            return;
        };
        let Some(pair) = viewer.peer.pair() else {
            return;
        };
        self.buffer.clear();
        viewer.peer.retransmit(&stream.video, now, &mut self.buffer);
        if let Transport::Tcp(id) = pair.transport {
            let connection = viewer.connection(id).filter(|other| other.has_room());
            if let Some(connection) = connection {
                frames::send_runs(connection, &self.buffer);
            }
            return;
        }
        for (bytes, segment) in self.buffer.runs() {
            // A full kernel buffer loses the retransmission; the viewer asks again.
            let _ = self.socket.send(pair.remote, pair.local, bytes, segment);
        }
    }

    /// Does what is due at `now`.
    pub(super) fn tick(&mut self, now: Instant) {
        if now >= self.next_fast_tick {
            self.next_fast_tick = now + FAST_TICK;
            for key in self.behind.clone() {
                self.send_media(key, now);
            }
        }
        if !self.sound_waits.is_empty() {
            self.send_due_sound(now);
        }
        if now >= self.next_slow_tick {
            self.next_slow_tick = now + SLOW_TICK;
            self.slow_tick(now);
        }
    }

    fn slow_tick(&mut self, now: Instant) {
        self.streams.notice_publishers(now);
        self.follow_renditions(now);
        for key in self.viewers.keys() {
            if let Some(viewer) = self.viewers.get_mut(key) {
                if viewer.is_displaced() {
                    viewer.peer.displace();
                }
                viewer.peer.handle_timeout(now);
                self.after_input(key, now);
            }
        }
        let grace = self.shared.config.offline_grace;
        let over: Vec<usize> = self
            .streams
            .iter()
            .filter(|stream| stream.is_over(grace, now))
            .flat_map(|stream| stream.viewers.iter().copied())
            .collect();
        for key in over {
            self.close(key, now);
        }
        self.close_undecodable(now);
        self.note_figures(now);
        self.streams.drop_unwatched();
        if self.index == 0 {
            if now >= self.next_window {
                self.next_window = now + Latency::WINDOW;
                self.shared.fan_out.rotate();
            }
            self.shared.offers.expire(now);
            for Expired { span, was_heard } in self.shared.registry.expire(now) {
                if was_heard {
                    tracing::info!(
                        parent: &span,
                        "the viewer came, and waited in vain for its DTLS handshake: too many were incomplete"
                    );
                } else {
                    tracing::info!(
                        parent: &span,
                        "the viewer never came: no valid ICE check of it reached the UDP port"
                    );
                }
            }
        }
    }

    /// Ends the sessions whose stream has changed to a coding that they did not agree on, or that they could
    /// have agreed on in place of audio alone: their players ask anew, and agree on the one that comes now.
    fn close_undecodable(&mut self, now: Instant) {
        let mut keys = Vec::new();
        for stream in self.streams.iter() {
            let Some(comes) = stream.video.codec() else {
                continue;
            };
            for key in &stream.viewers {
                let Some(viewer) = self.viewers.get(*key) else {
                    continue;
                };
                let agreed = viewer.peer.video_codec();
                let is_over = match agreed {
                    Some(agreed) => agreed != comes,
                    None => viewer.visit.awaits.contains(&comes),
                };
                if is_over {
                    let agreed = agreed.map(tracing::field::display);
                    tracing::info!(
                        parent: &viewer.visit.span, agreed, %comes,
                        "the publisher has changed the coding of its pictures: the session ends, so \
                         that the player asks anew"
                    );
                    keys.push(*key);
                }
            }
        }
        for key in keys {
            self.close(key, now);
        }
    }

    /// Ends all sessions.
    pub(super) fn close_all(&mut self, now: Instant) {
        for key in self.viewers.keys() {
            self.close(key, now);
        }
    }
}

/// Sends a viewer what is due of its stream, until the kernel has no more room.
fn pump(
    (key, viewer): (usize, &mut Viewer),
    stream: &ShardStream,
    socket: &ShardSocket,
    unsent: &mut Unsent,
    buffer: &mut SendBuffer,
    now: Instant,
) {
    let Some(pair) = viewer.peer.pair() else {
        return;
    };
    if let Transport::Tcp(connection) = pair.transport {
        return frames::pump(viewer, connection, stream, buffer, now);
    }
    loop {
        buffer.clear();
        let progress = viewer
            .peer
            .send_media(&stream.video, &stream.audio, now, buffer);
        unsent.send_media(socket, key, (pair.remote, pair.local), buffer);
        let is_done = progress != Progress::Behind || viewer.peer.is_catching_up();
        if is_done || unsent.has_media() {
            return;
        }
    }
}
