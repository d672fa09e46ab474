//! A viewer of the swarm and a peer of the gateway, without a network between them and without real
//! time.
#![allow(clippy::unwrap_used, reason = "a test")]
#![allow(
    clippy::disallowed_methods,
    reason = "an origin for the simulated clock"
)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use distributary_bench::answer::Answer;
use distributary_bench::offer;
use distributary_bench::viewer::{Viewer, ViewerError};
use distributary_media::{AudioCodec, AudioFrame, FrameInfo, MediaTime, VideoCodec, VideoFrame};
use distributary_webrtc::certificate::{Certificate, Fingerprint};
use distributary_webrtc::dtls::{DtlsContext, DtlsError, DtlsRole};
use distributary_webrtc::ice::Credentials;
use distributary_webrtc::log::{Log, LogLimits};
use distributary_webrtc::peer::{
    CloseReason, DelayPolicy, MediaClock, Peer, PeerConfig, PeerEvent,
};
use distributary_webrtc::rtcp::ntp::WallClock;
use distributary_webrtc::rtp::StreamExtensions;
use distributary_webrtc::send_buffer::SendBuffer;
use distributary_webrtc::sender::{Resend, SenderConfig};

const STEP: Duration = Duration::from_millis(5);
const KEYFRAME_INTERVAL: u64 = 60;

/// Both ends of a session.
struct Session {
    start: Instant,
    now: Instant,
    viewer: Viewer,
    peer: Peer,
    events: Vec<PeerEvent>,
    video: Log,
    audio: Log,
    frames: u64,
    /// Packets of media until one is lost, again and again.
    lose_every: Option<usize>,
    sent: usize,
    lost: u64,
}

impl Session {
    fn new(role: DtlsRole) -> Self {
        let certificate = certificate();
        let fingerprint = certificate.fingerprint().clone();
        Self::announcing(fingerprint, &certificate, role)
    }

    /// Creates a session whose answer announces `fingerprint`, while the gateway shows `theirs`.
    fn announcing(fingerprint: Fingerprint, theirs: &Certificate, role: DtlsRole) -> Self {
        let now = Instant::now();
        let ours = certificate();
        let (player, gateway) = (
            Credentials::generate().unwrap(),
            Credentials::generate().unwrap(),
        );
        let sender = |ssrc, codec, payload_type| SenderConfig {
            ssrc,
            codec,
            payload_type,
            red: None,
            resend: Resend::Never,
            extensions: StreamExtensions::default(),
            reorders: false,
        };
        let config = PeerConfig {
            local: gateway.clone(),
            remote: player.clone(),
            fingerprints: vec![ours.fingerprint().clone()],
            role: match role {
                DtlsRole::Client => DtlsRole::Server,
                DtlsRole::Server => DtlsRole::Client,
            },
            video: Some(sender(1, Some(VideoCodec::H264), offer::VIDEO)),
            audio: Some(sender(2, None, offer::AUDIO)),
            data: None,
            cname: Arc::from("cname"),
            start_pacing: 40_000_000,
            pace_frames: true,
            playout_delay: DelayPolicy::Auto,
            reports_silence: false,
        };
        let clock = MediaClock {
            epoch: now,
            wall: WallClock::new(now, SystemTime::now()),
        };
        let answer = Answer {
            candidates: vec![server()],
            credentials: gateway,
            fingerprints: vec![fingerprint],
            role,
        };
        let mut viewer = Viewer::new(player, 1 << 40 | 77, true);
        let context = DtlsContext::new(&ours).unwrap();
        viewer
            .handle_answer(now, answer, server(), &context)
            .unwrap();
        let context = DtlsContext::new(theirs).unwrap();
        Self {
            start: now,
            now,
            viewer,
            peer: Peer::new(config, clock, &context, now).unwrap(),
            events: Vec::new(),
            video: Log::new(90_000, LogLimits::default()),
            audio: Log::new(48_000, LogLimits::default()),
            frames: 0,
            lose_every: None,
            sent: 0,
            lost: 0,
        }
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now += STEP;
            self.publish();
            let deadline = self.peer.poll_timeout();
            if deadline.is_some_and(|deadline| self.now >= deadline) {
                self.peer.handle_timeout(self.now);
            }
            self.viewer.handle_timeout(self.now);
            self.exchange();
        }
    }

    /// Publishes thirty video frames a second, and audio.
    fn publish(&mut self) {
        while Duration::from_millis(self.frames * 100 / 3) <= self.now - self.start {
            let pts = MediaTime::from_millis((self.frames * 100 / 3) as i64);
            let keyframe = self.frames.is_multiple_of(KEYFRAME_INTERVAL);
            let units = if keyframe {
                vec![unit(0x67, 20), unit(0x68, 6), unit(0x65, 30_000)]
            } else {
                vec![unit(0x41, 5_000)]
            };
            let frame = VideoFrame {
                codec: VideoCodec::H264,
                pts,
                dts: pts,
                keyframe,
                info: FrameInfo::default(),
                units,
            };
            self.video.push_video(&frame, self.now);
            let frame = AudioFrame {
                codec: AudioCodec::Opus,
                pts,
                data: unit(0xfc, 200),
            };
            self.audio.push_audio(&frame, self.now);
            self.frames += 1;
        }
    }

    /// Carries datagrams until neither side has one.
    fn exchange(&mut self) {
        loop {
            let mut is_idle = true;
            while let Some(mut datagram) = self.viewer.poll_transmit() {
                is_idle = false;
                self.peer
                    .handle_datagram(self.now, player(), None, &mut datagram);
            }
            while let Some(transmit) = self.peer.poll_transmit() {
                is_idle = false;
                assert_eq!(transmit.destination, player());
                self.viewer.handle_datagram(self.now, &transmit.bytes);
            }
            while let Some(event) = self.peer.poll_event() {
                self.events.push(event);
            }
            if is_idle {
                break;
            }
        }
        let mut buffer = SendBuffer::new(1 << 20);
        self.peer
            .send_media(&self.video, &self.audio, self.now, &mut buffer);
        for (bytes, segment) in buffer.runs() {
            for packet in bytes.chunks(segment) {
                self.sent += 1;
                match self.lose_every {
                    Some(every) if self.sent.is_multiple_of(every) => self.lost += 1,
                    _ => self.viewer.handle_datagram(self.now, packet),
                }
            }
        }
    }
}

