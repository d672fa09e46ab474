//! Our side against the library alone, over a wire that loses.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sctp_proto::{
    Association, ClientConfig, DatagramEvent, Endpoint, EndpointConfig, Payload,
    PayloadProtocolIdentifier,
};

use super::dcep::ACK;
use super::transport::{DTLS_OVERHEAD, NO_ADDRESS};
use super::*;
use crate::dtls::{DtlsRole, MTU};

#[allow(clippy::disallowed_methods, reason = "an origin for driven time")]
fn origin() -> Instant {
    Instant::now()
}

const CONFIG: DataConfig = DataConfig {
    port: SCTP_PORT,
    max_message_size: 16 * 1024,
};

/// A viewer that uses the library directly, our side, and a wire between that loses chosen packets.
struct Pair {
    now: Instant,
    viewer: Association,
    endpoint: Endpoint,
    us: DataTransport,
    events: Vec<DataEvent>,
    /// Packets so far, both ways together.
    packets: usize,
}

impl Pair {
    fn new() -> Self {
        let mut endpoint = Endpoint::new(Arc::new(EndpointConfig::new()), None);
        let (_, viewer) = endpoint.connect(ClientConfig::new(), NO_ADDRESS).unwrap();
        Self {
            now: origin(),
            viewer,
            endpoint,
            us: DataTransport::new(DtlsRole::Server, CONFIG),
            events: Vec::new(),
            packets: 0,
        }
    }

    fn connected() -> Self {
        let mut pair = Self::new();
        pair.run(|_| true);
        assert!(!pair.viewer.is_handshaking());
        pair
    }

    /// Exchanges packets, and lets time pass while there are none, until nothing more happens.
    fn run(&mut self, is_delivered: impl Fn(usize) -> bool) {
        for _ in 0..200 {
            let moved = self.exchange(&is_delivered);
            while let Some(event) = self.us.poll_event() {
                self.events.push(event);
            }
            if moved {
                continue;
            }
            let timeouts = [self.viewer.poll_timeout(), self.us.poll_timeout()];
            let Some(next) = timeouts.into_iter().flatten().min() else {
                return;
            };
            self.now = self.now.max(next) + Duration::from_millis(1);
            self.viewer.handle_timeout(self.now);
            self.us.handle_timeout(self.now);
        }
    }

    fn exchange(&mut self, is_delivered: &impl Fn(usize) -> bool) -> bool {
        let mut moved = false;
        while let Some(transmit) = self.viewer.poll_transmit(self.now) {
            let Payload::RawEncode(packets) = transmit.payload else {
                panic!("not for the wire");
            };
            for packet in packets {
                self.packets += 1;
                if is_delivered(self.packets) {
                    self.us.handle_packet(self.now, &packet);
                }
                moved = true;
            }
        }
        while let Some(packets) = self.us.poll_transmit(self.now) {
            for packet in packets {
                assert!(packet.len() <= (MTU - DTLS_OVERHEAD) as usize);
                self.packets += 1;
                if is_delivered(self.packets) {
                    let handled = self
                        .endpoint
                        .handle(self.now, NO_ADDRESS, None, None, packet);
                    if let Some((_, DatagramEvent::AssociationEvent(event))) = handled {
                        self.viewer.handle_event(event);
                    }
                }
                moved = true;
            }
        }
        moved
    }

    fn open(&mut self, channel: u16, label: &str) {
        let mut message = vec![3, 0, 0, 0, 0, 0, 0, 0, 0, label.len() as u8, 0, 0];
        message.extend_from_slice(label.as_bytes());
        self.viewer
            .open_stream(channel, PayloadProtocolIdentifier::Dcep)
            .unwrap()
            .write_with_ppi(&message, PayloadProtocolIdentifier::Dcep)
            .unwrap();
    }

    /// Returns the messages that have come to the viewer on a channel.
    fn heard(&mut self, channel: u16) -> Vec<(PayloadProtocolIdentifier, Vec<u8>)> {
        let mut heard = Vec::new();
        let mut stream = self.viewer.stream(channel).unwrap();
        while let Some(message) = stream.read_sctp().unwrap() {
            let mut bytes = vec![0; message.len()];
            message.read(&mut bytes).unwrap();
            heard.push((message.ppi, bytes));
        }
        heard
    }
}

