//! SCTP packets (RFC 9260), written by hand so that sequence numbers can be skipped.

/// The port of data channels (RFC 8841 section 5.1).
const PORT: u16 = 5000;

/// Chunk types (RFC 9260 section 3.2).
const DATA: u8 = 0;
const INIT: u8 = 1;
const INIT_ACK: u8 = 2;
const COOKIE_ECHO: u8 = 10;
pub(super) const COOKIE_ACK: u8 = 11;

/// The parameter with the cookie (RFC 9260 section 3.3.3.1).
const STATE_COOKIE: u16 = 7;

/// An unordered message of one fragment (RFC 9260 section 3.3.1).
const WHOLE_UNORDERED: u8 = 0b111;

/// The payload is text (RFC 8831 section 8).
const STRING: u32 = 51;

/// Streams in each direction.
const STREAMS: u16 = 16;

/// Length of the common header, with the checksum.
const HEADER_LEN: usize = 12;

/// The contents of the peer's INIT ACK.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct InitAck {
    /// The tag of packets to the peer.
    pub(super) tag: u32,
    cookie: Vec<u8>,
}

/// Returns the packet that starts an association with `tsn` as the first TSN.
pub(super) fn init(tag: u32, tsn: u32) -> Vec<u8> {
    let mut value = Vec::new();
    value.extend_from_slice(&tag.to_be_bytes());
    value.extend_from_slice(&(1_u32 << 20).to_be_bytes());
    value.extend_from_slice(&STREAMS.to_be_bytes());
    value.extend_from_slice(&STREAMS.to_be_bytes());
    value.extend_from_slice(&tsn.to_be_bytes());
    packet(0, &chunk(INIT, 0, &value))
}

/// Returns the packet that answers an INIT ACK.
pub(super) fn cookie_echo(ack: &InitAck) -> Vec<u8> {
    packet(ack.tag, &chunk(COOKIE_ECHO, 0, &ack.cookie))
}

/// Returns a packet with a text of one byte.
pub(super) fn data(tag: u32, tsn: u32) -> Vec<u8> {
    let mut value = Vec::new();
    value.extend_from_slice(&tsn.to_be_bytes());
    // Stream and its sequence number.
    value.extend_from_slice(&[0; 4]);
    value.extend_from_slice(&STRING.to_be_bytes());
    value.push(b'x');
    packet(tag, &chunk(DATA, WHOLE_UNORDERED, &value))
}

/// Reads an INIT ACK.
pub(super) fn init_ack(packet: &[u8]) -> Option<InitAck> {
    let value = chunks(packet).find(|(kind, _)| *kind == INIT_ACK)?.1;
    let tag = u32::from_be_bytes(*value.first_chunk()?);
    let mut parameters = value.get(16..)?;
    while let Some((&[t0, t1, l0, l1], _)) = parameters.split_first_chunk() {
        let len = usize::from(u16::from_be_bytes([l0, l1])).max(4);
        let parameter = parameters.get(4..len)?;
        if u16::from_be_bytes([t0, t1]) == STATE_COOKIE {
            let cookie = parameter.to_vec();
            return Some(InitAck { tag, cookie });
        }
        parameters = parameters.get(len.next_multiple_of(4)..)?;
    }
    None
}

/// Returns whether the packet has a chunk of this type.
pub(super) fn has_chunk(packet: &[u8], kind: u8) -> bool {
    chunks(packet).any(|(other, _)| other == kind)
}

/// Type and value of each chunk.
fn chunks(packet: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut rest = packet.get(HEADER_LEN..).unwrap_or_default();
    std::iter::from_fn(move || {
        let &[kind, _, l0, l1] = rest.first_chunk()?;
        let len = usize::from(u16::from_be_bytes([l0, l1])).max(4);
        let value = rest.get(4..len)?;
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

fn chunk(kind: u8, flags: u8, value: &[u8]) -> Vec<u8> {
    let len = 4 + value.len();
    let mut chunk = vec![kind, flags];
    chunk.extend_from_slice(&(len as u16).to_be_bytes());
    chunk.extend_from_slice(value);
    chunk.resize(len.next_multiple_of(4), 0);
    chunk
}

/// ```text
/// source port (2)  destination port (2)  verification tag (4)  checksum (4, little-endian)  chunks
/// ```
fn packet(tag: u32, chunks: &[u8]) -> Vec<u8> {
    let mut packet = Vec::with_capacity(HEADER_LEN + chunks.len());
    packet.extend_from_slice(&PORT.to_be_bytes());
    packet.extend_from_slice(&PORT.to_be_bytes());
    packet.extend_from_slice(&tag.to_be_bytes());
    packet.extend_from_slice(&[0; 4]);
    packet.extend_from_slice(chunks);
    let checksum = crc32c(&packet);
    if let Some(place) = packet.get_mut(8..HEADER_LEN) {
        place.copy_from_slice(&checksum.to_le_bytes());
    }
    packet
}

/// CRC32c (RFC 9260 appendix A), bit by bit: packets are short.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            let is_odd = crc & 1 == 1;
            (crc >> 1) ^ if is_odd { 0x82f6_3b78 } else { 0 }
        })
    };
    !bytes.iter().fold(u32::MAX, step)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use distributary_webrtc::data::{DataConfig, DataTransport};
    use distributary_webrtc::dtls::DtlsRole;

    use super::*;

    #[test]
    fn checksum_is_crc32c() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        // RFC 3720 appendix B.4: 32 bytes of zeros.
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        let mut data = data(7, 1);
        let checksum: [u8; 4] = data[8..12].try_into().unwrap();
        data[8..12].fill(0);
        assert_eq!(u32::from_le_bytes(checksum), crc32c(&data));
        assert_eq!(data.len(), 12 + 20);
    }

    #[test]
    fn gateway_accepts_the_packets_as_an_association() {
        let now = Instant::now();
        let config = DataConfig {
            port: PORT,
            max_message_size: 65_536,
        };
        let mut gateway = DataTransport::new(DtlsRole::Server, config);
        let mut exchange = |packet: &[u8]| -> Vec<Vec<u8>> {
            gateway.handle_packet(now, packet);
            let packets = std::iter::from_fn(|| gateway.poll_transmit(now));
            packets.flatten().map(|packet| packet.to_vec()).collect()
        };
        let answer = exchange(&init(5, 100));
        let ack = answer.iter().find_map(|packet| init_ack(packet)).unwrap();
        let answer = exchange(&cookie_echo(&ack));
        assert!(answer.iter().any(|packet| has_chunk(packet, COOKIE_ACK)));
        exchange(&data(ack.tag, 100));
        assert_eq!(gateway.channels(), [0], "the text has opened a channel");
    }
}
