#![allow(
    clippy::disallowed_methods,
    reason = "an origin for the simulated clock"
)]

use super::*;
use crate::log::LogLimits;
use crate::rtcp::ntp::WallClock;
use crate::rtp::StreamExtensions;
use crate::rtp::extension::Mid;
use crate::sdp::ExtensionId;
use crate::srtp::SrtpProfile;
use crate::srtp::test_support::{master, webrtc_context};
use distributary_media::{MediaTime, VideoCodec, VideoFrame};
use std::time::{Duration, SystemTime};

struct Harness {
    log: Log,
    sender: RtpSender,
    sealer: SrtpSealer,
    opener: webrtc_srtp::context::Context,
    buffer: SendBuffer,
    sent: SentPackets,
    clock: MediaClock,
    now: Instant,
    slow_path: bool,
}

/// Sequence number, timestamp, first payload bytes of a packet that the viewer opened.
#[derive(Debug, PartialEq, Eq)]
struct Received {
    payload_type: u8,
    sequence: u16,
    timestamp: u32,
    ssrc: u32,
    extension: Vec<u8>,
    payload: Vec<u8>,
}

impl Harness {
    fn new(rtx: Option<(u32, u8)>, sequence: u16) -> Self {
        Self::with_extensions(rtx, sequence, StreamExtensions::default())
    }

    fn with_extensions(
        rtx: Option<(u32, u8)>,
        sequence: u16,
        extensions: StreamExtensions,
    ) -> Self {
        let master = master(SrtpProfile::AeadAes128Gcm, 1);
        let resend = rtx.map_or(Resend::Same, |(ssrc, payload_type)| Resend::Rtx {
            ssrc,
            payload_type,
        });
        let config = SenderConfig {
            ssrc: 5,
            codec: Some(VideoCodec::H264),
            payload_type: 108,
            red: None,
            resend,
            extensions,
            reorders: false,
        };
        let start = RandomStart {
            sequence,
            rtx_sequence: 100,
            timestamp: 1000,
        };
        let now = Instant::now();
        Self {
            log: Log::new(90_000, LogLimits::default()),
            sender: RtpSender::new(config, start),
            sealer: SrtpSealer::new(&master),
            opener: webrtc_context(&master),
            buffer: SendBuffer::new(1 << 20),
            sent: SentPackets::default(),
            clock: MediaClock {
                epoch: now,
                wall: WallClock::new(now, SystemTime::UNIX_EPOCH),
            },
            now,
            slow_path: false,
        }
    }

    /// A frame of one packet whose payload is the NAL header and `mark`.
    fn frame(&mut self, mark: u8, keyframe: bool) {
        self.unit(vec![if keyframe { 0x65 } else { 0x41 }, mark]);
    }

    /// A disposable frame.
    fn disposable(&mut self, mark: u8) {
        self.unit(vec![0x01, mark]);
    }

    fn unit(&mut self, unit: Vec<u8>) {
        self.coded_unit(VideoCodec::H264, unit);
    }

    fn coded_unit(&mut self, codec: VideoCodec, unit: Vec<u8>) {
        let (mark, keyframe) = (unit[1], unit[0] == 0x65);
        let at = MediaTime::from_millis(i64::from(mark) * 33);
        self.log.push_video(
            &VideoFrame {
                codec,
                pts: at,
                dts: at,
                keyframe,
                units: vec![unit.into()],
            },
            self.now,
        );
    }

    fn send(&mut self, budget: usize) -> Progress {
        let mut wire = Wire::new(
            self.now,
            &self.clock,
            &self.sealer,
            &mut self.buffer,
            &mut self.sent,
        );
        self.sender
            .send_video(&self.log, budget, self.slow_path, &mut wire)
    }

    fn retransmit(&mut self, sequence: u16) -> usize {
        let mut wire = Wire::new(
            self.now,
            &self.clock,
            &self.sealer,
            &mut self.buffer,
            &mut self.sent,
        );
        let interval = Duration::from_millis(50);
        self.sender
            .retransmit(sequence, &self.log, interval, &mut wire)
    }

    fn replay(&mut self) -> bool {
        let round_trip = Duration::from_millis(50);
        self.sender.replay(&self.log, self.now, round_trip)
    }

