//! Shards and viewers in simulated time: no socket, no thread, no runtime.
#![allow(
    clippy::disallowed_methods,
    reason = "an origin for the simulated clock"
)]

mod pace;

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::SystemTime;

use bytes::Bytes;
use distributary_bench::answer::Answer;
use distributary_bench::offer::VIDEO;
use distributary_bench::rtp::read_header;
use distributary_bench::viewer::Viewer as Player;
use distributary_hub::{
    BFramePolicy, Hub, HubConfig, Permit, Publisher, RenditionOffer, RenditionOrigin, StreamsConfig,
};
use distributary_media::test_util::h264_track;
use distributary_media::{
    BFrameVerdict, BFrames, Frame, FrameInfo, MediaTime, VideoCodec, VideoFrame,
};
use distributary_names::{RenditionId, StreamName};
use distributary_net::FairPermit;
use distributary_webrtc::certificate::Certificate;
use distributary_webrtc::dtls::DtlsContext;
use distributary_webrtc::ice::{CONSENT_TIMEOUT, Credentials};
use distributary_webrtc::sdp::Offer;

use super::*;
use crate::datagrams::SendError;
use crate::driven::{DrivenSetup, DrivenShard};
use distributary_media::VideoTrack;
use distributary_webrtc::quality::Preference;

use crate::engine::set_quality;
use crate::engine::{CloseError, ViewerOptions, close, open};
use crate::session::SessionId;
use crate::state::MAX_HANDSHAKES;

const FRAME_INTERVAL: Duration = Duration::from_millis(33);

/// Datagrams that a shard has sent, with their destinations.
#[derive(Clone, Default)]
struct Wire(Rc<RefCell<Sent>>);

type Sent = Vec<(SocketAddr, Vec<u8>)>;

impl Outlet for Wire {
    fn send(
        &self,
        destination: SocketAddr,
        _local: Option<IpAddr>,
        contents: &[u8],
        segment_size: usize,
    ) -> Result<(), SendError> {
        let mut sent = self.0.borrow_mut();
        for packet in contents.chunks(segment_size) {
            sent.push((destination, packet.to_vec()));
        }
        Ok(())
    }
}

/// A player at its address, and the shard at which the kernel delivers its datagrams.
struct Client {
    id: SessionId,
    player: Player,
    address: SocketAddr,
    shard: usize,
    last_check: Option<Instant>,
    /// Its handshake never begins: none of its DTLS records arrive.
    is_stuck: bool,
    /// The datagrams to it that left in the same moment as its first media.
    first_media: Vec<DatagramKind>,
    /// Sequence number and time of the video packets to it.
    video: Vec<(u16, u32)>,
    /// When the first packet of each frame left.
    left: Vec<Instant>,
}

impl Client {
    fn note_sent(&mut self, sent: &Sent, now: Instant) {
        let ours = sent.iter().filter(|(to, _)| *to == self.address);
        let kinds: Vec<_> = ours.map(|(_, bytes)| DatagramKind::of(bytes)).collect();
        for (to, bytes) in sent {
            if *to == self.address
                && DatagramKind::of(bytes) == DatagramKind::Rtp
                && let Some((header, _)) = read_header(bytes)
                && header.payload_type == VIDEO
            {
                if self
                    .video
                    .last()
                    .is_none_or(|(_, last)| *last != header.timestamp)
                {
                    self.left.push(now);
                }
                self.video.push((header.sequence, header.timestamp));
            }
        }
        if self.first_media.is_empty() && kinds.contains(&DatagramKind::Rtp) {
            self.first_media = kinds;
        }
    }
}

