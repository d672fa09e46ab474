//! Packets that the kernel's full send buffer has not accepted.
//!
//! The socket's buffer is full when more is sent than the machine's link carries. Then no more
//! media is written for anyone: the viewers' cursors wait in the logs, where packets that become
//! too old are skipped, and only sealed packets are kept here. Control packets go first when there
//! is room again, because viewers without answers to their checks give up.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use crate::datagrams::{Outlet, SendError};
use distributary_webrtc::ice::CandidatePair;
use distributary_webrtc::send_buffer::SendBuffer;

/// Maximum number of control datagrams kept. Further ones are dropped; the protocols repeat them.
const MAX_CONTROL: usize = 1024;

/// The remote address of datagrams, and the local one that they leave from.
#[derive(Clone, Copy)]
pub(super) struct Destination {
    pub(super) address: SocketAddr,
    pub(super) local: Option<IpAddr>,
}

impl Destination {
    /// Returns the destination of a viewer's datagrams.
    pub(super) fn of(pair: &CandidatePair) -> Self {
        Self {
            address: pair.remote,
            local: pair.local,
        }
    }
}

/// The waiting packets of one socket.
#[derive(Default)]
pub(super) struct Unsent {
    control: VecDeque<Datagrams>,
    media: Option<Rest>,
}

/// The unsent rest of one viewer's packets.
struct Rest {
    /// The key of the viewer.
    viewer: usize,
    runs: VecDeque<Datagrams>,
}

/// Datagrams of equal size for one destination, the last one perhaps shorter.
struct Datagrams {
    to: Destination,
    bytes: Vec<u8>,
    segment: usize,
}

impl Unsent {
    /// Returns whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.control.is_empty() && self.media.is_none()
    }

    /// Returns whether media waits, so that no more may be written.
    pub(super) fn has_media(&self) -> bool {
        self.media.is_some()
    }

    /// Sends a viewer's packets, and keeps those that the kernel does not accept. An unreachable
    /// destination counts as packet loss: the viewer sends NACKs, or times out.
    pub(super) fn send_media(
        &mut self,
        outlet: &impl Outlet,
        viewer: usize,
        to: Destination,
        buffer: &SendBuffer,
    ) {
        let mut runs = buffer.runs();
        while let Some((bytes, segment)) = runs.next() {
            let Err(Full { sent }) = offer(outlet, to, bytes, segment) else {
                continue;
            };
            let rest = std::iter::once((&bytes[sent..], segment)).chain(runs);
            let runs = rest.map(|(bytes, segment)| Datagrams {
                to,
                bytes: bytes.to_vec(),
                segment,
            });
            self.media = Some(Rest {
                viewer,
                runs: runs.collect(),
            });
            return;
        }
    }

    /// Sends a datagram that is not media, behind those that wait.
    pub(super) fn send_control(&mut self, outlet: &impl Outlet, to: Destination, bytes: &[u8]) {
        let segment = bytes.len();
        let is_sent = self.control.is_empty() && offer(outlet, to, bytes, segment).is_ok();
        if !is_sent && self.control.len() < MAX_CONTROL {
            self.control.push_back(Datagrams {
                to,
                bytes: bytes.to_vec(),
                segment,
            });
        }
    }

    /// Tries again. Returns the viewer whose media is complete then, if any waited.
    pub(super) fn send(&mut self, outlet: &impl Outlet) -> Option<usize> {
        if !drain(&mut self.control, outlet) {
            return None;
        }
        let mut rest = self.media.take()?;
        if drain(&mut rest.runs, outlet) {
            return Some(rest.viewer);
        }
        self.media = Some(rest);
        None
    }
}

/// The kernel's buffer is full.
struct Full {
    sent: usize,
}

/// Sends datagrams until the kernel's buffer is full. Undeliverable ones count as sent.
fn offer(outlet: &impl Outlet, to: Destination, bytes: &[u8], segment: usize) -> Result<(), Full> {
    match outlet.send(to.address, to.local, bytes, segment) {
        Ok(()) => Ok(()),
        Err(SendError::Full { sent }) => Err(Full { sent }),
        Err(SendError::Failed(error)) => {
            tracing::debug!(destination = %to.address, %error, "send failed");
            Ok(())
        }
    }
}

/// Sends queued datagrams until the kernel's buffer is full. Returns whether all were sent.
fn drain(queue: &mut VecDeque<Datagrams>, outlet: &impl Outlet) -> bool {
    while let Some(first) = queue.front_mut() {
        let Datagrams { to, bytes, segment } = first;
        if let Err(Full { sent }) = offer(outlet, *to, bytes, *segment) {
            bytes.drain(..sent);
            return false;
        }
        queue.pop_front();
    }
    true
}

