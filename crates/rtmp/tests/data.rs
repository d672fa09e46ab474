//! Timed data of a publisher reaches viewers.
#![allow(clippy::unwrap_used, reason = "test code")]

mod support;

use bytes::Bytes;
use distributary_hub::StreamEvent;
use distributary_rtmp::MediaMessage;
use distributary_rtmp::amf::Value;
use distributary_rtmp::client;
use serde_json::json;
use support::TestServer;

/// A second of audio to tell times apart: AAC-LC at 48 kHz, mono.
const AAC_HEADER: &[u8] = &[0xAF, 0, 0x11, 0x88];
const AAC_FRAME: &[u8] = &[0xAF, 1, 0x01, 0x40, 0x20];

fn object(members: &[(&str, Value)]) -> Value {
    let members = members.iter();
    Value::EcmaArray(
        members
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect(),
    )
}

#[tokio::test]
async fn metadata_captions_and_cue_points_arrive_with_their_times() {
    let server = TestServer::start();
    let mut publisher = client::publish(server.address, "live", "talk")
        .await
        .unwrap();
    let metadata = object(&[("encoder", "test".into()), ("width", 320.0.into())]);
    publisher.send_metadata(metadata).await.unwrap();
    let mut watcher = server.watch("live/talk").await;
    while watcher.subscription.stream().metadata().is_none() {
        watcher.event().await;
    }
    let url = server.url("live/talk").parse().unwrap();
    let mut player = client::play(&url).await.unwrap();

    let header = Bytes::from_static(AAC_HEADER);
    publisher.send_audio(5000, header).await.unwrap();
    publisher
        .send_audio(5000, Bytes::from_static(AAC_FRAME))
        .await
        .unwrap();
    publisher
        .send_data(5250, "onTextData", object(&[("text", "hello".into())]))
        .await
        .unwrap();
    publisher
        .send_data(5500, "onCuePoint", object(&[("name", "ad".into())]))
        .await
        .unwrap();

    let (mut origin, mut events) = (None, Vec::new());
    while events.len() < 2 {
        match watcher.event().await {
            StreamEvent::Frame(frame) => origin = Some(frame.dts().as_millis()),
            StreamEvent::Data(data) if data.name != "onMetaData" => {
                let time = data.time.as_millis() - origin.unwrap();
                events.push((data.name.clone(), time, data.values.clone()));
            }
            _ => {}
        }
    }
    assert_eq!(
        events,
        [
            ("onTextData".to_owned(), 250, vec![json!({"text": "hello"})]),
            ("onCuePoint".to_owned(), 500, vec![json!({"name": "ad"})]),
        ]
    );

    // The player receives the same, the metadata first.
    let mut received = Vec::new();
    while received.len() < 3 {
        if let MediaMessage::Data {
            name,
            timestamp,
            values,
        } = player.next().await.unwrap()
        {
            received.push((name, timestamp.as_millis(), values));
        }
    }
    let names: Vec<_> = received
        .iter()
        .map(|(name, at, _)| (name.as_str(), *at))
        .collect();
    assert_eq!(
        names,
        [("onMetaData", 0), ("onTextData", 250), ("onCuePoint", 500)]
    );
    assert_eq!(received[1].2, [object(&[("text", "hello".into())])]);
}