/// A gateway without its sockets, its publisher and its players.
struct World {
    start: Instant,
    now: Instant,
    shared: Arc<EngineState>,
    shards: Vec<DrivenShard<Wire>>,
    /// Calls of [`Shard::handle_timeout`].
    timeouts: usize,
    clients: Vec<Client>,
    publisher: Publisher,
    frames: u32,
    /// The time from frame to frame.
    interval: Duration,
    /// Returns when the frame with this time arrives, both since the start.
    arrival: fn(Duration) -> Duration,
    is_publishing: bool,
    /// The publisher's timestamp of the first frame.
    clock: Duration,
    b_frames: BFrameVerdict,
    /// Publishers of renditions, and the number of frames by which they are late.
    renditions: Vec<(Publisher, u32)>,
}

impl World {
    fn new(shards: usize) -> Self {
        Self::with(shards, BFramePolicy::default())
    }

    fn with(shards: usize, bframes: BFramePolicy) -> Self {
        let now = Instant::now();
        let hub = Hub::new(HubConfig {
            streams: StreamsConfig {
                bframes,
                ..StreamsConfig::default()
            },
            ..HubConfig::default()
        });
        let publisher = hub.publish(&stream(), now).unwrap();
        publisher.set_video_track(h264_track());
        let setup = DrivenSetup::for_test(hub, shards, now);
        let (shared, shards) = setup.start(Wire::default).unwrap();
        Self {
            start: now,
            now,
            shards,
            timeouts: 0,
            shared,
            clients: Vec::new(),
            publisher,
            frames: 0,
            interval: FRAME_INTERVAL,
            arrival: |time| time,
            is_publishing: true,
            clock: Duration::ZERO,
            b_frames: BFrameVerdict::default(),
            renditions: Vec::new(),
        }
    }

    /// Publishes a rendition of this height, late by some frames.
    fn publish_rendition(&mut self, height: u32, late: u32) {
        let (hub, source) = (&self.shared.hub, self.publisher.stream());
        let (id, origin) = (RenditionId::rung(height), RenditionOrigin::Track);
        let publisher = hub.publish_rendition(source, &id, origin, self.now);
        let publisher = publisher.unwrap();
        publisher.set_video_track(VideoTrack {
            width: height * 16 / 9,
            height,
            ..h264_track()
        });
        self.renditions.push((publisher, late));
    }

    /// Returns the name of the rendition that the only viewer gets.
    fn watched(&self) -> StreamName {
        let FanOut {
            viewers, streams, ..
        } = &self.shards[0].shard.fan_out;
        let viewer = viewers.iter().next().unwrap();
        let watched = streams.get(viewer.video).unwrap();
        watched.subscription.stream().name().clone()
    }

    /// Lets the only viewer ask for a rendition.
    fn ask(&mut self, id: RenditionId) {
        let preference = Preference {
            fixed: Some(id),
            ..Preference::default()
        };
        set_quality(&self.shared, &self.clients[0].id, preference).unwrap();
        self.exchange();
    }

    /// Adds a player and delivers its datagrams at a shard.
    fn join(&mut self, shard: usize) {
        self.join_with(shard, ViewerOptions::default());
    }

    /// Adds a player with these options.
    fn join_with(&mut self, shard: usize, options: ViewerOptions) {
        let certificate = Certificate::generate(SystemTime::now()).unwrap();
        let identity = 1000 + self.clients.len() as u64;
        let mut player = Player::new(Credentials::generate().unwrap(), identity, true);
        let offer = Offer::parse(&player.offer(certificate.fingerprint())).unwrap();
        let opened = open(&self.shared, &stream(), &offer, options, self.now).unwrap();
        let answer = Answer::parse(&opened.answer).unwrap();
        let server = answer.candidates[0];
        let context = DtlsContext::new(&certificate).unwrap();
        player
            .handle_answer(self.now, answer, server, &context)
            .unwrap();
        let port = 50_000 + self.clients.len() as u16;
        self.clients.push(Client {
            id: opened.id,
            player,
            address: ([192, 0, 2, 7], port).into(),
            shard,
            last_check: None,
            is_stuck: false,
            first_media: Vec::new(),
            video: Vec::new(),
            left: Vec::new(),
        });
    }

