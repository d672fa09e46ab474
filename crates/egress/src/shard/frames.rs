//! What comes and goes on the TCP connections of viewers.

use std::sync::Arc;
use std::time::Instant;

use super::inbound::Found;
use super::streams::ShardStream;
use super::viewers::Viewer;
use super::{Command, Shard};
use crate::ice_tcp::Connection;
use distributary_webrtc::demux::DatagramKind;
use distributary_webrtc::framing::write_frame;
use distributary_webrtc::send_buffer::SendBuffer;
use distributary_webrtc::sender::Progress;
use distributary_webrtc::stun::is_named_check;

impl Shard {
    /// Takes what came in as a frame, as if it were a datagram from an address of its own.
    pub(super) fn handle_frame(
        &mut self,
        connection: &Arc<Connection>,
        bytes: &mut [u8],
        now: Instant,
    ) {
        let pair = connection.pair();
        let key = match DatagramKind::of(bytes) {
            DatagramKind::Stun if is_named_check(bytes) => {
                match self.find_by_ufrag(pair, bytes, now) {
                    Found::Here(key) => key,
                    Found::Elsewhere(shard) => {
                        return self.hand_over_frame(connection, bytes, shard);
                    }
                    Found::Refused(error) => return connection.send(&error),
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
            self.send_control_besides(key, Some(connection));
        }
        self.after_input(key, now);
    }

    /// Gives a connection to the shard that has its session. When that one's inbox is full the frame is
    /// lost, and the viewer checks again.
    fn hand_over_frame(&self, connection: &Arc<Connection>, bytes: &[u8], shard: usize) {
        connection.set_shard(shard);
        let inbox = self.shared.inboxes.get(shard);
        if let Some(inbox) = inbox.filter(|_| shard != self.index) {
            let _ = inbox.try_send(Command::Frame {
                connection: Arc::clone(connection),
                bytes: bytes.into(),
            });
        }
    }
}

/// Queues what is due on a viewer's connection, as long as that has room. A viewer that does not drain
/// it is held back, and skips to the newest keyframe when it goes on.
pub(super) fn pump(
    viewer: &mut Viewer,
    connection: u64,
    stream: &ShardStream,
    buffer: &mut SendBuffer,
    now: Instant,
) {
    let Some(connection) = viewer.connection(connection).map(Arc::clone) else {
        return;
    };
    while connection.has_room() {
        buffer.clear();
        let progress = viewer
            .peer
            .send_media(&stream.video, &stream.audio, now, buffer);
        send_runs(&connection, buffer);
        if progress != Progress::Behind || viewer.peer.is_catching_up() {
            viewer.is_held_back = false;
            return;
        }
    }
    viewer.is_held_back = true;
}

/// Queues all packets of a buffer.
pub(super) fn send_runs(connection: &Connection, buffer: &SendBuffer) {
    let mut frames = Vec::with_capacity(buffer.len() + buffer.len() / 256);
    for (bytes, segment) in buffer.runs() {
        for packet in bytes.chunks(segment.max(1)) {
            write_frame(&mut frames, packet);
        }
    }
    connection.send_frames(frames);
}