/// Returns the viewers in the order of their turns after `last` was served last: one that was
/// served before the buffer was full must not be the first again.
pub(super) fn turns(keys: &[usize], last: usize) -> impl Iterator<Item = usize> {
    let next = keys.partition_point(|key| *key <= last);
    let (served, waiting) = keys.split_at(next);
    waiting.iter().chain(served).copied()
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::io;

    use super::*;

    /// A kernel with room for some datagrams, which it notes with their destinations' ports.
    #[derive(Default)]
    struct Kernel {
        room: Cell<usize>,
        taken: RefCell<Vec<(u16, Vec<u8>)>>,
    }

    impl Outlet for Kernel {
        fn send(
            &self,
            destination: SocketAddr,
            _local: Option<IpAddr>,
            bytes: &[u8],
            segment: usize,
        ) -> Result<(), SendError> {
            if destination.port() == UNREACHABLE {
                return Err(SendError::Failed(io::ErrorKind::HostUnreachable.into()));
            }
            let mut sent = 0;
            for datagram in bytes.chunks(segment) {
                if self.room.get() == 0 {
                    return Err(SendError::Full { sent });
                }
                self.room.set(self.room.get() - 1);
                let taken = (destination.port(), datagram.to_vec());
                self.taken.borrow_mut().push(taken);
                sent += datagram.len();
            }
            Ok(())
        }
    }

    const UNREACHABLE: u16 = 9;

    fn to(port: u16) -> Destination {
        Destination {
            address: ([127, 0, 0, 1], port).into(),
            local: None,
        }
    }

    /// Returns numbered packets in three runs.
    fn written() -> SendBuffer {
        let mut buffer = SendBuffer::new(1 << 16);
        for (number, len) in (0..).zip([100, 100, 100, 40, 100, 100, 100]) {
            buffer.packet(len).fill(number);
        }
        assert_eq!(buffer.runs().len(), 2);
        buffer
    }

    fn numbers(kernel: &Kernel, port: u16) -> Vec<(u8, usize)> {
        let taken = kernel.taken.borrow();
        let of_port = taken.iter().filter(|(to, _)| *to == port);
        of_port.map(|(_, bytes)| (bytes[0], bytes.len())).collect()
    }

    #[test]
    fn every_packet_is_sent_completely_and_once_wherever_the_buffer_was_full() {
        let expected: Vec<(u8, usize)> = (0..).zip([100, 100, 100, 40, 100, 100, 100]).collect();
        for first in 0..=7 {
            for then in 1..=7 {
                let (kernel, mut unsent) = (Kernel::default(), Unsent::default());
                kernel.room.set(first);
                unsent.send_media(&kernel, 5, to(1), &written());
                assert_eq!(unsent.has_media(), first < 7);
                let mut completed = None;
                while unsent.has_media() {
                    kernel.room.set(then);
                    completed = unsent.send(&kernel);
                }
                assert_eq!(completed, (first < 7).then_some(5));
                assert_eq!(numbers(&kernel, 1), expected, "{first}, then {then}");
            }
        }
    }

    #[test]
    fn answers_go_before_the_media_that_waits_and_in_order() {
        let (kernel, mut unsent) = (Kernel::default(), Unsent::default());
        kernel.room.set(2);
        unsent.send_media(&kernel, 5, to(1), &written());
        unsent.send_control(&kernel, to(2), b"a");
        kernel.room.set(1);
        // Not before the one that waits.
        unsent.send_control(&kernel, to(2), b"b");
        assert_eq!(unsent.send(&kernel), None);
        assert_eq!(numbers(&kernel, 2), [(b'a', 1)]);
        kernel.room.set(100);
        assert_eq!(unsent.send(&kernel), Some(5));
        assert!(unsent.is_empty());
        let ports: Vec<u16> = kernel
            .taken
            .borrow()
            .iter()
            .map(|(port, _)| *port)
            .collect();
        assert_eq!(ports, [1, 1, 2, 2, 1, 1, 1, 1, 1]);
    }

    #[test]
    fn control_packets_are_kept_up_to_a_limit() {
        let (kernel, mut unsent) = (Kernel::default(), Unsent::default());
        for _ in 0..2 * MAX_CONTROL {
            unsent.send_control(&kernel, to(2), b"a");
        }
        kernel.room.set(usize::MAX);
        assert_eq!(unsent.send(&kernel), None);
        assert!(unsent.is_empty());
        assert_eq!(numbers(&kernel, 2).len(), MAX_CONTROL);
    }

    #[test]
    fn unreachable_destination_does_not_block_others() {
        let (kernel, mut unsent) = (Kernel::default(), Unsent::default());
        unsent.send_control(&kernel, to(UNREACHABLE), b"a");
        unsent.send_media(&kernel, 5, to(UNREACHABLE), &written());
        assert!(unsent.is_empty());
        unsent.send_control(&kernel, to(2), b"b");
        assert!(!unsent.is_empty());
    }

    #[test]
    fn viewer_that_has_waited_is_served_next() {
        let order = |last| turns(&[0, 2, 5, 7], last).collect::<Vec<_>>();
        assert_eq!(order(2), [5, 7, 0, 2]);
        assert_eq!(order(7), [0, 2, 5, 7]);
        // One that has left since.
        assert_eq!(order(4), [5, 7, 0, 2]);
    }
}
