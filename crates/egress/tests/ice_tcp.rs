//! Viewers over TCP: a running engine, and clients that speak frames on a connection.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test on real sockets and the real clock, which fails where they do"
)]

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use distributary_egress::ViewersConfig;
use distributary_egress::engine::{Engine, EngineConfig, SessionStats, ViewerOptions};
use distributary_egress::ice_tcp::FIRST_FRAME_TIMEOUT;
use distributary_hub::{Hub, HubConfig, Publisher};
use distributary_media::test_util::h264_track;
use distributary_media::{FrameInfo, MediaTime, VideoCodec, VideoFrame};
use distributary_names::StreamName;
use distributary_webrtc::certificate::Certificate;
use distributary_webrtc::demux::DatagramKind;
use distributary_webrtc::dtls::{Dtls, DtlsContext, DtlsEvent, DtlsRole};
use distributary_webrtc::framing::{FrameDecoder, write_frame};
use distributary_webrtc::sdp::Offer;
use distributary_webrtc::stun::{Class, IceRole, Message, MessageWriter, Method, TransactionId};

const TIMEOUT: Duration = Duration::from_secs(20);

const PASSWORD: &str = "thePasswordOfTheViewer";

/// An engine on which `live/test` is published, with every tenth frame a keyframe.
struct Gateway {
    engine: Engine,
    publisher: Publisher,
    frames: i64,
}

impl Gateway {
    fn start() -> Self {
        let hub = Hub::new(HubConfig::default());
        // Another program may have the TCP port with the number of the UDP port.
        let try_start = || {
            let config = EngineConfig {
                listen: (Ipv4Addr::LOCALHOST, 0).into(),
                viewers: ViewersConfig {
                    shards: 2,
                    ..ViewersConfig::default()
                },
                candidates: vec![Ipv4Addr::LOCALHOST.into()],
                ..EngineConfig::default()
            };
            let engine = Engine::start(config, hub.clone()).expect("a port is free");
            if engine.has_tcp() {
                return Some(engine);
            }
            engine.shutdown();
            None
        };
        let mut tries = (0..20).map(|_| try_start());
        let engine = tries.find_map(|engine| engine).expect("a TCP port is free");
        let name = StreamName::parse("live/test").expect("a name");
        let publisher = hub
            .publish(&name, Instant::now())
            .expect("the name is free");
        publisher.set_video_track(h264_track());
        Self {
            engine,
            publisher,
            frames: 0,
        }
    }

    /// Publishes a frame of `len` bytes.
    fn publish(&mut self, len: usize) {
        let at = MediaTime::from_millis(self.frames * 33);
        let keyframe = self.frames % 10 == 0;
        let mut unit = vec![0x55; len];
        unit[0] = if keyframe { 0x65 } else { 0x41 };
        let taken = self.publisher.push(
            distributary_media::Frame::Video(VideoFrame {
                codec: VideoCodec::H264,
                pts: at,
                dts: at,
                keyframe,
                info: FrameInfo::default(),
                units: vec![Bytes::from(unit)],
            }),
            Instant::now(),
        );
        taken.expect("a stream without B-frames");
        self.frames += 1;
    }

    fn viewer(&self) -> Viewer {
        Viewer::new(self)
    }

    /// Returns the stats of the viewers.
    fn stats(&self) -> Vec<SessionStats> {
        let report = self.engine.session_infos(None).into_iter();
        report.map(|session| session.stats).collect()
    }

    /// Publishes large frames, which `reader` reads, until `done` returns true for the stats.
    fn publish_until(
        &mut self,
        reader: &mut Viewer,
        what: &str,
        done: impl Fn(&[SessionStats]) -> bool,
    ) {
        let end = Instant::now() + TIMEOUT;
        while !done(&self.stats()) {
            assert!(Instant::now() < end, "not after {TIMEOUT:?}: {what}");
            self.publish(40_000);
            reader.step();
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.engine.shutdown();
    }
}

/// A viewer that supports TCP only.
struct Viewer {
    stream: TcpStream,
    decoder: FrameDecoder,
    dtls: Dtls,
    username: String,
    gateway_password: String,
    connected: bool,
    closed: bool,
    checks_answered: usize,
    /// SRTP packets.
    packets: usize,
}

impl Viewer {
    fn new(gateway: &Gateway) -> Self {
        Self::in_role(gateway, DtlsRole::Client)
    }

