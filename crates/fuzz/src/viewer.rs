//! Targets for viewers' input besides media: data channels, ICE fragments, frames over TCP.

use std::time::{Duration, Instant};

use distributary_webrtc::data::{
    DataConfig, DataTransport, MAX_BUFFERED, MAX_CHANNELS, Request, SCTP_PORT,
};
use distributary_webrtc::dtls::DtlsRole;
use distributary_webrtc::framing::{FrameDecoder, MAX_FRAME};
use distributary_webrtc::ice::Credentials;
use distributary_webrtc::sdp::{HostCandidate, IceFragment};

use crate::{ORIGIN, pieces};

/// Longest packet that fits a datagram with its DTLS record.
const MAX_PACKET: usize = 1120;

/// Returns what a viewer with an SCTP association sends on it: the chunks of packets, each packet
/// with its length in two bytes before it. Header and checksum are made, and sequence numbers count
/// from where the association begins, so that the chunks are looked at.
pub fn data_channel(data: &[u8]) {
    let mut now = *ORIGIN;
    let (mut ours, state) = connected(now);
    for chunks in pieces(data) {
        now += Duration::from_millis(50);
        ours.handle_packet(now, &packet(&state, chunks));
        ours.handle_timeout(now);
        while ours.poll_event().is_some() {}
        ours.send(&"notice".repeat(100));
        let mut sent = 0;
        while let Some(packets) = ours.poll_transmit(now) {
            for packet in packets {
                assert!(packet.len() <= MAX_PACKET, "longer than a datagram");
                sent += packet.len();
            }
            assert!(sent < 4 * MAX_BUFFERED, "answers without end");
        }
        assert!(ours.channels().len() <= MAX_CHANNELS);
    }
    // Also before there is an association, and with any header.
    let mut fresh = transport(DtlsRole::Server);
    for packet in pieces(data) {
        fresh.handle_packet(now, packet);
        while fresh.poll_transmit(now).is_some() {}
    }
}

/// A text from a data channel.
pub fn data_request(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Some(request) = Request::parse(text) {
        let answer = request.answer(distributary_media::MediaTime::ZERO);
        assert!(answer.len() < 200, "{answer}");
    }
}

/// The body of a PATCH: the answer has one line per attribute and nothing that breaks out of a
/// line.
pub fn ice_fragment(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let Ok(fragment) = IceFragment::parse(text) else {
        return;
    };
    let ours = Credentials::new("gateway0", "aPasswordOfOurOwnWith32Letters00")
        .expect("well-formed credentials");
    let candidate = HostCandidate::udp(([192, 0, 2, 1], 8189).into());
    let answer = fragment.answer(&ours, &[candidate]);
    let lines = answer.split_terminator("\r\n").collect::<Vec<_>>();
    assert!(lines.len() <= 9, "{answer:?}");
    for line in &lines {
        assert_eq!(line.as_bytes().get(1), Some(&b'='), "{line:?}");
        assert!(!line.contains(['\r', '\n']), "{line:?}");
    }
    assert!(lines.contains(&"a=ice-ufrag:gateway0"));
}

/// Bytes on a TCP connection, which arrive in pieces as it happens.
pub fn tcp_frames(data: &[u8]) {
    let read = |size: usize| {
        let mut decoder = FrameDecoder::default();
        let mut packets = Vec::new();
        for bytes in data.chunks(size) {
            decoder.buffer().extend_from_slice(bytes);
            loop {
                match decoder.next_packet() {
                    Ok(Some(packet)) => {
                        assert!((1..=MAX_FRAME).contains(&packet.len()));
                        packets.push(packet);
                    }
                    Ok(None) => break,
                    Err(_) => return packets,
                }
            }
        }
        packets
    };
    assert_eq!(read(1), read(data.len().max(1)), "cuts change nothing");
}

fn transport(role: DtlsRole) -> DataTransport {
    let config = DataConfig {
        port: SCTP_PORT,
        max_message_size: 0,
    };
    DataTransport::new(role, config)
}

