//! Tests of a sender, by behavior, with a viewer that decrypts what it is sent.

#![allow(
    clippy::disallowed_methods,
    reason = "an origin for the simulated clock"
)]

mod behind;
mod change;
mod headers;
mod reorder;
mod replay;
mod resend;
mod start;

use super::*;
use crate::log::LogLimits;
use crate::rtcp::ntp::WallClock;
use crate::rtp::StreamExtensions;
use crate::srtp::SrtpProfile;
use crate::srtp::test_support::{master, webrtc_context};
use distributary_media::{FrameInfo, FrameInspector, MediaTime, VideoCodec, VideoFrame};
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
        let mut frame = VideoFrame {
            codec,
            pts: at,
            dts: at,
            keyframe,
            info: FrameInfo::default(),
            units: vec![unit.into()],
        };
        FrameInspector::default().inspect(&mut frame);
        self.log.push_video(&frame, self.now);
    }

    /// Sends up to `budget` bytes. The frame that a stream opens with is a call of its own.
    fn send(&mut self, budget: usize) -> Progress {
        let is_opening = self.sender.is_opening();
        let before = self.buffer.len();
        let progress = self.send_once(budget);
        if progress == Progress::Behind && is_opening && !self.sender.is_opening() {
            let sent = self.buffer.len() - before;
            return self.send_once(budget.saturating_sub(sent));
        }
        progress
    }

    fn send_once(&mut self, budget: usize) -> Progress {
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
        self.retransmit_from(sequence, None)
    }

    fn retransmit_from(&mut self, sequence: u16, former: Option<&Log>) -> usize {
        let mut wire = Wire::new(
            self.now,
            &self.clock,
            &self.sealer,
            &mut self.buffer,
            &mut self.sent,
        );
        let interval = Duration::from_millis(50);
        let logs = RepairLogs {
            present: &self.log,
            former,
        };
        self.sender.retransmit(sequence, logs, interval, &mut wire)
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
