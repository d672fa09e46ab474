//! Everything that leaves a shard: datagrams over UDP, frames on the TCP connections of its
//! viewers.

use std::sync::Arc;
use std::time::Instant;

use distributary_webrtc::framing::write_frame;
use distributary_webrtc::ice::{CandidatePair, Transport};
use distributary_webrtc::log::Log;
use distributary_webrtc::send_buffer::SendBuffer;
use distributary_webrtc::sender::{Progress, RepairLogs};

use super::unsent::{Destination, Unsent};
use super::viewers::Viewer;
use crate::datagrams::Outlet;
use crate::ice_tcp::Connection;

/// Size of the buffer for one viewer's packets of one turn, in bytes.
const SEND_BUFFER: usize = 512 << 10;

/// The logs that a viewer reads.
#[derive(Clone, Copy)]
pub(super) struct Logs<'a> {
    /// Of the stream or of one of its renditions.
    pub(super) video: &'a Log,
    /// Of the stream.
    pub(super) audio: &'a Log,
}

/// Sends packets, and keeps those that the kernel's full buffer does not accept.
pub(super) struct Transmitter<O> {
    outlet: O,
    /// Packets of one viewer, between sealing and sending.
    buffer: SendBuffer,
    /// Datagrams that the kernel has not taken. While there is media among them no more is written:
    /// the viewers' cursors wait.
    unsent: Unsent,
}

impl<O: Outlet> Transmitter<O> {
    pub(super) fn new(outlet: O) -> Self {
        Self {
            outlet,
            buffer: SendBuffer::new(SEND_BUFFER),
            unsent: Unsent::default(),
        }
    }

    pub(super) fn outlet(&self) -> &O {
        &self.outlet
    }

    /// Returns whether datagrams wait for room in the kernel.
    pub(super) fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Returns whether media waits, so that no more may be written.
    pub(super) fn is_full(&self) -> bool {
        self.unsent.has_media()
    }

    /// Sends waiting packets. Returns the viewer whose media is complete then, if any waited.
    pub(super) fn send_unsent(&mut self) -> Option<usize> {
        self.unsent.send(&self.outlet)
    }

    /// Sends a viewer the media that is due, until the buffer is full.
    pub(super) fn send_media(
        &mut self,
        key: usize,
        viewer: &mut Viewer,
        logs: Logs<'_>,
        now: Instant,
    ) {
        let Some(pair) = viewer.peer.pair() else {
            return;
        };
        if let Transport::Tcp(connection) = pair.transport {
            self.queue_media(viewer, connection, logs, now);
            return;
        }
        while !self.is_full() {
            self.buffer.clear();
            let progress = viewer
                .peer
                .send_media(logs.video, logs.audio, now, &mut self.buffer);
            let to = Destination::of(&pair);
            self.unsent.send_media(&self.outlet, key, to, &self.buffer);
            if progress != Progress::Behind || viewer.peer.is_catching_up() {
                return;
            }
        }
    }

    /// Queues media that is due on a viewer's connection while that has room. A viewer that does
    /// not drain it is held back, and skips to the newest keyframe when it continues.
    fn queue_media(&mut self, viewer: &mut Viewer, connection: u64, logs: Logs<'_>, now: Instant) {
        let Some(connection) = viewer.connection(connection).map(Arc::clone) else {
            return;
        };
        while connection.has_room() {
            self.buffer.clear();
            let progress = viewer
                .peer
                .send_media(logs.video, logs.audio, now, &mut self.buffer);
            queue_runs(&connection, &self.buffer);
            if progress != Progress::Behind || viewer.peer.is_catching_up() {
                viewer.is_held_back = false;
                return;
            }
        }
        viewer.is_held_back = true;
    }

    /// Retransmits packets that a viewer has asked for, if the kernel takes them: otherwise they wait for
    /// the viewer's next report.
    pub(super) fn retransmit(&mut self, viewer: &mut Viewer, video: RepairLogs<'_>, now: Instant) {
        let Some(pair) = viewer.peer.pair() else {
            return;
        };
        self.buffer.clear();
        if let Transport::Tcp(id) = pair.transport {
            let connection = viewer.connection(id).filter(|other| other.has_room());
            if let Some(connection) = connection.map(Arc::clone) {
                viewer.peer.retransmit(video, now, &mut self.buffer);
                queue_runs(&connection, &self.buffer);
            }
            return;
        }
        if self.is_full() {
            return;
        }
        viewer.peer.retransmit(video, now, &mut self.buffer);
        for (bytes, segment) in self.buffer.runs() {
            // A full kernel buffer loses the retransmission; the viewer asks again.
            let _ = self.outlet.send(pair.remote, pair.local, bytes, segment);
        }
    }

    /// Sends control packets: answers to checks, handshake, reports. They may also go out on
    /// `other`, a connection on which the viewer has not proved to be.
    pub(super) fn send_control(&mut self, viewer: &mut Viewer, other: Option<&Arc<Connection>>) {
        while let Some(transmit) = viewer.peer.poll_transmit() {
            if let Transport::Tcp(id) = transmit.transport {
                let other = other.filter(|other| other.id() == id);
                if let Some(connection) = viewer.connection(id).or(other) {
                    connection.send(&transmit.bytes);
                }
                continue;
            }
            let to = Destination {
                address: transmit.destination,
                local: transmit.local,
            };
            self.send_datagram(to, &transmit.bytes);
        }
    }

    /// Sends a refusal to where a check came from that belongs to no viewer of this shard yet.
    pub(super) fn refuse(&mut self, pair: CandidatePair, refusal: &[u8]) {
        self.send_datagram(Destination::of(&pair), refusal);
    }

    fn send_datagram(&mut self, to: Destination, bytes: &[u8]) {
        self.unsent.send_control(&self.outlet, to, bytes);
    }
}

/// Queues all packets of a buffer.
fn queue_runs(connection: &Connection, buffer: &SendBuffer) {
    let mut frames = Vec::with_capacity(buffer.len() + buffer.len() / 256);
    for (bytes, segment) in buffer.runs() {
        for packet in bytes.chunks(segment.max(1)) {
            write_frame(&mut frames, packet);
        }
    }
    connection.send_frames(frames);
}