fn certificate() -> Certificate {
    Certificate::generate(SystemTime::now()).unwrap()
}

fn unit(header: u8, len: usize) -> Bytes {
    let mut unit = vec![0x55; len];
    unit[0] = header;
    unit.into()
}

fn server() -> SocketAddr {
    "192.0.2.1:8189".parse().unwrap()
}

fn player() -> SocketAddr {
    "192.0.2.2:50000".parse().unwrap()
}

#[test]
fn viewer_connects_in_either_role_and_receives_complete_media() {
    for role in [DtlsRole::Client, DtlsRole::Server] {
        let mut session = Session::new(role);
        session.run(Duration::from_secs(1));
        session.viewer.begin_measurement(session.now);
        session.run(Duration::from_secs(10));

        let findings = session.viewer.findings().unwrap();
        assert!(findings.units.begins_with_keyframe, "{role:?}");
        assert_eq!((findings.units.damaged, findings.units.malformed), (0, 0));
        assert_eq!((findings.units.bare_keyframes, findings.refused), (0, 0));
        assert!(findings.units.whole >= 330, "{findings:?}");
        assert_eq!(findings.units.keyframes, 6);

        let measured = session.viewer.traffic().measured(session.now);
        assert_eq!(measured.interval, Duration::from_secs(10));
        assert_eq!((measured.video_lost, measured.audio_lost), (0, 0));
        assert!((measured.fps() - 30.0).abs() <= 0.1, "{}", measured.fps());
        assert!(measured.frame_gap <= Duration::from_millis(40));
    }
}

#[test]
fn gateway_parses_the_reports_and_keeps_the_viewer() {
    let mut session = Session::new(DtlsRole::Client);
    session.run(Duration::from_secs(40));
    let closed = |event: &PeerEvent| matches!(event, PeerEvent::Closed(_));
    assert!(!session.events.iter().any(closed), "{:?}", session.events);
    let report = session.peer.stats().report.unwrap();
    assert_eq!((report.ssrc, report.cumulative_lost), (1, 0));
    let checks = session.viewer.checks();
    assert_eq!(checks.sent, checks.answered);
    assert!(checks.sent >= 16, "{checks:?}");
}

#[test]
fn loss_shows_in_sequence_numbers_content_and_reports() {
    let mut session = Session::new(DtlsRole::Client);
    session.run(Duration::from_secs(1));
    session.viewer.begin_measurement(session.now);
    session.lose_every = Some(100);
    session.run(Duration::from_secs(10));
    session.lose_every = None;
    session.run(Duration::from_secs(2));

    assert!(session.lost > 10);
    let measured = session.viewer.traffic().measured(session.now);
    assert_eq!(measured.video_lost + measured.audio_lost, session.lost);
    let units = session.viewer.findings().unwrap().units;
    assert!(units.damaged > 0 && units.damaged <= 2 * measured.video_lost);
    assert_eq!(units.malformed, 0, "what is lost is not the sender's fault");
    let report = session.peer.stats().report.unwrap();
    assert_eq!(report.cumulative_lost as u64, measured.video_lost);
}

#[test]
fn close_of_the_gateway_is_noticed() {
    let mut session = Session::new(DtlsRole::Client);
    session.run(Duration::from_secs(1));
    session.peer.close();
    session.exchange();
    assert!(
        session
            .events
            .contains(&PeerEvent::Closed(CloseReason::Local))
    );
    let error = session.viewer.error().unwrap();
    assert_eq!(error.to_string(), "the server said goodbye");
    assert_eq!(session.viewer.poll_timeout(), None);
}

#[test]
fn server_with_another_certificate_is_refused() {
    let announced = certificate().fingerprint().clone();
    let mut session = Session::announcing(announced, &certificate(), DtlsRole::Client);
    session.run(Duration::from_secs(1));
    let error = session.viewer.error().unwrap();
    assert!(
        matches!(error, ViewerError::Dtls(DtlsError::FingerprintMismatch)),
        "{error}"
    );
    assert_eq!(session.viewer.first_packet(), None);
}
