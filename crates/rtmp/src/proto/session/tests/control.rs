//! Protocol control messages.

use super::*;

#[test]
fn ping_is_answered_with_its_timestamp() {
    let mut pair = Pair::connected();
    let ping = UserControl::PingRequest(77);
    pair.send(0, 0, &Message::UserControl(ping));
    let pong = UserControl::PingResponse(77);
    assert_eq!(pair.exchange(), [Message::UserControl(pong)]);
}

#[test]
fn received_bytes_are_acknowledged_once_per_window_the_client_chose() {
    let mut pair = Pair::publishing();
    pair.send(0, 0, &Message::WindowAckSize(5000));
    pair.exchange();
    let mut acknowledged = Vec::new();
    for _ in 0..10 {
        pair.send(0, 1, &Message::Video(Bytes::from(vec![0x27; 1100])));
        for message in pair.exchange() {
            match message {
                Message::Acknowledgement(sequence) => acknowledged.push(sequence),
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(acknowledged.len(), 2);
    assert!(acknowledged[1] - acknowledged[0] >= 5000);
    assert!(acknowledged[0] > 3073, "the handshake counts");

    pair.send(0, 0, &Message::WindowAckSize(0));
    pair.send(0, 1, &Message::Video(Bytes::from(vec![0x27; 60_000])));
    assert_eq!(pair.exchange(), [], "no window, no acknowledgement");
}

#[test]
fn aborted_message_never_arrives() {
    let mut pair = Pair::publishing();
    // Chunk stream 9: the first 128 of 200 bytes.
    let begun = [&[9, 0, 0, 0, 0, 0, 200, 9, 1, 0, 0, 0][..], &[1; 128]].concat();
    pair.feed(&begun).unwrap();
    pair.send(0, 0, &Message::Abort { chunk_stream: 9 });
    pair.exchange();
    let next = [9, 0, 0, 0, 0, 0, 2, 9, 1, 0, 0, 0, 0x17, 2];
    pair.feed(&next).unwrap();
    let events = pair.events();
    assert!(
        matches!(&events[..], [SessionEvent::Media { message: MediaMessage::Video { body, .. }, .. }] if body[..] == [0x17, 2]),
        "{events:?}"
    );
}