    fn publish(&mut self) {
        while self.is_publishing && self.next_arrival() <= self.now {
            let mut next = frame(self.frames, self.interval, self.b_frames);
            if let Frame::Video(video) = &mut next {
                (video.pts, video.dts) = (video.pts + self.clock, video.dts + self.clock);
            }
            self.publisher.push(next, self.now).unwrap();
            for (rendition, late) in &self.renditions {
                if let Some(number) = self.frames.checked_sub(*late) {
                    let frame = frame(number, self.interval, BFrameVerdict::default());
                    rendition.push(frame, self.now).unwrap();
                }
            }
            self.frames += 1;
        }
    }

    /// Returns when the next frame arrives.
    fn next_arrival(&self) -> Instant {
        self.start + (self.arrival)(self.interval * self.frames)
    }

    /// Lets time pass, from one deadline to the next.
    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.publish();
            self.exchange();
            let shards = self.shards.iter().map(|driven| driven.shard.poll_timeout());
            let players = self.clients.iter();
            let players = players.map(|client| client.player.poll_timeout());
            let frame = self.is_publishing.then(|| self.next_arrival());
            let next = shards.chain(players).chain([frame]).flatten().min();
            match next {
                Some(next) if next < end => self.now = self.now.max(next),
                _ => break,
            }
        }
        self.now = end;
    }

    /// Handles due timeouts and carries datagrams until there are none.
    fn exchange(&mut self) {
        let now = self.now;
        loop {
            let mut is_idle = true;
            for client in &mut self.clients {
                if client.player.poll_timeout().is_some_and(|due| due <= now) {
                    client.player.handle_timeout(now);
                }
                while let Some(mut bytes) = client.player.poll_transmit() {
                    is_idle = false;
                    match DatagramKind::of(&bytes) {
                        DatagramKind::Stun => client.last_check = Some(now),
                        DatagramKind::Dtls if client.is_stuck => continue,
                        _ => {}
                    }
                    let datagram = Received {
                        source: client.address,
                        local: None,
                        bytes: &mut bytes,
                    };
                    self.shards[client.shard]
                        .shard
                        .handle_datagram(datagram, now);
                }
            }
            for driven in &mut self.shards {
                is_idle &= !driven.handle_commands(now);
                is_idle &= !driven.handle_deliveries(now);
                self.timeouts += usize::from(driven.handle_timeout(now));
                let sent = driven.outlet.0.take();
                for client in &mut self.clients {
                    client.note_sent(&sent, now);
                }
                for (destination, bytes) in sent {
                    is_idle = false;
                    let mut clients = self.clients.iter_mut();
                    if let Some(client) = clients.find(|client| client.address == destination) {
                        client.player.handle_datagram(now, &bytes);
                    }
                }
            }
            if is_idle {
                return;
            }
        }
    }

    fn sessions(&self) -> usize {
        self.shared.registry.len()
    }
}

/// Returns the frame of this number.
fn frame(number: u32, interval: Duration, b_frames: BFrameVerdict) -> Frame {
    let at = MediaTime::ZERO + interval * number;
    let keyframe = number.is_multiple_of(30);
    let mut unit = vec![0x55; if keyframe { 20_000 } else { 3_000 }];
    unit[0] = if keyframe { 0x65 } else { 0x41 };
    unit[1] = 0x80;
    Frame::Video(VideoFrame {
        codec: VideoCodec::H264,
        pts: at,
        dts: at,
        keyframe,
        info: FrameInfo {
            b_frames,
            ..FrameInfo::default()
        },
        units: vec![Bytes::from(unit)],
    })
}

fn stream() -> StreamName {
    StreamName::parse("live/test").unwrap()
}

#[test]
fn viewer_stays_connected_when_its_datagrams_reach_another_shard() {
    let mut world = World::new(2);
    world.join(0);
    world.run(Duration::from_secs(1));
    assert!(world.clients[0].player.first_packet().is_some());
    world.clients[0].shard = 1;
    world.run(CONSENT_TIMEOUT * 4);
    assert_eq!(world.sessions(), 1);
    let findings = world.clients[0].player.findings().unwrap();
    assert!(findings.units.whole > 1800, "{findings:?}");
    assert_eq!((findings.units.damaged, findings.refused), (0, 0));
}

