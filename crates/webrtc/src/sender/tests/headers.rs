//! Header extensions, and the length of packets.

use super::*;
use crate::rtp::extension::Mid;
use crate::sdp::ExtensionId;

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
