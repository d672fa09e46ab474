//! Datagrams in a stream of bytes (RFC 4571 section 2, RFC 6544 section 3).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! ---------------------------------------------------------------
//! |             LENGTH            |  packet ...                   |
//! ---------------------------------------------------------------
//! ```

use bytes::{Buf, BufMut, BytesMut};

/// Longest frame that is taken: a viewer sends checks, handshakes and reports, none of them longer
/// than a datagram.
pub const MAX_FRAME: usize = 4096;

/// Length of the header before each packet, in bytes.
const HEADER_LEN: usize = 2;

/// The peer sends a frame longer than [`MAX_FRAME`]: it is not a WebRTC peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a frame of {0} bytes, more than {MAX_FRAME}")]
pub struct FrameTooLong(pub usize);

/// Splits a stream of bytes into packets.
#[derive(Debug, Default)]
pub struct FrameDecoder {
    buffer: BytesMut,
}

impl FrameDecoder {
    /// Returns the free part of the buffer, for received bytes. The buffer holds one frame at most.
    pub fn buffer(&mut self) -> &mut BytesMut {
        self.buffer.reserve(HEADER_LEN + MAX_FRAME);
        &mut self.buffer
    }

    /// Returns the next complete packet; `None` if more bytes are needed. Skips empty frames.
    ///
    /// # Errors
    /// If the next frame is too long. Nothing can be read after that.
    pub fn next_packet(&mut self) -> Result<Option<BytesMut>, FrameTooLong> {
        while let Some(header) = self.buffer.first_chunk::<HEADER_LEN>() {
            let length = usize::from(u16::from_be_bytes(*header));
            if length > MAX_FRAME {
                return Err(FrameTooLong(length));
            }
            if self.buffer.len() < HEADER_LEN + length {
                return Ok(None);
            }
            self.buffer.advance(HEADER_LEN);
            let packet = self.buffer.split_to(length);
            if !packet.is_empty() {
                return Ok(Some(packet));
            }
        }
        Ok(None)
    }
}

/// Appends a packet as a frame. Drops a packet of more than 65 535 bytes.
pub fn write_frame(stream: &mut Vec<u8>, packet: &[u8]) {
    if let Ok(length) = u16::try_from(packet.len()) {
        stream.put_u16(length);
        stream.extend_from_slice(packet);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packets(decoder: &mut FrameDecoder) -> Vec<Vec<u8>> {
        let next = || decoder.next_packet().unwrap();
        std::iter::from_fn(next)
            .map(|packet| packet.to_vec())
            .collect()
    }

    #[test]
    fn packets_come_out_as_they_went_in_wherever_the_stream_is_cut() {
        let sent = [vec![1], vec![2; 300], vec![3; MAX_FRAME]];
        let mut stream = Vec::new();
        for packet in &sent {
            write_frame(&mut stream, packet);
            write_frame(&mut stream, &[]);
        }
        for piece in [1, 2, 3, 299, 5000] {
            let mut decoder = FrameDecoder::default();
            let mut received = Vec::new();
            for bytes in stream.chunks(piece) {
                decoder.buffer().extend_from_slice(bytes);
                received.extend(packets(&mut decoder));
            }
            assert_eq!(received, sent, "in pieces of {piece}");
        }
    }

    #[test]
    fn frame_that_is_too_long_is_refused_before_it_is_there() {
        let mut decoder = FrameDecoder::default();
        decoder.buffer().extend_from_slice(&[0x10, 0x01]);
        assert_eq!(decoder.next_packet(), Err(FrameTooLong(4097)));
        let mut decoder = FrameDecoder::default();
        decoder.buffer().extend_from_slice(b"GET / HTTP/1.1\r\n");
        assert!(decoder.next_packet().is_err());
    }

    #[test]
    fn packet_longer_than_a_frame_is_not_written() {
        let mut stream = Vec::new();
        write_frame(&mut stream, &vec![0; 65_536]);
        assert!(stream.is_empty());
    }
}
