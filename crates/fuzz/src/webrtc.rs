//! Targets for viewers' input: offers, and datagrams.

use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};

use distributary_media::VideoCodec;
use distributary_webrtc::bandwidth::PathEstimator;
use distributary_webrtc::certificate::Certificate;
use distributary_webrtc::data::{DataConfig, SCTP_PORT};
use distributary_webrtc::dtls::{DtlsContext, DtlsRole};
use distributary_webrtc::ice::Credentials;
use distributary_webrtc::peer::{DelayPolicy, MediaClock, Peer, PeerConfig};
use distributary_webrtc::rtcp::ntp::WallClock;
use distributary_webrtc::rtcp::{Packet, packets};
use distributary_webrtc::rtp::StreamExtensions;
use distributary_webrtc::sdp::{AudioPlan, LocalParameters, MediaPlan, Offer, VideoPlan};
use distributary_webrtc::sender::{Resend, SenderConfig};
use distributary_webrtc::srtp::{MasterKey, SrtcpOpener, SrtpProfile};
use distributary_webrtc::stun::{
    Class, IceRole, Message, MessageWriter, Method, TransactionId, local_ufrag,
};
use distributary_webrtc::test_util::local_parameters;

use crate::{ORIGIN, pieces};

/// A compound RTCP packet, decrypted: what is read out of it is no more than what was in it, and
/// leads to an estimate within bounds.
pub fn rtcp(data: &[u8]) {
    let mut now = *ORIGIN;
    let mut path = PathEstimator::new(now, 40_000_000, true);
    let at = path.sent_mut().clock(now);
    for _ in 0..600 {
        path.sent_mut().record(at, 1200);
    }
    for packet in packets(data) {
        now += Duration::from_millis(50);
        match packet {
            Packet::Report(blocks) => {
                assert!(24 * blocks.iter().count() <= data.len());
                for block in blocks.iter() {
                    let round_trip = Duration::from_millis(block.delay.into());
                    path.handle_report(now, &block, Some(round_trip), (100_000, 100));
                }
            }
            Packet::FullIntraRequest(requests) => {
                assert!(8 * requests.iter().count() <= data.len());
            }
            Packet::TransportFeedback(feedback) => {
                let mut packets = 0;
                let mut received = 0;
                for packet in feedback.packets() {
                    packets += 1;
                    received += usize::from(packet.arrival.is_some());
                }
                assert!(packets <= feedback.count);
                assert!(received <= data.len(), "each arrival takes a byte at least");
                path.handle_feedback(now, &feedback);
            }
            Packet::Remb(remb) => path.handle_remb(remb.bitrate),
            Packet::Nack { pairs, .. } => {
                // 17 sequence numbers for each pair of 4 bytes.
                assert!(pairs.sequences().count() <= data.len() / 4 * 17);
            }
            _ => {}
        }
        let is_valid = |limit: u64| (100_000..=1_000_000_000).contains(&limit);
        assert!(path.limit().is_none_or(is_valid), "{path:?}");
    }
}

/// A protected RTCP packet from a sender without the key: never accepted.
pub fn srtcp(data: &[u8]) {
    for profile in SrtpProfile::ALL {
        let key = vec![0x5a; profile.key_len()];
        let salt = vec![0xa5; profile.salt_len()];
        let Some(master) = MasterKey::new(profile, &key, &salt) else {
            panic!("key and salt of {profile:?} have the right lengths");
        };
        let mut packet = data.to_vec();
        assert!(SrtcpOpener::new(&master).open(&mut packet).is_err());
    }
}

/// A STUN datagram: nobody has the key by accident.
pub fn stun(data: &[u8]) {
    if let Ok(message) = Message::parse(data) {
        assert!(!message.verify_integrity(b"a password of 24 letters"));
        assert!(message.username.is_none_or(|name| name.len() <= data.len()));
        for unknown in message.unknown_attributes.iter() {
            assert!(
                unknown.0 < 0x8000,
                "optional attributes are not unknown ones"
            );
        }
    }
    if let Some(ufrag) = local_ufrag(data) {
        assert!(ufrag.len() <= data.len());
    }
}

/// An offer: an answer has a section for each of its sections, and nothing of it in another line.
pub fn sdp_offer(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let Ok(offer) = Offer::parse(text) else {
        return;
    };
    let plan = MediaPlan {
        video: Some(VideoPlan {
            profile_level_id: Some([0x42, 0xc0, 0x1f]),
            ..VideoPlan::default()
        }),
        audio: Some(AudioPlan::default()),
    };
    let Ok(answer) = offer.answer(&plan, &LOCAL) else {
        return;
    };
    let lines = answer.sdp.split_terminator("\r\n").collect::<Vec<_>>();
    let sections = lines.iter().filter(|line| line.starts_with("m=")).count();
    assert_eq!(sections, offer.media().len());
    for line in lines {
        assert_eq!(line.as_bytes().get(1), Some(&b'='), "{line:?}");
        assert!(!line.contains(['\r', '\n']), "{line:?}");
    }
}