    /// Lets the viewer report that all has arrived.
    fn report(&mut self) {
        let block = ReportBlock {
            ssrc: self.sender.ssrc(),
            fraction_lost: 0,
            cumulative_lost: 0,
            highest_sequence: u32::MAX,
            jitter: 0,
            last_sender_report: 0,
            delay: 0,
        };
        self.sender.note_report(self.now, &block);
    }

    /// Returns the packets in the buffer, as the viewer decrypts them.
    fn received(&mut self) -> Vec<Received> {
        let mut out = Vec::new();
        for (bytes, segment) in self.buffer.runs() {
            for packet in bytes.chunks(segment) {
                let plain = self.opener.decrypt_rtp(packet).unwrap();
                let word = |at: usize| u32::from_be_bytes(plain[at..at + 4].try_into().unwrap());
                let has_extension = plain[0] & 0x10 != 0;
                let end = if has_extension {
                    16 + 4 * (word(12) as usize & 0xffff)
                } else {
                    12
                };
                out.push(Received {
                    payload_type: plain[1] & 0x7f,
                    sequence: word(0) as u16,
                    timestamp: word(4),
                    ssrc: word(8),
                    extension: plain[12..end].to_vec(),
                    payload: plain[end..].to_vec(),
                });
            }
        }
        self.buffer.clear();
        out
    }

    fn marks(&mut self) -> Vec<(u16, u8)> {
        self.received()
            .iter()
            .map(|packet| (packet.sequence, packet.payload[1]))
            .collect()
    }
}

#[test]
fn newcomer_gets_the_gop_from_its_keyframe_on() {
    let mut viewer = Harness::new(None, 10);
    assert_eq!(viewer.send(usize::MAX), Progress::Waiting);
    for mark in 0..5 {
        viewer.frame(mark, mark == 0 || mark == 2);
    }
    assert_eq!(viewer.send(usize::MAX), Progress::AtHead);
    assert_eq!(viewer.marks(), [(10, 2), (11, 3), (12, 4)]);
    viewer.frame(5, false);
    assert_eq!(viewer.send(usize::MAX), Progress::AtHead);
    let packet = viewer.received().remove(0);
    assert_eq!((packet.ssrc, packet.payload_type), (5, 108));
    assert_eq!(packet.timestamp, 1000 + 5 * 33 * 90);
}

#[test]
fn frames_of_a_codec_that_was_not_negotiated_are_never_sent() {
    let mut viewer = Harness::new(None, 10);
    viewer.coded_unit(VideoCodec::Vp9, vec![0x65, 0]);
    assert_eq!(viewer.send(usize::MAX), Progress::Waiting);
    viewer.frame(1, true);
    assert_eq!(viewer.send(usize::MAX), Progress::AtHead);
    assert_eq!(viewer.marks(), [(10, 1)]);
    // The publisher changes, and changes back.
    viewer.coded_unit(VideoCodec::Vp9, vec![0x65, 2]);
    viewer.coded_unit(VideoCodec::Vp9, vec![0x41, 3]);
    assert_eq!(viewer.send(usize::MAX), Progress::Waiting);
    assert!(!viewer.replay());
    viewer.coded_unit(VideoCodec::Vp9, vec![0x65, 4]);
    assert_eq!(viewer.send(usize::MAX), Progress::Waiting);
    viewer.frame(5, true);
    viewer.frame(6, false);
    assert_eq!(viewer.send(usize::MAX), Progress::AtHead);
    assert_eq!(viewer.marks(), [(11, 5), (12, 6)]);
}

#[test]
fn sending_stops_at_the_budget_and_continues_in_the_next_call() {
    let mut viewer = Harness::new(None, 0);
    for mark in 0..4 {
        viewer.frame(mark, mark == 0);
    }
    assert_eq!(viewer.send(2 * 30), Progress::Behind);
    assert_eq!(viewer.marks(), [(0, 0), (1, 1)]);
    assert_eq!(viewer.send(2 * 30), Progress::AtHead);
    assert_eq!(viewer.marks(), [(2, 2), (3, 3)]);
}

