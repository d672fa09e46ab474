//! The costs of the steps of a viewer's packet: `cargo bench -p distributary-bench`.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    missing_docs,
    reason = "measurements, with an origin for the simulated clock"
)]

use std::hint::black_box;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use distributary_bench::ice::ControllingAgent;
use distributary_webrtc::ice::{CandidatePair, Credentials, IceLite};
use distributary_webrtc::log::MAX_PAYLOAD;
use distributary_webrtc::rtcp::packets;
use distributary_webrtc::rtp::{RtpHeader, h264};
use distributary_webrtc::srtp::{MasterKey, SrtpProfile, SrtpSealer};
use quinn_udp::{Transmit, UdpSockRef, UdpSocketState};

/// Length in bytes of a frame of 720p30 at 2.5 Mbit/s.
const FRAME: usize = 10_400;

/// Its packets: ten of this payload.
const PAYLOAD: usize = 1_042;

fn packetize(criterion: &mut Criterion) {
    let mut unit = vec![7; FRAME];
    unit[0] = 0x41;
    let units = [Bytes::from(unit)];
    let mut group = criterion.benchmark_group("packetize");
    group.throughput(Throughput::Bytes(FRAME as u64));
    group.bench_function("a frame of 10.4 KB", |bencher| {
        bencher.iter(|| {
            h264::packetize(black_box(&units), MAX_PAYLOAD, |payload| {
                black_box(payload);
            });
        });
    });
    group.finish();
}

fn seal(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("header and seal");
    for profile in [
        SrtpProfile::AeadAes128Gcm,
        SrtpProfile::AeadAes256Gcm,
        SrtpProfile::AesCm128HmacSha1_80,
        SrtpProfile::AesCm128HmacSha1_32,
    ] {
        let (key, salt) = (vec![1; profile.key_len()], vec![2; profile.salt_len()]);
        let sealer = SrtpSealer::new(&MasterKey::new(profile, &key, &salt).unwrap());
        let mut packet = vec![3; RtpHeader::LEN + PAYLOAD + sealer.tag_len()];
        let mut index = 0u64;
        group.bench_function(format!("{profile:?}"), |bencher| {
            bencher.iter(|| {
                index += 1;
                let header = RtpHeader {
                    payload_type: 96,
                    marker: false,
                    sequence: index as u16,
                    timestamp: 90_000,
                    ssrc: 1,
                };
                packet[..RtpHeader::LEN].copy_from_slice(&header.to_bytes());
                sealer.seal(black_box(&mut packet), RtpHeader::LEN, 1, index);
            });
        });
    }
    group.finish();
}

/// Loopback charges the sender for the delivery, here to a full receive buffer.
fn send(criterion: &mut Criterion) {
    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    sender.set_nonblocking(true).unwrap();
    let state = UdpSocketState::new(UdpSockRef::from(&sender)).unwrap();
    let mut group = criterion.benchmark_group("send");
    for count in [1, 10] {
        let segment = RtpHeader::LEN + PAYLOAD + 16;
        let bytes = vec![1; count * segment];
        let transmit = Transmit {
            destination: receiver.local_addr().unwrap(),
            ecn: None,
            contents: &bytes,
            segment_size: (count > 1).then_some(segment),
            src_ip: None,
        };
        group.bench_function(format!("{count} packets in one call"), |bencher| {
            bencher.iter(|| state.try_send(UdpSockRef::from(&sender), black_box(&transmit)));
        });
    }
    group.finish();
}

fn check(criterion: &mut Criterion) {
    let credentials = |ufrag: &str| Credentials::new(ufrag, &ufrag.repeat(6)).unwrap();
    let now = Instant::now();
    let (us, viewer) = (credentials("server"), credentials("viewer"));
    let pair = CandidatePair::udp(None, "127.0.0.1:4000".parse().unwrap());
    let mut lite = IceLite::new(now, us.clone(), viewer.clone());
    let checks = || {
        let server = "127.0.0.1:8189".parse().unwrap();
        let mut agent = ControllingAgent::new(now, viewer.clone(), us.clone(), server, 7);
        agent.handle_timeout(now);
        agent.poll_transmit().unwrap()
    };
    criterion.bench_function("answer to a STUN check", |bencher| {
        let mut answer = Vec::with_capacity(256);
        bencher.iter_batched(
            checks,
            |check| {
                answer.clear();
                let _ = black_box(lite.handle_stun(now, pair, &check, &mut answer));
            },
            BatchSize::SmallInput,
        );
    });
}

fn read_rtcp(criterion: &mut Criterion) {
    // A receiver report of one block, and a NACK of two lost packets.
    let mut compound = vec![0x81, 201, 0, 7, 0, 0, 0, 1, 0, 0, 0, 2];
    compound.extend([0; 20]);
    compound.extend([0x81, 205, 0, 3, 0, 0, 0, 1, 0, 0, 0, 2, 0, 9, 0, 1]);
    criterion.bench_function("reading RTCP: a report and a NACK", |bencher| {
        bencher.iter(|| packets(black_box(&compound)).map(black_box).count());
    });
}

criterion_group! {
    name = costs;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = packetize, seal, send, check, read_rtcp
}
criterion_main!(costs);