/// The values that a packet needs to be accepted by an association.
struct Known {
    tag: [u8; 4],
    /// The viewer's first TSN, and ours.
    theirs: u32,
    ours: u32,
}

/// Our side of an association, and the viewer's view of it.
fn connected(now: Instant) -> (DataTransport, Known) {
    let mut theirs = transport(DtlsRole::Client);
    let mut ours = transport(DtlsRole::Server);
    let (mut tag, mut first) = ([0; 4], [0; 2]);
    // INIT and INIT ACK carry the first TSN at the same place (RFC 9260 sections 3.3.2 and 3.3.3).
    let initial = |packet: &[u8]| {
        let is_init = matches!(packet.get(12), Some(1 | 2));
        let field = packet.get(28..32).filter(|_| is_init)?;
        Some(
            field
                .iter()
                .fold(0, |tsn, byte| tsn << 8 | u32::from(*byte)),
        )
    };
    for _ in 0..4 {
        for packet in theirs.poll_transmit(now).into_iter().flatten() {
            if let Some(field) = packet.get(4..8) {
                tag.copy_from_slice(field);
            }
            first[0] = initial(&packet).unwrap_or(first[0]);
            ours.handle_packet(now, &packet);
        }
        for packet in ours.poll_transmit(now).into_iter().flatten() {
            first[1] = initial(&packet).unwrap_or(first[1]);
            theirs.handle_packet(now, &packet);
        }
    }
    assert_ne!(tag, [0; 4], "the handshake is complete");
    let [theirs, mine] = first;
    let known = Known {
        tag,
        theirs,
        ours: mine,
    };
    (ours, known)
}

/// Returns a packet of these chunks (RFC 9260 section 3).
fn packet(known: &Known, chunks: &[u8]) -> Vec<u8> {
    let mut packet = Vec::with_capacity(12 + chunks.len());
    packet.extend_from_slice(&SCTP_PORT.to_be_bytes());
    packet.extend_from_slice(&SCTP_PORT.to_be_bytes());
    packet.extend_from_slice(&known.tag);
    packet.extend_from_slice(&[0; 4]);
    packet.extend_from_slice(chunks);
    let mut at = 12;
    while let Some(&[kind, _, hi, lo]) = packet.get(at..at + 4) {
        let base = match kind {
            // DATA, I-DATA, FORWARD TSN and I-FORWARD TSN carry TSNs of the viewer.
            0 | 64 | 192 | 194 => Some(known.theirs),
            // SACK carries TSNs of ours.
            3 => Some(known.ours),
            _ => None,
        };
        if let Some((base, field)) = base.zip(packet.get_mut(at + 4..at + 8)) {
            let tsn = field
                .iter()
                .fold(0u32, |tsn, byte| tsn << 8 | u32::from(*byte));
            field.copy_from_slice(&base.wrapping_add(tsn).to_be_bytes());
        }
        let length = usize::from(u16::from_be_bytes([hi, lo])).max(4);
        at += length.next_multiple_of(4);
    }
    let checksum = crc32c(&packet).to_le_bytes();
    packet[8..12].copy_from_slice(&checksum);
    packet
}

/// CRC32c (RFC 9260 appendix A), bit by bit.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32| (crc >> 1) ^ (0x82f6_3b78 & 0u32.wrapping_sub(crc & 1));
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksum_is_that_of_rfc_9260() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    /// Checks that the seeds pass the header, without which nothing else is fuzzed.
    #[test]
    fn chunks_of_the_seeds_are_accepted() {
        for (seed, channels) in [("heartbeat", 0), ("data", 1), ("fragments", 1)] {
            let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/seeds/data_channel/");
            let data = std::fs::read(format!("{folder}{seed}")).expect("the seed is there");
            let (mut ours, known) = connected(*ORIGIN);
            for chunks in pieces(&data) {
                ours.handle_packet(*ORIGIN, &packet(&known, chunks));
            }
            assert!(ours.poll_transmit(*ORIGIN).is_some(), "{seed} is answered");
            assert_eq!(ours.channels().len(), channels, "{seed}");
        }
    }
}
