//! The wire as OpenSSL sees it: reads and writes that are datagrams.

use std::collections::VecDeque;
use std::io;

/// Maximum number of datagrams that wait to be sent. A flight has about four; further ones are
/// dropped, as on the network, and retransmitted in time.
pub(super) const MAX_OUTBOUND: usize = 32;

/// Holds the one datagram that came in, and those that are to go out.
///
/// One read takes one datagram, and one write makes one: record boundaries are datagram boundaries
/// (RFC 6347 section 4.1.1).
#[derive(Debug, Default)]
pub(super) struct DatagramPipe {
    inbound: Option<Vec<u8>>,
    outbound: VecDeque<Vec<u8>>,
}

impl DatagramPipe {
    /// Queues a datagram for the next read. Ignores an empty one, which would be read as the end of
    /// the stream.
    pub(super) fn push_inbound(&mut self, datagram: &[u8]) {
        self.inbound = (!datagram.is_empty()).then(|| datagram.to_vec());
    }

    /// Removes and returns a written datagram, the oldest first.
    pub(super) fn pop_outbound(&mut self) -> Option<Vec<u8>> {
        self.outbound.pop_front()
    }
}

impl io::Read for DatagramPipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(datagram) = self.inbound.take() else {
            return Err(io::ErrorKind::WouldBlock.into());
        };
        io::Read::read(&mut datagram.as_slice(), buffer)
    }
}

impl io::Write for DatagramPipe {
    fn write(&mut self, datagram: &[u8]) -> io::Result<usize> {
        if self.outbound.len() < MAX_OUTBOUND {
            self.outbound.push_back(datagram.to_vec());
        }
        Ok(datagram.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read as _, Write as _};

    use super::*;

    #[test]
    fn read_takes_one_datagram_and_then_there_is_none() {
        let mut pipe = DatagramPipe::default();
        pipe.push_inbound(b"datagram");
        let mut buffer = [0; 4];
        assert_eq!(pipe.read(&mut buffer).unwrap(), 4);
        assert_eq!(&buffer, b"data");
        let error = pipe.read(&mut buffer).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock, "the rest is lost");
    }

    #[test]
    fn empty_datagram_does_not_look_like_an_end() {
        let mut pipe = DatagramPipe::default();
        pipe.push_inbound(b"");
        let error = pipe.read(&mut [0; 4]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
    }

    #[test]
    fn datagrams_go_out_as_they_were_written_and_not_without_bound() {
        let mut pipe = DatagramPipe::default();
        for number in 0..100_u8 {
            assert_eq!(pipe.write(&[number; 3]).unwrap(), 3);
        }
        for number in 0..MAX_OUTBOUND as u8 {
            assert_eq!(pipe.pop_outbound(), Some(vec![number; 3]));
        }
        assert_eq!(pipe.pop_outbound(), None);
    }
}