#[test]
fn media_leaves_in_one_moment_with_the_end_of_the_handshake_and_behind_it() {
    for early_media in [true, false] {
        let mut world = World::new(1);
        let options = ViewerOptions {
            early_media,
            ..ViewerOptions::default()
        };
        world.join_with(0, options);
        world.run(Duration::from_secs(2));
        let client = &world.clients[0];
        let kinds = &client.first_media;
        let last_dtls = kinds.iter().rposition(|kind| *kind == DatagramKind::Dtls);
        let first_rtp = kinds.iter().position(|kind| *kind == DatagramKind::Rtp);
        assert!(last_dtls.is_some() && last_dtls < first_rtp, "{kinds:?}");
        let findings = client.player.findings().unwrap();
        assert!(findings.units.whole > 50, "{findings:?}");
        assert_eq!((findings.units.damaged, findings.refused), (0, 0));
        let permits = world.shards[0].shard.fan_out.viewers.iter();
        let open = permits.filter(|viewer| viewer.handshake.is_some()).count();
        assert_eq!(open, 0, "the handshake is complete");
    }
}

#[test]
fn role_left_open_is_active_for_players_known_to_support_early_media() {
    let world = World::new(1);
    let early = ViewerOptions {
        early_media: true,
        ..ViewerOptions::default()
    };
    let setup = |world: &World, options| {
        let player = Player::new(Credentials::generate().unwrap(), 1, true);
        let certificate = Certificate::generate(SystemTime::now()).unwrap();
        let offer = Offer::parse(&player.offer(certificate.fingerprint())).unwrap();
        let opened = open(&world.shared, &stream(), &offer, options, world.now).unwrap();
        let mut lines = opened.answer.lines();
        let setup = lines.find_map(|line| line.strip_prefix("a=setup:"));
        setup.unwrap().to_owned()
    };
    assert_eq!(setup(&world, early), "active");
    assert_eq!(setup(&world, ViewerOptions::default()), "passive");
}

#[test]
fn silent_viewer_is_closed_at_the_moment_its_consent_ends() {
    let mut world = World::new(1);
    world.join(0);
    world.run(Duration::from_secs(7));
    let last_check = world.clients[0].last_check.unwrap();
    world.clients.clear();
    let ends = last_check + CONSENT_TIMEOUT;
    world.run(ends - world.now);
    assert_eq!(world.sessions(), 1);
    world.run(Duration::from_millis(2));
    assert_eq!(world.sessions(), 0);
}

#[test]
fn newcomers_and_pauses_of_the_publisher_are_no_disturbance() {
    let mut world = World::new(1);
    for _ in 0..4 {
        world.join(0);
        world.run(Duration::from_secs(4));
        world.is_publishing = !world.is_publishing;
    }
    assert_eq!(world.sessions(), 4);
    assert!(!world.shards[0].shard.disturbance.was_found());
}

#[test]
fn idle_viewers_hardly_wake_their_shard() {
    let mut world = World::new(1);
    for _ in 0..30 {
        world.join(0);
        world.run(Duration::from_millis(37));
    }
    world.run(Duration::from_secs(2));
    world.is_publishing = false;
    world.run(Duration::from_secs(4));
    assert_eq!(world.sessions(), 30);
    world.timeouts = 0;
    world.run(Duration::from_secs(10));
    assert_eq!(world.sessions(), 30);
    // One round of upkeep a second, and the deadlines of 30 viewers, which checks have moved by
    // then.
    let timeouts = world.timeouts;
    assert!(timeouts <= 10 + 30, "{timeouts} timeouts in 10 s");
}

