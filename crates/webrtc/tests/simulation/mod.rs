//! Our side of a viewer and another WebRTC implementation, over a simulated network.

#![allow(dead_code, reason = "each test uses a part of it")]
#![allow(
    clippy::unwrap_used,
    reason = "a simulation that cannot be set up fails its test"
)]

pub(crate) mod network;

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use distributary_media::{
    AudioCodec, AudioFrame, Frame, FrameInfo, FrameInspector, MediaTime, VideoCodec, VideoFrame,
};
use distributary_webrtc::certificate::Certificate;
use distributary_webrtc::dtls::{DtlsContext, DtlsRole};
use distributary_webrtc::ice::{CandidatePair, Credentials, Transport};
use distributary_webrtc::log::{Log, LogLimits};
use distributary_webrtc::peer::{DelayPolicy, MediaClock, Peer, PeerConfig, PeerEvent};
use distributary_webrtc::rtcp::ntp::WallClock;
use distributary_webrtc::sdp::{
    AudioPlan, HeaderExtension, LocalParameters, MediaPlan, Offer, VideoPlan,
};
use distributary_webrtc::send_buffer::SendBuffer;
use distributary_webrtc::sender::{RepairLogs, SenderConfig};
use distributary_webrtc::srtp::SrtpProfile;
use distributary_webrtc::stun::{Class, IceRole, Message, MessageWriter, Method, TransactionId};
use distributary_webrtc::test_util::local_parameters;
use network::{Datagram, Network};
use str0m::change::SdpAnswer;
use str0m::channel::ChannelId;
use str0m::media::{Direction, KeyframeRequestKind, MediaData, MediaKind};
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Event, Input, Output, Rtc, RtcConfig};

/// Rate at which a newcomer gets the GOP, in bits per second.
const START_PACING: u64 = 40_000_000;

/// The media requested in the client's offer.
const EXTENSIONS: [HeaderExtension; 5] = [
    HeaderExtension::PlayoutDelay,
    HeaderExtension::Mid,
    HeaderExtension::AbsSendTime,
    HeaderExtension::TransportWideCc,
    HeaderExtension::AbsCaptureTime,
];

/// One step of the simulated clock.
const STEP: Duration = Duration::from_millis(5);

/// Both ends and the network between them.
pub(crate) struct Simulation {
    pub(crate) now: Instant,
    pub(crate) network: Network,
    pub(crate) peer: Peer,
    pub(crate) events: Vec<PeerEvent>,
    pub(crate) client: Rtc,
    /// Complete frames that the client assembled.
    pub(crate) received: Vec<MediaData>,
    /// The time of each of them.
    pub(crate) received_at: Vec<Instant>,
    /// True if frames with odd numbers are disposable.
    pub(crate) has_disposables: bool,
    /// Factor on the length of frames.
    pub(crate) scale: usize,
    /// True while the publisher pauses. Frames are numbered by time all the same.
    pub(crate) is_paused: bool,
    pub(crate) client_connected: bool,
    /// The client's channels that are open.
    pub(crate) channels: Vec<ChannelId>,
    /// Texts that the client received.
    pub(crate) texts: Vec<String>,
    /// Our side of the ICE session.
    pub(crate) ice: Credentials,
    /// The client's side of the ICE session.
    pub(crate) remote_ice: Credentials,
    /// Further address of the client whose datagrams are delivered to it.
    pub(crate) second_address: Option<SocketAddr>,
    /// Frames to publish with their times, in place of synthetic ones.
    pub(crate) clip: Option<VecDeque<(Duration, Frame)>>,
    /// Number of frames of the clip a decoder holds back to put them in order, and when the clip
    /// is in order again.
    pub(crate) depth: u8,
    pub(crate) in_order_from: Duration,
    /// Media datagrams by destination.
    pub(crate) media_to: HashMap<SocketAddr, usize>,
    /// All bytes by destination, and those that have come.
    pub(crate) bytes_to: HashMap<SocketAddr, u64>,
    pub(crate) bytes_heard: u64,
    /// True if the gateway has its datagrams from a TCP connection.
    pub(crate) is_tcp: bool,
    /// True if the client answers checks.
    pub(crate) answers_checks: bool,
    /// True if datagrams of the client arrive at once and without loss.
    pub(crate) is_one_way: bool,
    pub(crate) video: Log,
    pub(crate) audio: Log,
    buffer: SendBuffer,
    server_address: SocketAddr,
    client_address: SocketAddr,
    next_frame: u64,
    start: Instant,
    keyframe_interval: u64,
}