#[test]
fn lost_packet_is_retransmitted_in_the_rtx_stream() {
    let mut viewer = Harness::new(Some((6, 109)), 0x7ffe);
    for mark in 0..4 {
        viewer.frame(mark, mark == 0);
    }
    viewer.send(usize::MAX);
    viewer.received();
    assert!(viewer.retransmit(0x7fff) > 0);
    let again = viewer.received().remove(0);
    assert_eq!(
        (again.ssrc, again.payload_type, again.sequence),
        (6, 109, 100)
    );
    assert_eq!(again.timestamp, 1000 + 33 * 90);
    assert_eq!(again.payload, [0x7f, 0xff, 0x41, 1]);
    assert_eq!(viewer.retransmit(0x8002), 0, "not sent yet");
    assert_eq!(viewer.retransmit(0x7ffd), 0, "never sent");
    assert_eq!(viewer.sender.stats().retransmitted, 1);
}

#[test]
fn without_rtx_the_same_bytes_are_resent() {
    let mut viewer = Harness::new(None, 7);
    viewer.frame(0, true);
    viewer.send(usize::MAX);
    let first = viewer.buffer.runs().next().unwrap().0.to_vec();
    viewer.buffer.clear();
    viewer.retransmit(7);
    assert_eq!(viewer.buffer.runs().next().unwrap().0, first);
}

#[test]
fn retransmission_reaches_back_over_a_wrap_of_the_sequence_number() {
    let mut viewer = Harness::new(Some((6, 109)), 0x7fff);
    viewer.frame(0, true);
    for _ in 0..0x8002 {
        viewer.frame(1, false);
        viewer.send(usize::MAX);
        viewer.received();
    }
    viewer.frame(9, false);
    viewer.send(usize::MAX);
    assert_eq!(viewer.marks(), [(2, 9)]);
    assert!(viewer.retransmit(0xffff) > 0);
    assert_eq!(viewer.received().remove(0).payload[..2], [0xff, 0xff]);
}

#[test]
fn viewer_that_is_behind_skips_to_the_newest_keyframe_without_a_sequence_gap() {
    let mut viewer = Harness::new(Some((6, 109)), 0);
    viewer.frame(0, true);
    viewer.send(usize::MAX);
    for mark in 1..4 {
        viewer.frame(mark, false);
    }
    viewer.now += Duration::from_millis(1500);
    viewer.frame(4, true);
    viewer.frame(5, false);
    viewer.received();
    assert_eq!(viewer.send(usize::MAX), Progress::AtHead);
    assert_eq!(viewer.marks(), [(1, 4), (2, 5)]);
    assert_eq!(viewer.sender.stats().skips, 1);
    assert!(viewer.retransmit(1) > 0);
    assert_eq!(viewer.received().remove(0).payload[3], 4);
    assert!(viewer.retransmit(0) > 0, "also from before the skip");
}

#[test]
fn newcomer_finishes_its_frame_before_it_skips_to_a_new_keyframe() {
    let mut viewer = Harness::new(None, 0);
    viewer.frame(0, true);
    viewer.unit([vec![0x41, 1], vec![0; 3 * 1100]].concat());
    viewer.frame(2, false);
    viewer.now += Duration::from_secs(9);
    assert_eq!(viewer.send(2500), Progress::Behind);
    assert_eq!(
        viewer.received().len(),
        3,
        "two of the frame's three packets"
    );
    viewer.frame(3, true);
    assert_eq!(viewer.send(usize::MAX), Progress::AtHead);
    let rest = viewer.received();
    let timestamps: Vec<u32> = rest.iter().map(|packet| packet.timestamp).collect();
    assert_eq!(timestamps, [1000 + 33 * 90, 1000 + 3 * 33 * 90]);
}

#[test]
fn viewer_behind_without_a_newer_keyframe_catches_up() {
    let mut viewer = Harness::new(None, 0);
    viewer.frame(0, true);
    viewer.frame(1, false);
    viewer.now += Duration::from_millis(5000);
    viewer.frame(2, false);
    assert_eq!(viewer.send(usize::MAX), Progress::AtHead);
    assert_eq!(viewer.marks(), [(0, 0), (1, 1), (2, 2)]);
}

#[test]
fn sender_info_exists_from_the_first_packet_on() {
    let mut viewer = Harness::new(None, 0);
    assert_eq!(viewer.sender.sender_info(0), None);
    viewer.frame(0, true);
    viewer.send(usize::MAX);
    let info = viewer.sender.sender_info(90_000).unwrap();
    assert_eq!(
        (info.rtp_timestamp, info.packets, info.octets),
        (91_000, 1, 2)
    );
}

fn id(id: u8) -> ExtensionId {
    ExtensionId::new(id).unwrap()
}