#[test]
fn close_is_busy_while_the_inbox_of_the_shard_is_full() {
    let mut world = World::new(1);
    world.join(0);
    world.run(Duration::from_secs(1));
    let id = world.clients[0].id;
    let joins = world.shared.outcomes.stats(world.now).total;
    assert_eq!(joins.connected, 1);
    let inbox = &world.shared.inboxes[0];
    while inbox.try_send(Command::Close(SessionId::random())).is_ok() {}
    assert_eq!(close(&world.shared, &id, world.now), Err(CloseError::Busy));
    assert!(world.shared.registry.contains(&id));
    world.run(Duration::from_secs(1));
    assert_eq!(close(&world.shared, &id, world.now), Ok(()));
    world.run(Duration::from_secs(1));
    assert_eq!(world.sessions(), 0);
    assert_eq!(
        close(&world.shared, &id, world.now),
        Err(CloseError::UnknownSession)
    );
}

/// Adds a viewer whose handshake does not begin, and fills the places of handshakes with others.
fn full_of_handshakes(world: &mut World) -> Vec<FairPermit> {
    world.join(0);
    world.clients[0].is_stuck = true;
    world.run(Duration::from_millis(1500));
    assert_eq!(world.sessions(), 1);
    let begin = |_| world.shared.handshakes.begin(None, world.now).unwrap();
    (1..MAX_HANDSHAKES).map(begin).collect()
}

#[test]
fn handshake_ends_at_once_when_its_permit_is_revoked() {
    let mut world = World::new(1);
    let others = full_of_handshakes(&mut world);
    let address = Some([192, 0, 2, 99].into());
    let _newcomer = world.shared.handshakes.begin(address, world.now).unwrap();
    assert!(others.iter().all(|other| !other.revocation().is_revoked()));
    world.exchange();
    assert_eq!(world.sessions(), 0);
}

#[test]
fn upkeep_ends_a_revoked_handshake_when_the_inbox_was_full() {
    let mut world = World::new(1);
    let _others = full_of_handshakes(&mut world);
    let inbox = &world.shared.inboxes[0];
    while inbox.try_send(Command::Close(SessionId::random())).is_ok() {}
    let address = Some([192, 0, 2, 99].into());
    let _newcomer = world.shared.handshakes.begin(address, world.now).unwrap();
    world.exchange();
    assert_eq!(world.sessions(), 1);
    world.run(UPKEEP_INTERVAL);
    assert_eq!(world.sessions(), 0);
}

#[test]
fn viewers_change_to_the_rendition_at_the_moment_it_is_live() {
    let mut world = World::with(1, BFramePolicy::Transcode);
    let hub = world.shared.hub.clone();
    let rendition = stream().rendition(&RenditionId::H264);
    let offer = RenditionOffer::transcode(RenditionId::H264, 1280, 720, 2_000_000);
    let mut demands = hub.provide_renditions(move |_| vec![offer]);
    world.b_frames.kind = BFrames::NonReference;
    world.join(0);
    world.run(Duration::from_millis(1500));
    assert_eq!(demands.try_recv().unwrap().name(), &rendition);
    assert_eq!(world.watched(), stream());
    let (source, origin) = (world.publisher.stream(), RenditionOrigin::Transcoded);
    let publisher = hub.publish_rendition(source, &RenditionId::H264, origin, world.now);
    world.renditions.push((publisher.unwrap(), 0));
    world.run(Duration::from_millis(1100));
    assert_eq!(world.watched(), rendition);
}

