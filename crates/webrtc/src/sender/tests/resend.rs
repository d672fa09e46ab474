//! Retransmissions.

use super::*;

#[test]
fn lost_packet_is_retransmitted_in_the_rtx_stream() {
    let mut viewer = Harness::new(Some((6, 109)), 0x7ffe);
    for mark in 0..4 {
        viewer.frame(mark, mark == 0);
    }
    viewer.send(usize::MAX);
    viewer.received();
    assert!(viewer.retransmit(0x7fff) > 0);
    let again = viewer.received().remove(0);
    assert_eq!(
        (again.ssrc, again.payload_type, again.sequence),
        (6, 109, 100)
    );
    assert_eq!(again.timestamp, 1000 + 33 * 90);
    assert_eq!(again.payload, [0x7f, 0xff, 0x41, 1]);
    assert_eq!(viewer.retransmit(0x8002), 0, "not sent yet");
    assert_eq!(viewer.retransmit(0x7ffd), 0, "never sent");
    assert_eq!(viewer.sender.stats().retransmitted, 1);
}

#[test]
fn without_rtx_the_same_bytes_are_resent() {
    let mut viewer = Harness::new(None, 7);
    viewer.frame(0, true);
    viewer.send(usize::MAX);
    let first = viewer.buffer.runs().next().unwrap().0.to_vec();
    viewer.buffer.clear();
    viewer.retransmit(7);
    assert_eq!(viewer.buffer.runs().next().unwrap().0, first);
}

#[test]
fn retransmission_reaches_back_over_a_wrap_of_the_sequence_number() {
    let mut viewer = Harness::new(Some((6, 109)), 0x7fff);
    viewer.frame(0, true);
    for _ in 0..0x8002 {
        viewer.frame(1, false);
        viewer.send(usize::MAX);
        viewer.received();
    }
    viewer.frame(9, false);
    viewer.send(usize::MAX);
    assert_eq!(viewer.marks(), [(2, 9)]);
    assert!(viewer.retransmit(0xffff) > 0);
    assert_eq!(viewer.received().remove(0).payload[..2], [0xff, 0xff]);
}

#[test]
fn packet_is_retransmitted_once_per_round_trip() {
    let mut viewer = Harness::new(Some((6, 109)), 0);
    viewer.frame(0, true);
    viewer.send(usize::MAX);
    assert!(viewer.retransmit(0) > 0);
    assert_eq!(viewer.retransmit(0), 0);
    viewer.now += Duration::from_millis(50);
    assert!(viewer.retransmit(0) > 0);
}