    fn in_role(gateway: &Gateway, role: DtlsRole) -> Self {
        let setup = match role {
            DtlsRole::Client => "active",
            DtlsRole::Server => "passive",
        };
        let certificate = Certificate::generate(SystemTime::now()).expect("a certificate");
        let offer = format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n\
             m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\na=recvonly\r\na=rtcp-mux\r\n\
             a=ice-ufrag:view\r\na=ice-pwd:{PASSWORD}\r\na=fingerprint:{}\r\na=setup:{setup}\r\n\
             a=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1;profile-level-id=42e01f\r\n",
            certificate.fingerprint()
        );
        let stream = StreamName::parse("live/test").expect("a name");
        let session = gateway
            .engine
            .open(
                &stream,
                &Offer::parse(&offer).unwrap(),
                ViewerOptions::default(),
            )
            .expect("an answer");
        let value = |key: &str| {
            let lines = session.answer.lines();
            let mut values = lines.filter_map(|line| line.strip_prefix("a=")?.strip_prefix(key));
            values.next().expect("it is in the answer").to_owned()
        };
        let candidate = session
            .answer
            .lines()
            .find(|line| line.starts_with("a=candidate:") && line.ends_with("tcptype passive"))
            .expect("a TCP candidate");
        let words: Vec<&str> = candidate.split(' ').collect();
        let address = SocketAddr::new(words[4].parse().unwrap(), words[5].parse().unwrap());
        assert_eq!(address, gateway.engine.local_addr());
        let context = DtlsContext::new(&certificate).expect("OpenSSL");
        let fingerprint = value("fingerprint:").parse().expect("a fingerprint");
        let dtls = Dtls::new(&context, role, vec![fingerprint]).expect("OpenSSL");
        let stream = TcpStream::connect(address).expect("the port is open");
        stream
            .set_read_timeout(Some(Duration::from_millis(5)))
            .unwrap();
        Self {
            stream,
            decoder: FrameDecoder::default(),
            dtls,
            username: format!("{}:view", value("ice-ufrag:")),
            gateway_password: value("ice-pwd:"),
            connected: false,
            closed: false,
            checks_answered: 0,
            packets: 0,
        }
    }

    fn send(&mut self, packet: &[u8]) {
        let mut frame = Vec::new();
        write_frame(&mut frame, packet);
        self.stream.write_all(&frame).expect("the gateway reads");
    }

    fn check(&mut self, password: &str) {
        let mut check = Vec::new();
        let transaction = TransactionId([7; 12]);
        MessageWriter::new(&mut check, Class::Request, Method::BINDING, transaction)
            .username(&self.username)
            .ice_role(IceRole::Controlling(1))
            .use_candidate()
            .message_integrity(password.as_bytes())
            .finish();
        self.send(&check);
    }

    /// Connects, with the gateway publishing meanwhile.
    fn connect(&mut self, gateway: &mut Gateway) {
        let password = self.gateway_password.clone();
        self.check(&password);
        self.run_until(gateway, |viewer| viewer.checks_answered == 1);
        self.dtls.start(Instant::now());
        self.run_until(gateway, |viewer| viewer.connected);
    }

    fn run_until(&mut self, gateway: &mut Gateway, done: impl Fn(&Self) -> bool) {
        let end = Instant::now() + TIMEOUT;
        while !done(self) {
            assert!(Instant::now() < end, "not done after {TIMEOUT:?}");
            gateway.publish(4000);
            self.step();
        }
    }

