//! The buffer in which a viewer's packets are written, sealed and sent.

/// Maximum number of packets per system call: older kernels refuse more than 64 segments.
pub const MAX_SEGMENTS: usize = 64;

/// Maximum number of bytes per system call: the limit of a datagram behind the UDP and IPv6
/// headers.
const MAX_RUN: usize = 65_000;

/// Sealed packets for one destination, back to back.
///
/// Packets of equal size, the last one perhaps shorter, form a run: segmentation offload
/// (`UDP_SEGMENT`) takes a run as one datagram and splits it in the kernel. The buffer is reused
/// for every viewer and never grows, so writing a packet allocates nothing.
#[derive(Debug)]
pub struct SendBuffer {
    bytes: Box<[u8]>,
    used: usize,
    runs: Vec<Run>,
}

/// The position of a run in the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    start: usize,
    end: usize,
    segment_size: usize,
}

impl SendBuffer {
    /// Creates a buffer for `capacity` bytes of packets.
    pub fn new(capacity: usize) -> Self {
        Self {
            bytes: vec![0; capacity].into(),
            used: 0,
            runs: Vec::new(),
        }
    }

    /// Returns bytes that can still be written.
    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.used
    }

    /// Returns bytes written.
    pub fn len(&self) -> usize {
        self.used
    }

    /// Returns whether nothing has been written.
    pub fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// Room for a packet of `len` bytes, which joins the packets before it.
    ///
    /// # Panics
    /// When `len` is more than [`Self::remaining`].
    pub fn packet(&mut self, len: usize) -> &mut [u8] {
        let (start, end) = (self.used, self.used + len);
        match self.runs.last_mut() {
            Some(run) if run.takes(len) => run.end = end,
            _ => self.runs.push(Run {
                start,
                end,
                segment_size: len,
            }),
        }
        self.used = end;
        &mut self.bytes[start..end]
    }

    /// Returns the runs: the bytes, and the size of each packet but perhaps the last.
    pub fn runs(&self) -> impl ExactSizeIterator<Item = (&[u8], usize)> {
        self.runs
            .iter()
            .map(|run| (&self.bytes[run.start..run.end], run.segment_size))
    }

    /// Clears the buffer.
    pub fn clear(&mut self) {
        self.used = 0;
        self.runs.clear();
    }
}

impl Run {
    /// Returns whether a packet of `len` bytes can follow: only the last one of a run may be
    /// shorter.
    fn takes(&self, len: usize) -> bool {
        let bytes = self.end - self.start;
        bytes.is_multiple_of(self.segment_size)
            && len <= self.segment_size
            && bytes / self.segment_size < MAX_SEGMENTS
            && bytes + len <= MAX_RUN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(lens: &[usize]) -> Vec<(usize, usize)> {
        let mut buffer = SendBuffer::new(1 << 20);
        for len in lens {
            buffer.packet(*len);
        }
        buffer
            .runs()
            .map(|(bytes, segment)| (bytes.len(), segment))
            .collect()
    }

    #[test]
    fn equal_packets_and_a_shorter_last_one_are_one_run() {
        assert_eq!(runs(&[100, 100, 100, 40]), [(340, 100)]);
    }

    #[test]
    fn nothing_follows_a_shorter_packet_and_nothing_larger_joins() {
        assert_eq!(
            runs(&[40, 100, 100, 60, 60]),
            [(40, 40), (260, 100), (60, 60)]
        );
    }

    #[test]
    fn run_is_bounded_in_packets_and_in_bytes() {
        assert_eq!(runs(&[10; 70]), [(640, 10), (60, 10)]);
        assert_eq!(runs(&[1200; 60]), [(54 * 1200, 1200), (6 * 1200, 1200)]);
    }

    #[test]
    fn cleared_buffer_has_all_its_room_again() {
        let mut buffer = SendBuffer::new(300);
        buffer.packet(200).fill(7);
        assert_eq!((buffer.len(), buffer.remaining()), (200, 100));
        buffer.clear();
        assert!(buffer.is_empty() && buffer.remaining() == 300 && buffer.runs().len() == 0);
    }
}