impl Simulation {
    /// Both ends after offer and answer, before the first datagram.
    pub(crate) fn new(seed: u64, keyframe_interval: u64) -> Self {
        Self::with_channels(seed, keyframe_interval, &[])
    }

    /// The same with data channels of these names.
    pub(crate) fn with_channels(seed: u64, keyframe_interval: u64, channels: &[&str]) -> Self {
        Self::with_client(seed, keyframe_interval, channels, Rtc::builder())
    }

    /// The same with a client that is built so.
    pub(crate) fn with_client(
        seed: u64,
        keyframe_interval: u64,
        channels: &[&str],
        client: RtcConfig,
    ) -> Self {
        let role = DtlsRole::Server;
        Self::build(seed, keyframe_interval, channels, client, &EXTENSIONS, role)
    }

    /// Returns both ends with us in this DTLS role.
    pub(crate) fn in_role(role: DtlsRole, seed: u64, channels: &[&str]) -> Self {
        Self::build(seed, 60, channels, Rtc::builder(), &EXTENSIONS, role)
    }

    /// Returns both ends for a client that sends no transport-wide feedback.
    pub(crate) fn without_feedback(seed: u64, keyframe_interval: u64) -> Self {
        Self::without_feedback_of(seed, keyframe_interval, Rtc::builder())
    }

    /// The same with a client that is built so.
    pub(crate) fn without_feedback_of(
        seed: u64,
        keyframe_interval: u64,
        client: RtcConfig,
    ) -> Self {
        let extensions = EXTENSIONS.map(|extension| match extension {
            HeaderExtension::TransportWideCc => HeaderExtension::Mid,
            other => other,
        });
        let role = DtlsRole::Server;
        Self::build(seed, keyframe_interval, &[], client, &extensions, role)
    }