#[test]
fn viewer_moves_between_renditions_without_a_missing_frame() {
    for late in [0, 6] {
        let mut world = World::new(1);
        world.publish_rendition(360, late);
        world.join(0);
        world.run(Duration::from_millis(2500));
        let small = stream().rendition(&RenditionId::rung(360));
        assert_eq!(world.watched(), stream());
        world.ask(RenditionId::rung(360));
        world.run(Duration::from_millis(2000));
        assert_eq!(world.watched(), small, "{late} frames late");
        world.ask(RenditionId::SOURCE);
        world.run(Duration::from_millis(2500));
        assert_eq!(world.watched(), stream(), "{late} frames late");
        let findings = world.clients[0].player.findings().unwrap();
        assert_eq!((findings.units.damaged, findings.refused), (0, 0));
        let frames = world.frames as u64;
        assert!(
            findings.units.whole + 3 >= frames && findings.units.whole <= frames,
            "{} of {frames} frames, {late} late",
            findings.units.whole
        );
        let switches = world.shared.switches.all();
        let counts: Vec<_> = switches.iter().filter(|switch| switch.count > 0).collect();
        assert_eq!(counts.len(), 2, "{switches:?}");
    }
}

#[test]
fn log_of_a_rendition_lasts_as_long_as_somebody_gets_it() {
    let mut world = World::new(1);
    world.publish_rendition(360, 0);
    world.publish_rendition(720, 0);
    world.join(0);
    let logs = |world: &World| world.shards[0].shard.fan_out.streams.tags().len();
    world.run(Duration::from_secs(2));
    assert_eq!(logs(&world), 1);
    world.ask(RenditionId::rung(360));
    world.run(Duration::from_secs(2));
    assert_eq!(logs(&world), 2, "and the stream, for its audio");
    world.ask(RenditionId::rung(720));
    world.run(Duration::from_secs(3));
    assert_eq!(logs(&world), 2);
    world.ask(RenditionId::SOURCE);
    world.run(Duration::from_secs(3));
    assert_eq!(logs(&world), 1);
}

#[test]
fn viewer_of_a_rendition_that_ends_goes_back_to_the_stream() {
    let mut world = World::new(1);
    world.publish_rendition(360, 0);
    world.join(0);
    world.run(Duration::from_secs(2));
    world.ask(RenditionId::rung(360));
    world.run(Duration::from_secs(2));
    assert_ne!(world.watched(), stream());
    world.renditions.clear();
    world.run(Duration::from_secs(5));
    assert_eq!(world.watched(), stream());
    let findings = world.clients[0].player.findings().unwrap();
    assert_eq!((findings.units.damaged, findings.refused), (0, 0));
}

#[test]
fn viewer_gets_one_continuous_stream_from_a_publisher_and_its_standby() {
    let mut world = World::new(1);
    world.join(0);
    world.run(Duration::from_secs(2));
    // The clock of the standby began a day ago. It is in the middle of a GOP when it is needed.
    let (hub, now) = (world.shared.hub.clone(), world.now);
    let standby = hub.stand_by(&stream(), Permit::default(), now).unwrap();
    standby.set_video_track(h264_track());
    drop(std::mem::replace(&mut world.publisher, standby));
    world.clock = Duration::from_secs(86_400);
    assert!(!world.frames.is_multiple_of(30), "not at a keyframe");
    world.run(Duration::from_secs(3));
    assert!(world.publisher.is_active());
    assert_eq!(world.sessions(), 1);
    let client = &world.clients[0];
    let findings = client.player.findings().unwrap();
    assert_eq!((findings.units.damaged, findings.refused), (0, 0));
    let missed = 30 - 61 % 30;
    let expected = u64::from(world.frames - missed);
    assert!(findings.units.whole + 3 >= expected, "{findings:?}");
    let in_order = |pair: &[(u16, u32)]| {
        let ((sequence, time), (next_sequence, next_time)) = (pair[0], pair[1]);
        let later = next_time.wrapping_sub(time);
        // At most the rest of a GOP, and never back.
        next_sequence == sequence.wrapping_add(1) && later <= 90_000
    };
    let broken = client.video.windows(2).find(|pair| !in_order(pair));
    assert_eq!(broken, None);
    let ((_, first), (_, last)) = (client.video[0], client.video[client.video.len() - 1]);
    let ticks = last.wrapping_sub(first);
    assert!((4 * 90_000..6 * 90_000).contains(&ticks), "{ticks}");
}