    /// Reads for a moment and answers.
    fn step(&mut self) {
        let mut bytes = [0; 65_536];
        match self.stream.read(&mut bytes) {
            Ok(0) => self.closed = true,
            Ok(length) => self.take(&bytes[..length]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => self.closed = true,
        }
        self.dtls.handle_timeout(Instant::now());
        while let Some(event) = self.dtls.poll_event() {
            self.connected |= matches!(event, DtlsEvent::Connected);
        }
        while let Some(datagram) = self.dtls.poll_transmit() {
            self.send(&datagram);
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(2048) {
            self.decoder.buffer().extend_from_slice(piece);
            while let Some(packet) = self.decoder.next_packet().expect("frames of datagrams") {
                match DatagramKind::of(&packet) {
                    DatagramKind::Stun => {
                        let answer = Message::parse(&packet).expect("STUN");
                        assert!(answer.verify_integrity(self.gateway_password.as_bytes()));
                        assert_eq!(
                            answer.xor_mapped_address,
                            self.stream.local_addr().ok(),
                            "the address it is seen at"
                        );
                        self.checks_answered += 1;
                    }
                    DatagramKind::Dtls => self.dtls.handle_datagram(Instant::now(), &packet),
                    DatagramKind::Rtp => self.packets += 1,
                    DatagramKind::Rtcp => {}
                    DatagramKind::Unknown => panic!("{packet:?}"),
                }
            }
        }
    }
}

#[test]
fn viewer_without_udp_watches_over_tcp() {
    let mut gateway = Gateway::start();
    // Connections of unclaimed sessions may reach any shard; each must find its session.
    for _ in 0..3 {
        let mut viewer = gateway.viewer();
        viewer.connect(&mut gateway);
        viewer.run_until(&mut gateway, |viewer| viewer.packets > 300);
        let password = viewer.gateway_password.clone();
        viewer.check(&password);
        viewer.run_until(&mut gateway, |viewer| viewer.checks_answered == 2);
    }
}

#[test]
fn viewer_that_is_the_dtls_server_watches_over_tcp() {
    let mut gateway = Gateway::start();
    let mut viewer = Viewer::in_role(&gateway, DtlsRole::Server);
    viewer.connect(&mut gateway);
    viewer.run_until(&mut gateway, |viewer| viewer.packets > 300);
}

#[test]
fn viewer_that_does_not_read_is_held_back_and_continues_at_a_keyframe() {
    let mut gateway = Gateway::start();
    let mut viewer = gateway.viewer();
    viewer.connect(&mut gateway);
    viewer.run_until(&mut gateway, |viewer| viewer.packets > 100);
    // Another viewer reads meanwhile and sets the pace of the publisher.
    let mut other = gateway.viewer();
    other.connect(&mut gateway);
    gateway.publish_until(&mut other, "nothing fits any more", |all| {
        all.iter().any(|stats| stats.bitrate == 0)
    });
    let skipped = |all: &[SessionStats]| all.iter().any(|stats| stats.video.skips > 0);
    assert!(!skipped(&gateway.stats()), "before it goes on");
    gateway.publish_until(&mut viewer, "it has skipped", skipped);
    let packets = viewer.packets;
    viewer.run_until(&mut gateway, |viewer| viewer.packets > packets + 100);
}

#[test]
fn end_of_a_session_sends_close_notify_and_closes_the_connection() {
    let mut gateway = Gateway::start();
    let mut viewer = gateway.viewer();
    viewer.connect(&mut gateway);
    gateway.engine.shutdown();
    let end = Instant::now() + TIMEOUT;
    while !viewer.closed {
        assert!(Instant::now() < end);
        viewer.step();
    }
    assert!(
        !viewer.dtls.is_connected(),
        "close_notify came before the end"
    );
}

#[test]
fn connection_without_a_session_name_is_closed_at_once() {
    let gateway = Gateway::start();
    let mut nameless = Vec::new();
    MessageWriter::new(
        &mut nameless,
        Class::Request,
        Method::BINDING,
        TransactionId([7; 12]),
    )
    .username("nobody00:view")
    .message_integrity(b"0123456789012345678901")
    .finish();
    let mut framed = Vec::new();
    write_frame(&mut framed, &nameless);
    for bytes in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &b"\0\x04\x80\x60\0\0"[..],
        &framed,
    ] {
        let mut stream = TcpStream::connect(gateway.engine.local_addr()).unwrap();
        stream.write_all(bytes).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        let mut rest = Vec::new();
        // The end of the stream, or a reset if the gateway left bytes unread.
        let _ = stream.read_to_end(&mut rest);
        assert!(rest.is_empty(), "{rest:?}");
    }
}

#[test]
fn silent_connection_is_closed_after_the_timeout() {
    let gateway = Gateway::start();
    let mut silent = TcpStream::connect(gateway.engine.local_addr()).unwrap();
    // Half a frame does not count either.
    silent.write_all(&[0]).unwrap();
    silent.set_read_timeout(Some(TIMEOUT)).unwrap();
    let begin = Instant::now();
    let mut rest = Vec::new();
    let _ = silent.read_to_end(&mut rest);
    assert!(rest.is_empty());
    let waited = begin.elapsed();
    let least = FIRST_FRAME_TIMEOUT - Duration::from_millis(100);
    assert!(waited >= least, "{waited:?}");
}

#[test]
fn check_with_a_wrong_password_is_refused_and_proves_nothing() {
    let mut gateway = Gateway::start();
    let mut viewer = gateway.viewer();
    viewer.connect(&mut gateway);
    let mut intruder = TcpStream::connect(gateway.engine.local_addr()).unwrap();
    let mut check = Vec::new();
    let transaction = TransactionId([9; 12]);
    MessageWriter::new(&mut check, Class::Request, Method::BINDING, transaction)
        .username(&viewer.username)
        .use_candidate()
        .message_integrity(b"another session's password")
        .finish();
    let mut framed = Vec::new();
    write_frame(&mut framed, &check);
    intruder.write_all(&framed).unwrap();
    intruder.set_read_timeout(Some(TIMEOUT)).unwrap();
    let mut header = [0; 2];
    intruder.read_exact(&mut header).unwrap();
    let mut answer = vec![0; usize::from(u16::from_be_bytes(header))];
    intruder.read_exact(&mut answer).unwrap();
    let error = Message::parse(&answer)
        .unwrap()
        .error_code
        .map(|error| error.code);
    assert_eq!(error, Some(401));
    let packets = viewer.packets;
    viewer.run_until(&mut gateway, |viewer| viewer.packets > packets + 100);
}