    #[allow(
        clippy::disallowed_methods,
        reason = "an origin for the simulated clock"
    )]
    fn build(
        seed: u64,
        keyframe_interval: u64,
        channels: &[&str],
        client: RtcConfig,
        extensions: &[HeaderExtension],
        role: DtlsRole,
    ) -> Self {
        let now = Instant::now();
        let server_address: SocketAddr = "192.0.2.1:8189".parse().unwrap();
        let client_address: SocketAddr = "192.0.2.2:50000".parse().unwrap();
        let mut client = client.build(now);
        client.add_local_candidate(Candidate::host(client_address, "udp").unwrap());
        let mut change = client.sdp_api();
        change.add_media(MediaKind::Video, Direction::RecvOnly, None, None, None);
        change.add_media(MediaKind::Audio, Direction::RecvOnly, None, None, None);
        for channel in channels {
            change.add_channel((*channel).to_owned());
        }
        let (offer, pending) = change.apply().unwrap();

        let certificate = Certificate::generate(SystemTime::now()).unwrap();
        let profiles = match role {
            DtlsRole::Client => &SrtpProfile::AEAD[..],
            DtlsRole::Server => &SrtpProfile::ALL,
        };
        let context = DtlsContext::with_profiles(&certificate, profiles).unwrap();
        let ice = Credentials::generate().unwrap();
        let fingerprint = certificate.fingerprint().clone();
        let local = LocalParameters {
            role,
            ..local_parameters(ice.clone(), fingerprint, server_address)
        };
        let plan = MediaPlan {
            video: Some(VideoPlan {
                extensions: extensions.to_vec(),
                ..VideoPlan::default()
            }),
            audio: Some(AudioPlan {
                extensions: extensions.to_vec(),
                red: false,
            }),
        };
        let answer = Offer::parse(&offer.to_sdp_string())
            .unwrap()
            .answer(&plan, &local)
            .unwrap();
        let accepted = SdpAnswer::from_sdp_string(&answer.sdp).unwrap();
        client.sdp_api().accept_answer(pending, accepted).unwrap();

        let negotiated = answer.negotiated;
        let video = negotiated.video.unwrap();
        let audio = negotiated.audio.unwrap();
        let remote_ice = negotiated.remote.ice.clone();
        let config = PeerConfig {
            local: ice.clone(),
            remote: negotiated.remote.ice.clone(),
            fingerprints: negotiated.remote.fingerprints,
            role: DtlsRole::of_answer(negotiated.setup),
            video: Some(SenderConfig {
                reorders: true,
                ..SenderConfig::video(&video)
            }),
            audio: Some(SenderConfig::audio(&audio)),
            data: negotiated.data.map(|data| data.config),
            cname: Arc::from("cname"),
            start_pacing: START_PACING,
            pace_frames: true,
            playout_delay: DelayPolicy::Auto,
            reports_silence: false,
        };
        let clock = MediaClock {
            epoch: now,
            wall: WallClock::new(now, SystemTime::now()),
        };
        Self {
            now,
            network: Network::new(seed, server_address),
            peer: Peer::new(config, clock, &context, now).unwrap(),
            events: Vec::new(),
            client,
            received: Vec::new(),
            received_at: Vec::new(),
            has_disposables: false,
            scale: 1,
            is_paused: false,
            client_connected: false,
            channels: Vec::new(),
            texts: Vec::new(),
            ice,
            remote_ice,
            second_address: None,
            clip: None,
            depth: 0,
            in_order_from: Duration::MAX,
            media_to: HashMap::new(),
            bytes_to: HashMap::new(),
            bytes_heard: 0,
            is_tcp: false,
            answers_checks: true,
            is_one_way: false,
            video: Log::new(90_000, LogLimits::default()),
            audio: Log::new(48_000, LogLimits::default()),
            buffer: SendBuffer::new(1 << 20),
            server_address,
            client_address,
            next_frame: 0,
            start: now,
            keyframe_interval,
        }
    }

    /// Returns the bytes of the frame with this number: as long as in a 720p stream, and different
    /// for each.
    pub(crate) fn frame(&self, number: u64) -> Vec<u8> {
        let keyframe = number.is_multiple_of(self.keyframe_interval);
        let len = if keyframe {
            60_000
        } else {
            4_000 + (number as usize % 7) * 1_000
        };
        let mut unit: Vec<u8> = (0..len * self.scale)
            .map(|n| (n as u64 * 31 + number * 7 + 3) as u8 | 1)
            .collect();
        unit[0] = if keyframe {
            0x65
        } else if self.has_disposables && number % 2 == 1 {
            0x01
        } else {
            0x41
        };
        unit[1..9].copy_from_slice(&(number | 0x0101_0101_0000_0000).to_be_bytes());
        unit
    }

    /// Publishes up to now: 30 video frames and 50 audio frames a second.
    fn publish(&mut self) {
        if self.clip.is_some() {
            return self.publish_clip();
        }
        let elapsed = self.now.duration_since(self.start).as_millis() as u64;
        if self.is_paused {
            self.next_frame = elapsed * 3 / 100 + 1;
            return;
        }
        while self.next_frame * 100 / 3 <= elapsed {
            let number = self.next_frame;
            let at = MediaTime::from_millis((number * 100 / 3) as i64);
            let mut frame = VideoFrame {
                codec: VideoCodec::H264,
                pts: at,
                dts: at,
                keyframe: number.is_multiple_of(self.keyframe_interval),
                info: FrameInfo::default(),
                units: vec![Bytes::from(self.frame(number))],
            };
            FrameInspector::default().inspect(&mut frame);
            self.video.push_video(&frame, self.now);
            self.next_frame += 1;
        }
        while self.audio.head() * 20 <= elapsed {
            let pts = MediaTime::from_millis((self.audio.head() * 20) as i64);
            let data = Bytes::from(vec![0xfc; 200]);
            self.audio.push_audio(
                &AudioFrame {
                    codec: AudioCodec::Opus,
                    pts,
                    data,
                },
                self.now,
            );
        }
    }

    fn publish_clip(&mut self) {
        let elapsed = self.now.duration_since(self.start);
        let clip = self.clip.as_mut().unwrap();
        while clip.front().is_some_and(|(at, _)| *at <= elapsed) {
            let Some((at, frame)) = clip.pop_front() else {
                return;
            };
            match frame {
                Frame::Audio(audio) => self.audio.push_audio(&audio, self.now),
                Frame::Video(frame) if self.depth == 0 || at >= self.in_order_from => {
                    self.video.push_video(&frame, self.now);
                }
                Frame::Video(frame) => {
                    self.video.push_reordered(&frame, self.depth, self.now);
                }
            }
        }
    }

    /// Returns the frames that the client assembled: number, whether it equals the published one,
    /// and its delay.
    pub(crate) fn frames(&self) -> Vec<(u64, bool, Duration)> {
        let received = self.received.iter().zip(&self.received_at);
        received
            .filter(|(data, _)| data.params.spec().clock_rate.get() == 90_000)
            .map(|(data, at)| {
                // Annex B: a start code, then the frame.
                let unit = &data.data[4..];
                let number = u64::from_be_bytes(std::array::from_fn(|n| unit[1 + n])) & 0xffff_ffff;
                let published = self.start + Duration::from_millis(number * 100 / 3);
                let delay = at.saturating_duration_since(published);
                (number, unit == self.frame(number), delay)
            })
            .collect()
    }

    /// Returns the times at which the client had assembled the video frames.
    pub(crate) fn video_received_at(&self) -> Vec<Instant> {
        let received = self.received.iter().zip(&self.received_at);
        received
            .filter(|(data, _)| data.params.spec().clock_rate.get() == 90_000)
            .map(|(_, at)| *at)
            .collect()
    }

    /// Sets or removes a bottleneck in bits per second on the path to the client.
    pub(crate) fn set_bottleneck(&mut self, rate: Option<u64>) {
        self.network.bottleneck = rate.map(|rate| (self.server_address, rate));
    }

    /// Lets the client ask for a keyframe.
    pub(crate) fn request_keyframe(&mut self) {
        let video = self
            .received
            .iter()
            .find(|data| data.params.spec().clock_rate.get() == 90_000)
            .unwrap()
            .mid;
        self.client
            .writer(video)
            .unwrap()
            .request_keyframe(None, KeyframeRequestKind::Pli)
            .unwrap();
    }

    /// Frames published so far.
    pub(crate) fn published(&self) -> u64 {
        self.next_frame
    }

    /// Lets `time` pass.
    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now += STEP;
            self.publish();
            self.drive_peer();
            self.drive_client();
            while let Some(datagram) = self.network.receive(self.now) {
                self.deliver(datagram);
            }
        }
    }

    /// Lets time pass until both ends are connected. The network's random numbers start over then:
    /// a handshake has as many datagrams as its random keys and certificates make it.
    pub(crate) fn connect(&mut self, seed: u64) {
        self.run_until(Duration::from_secs(10), |simulation| {
            let mut events = simulation.events.iter();
            simulation.client_connected
                && events.any(|event| matches!(event, PeerEvent::Connected { .. }))
        });
        self.network.reseed(seed);
    }

    /// Lets time pass until `done`, at most `limit`.
    pub(crate) fn run_until(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) {
        let end = self.now + limit;
        while !done(self) {
            assert!(
                self.now < end,
                "not done after {limit:?}: {:?}; {} packets and channels {:?}",
                self.events,
                self.received.len(),
                self.channels
            );
            self.run(STEP);
        }
    }

    fn deliver(&mut self, mut datagram: Datagram) {
        if datagram.destination == self.server_address {
            self.hear(datagram.source, &mut datagram.bytes);
            return;
        }
        let is_here = datagram.destination == self.client_address
            || Some(datagram.destination) == self.second_address;
        if is_here
            && let Ok(receive) = Receive::new(
                Protocol::Udp,
                datagram.source,
                self.client_address,
                &datagram.bytes,
            )
        {
            self.client
                .handle_input(Input::Receive(self.now, receive))
                .unwrap();
            self.drive_client();
        }
    }

    /// Delivers a datagram with this source to our side.
    pub(crate) fn hear(&mut self, source: SocketAddr, datagram: &mut [u8]) {
        self.bytes_heard += datagram.len() as u64;
        let local: IpAddr = self.server_address.ip();
        let mut pair = CandidatePair::udp(Some(local), source);
        if self.is_tcp {
            pair.transport = Transport::Tcp(1);
        }
        self.peer.handle_packet(self.now, pair, datagram);
        self.drive_peer();
    }

    /// Returns the datagrams in flight to an address.
    pub(crate) fn sent_to(&self, address: SocketAddr) -> Vec<Vec<u8>> {
        self.network.under_way_to(address)
    }

    fn drive_peer(&mut self) {
        let deadline = self.peer.poll_timeout();
        if deadline.is_some_and(|deadline| self.now >= deadline) {
            self.peer.handle_timeout(self.now);
        }
        self.drain_peer();
        self.buffer.clear();
        let logs = RepairLogs {
            present: &self.video,
            former: None,
        };
        self.peer.retransmit(logs, self.now, &mut self.buffer);
        self.peer
            .send_media(&self.video, &self.audio, self.now, &mut self.buffer);
        if let Some(destination) = self.peer.remote() {
            for (bytes, segment) in self.buffer.runs() {
                for packet in bytes.chunks(segment) {
                    assert!(packet.len() <= 1200, "{} bytes", packet.len());
                    let bytes = packet.to_vec();
                    *self.media_to.entry(destination).or_default() += 1;
                    *self.bytes_to.entry(destination).or_default() += bytes.len() as u64;
                    let datagram = Datagram {
                        source: self.server_address,
                        destination,
                        bytes,
                    };
                    self.network.send(self.now, datagram);
                }
            }
        }
        self.drain_peer();
    }

    pub(crate) fn drain_peer(&mut self) {
        while let Some(transmit) = self.peer.poll_transmit() {
            let sent = self.bytes_to.entry(transmit.destination).or_default();
            *sent += transmit.bytes.len() as u64;
            let datagram = Datagram {
                source: self.server_address,
                destination: transmit.destination,
                bytes: transmit.bytes,
            };
            self.network.send(self.now, datagram);
        }
        while let Some(event) = self.peer.poll_event() {
            self.events.push(event);
        }
    }

    fn drive_client(&mut self) {
        self.client.handle_input(Input::Timeout(self.now)).unwrap();
        let mut outbound = Vec::new();
        loop {
            match self.client.poll_output().unwrap() {
                Output::Timeout(_) => break,
                Output::Transmit(transmit) => {
                    let datagram = Datagram {
                        source: self.client_address,
                        destination: transmit.destination,
                        bytes: transmit.contents.to_vec(),
                    };
                    let is_answer = Message::parse(&datagram.bytes)
                        .is_ok_and(|message| message.class == Class::Success);
                    if is_answer && !self.answers_checks {
                        continue;
                    }
                    if self.is_one_way {
                        outbound.push(datagram);
                    } else {
                        self.network.send(self.now, datagram);
                    }
                }
                Output::Event(Event::MediaData(data)) => {
                    self.received.push(data);
                    self.received_at.push(self.now);
                }
                Output::Event(Event::Connected) => self.client_connected = true,
                Output::Event(Event::ChannelOpen(id, _)) => self.channels.push(id),
                Output::Event(Event::ChannelData(data)) => {
                    self.texts.push(String::from_utf8(data.data).unwrap());
                }
                Output::Event(_) => {}
            }
        }
        for mut datagram in outbound {
            self.hear(datagram.source, &mut datagram.bytes);
        }
    }
}

/// Returns a nominating check under the credentials of both sides, ours first.
pub(crate) fn nominating_check(local: &Credentials, remote: &Credentials) -> Vec<u8> {
    let mut check = Vec::new();
    MessageWriter::new(
        &mut check,
        Class::Request,
        Method::BINDING,
        TransactionId([9; 12]),
    )
    .username(&format!("{}:{}", local.ufrag(), remote.ufrag()))
    .priority(1)
    .ice_role(IceRole::Controlling(1))
    .use_candidate()
    .message_integrity(local.password().as_bytes())
    .finish();
    check
}

/// Returns the answer of a client with this password to a check of ours; `None` if it is none.
pub(crate) fn answer_to_check(datagram: &[u8], password: &str) -> Option<Vec<u8>> {
    let check = Message::parse(datagram).ok()?;
    if check.class != Class::Request {
        return None;
    }
    assert!(check.verify_integrity(password.as_bytes()));
    let mut answer = Vec::new();
    MessageWriter::new(
        &mut answer,
        Class::Success,
        Method::BINDING,
        check.transaction,
    )
    .message_integrity(password.as_bytes())
    .finish();
    Some(answer)
}