const OPENED: (PayloadProtocolIdentifier, &[u8]) = (PayloadProtocolIdentifier::Dcep, ACK);

#[test]
fn channel_is_opened_and_texts_go_both_ways() {
    let mut pair = Pair::connected();
    pair.open(0, "events");
    pair.run(|_| true);
    let label = "events".to_owned();
    assert_eq!(pair.events, [DataEvent::Opened { channel: 0, label }]);
    assert_eq!(pair.us.channels(), [0]);
    assert_eq!(pair.heard(0), [(OPENED.0, OPENED.1.to_vec())]);

    pair.us.send("for all");
    let mut stream = pair.viewer.stream(0).unwrap();
    stream
        .write_with_ppi(b"hello", PayloadProtocolIdentifier::String)
        .unwrap();
    pair.run(|_| true);
    let text = "hello".to_owned();
    assert_eq!(
        pair.events.last(),
        Some(&DataEvent::Text { channel: 0, text })
    );
    let expected = (PayloadProtocolIdentifier::String, b"for all".to_vec());
    assert_eq!(pair.heard(0), [expected]);
}

#[test]
fn each_packet_may_be_lost_once_on_the_way_to_an_open_channel() {
    for lost in 1..=8 {
        let mut pair = Pair::new();
        pair.run(|packet| packet != lost);
        pair.open(2, "events");
        pair.run(|packet| packet != lost);
        pair.us.send("text");
        pair.run(|packet| packet != lost);
        let texts = pair.heard(2);
        assert_eq!(texts.len(), 2, "packet {lost}: {texts:?}");
    }
}

#[test]
fn channel_that_was_agreed_on_elsewhere_opens_with_its_first_text() {
    let mut pair = Pair::connected();
    let mut stream = pair
        .viewer
        .open_stream(7, PayloadProtocolIdentifier::String)
        .unwrap();
    stream.write(b"hello").unwrap();
    pair.run(|_| true);
    assert_eq!(pair.us.channels(), [7]);
}

#[test]
fn channel_that_the_viewer_closes_is_closed_and_may_be_opened_again() {
    let mut pair = Pair::connected();
    for _ in 0..3 {
        pair.open(0, "events");
        pair.run(|_| true);
        assert_eq!(pair.us.channels(), [0]);
        pair.viewer.stream(0).unwrap().close().unwrap();
        pair.run(|_| true);
        assert_eq!(pair.us.channels(), [0u16; 0]);
        while pair.viewer.poll().is_some() {}
    }
    let closed = |event: &&DataEvent| matches!(event, DataEvent::Closed { channel: 0 });
    assert_eq!(pair.events.iter().filter(closed).count(), 3);
}

#[test]
fn number_of_channels_is_bounded() {
    let mut pair = Pair::connected();
    for channel in 0..20 {
        pair.open(channel, "more");
        pair.run(|_| true);
    }
    assert_eq!(pair.us.channels().len(), MAX_CHANNELS);
}

#[test]
fn messages_that_a_viewer_does_not_read_are_dropped_and_counted() {
    let mut pair = Pair::connected();
    pair.open(0, "events");
    pair.run(|_| true);
    let text = "x".repeat(10_000);
    for _ in 0..100 {
        pair.us.send(&text);
    }
    assert!(pair.us.buffered() <= MAX_BUFFERED);
    assert_eq!(pair.us.dropped(), 94);
    pair.us
        .send(&"x".repeat(CONFIG.max_message_size as usize + 1));
    assert_eq!(pair.us.dropped(), 95);
    pair.run(|_| true);
    assert_eq!(pair.us.buffered(), 0);
    pair.us.send(&text);
    assert_eq!(pair.us.dropped(), 95);
}

