//! A client cannot monopolize a thread.

use super::*;
use crate::proto::message::type_id;

/// Returns how often other tasks run while a client is served that sends `flood`.
async fn turns(flood: &[u8]) -> usize {
    let (server, mut client) = duplex(8 << 20);
    let (_stop, stopped) = watch::channel(false);
    client.write_all(flood).await.unwrap();
    client.shutdown().await.unwrap();
    let mut flooded = tokio::spawn(ServerConnection::new(server, PEER, context()).run(stopped));
    let mut turns = 0;
    loop {
        tokio::select! {
            biased;
            ended = &mut flooded => break ended.unwrap(),
            () = tokio::task::yield_now() => turns += 1,
        }
    }
    turns
}

#[tokio::test]
async fn flooding_client_yields_to_others() {
    // Acknowledgements, which cost least: 16 bytes each.
    let message = [2, 0, 0, 0, 0, 0, 4, 3, 0, 0, 0, 0, 0, 0, 0, 1];
    let flood = [&HELLO[..], &message.repeat((4 << 20) / message.len())].concat();
    let turns = turns(&flood).await;
    let fewest = flood.len() / BYTES_PER_TURN / 2;
    assert!(
        turns >= fewest,
        "{turns} turns of others, at least {fewest}"
    );
}

#[tokio::test]
async fn message_of_many_parts_yields_to_others() {
    const PARTS: usize = 1 << 16;
    // Audio of one byte: on the stream that is published, and on one that is not.
    let part = [8, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0xAF, 0, 0, 0, 12];
    for (stream_id, fewest) in [
        (1, PARTS * BYTES_PER_EVENT / BYTES_PER_TURN),
        (9, PARTS / 1024),
    ] {
        let aggregate = RawMessage {
            timestamp: 0,
            type_id: type_id::AGGREGATE,
            stream_id,
            payload: part.repeat(PARTS).into(),
        };
        let mut writer = Writer::new();
        let mut flood = HELLO.to_vec();
        flood.extend(writer.connect());
        flood.extend(writer.ask("publish", "test"));
        flood.extend(writer.write(&aggregate));
        let turns = turns(&flood).await;
        // For the bytes as they come, others have 17 turns.
        let fewest = fewest * 3 / 4;
        assert!(
            turns >= fewest,
            "{turns} turns of others, at least {fewest}"
        );
    }
}