/// Our side of every session.
static LOCAL: LazyLock<LocalParameters> = LazyLock::new(|| {
    local_parameters(
        credentials(),
        CERTIFICATE.fingerprint().clone(),
        SocketAddr::from(([192, 0, 2, 1], 8189)),
    )
});

#[allow(clippy::disallowed_methods, reason = "certificates have a date")]
static CERTIFICATE: LazyLock<Certificate> =
    LazyLock::new(|| Certificate::generate(SystemTime::now()).expect("a certificate can be made"));

static DTLS: LazyLock<DtlsContext> =
    LazyLock::new(|| DtlsContext::new(&CERTIFICATE).expect("OpenSSL has what is needed"));

fn credentials() -> Credentials {
    Credentials::new("gateway0", "aPasswordOfOurOwnWith32Letters00")
        .expect("well-formed credentials")
}

/// A whole viewer after its first connectivity check: datagrams, each with its length in two bytes
/// before it. The first bit of the input tells whether they come from the viewer or from somebody
/// else, who gets no answer and does no harm.
pub fn webrtc_peer(data: &[u8]) {
    let Some((&from, data)) = data.split_first() else {
        return;
    };
    let is_viewer = from & 0x80 == 0;
    let (viewer, stranger) = (
        SocketAddr::from(([192, 0, 2, 2], 50_000)),
        SocketAddr::from(([192, 0, 2, 3], 50_001)),
    );
    let mut now = *ORIGIN;
    let mut peer = peer();
    peer.handle_datagram(now, viewer, None, &mut check());
    assert!(
        drain(&mut peer, viewer) > 0,
        "the check of the viewer is answered"
    );
    assert_eq!(peer.remote(), Some(viewer));

    for piece in pieces(data) {
        now += Duration::from_millis(20);
        let source = if is_viewer { viewer } else { stranger };
        peer.handle_datagram(now, source, None, &mut piece.to_vec());
        if is_viewer {
            drain(&mut peer, viewer);
        } else {
            // A request that names the session gets the error of a wrong signature; others get no
            // answer.
            while let Some(transmit) = peer.poll_transmit() {
                let answer = Message::parse(&transmit.bytes).expect("only STUN goes to a stranger");
                assert_eq!(answer.class, Class::Error, "a stranger has got in");
                assert!(transmit.bytes.len() <= piece.len(), "amplification");
                assert_eq!(transmit.destination, stranger);
            }
            assert!(!peer.is_closed(), "a stranger has ended the session");
            assert_eq!(
                peer.remote(),
                Some(viewer),
                "a stranger has taken the session over"
            );
        }
        assert!(!peer.is_connected(), "nobody has the keys");
    }
    now += Duration::from_secs(1);
    peer.handle_timeout(now);
    drain(&mut peer, viewer);
    peer.close();
    drain(&mut peer, viewer);
}

/// Returns the bytes that the peer sends, all of them to the viewer.
fn drain(peer: &mut Peer, viewer: SocketAddr) -> usize {
    while peer.poll_event().is_some() {}
    let mut sent = 0;
    while let Some(transmit) = peer.poll_transmit() {
        assert_eq!(transmit.destination, viewer);
        sent += transmit.bytes.len();
    }
    sent
}

fn peer() -> Peer {
    let sender = |ssrc, codec, payload_type, resend| SenderConfig {
        ssrc,
        codec,
        payload_type,
        red: None,
        resend,
        extensions: StreamExtensions::default(),
        reorders: false,
    };
    let rtx = Resend::Rtx {
        ssrc: 2,
        payload_type: 103,
    };
    let config = PeerConfig {
        local: credentials(),
        remote: Credentials::new("viewer00", "aPasswordOfAViewerWith32Letters0")
            .expect("well-formed credentials"),
        fingerprints: vec![CERTIFICATE.fingerprint().clone()],
        role: DtlsRole::Server,
        video: Some(sender(1, Some(VideoCodec::H264), 102, rtx)),
        audio: Some(sender(3, None, 111, Resend::Never)),
        data: Some(DataConfig {
            port: SCTP_PORT,
            max_message_size: 0,
        }),
        cname: Arc::from("cname"),
        start_pacing: 40_000_000,
        pace_frames: true,
        playout_delay: DelayPolicy::Auto,
        reports_silence: false,
    };
    let clock = MediaClock {
        epoch: *ORIGIN,
        wall: WallClock::new(
            *ORIGIN,
            SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 30),
        ),
    };
    Peer::new(config, clock, &DTLS, *ORIGIN).expect("OpenSSL makes a connection")
}

/// Returns a connectivity check of the viewer.
fn check() -> Vec<u8> {
    let mut datagram = Vec::new();
    MessageWriter::new(
        &mut datagram,
        Class::Request,
        Method::BINDING,
        TransactionId([7; 12]),
    )
    .username("gateway0:viewer00")
    .priority(1)
    .ice_role(IceRole::Controlling(1))
    .use_candidate()
    .message_integrity(credentials().password().as_bytes())
    .finish();
    datagram
}