#[test]
fn message_longer_than_announced_does_not_end_in_a_panic() {
    let mut pair = Pair::connected();
    pair.open(0, "events");
    pair.run(|_| true);
    let long = vec![b'x'; 60_000];
    let mut stream = pair.viewer.stream(0).unwrap();
    stream
        .write_with_ppi(&long, PayloadProtocolIdentifier::String)
        .unwrap();
    pair.run(|_| true);
    let texts = |event: &&DataEvent| matches!(event, DataEvent::Text { .. });
    assert_eq!(pair.events.iter().filter(texts).count(), 0);
}

#[test]
fn as_dtls_client_we_begin() {
    let now = origin();
    let mut client = DataTransport::new(DtlsRole::Client, CONFIG);
    let mut server = DataTransport::new(DtlsRole::Server, CONFIG);
    assert!(server.poll_transmit(now).is_none());
    for _ in 0..10 {
        for packet in client.poll_transmit(now).into_iter().flatten() {
            server.handle_packet(now, &packet);
        }
        for packet in server.poll_transmit(now).into_iter().flatten() {
            client.handle_packet(now, &packet);
        }
    }
    for side in [&client, &server] {
        let association = side.association.as_ref().unwrap();
        assert!(!association.is_handshaking() && !association.is_closed());
    }
}

#[test]
fn associations_without_end_are_not_begun() {
    let mut us = DataTransport::new(DtlsRole::Server, CONFIG);
    let now = origin();
    for _ in 0..50 {
        let mut endpoint = Endpoint::new(Arc::new(EndpointConfig::new()), None);
        let (_, mut viewer) = endpoint.connect(ClientConfig::new(), NO_ADDRESS).unwrap();
        let Some(Payload::RawEncode(packets)) =
            viewer.poll_transmit(now).map(|transmit| transmit.payload)
        else {
            panic!("no INIT");
        };
        us.handle_packet(now, &packets[0]);
    }
    let mut answers = 0;
    while let Some(packets) = us.poll_transmit(now) {
        answers += packets.len();
    }
    assert_eq!(answers, 1);
}

/// Returns the number of bytes that we send.
fn drain(us: &mut DataTransport, now: Instant) -> usize {
    let packets = std::iter::from_fn(|| us.poll_transmit(now)).flatten();
    packets
        .map(|packet| {
            assert!(packet.len() <= (MTU - DTLS_OVERHEAD) as usize);
            packet.len()
        })
        .sum()
}

/// Returns a copy of `other` with one DATA chunk of one byte as its only chunk (RFC 9260 section
/// 3.3.1).
fn data_packet(other: &[u8], tsn: u32) -> Vec<u8> {
    let mut packet = other[..12].to_vec();
    packet[8..].fill(0);
    // Unordered, whole; 17 bytes; then stream 1 and the identifier of a text.
    packet.extend_from_slice(&[0, 7, 0, 17]);
    packet.extend_from_slice(&tsn.to_be_bytes());
    packet.extend_from_slice(&[0, 1, 0, 0, 0, 0, 0, 51, b'x', 0, 0, 0]);
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

#[test]
fn viewer_that_leaves_out_every_second_tsn_is_not_answered_by_more_than_it_sends() {
    let mut pair = Pair::connected();
    pair.open(1, "events");
    let Some(Payload::RawEncode(packets)) = pair
        .viewer
        .poll_transmit(pair.now)
        .map(|transmit| transmit.payload)
    else {
        panic!("no DATA");
    };
    let first = u32::from_be_bytes(packets[0][16..20].try_into().unwrap());
    pair.us.handle_packet(pair.now, &packets[0]);
    let (mut received, mut sent) = (0, drain(&mut pair.us, pair.now));
    assert!(sent > 0, "the channel is open");
    for gap in 1..20_000 {
        let packet = data_packet(&packets[0], first.wrapping_add(2 * gap));
        received += packet.len();
        pair.us.handle_packet(pair.now, &packet);
        sent += drain(&mut pair.us, pair.now);
        while pair.us.poll_event().is_some() {}
    }
    // The initial credit, and then twice the bytes received.
    assert!(sent <= 32 * 1024 + 2 * received, "{sent} for {received}");
    // The association still works.
    pair.us.send("text");
    assert!(drain(&mut pair.us, pair.now) > 0);
}