/// Returns all extensions that change from packet to packet, and a mid.
fn extensions() -> StreamExtensions {
    StreamExtensions {
        mid: Some((id(4), Mid::new("0").unwrap())),
        abs_send_time: Some(id(2)),
        transport_wide_cc: Some(id(3)),
        playout_delay: None,
        abs_capture_time: Some(id(12)),
    }
}

#[test]
fn mid_is_sent_until_a_receiver_report_names_the_stream() {
    let mut viewer = Harness::with_extensions(Some((6, 109)), 0, extensions());
    viewer.frame(0, true);
    viewer.now += Duration::from_millis(500);
    viewer.send(usize::MAX);
    // Half a second in 18 bits, the first number of the transport, and the mid.
    let first = [
        0xbe, 0xde, 0, 3, 0x22, 2, 0, 0, 0x31, 0, 0, 0x40, b'0', 0, 0, 0,
    ];
    assert_eq!(viewer.received()[0].extension, first);
    viewer.report();
    viewer.frame(1, false);
    viewer.send(usize::MAX);
    let packet = viewer.received().remove(0);
    // The capture time, which there was no room for before: 33 ms.
    assert_eq!(packet.extension[..4], [0xbe, 0xde, 0, 6]);
    assert_eq!(packet.extension[9..11], [0, 1]);
    assert_eq!(packet.extension[11], 0xcf);
    let seconds = &packet.extension[12..16];
    assert_eq!(*seconds, 2_208_988_800_u32.to_be_bytes());
    assert_eq!(packet.extension[16], (256 * 33 / 1000) as u8);
    viewer.frame(2, false);
    viewer.send(usize::MAX);
    let packet = viewer.received().remove(0);
    assert_eq!(packet.extension[..4], [0xbe, 0xde, 0, 2], "once a second");
    assert_eq!(packet.payload, [0x41, 2]);
    assert!(viewer.sent.take(2).is_some() && viewer.sent.take(3).is_none());
}

#[test]
fn longest_packets_have_the_longest_header_and_fit() {
    let mut long = extensions();
    long.mid = Some((id(4), Mid::new("sixteen-letters-").unwrap()));
    let mut viewer = Harness::with_extensions(Some((6, 109)), 0, long);
    let mut unit = vec![0x65; 40 * (crate::log::MAX_PAYLOAD - 2) + 1];
    unit[1] = 0;
    viewer.unit(unit);
    viewer.send(usize::MAX);
    viewer.retransmit(3);
    let runs: Vec<(usize, usize)> = viewer
        .buffer
        .runs()
        .map(|(bytes, segment)| (bytes.len(), segment))
        .collect();
    assert!(
        runs.iter()
            .all(|(_, segment)| *segment <= crate::log::MAX_PACKET)
    );
    assert!(runs.len() <= 2, "one call for the frame: {runs:?}");
    assert!(runs.iter().any(|(_, segment)| *segment > 1190), "{runs:?}");
}

#[test]
fn header_never_changes_where_packets_are_resent_unchanged() {
    let mut viewer = Harness::with_extensions(None, 0, extensions());
    viewer.frame(0, true);
    viewer.send(usize::MAX);
    let first = viewer.buffer.runs().next().unwrap().0.to_vec();
    viewer.received();
    viewer.report();
    viewer.now += Duration::from_secs(2);
    viewer.retransmit(0);
    assert_eq!(viewer.buffer.runs().next().unwrap().0, first);
    viewer.buffer.clear();
    viewer.frame(1, false);
    viewer.send(usize::MAX);
    let extension = viewer.received().remove(0).extension;
    assert_eq!(extension, [0xbe, 0xde, 0, 1, 0x40, b'0', 0, 0]);
}

#[test]
fn packet_is_retransmitted_once_per_round_trip() {
    let mut viewer = Harness::new(Some((6, 109)), 0);
    viewer.frame(0, true);
    viewer.send(usize::MAX);
    assert!(viewer.retransmit(0) > 0);
    assert_eq!(viewer.retransmit(0), 0);
    viewer.now += Duration::from_millis(50);
    assert!(viewer.retransmit(0) > 0);
}

