//! The longest work that one message of a client makes: `cargo bench -p distributary-bench --bench turns`.
//!
//! A task handles a message without giving way to others, so this is how long a client can hold a
//! thread. Times are the shortest of ten, so that other load on the machine counts little.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    missing_docs,
    reason = "measurements"
)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::Bytes;
use distributary_media::flv::FlvDemuxer;
use distributary_media::{MediaTime, VideoCodec};
use distributary_rtmp::amf::{AmfLimits, amf0};
use distributary_webrtc::log::MAX_PAYLOAD;
use distributary_webrtc::rtp::packetize;
use distributary_webrtc::sdp::{IceFragment, Offer};

/// The largest message of a publisher, by default.
const MESSAGE: usize = 16 << 20;

/// The largest body of a request, and the largest command of RTMP.
const BODY: usize = 64 << 10;

const RUNS: u32 = 10;

/// An `AVCDecoderConfigurationRecord` with lengths of four bytes, as in a sequence header.
const HEADER: &str = "170000000001640028ffe1001b67640028acd940780227e5c044000003000400000300f03c60c658\
                      01000668ebe3cb22c0fdf8f800";

fn main() {
    println!("{:<58}{:>10}{:>12}", "one call", "KiB", "ms");
    let frame = [0x27, 1, 0, 0, 0];
    let slice = [0, 0, 0, 4, 0x41, 0x9a, 1, 2];
    for (what, part) in [
        (
            "video tag of filler data units of one byte",
            &[0, 0, 0, 1, 0x0c][..],
        ),
        ("video tag of empty units", &[0, 0, 0, 0]),
        ("video tag of start codes", &[0, 0, 1, 0x0c]),
        ("video tag of one-byte slices", &[0, 0, 0, 1, 0x41]),
        ("video tag of timing SEI", &[0, 0, 0, 4, 6, 1, 0, 0x80]),
    ] {
        let units = part.repeat((MESSAGE - 64) / part.len());
        video(what, [&frame[..], &slice, &units].concat());
    }
    let len = (MESSAGE - 64) as u32;
    let zeros = |first: u8| {
        let unit = [&len.to_be_bytes()[..], &[first], &vec![0; len as usize - 1]].concat();
        [&frame[..], &unit].concat()
    };
    video("video tag of one slice of zeros", zeros(0x41));
    let one = |byte: u8| [&len.to_be_bytes()[..], &vec![byte; len as usize]].concat();
    video("video tag of one slice", [&frame[..], &one(0x41)].concat());
    let mut parts = vec![0x41; len as usize];
    for at in (1..parts.len() - 4).step_by(4) {
        parts[at..at + 4].copy_from_slice(&[0, 0, 1, 0x0c]);
    }
    let parts = [&frame[..], &len.to_be_bytes(), &parts].concat();
    video("video tag of units behind one length", parts);

    let tracks = b"\x07\0\0\0".repeat((MESSAGE - 64) / 4);
    video(
        "video tag of empty tracks",
        [&b"\x96\x11avc1"[..], &tracks].concat(),
    );
    let modifiers = [0, 0, 0x17].repeat((MESSAGE - 64) / 3);
    video("video tag of modifiers", [&[0x97][..], &modifiers].concat());
    let sei = [&len.to_be_bytes()[..], &[6], &vec![0; len as usize - 1]].concat();
    video("video tag of one long SEI", [&frame[..], &sei].concat());

    let unit = Bytes::from(vec![0x41; MESSAGE / 2048]);
    let units = vec![unit; 2048];
    measure("packets of a frame of 2048 slices", MESSAGE, || {
        packetize(VideoCodec::H264, &units, false, MAX_PAYLOAD, |payload| {
            black_box(payload);
        });
    });

    let null = [5; BODY];
    let nested = [10, 0, 0, 0, 1].repeat(BODY / 5);
    let text = [2, 0, 0].repeat(BODY / 3);
    for (what, bytes) in [
        ("AMF0 of nulls", &null[..]),
        ("AMF0 of nested arrays", &nested),
        ("AMF0 of empty texts", &text),
    ] {
        measure(what, bytes.len(), || {
            black_box(amf0::decode_all(bytes, AmfLimits::default())).ok();
        });
    }

    let offer = include_str!("../../webrtc/tests/fixtures/offers/chromium-offer.sdp");
    for line in [
        "a=candidate:1 1 udp 2130706431 198.51.100.7 50000 typ host",
        "a=rtpmap:96 H264/90000",
        "a=fmtp:96 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
        "a=extmap:1 urn:ietf:params:rtp-hdrext:toffset",
        "a=rtcp-fb:96 nack pli",
        "a=ssrc:1 cname:a",
        "a=fingerprint:sha-256 00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:\
         AA:BB:CC:DD:EE:FF",
        "m=video 9 UDP/TLS/RTP/SAVPF 96 97 98 99 100",
        "a=x",
    ] {
        let line = format!("{line}\r\n");
        let lines = line.repeat((BODY - offer.len()) / line.len());
        let text = format!("{offer}{lines}");
        let kind: String = line.chars().take(12).collect();
        let what = format!("offer with lines of {}", kind.trim_end());
        measure(&what, text.len(), || {
            black_box(Offer::parse(&text)).ok();
        });
        let fragment = format!("a=ice-ufrag:next\r\na=ice-pwd:0123456789012345678901\r\n{lines}");
        let what = format!("fragment with lines of {}", kind.trim_end());
        measure(&what, fragment.len(), || {
            black_box(IceFragment::parse(&fragment)).ok();
        });
    }
}

/// Measures the demuxing of a tag, behind its sequence header.
fn video(what: &str, tag: Vec<u8>) {
    let header = Bytes::from(distributary_media::test_util::hex(HEADER));
    let tag = Bytes::from(tag);
    let mut demuxer = FlvDemuxer::new();
    demuxer.handle_video(MediaTime::ZERO, header).unwrap();
    let mut time = 0;
    measure(what, tag.len(), || {
        time += 40;
        let time = MediaTime::from_millis(time);
        black_box(demuxer.handle_video(time, tag.clone())).ok();
    });
}

fn measure(what: &str, bytes: usize, mut call: impl FnMut()) {
    let mut shortest = Duration::MAX;
    for _ in 0..RUNS {
        let begin = Instant::now();
        call();
        shortest = shortest.min(begin.elapsed());
    }
    println!(
        "{what:<58}{:>10}{:>12.3}",
        bytes / 1024,
        shortest.as_secs_f64() * 1e3
    );
}
