//! Streams with B-frames, for decoders that are made to reorder them.

use super::*;

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
            info: FrameInfo::default(),
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