#[test]
fn slow_path_drops_late_disposable_frames_first() {
    let mut viewer = Harness::new(Some((6, 109)), 0);
    viewer.slow_path = true;
    viewer.frame(0, true);
    viewer.disposable(1);
    assert_eq!(viewer.send(usize::MAX), Progress::AtHead);
    assert_eq!(viewer.marks(), [(0, 0), (1, 1)], "in time, all is sent");
    viewer.frame(2, false);
    viewer.disposable(3);
    viewer.frame(4, false);
    viewer.now += Duration::from_millis(200);
    viewer.disposable(5);
    assert_eq!(viewer.send(usize::MAX), Progress::AtHead);
    assert_eq!(viewer.marks(), [(2, 2), (3, 4), (4, 5)]);
    assert_eq!(viewer.sender.stats().dropped_frames, 1);
    assert!(viewer.retransmit(1) > 0 && viewer.retransmit(3) > 0);
    let again: Vec<u8> = viewer
        .received()
        .iter()
        .map(|packet| packet.payload[3])
        .collect();
    assert_eq!(again, [1, 4], "also from before a dropped frame");
}

#[test]
fn slow_path_skips_to_the_next_keyframe_when_much_too_late() {
    let mut viewer = Harness::new(Some((6, 109)), 0);
    viewer.frame(0, true);
    assert_eq!(viewer.send(usize::MAX), Progress::AtHead);
    viewer.slow_path = true;
    viewer.frame(1, false);
    viewer.now += Duration::from_millis(1100);
    viewer.frame(2, false);
    assert_eq!(viewer.send(usize::MAX), Progress::Waiting);
    assert!(viewer.sender.is_late(&viewer.log, viewer.now));
    viewer.frame(3, true);
    viewer.frame(4, false);
    assert_eq!(viewer.send(usize::MAX), Progress::AtHead);
    assert_eq!(viewer.marks(), [(0, 0), (1, 3), (2, 4)]);
    assert_eq!(viewer.sender.stats().skips, 1);
}

#[test]
fn newcomer_on_a_slow_path_may_stay_as_far_behind_as_it_started() {
    let mut viewer = Harness::new(Some((6, 109)), 0);
    viewer.slow_path = true;
    viewer.frame(0, true);
    viewer.frame(1, false);
    viewer.now += Duration::from_secs(5);
    assert_eq!(viewer.send(30), Progress::Behind);
    viewer.now += Duration::from_millis(900);
    assert_eq!(viewer.send(30), Progress::AtHead);
    assert_eq!(viewer.marks(), [(0, 0), (1, 1)]);
}

#[test]
fn started_frame_is_sent_completely() {
    let mut viewer = Harness::new(Some((6, 109)), 0);
    viewer.slow_path = true;
    viewer.frame(0, true);
    viewer.send(usize::MAX);
    let mut unit = vec![0x41; 3000];
    unit[1] = 1;
    viewer.unit(unit);
    assert_eq!(viewer.send(1200), Progress::Behind);
    viewer.frame(2, false);
    viewer.now += Duration::from_millis(1500);
    viewer.frame(3, true);
    assert_eq!(viewer.send(usize::MAX), Progress::AtHead);
    let ends: Vec<(u16, usize)> = viewer
        .received()
        .iter()
        .map(|packet| (packet.sequence, packet.payload.len()))
        .collect();
    assert_eq!(ends.len(), 5, "{ends:?}");
    assert_eq!(ends[4], (4, 2));
}

#[test]
fn gop_is_replayed_on_a_keyframe_request_if_that_helps() {
    let mut viewer = Harness::new(Some((6, 109)), 0);
    assert!(!viewer.replay(), "there is none");
    viewer.frame(0, true);
    assert!(!viewer.replay(), "it will be sent anyway");
    viewer.frame(1, false);
    viewer.send(usize::MAX);
    assert!(!viewer.replay(), "it was sent just now");
    viewer.now += Duration::from_secs(1);
    assert!(viewer.replay());
    assert!(!viewer.replay(), "not twice");
    viewer.frame(2, false);
    viewer.received();
    assert_eq!(viewer.send(usize::MAX), Progress::AtHead);
    assert_eq!(viewer.marks(), [(2, 0), (3, 1), (4, 2)]);
    assert_eq!(viewer.sender.stats().replays, 1);
    // Not again and again: after a second, and then after twice the time before, up to five.
    let mut replays = Vec::new();
    for tenth in 1..=200 {
        viewer.now += Duration::from_millis(100);
        if viewer.replay() {
            replays.push(tenth);
            viewer.send(usize::MAX);
            viewer.received();
        }
    }
    assert_eq!(replays, [10, 30, 70, 120, 170]);
}

#[test]
fn gop_is_not_replayed_shortly_before_the_next_keyframe() {
    let mut viewer = Harness::new(Some((6, 109)), 0);
    viewer.frame(0, true);
    viewer.now += Duration::from_secs(2);
    viewer.frame(1, true);
    viewer.send(usize::MAX);
    viewer.now += Duration::from_millis(1200);
    assert!(!viewer.replay());
}

#[test]
fn padded_frame_and_the_audio_after_it_form_one_run() {
    let mut viewer = Harness::new(Some((6, 109)), 10);
    viewer.log.set_padding(true);
    let mut unit = vec![0x65, 1];
    unit.resize(3000, 7);
    viewer.unit(unit.clone());
    assert_eq!(viewer.send(usize::MAX), Progress::AtHead);
    // Audio, or any shorter packet.
    viewer.buffer.packet(200).fill(0);
    let runs: Vec<_> = viewer.buffer.runs().collect();
    let [(bytes, segment)] = runs[..] else {
        panic!("{} runs", runs.len())
    };
    assert_eq!(bytes.len() % segment, 200);
    let (packets, _) = bytes.split_at(bytes.len() - 200);
    let packets: Vec<_> = packets.chunks(segment).map(<[u8]>::to_vec).collect();
    let mut restored = vec![0x65];
    for (n, packet) in packets.iter().enumerate() {
        let plain = viewer.opener.decrypt_rtp(packet).unwrap();
        let is_padded = plain[0] & 0x20 != 0;
        assert_eq!(is_padded, n + 1 == packets.len());
        let padding = if is_padded {
            usize::from(plain[plain.len() - 1])
        } else {
            0
        };
        restored.extend(&plain[12 + 2..plain.len() - padding]);
    }
    assert_eq!(restored, unit);

    // A retransmission has no padding.
    viewer.buffer.clear();
    let last = 10 + packets.len() as u16 - 1;
    let len = viewer.retransmit(last);
    let again = viewer.received().remove(0);
    assert!(len < segment + 2, "{len} bytes");
    assert!(unit.ends_with(&again.payload[4..]));
}

/// Streams whose decoder holds frames back.
impl Harness {
    fn reordering(reorders: bool) -> Self {
        let mut harness = Self::new(Some((6, 109)), 0);
        let config = SenderConfig {
            reorders,
            ..harness.sender.config
        };
        let start = RandomStart {
            sequence: 0,
            rtx_sequence: 0,
            timestamp: 0,
        };
        harness.sender = RtpSender::new(config, start);
        harness
    }

    /// A frame of a stream with B-frames, decoded `mark` frames after the first one.
    fn reordered(&mut self, mark: u8, units: &[&[u8]], depth: u8) {
        let dts = MediaTime::from_millis(i64::from(mark) * 40);
        let frame = VideoFrame {
            codec: VideoCodec::H264,
            pts: dts + Duration::from_millis(80),
            dts,
            keyframe: units.iter().any(|unit| unit[0] == 0x65),
            units: units
                .iter()
                .map(|unit| bytes::Bytes::copy_from_slice(unit))
                .collect(),
        };
        self.log.push_reordered(&frame, depth, self.now);
    }

    fn keyframe(&mut self, mark: u8, depth: u8) {
        let sps = [0x67, 0x42, 0xc0, 0x1e, 0xd9, 0x00, 0xa0, 0x2f, 0xf9, 0x00];
        self.reordered(mark, &[&sps, &[0x68, 1], &[0x65, mark]], depth);
    }

    /// First byte of each payload, the last of slices, and the timestamp in units of a frame.
    fn units(&mut self) -> Vec<(u8, u8, u32)> {
        self.send(usize::MAX);
        let packets = self.received();
        packets
            .iter()
            .map(|packet| {
                let mark = packet.payload.last().copied().unwrap_or_default();
                let mark = if packet.payload[0] & 0x1f <= 5 {
                    mark
                } else {
                    0
                };
                (packet.payload[0] & 0x1f, mark, packet.timestamp / 3600)
            })
            .collect()
    }
}

/// A packet of parameter sets, and their copy for the decoder.
const STAP_A: u8 = 24;
const CARRIER: u8 = 9;

#[test]
fn reordering_decoder_is_primed_once_and_sent_every_frame() {
    let mut viewer = Harness::reordering(true);
    viewer.keyframe(0, 2);
    let sets = [(STAP_A, 0, 0), (CARRIER, 0, 0)];
    assert_eq!(viewer.units(), [&sets[..], &[(5, 0, 0); 3]].concat());
    viewer.reordered(1, &[&[0x41, 1]], 2);
    viewer.reordered(2, &[&[0x01, 2]], 2);
    assert_eq!(viewer.units(), [(1, 1, 1), (1, 2, 2)]);
    viewer.keyframe(3, 2);
    assert_eq!(viewer.units(), [(STAP_A, 0, 3), (CARRIER, 0, 3), (5, 3, 3)]);
    // One more frame is held back from here on.
    viewer.keyframe(4, 3);
    assert_eq!(viewer.units().len(), 2 + 2);
    // Sequence numbers have no gap, so that the viewer can detect loss.
    assert!(viewer.retransmit(9) > 0);
    assert_eq!(viewer.received()[0].payload[2..], [0x65, 3]);
    // A viewer that asks for a keyframe may have a new decoder.
    viewer.now += Duration::from_secs(10);
    assert!(viewer.replay());
    assert_eq!(viewer.units().len(), 2 + 4);
}

#[test]
fn decoder_that_does_not_reorder_is_sent_the_keyframes() {
    let mut viewer = Harness::reordering(false);
    let mut kinds = Vec::new();
    for gop in 0..2 {
        viewer.keyframe(10 * gop, 2);
        viewer.reordered(10 * gop + 1, &[&[0x41, 1]], 2);
        viewer.reordered(10 * gop + 2, &[&[0x01, 2]], 2);
        kinds.extend(viewer.units().iter().map(|(kind, _, _)| *kind));
    }
    assert_eq!(kinds, [STAP_A, 5, STAP_A, 5]);
    // The publisher comes back without B-frames.
    viewer.frame(41, true);
    viewer.frame(42, false);
    assert_eq!(viewer.units().len(), 2);
}

#[test]
fn time_does_not_step_back_when_b_frames_start() {
    let mut viewer = Harness::reordering(true);
    viewer.frame(10, true);
    viewer.keyframe(8, 1);
    viewer.reordered(9, &[&[0x41, 1]], 1);
    viewer.reordered(10, &[&[0x41, 2]], 1);
    viewer.send(usize::MAX);
    let times: Vec<u32> = viewer
        .received()
        .iter()
        .map(|packet| packet.timestamp)
        .collect();
    assert!(times.is_sorted(), "{times:?}");
    assert!(times.last() > times.first());
}

#[test]
fn newcomer_starts_at_a_recovery_point_when_the_keyframe_is_far_back() {
    let mut old = Harness::new(Some((6, 109)), 0);
    let frame = |viewer: &mut Harness, seconds: i64, units: &[&[u8]]| {
        let at = MediaTime::from_millis(1000 * seconds);
        let units = units.iter().map(|unit| bytes::Bytes::copy_from_slice(unit));
        let frame = VideoFrame {
            codec: VideoCodec::H264,
            pts: at,
            dts: at,
            keyframe: seconds == 0,
            units: units.collect(),
        };
        viewer.log.push_video(&frame, viewer.now);
    };
    let recovery_point = [0x06, 6, 1, 0x84, 0x80];
    frame(&mut old, 0, &[&[0x65, 0]]);
    for second in 1..=11 {
        frame(&mut old, second, &[&[0x41, second as u8]]);
    }
    old.send(usize::MAX);
    old.received();
    frame(&mut old, 12, &[&recovery_point, &[0x41, 12]]);
    frame(&mut old, 13, &[&[0x41, 13]]);

    // Current viewers get nothing extra; the recovery point travels with its slice.
    old.send(usize::MAX);
    let units: Vec<_> = old
        .received()
        .iter()
        .map(|packet| packet.payload[0])
        .collect();
    assert_eq!(units, [24 | 0x40, 0x41]);

    let mut new = Harness::new(Some((6, 109)), 0);
    std::mem::swap(&mut new.log, &mut old.log);
    new.send(usize::MAX);
    let received = new.received();
    let units: Vec<_> = received.iter().map(|packet| packet.payload[0]).collect();
    assert_eq!(units, [0x65, 24 | 0x40, 0x41]);
    let times: Vec<_> = received.iter().map(|packet| packet.timestamp).collect();
    assert!(times.is_sorted() && times[1] - times[0] < 90, "{times:?}");
}
