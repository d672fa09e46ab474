//! Our client with our server.

use super::*;
use crate::proto::client::{ClientSession, ClientSessionError};
use crate::proto::url::StreamUrl;

/// Carries bytes between our client and a server until both are silent.
fn converse(
    client: &mut ClientSession,
    server: &mut ServerSession,
) -> Result<Vec<SessionEvent>, ClientSessionError> {
    let now = Instant::now();
    let mut events = Vec::new();
    loop {
        let to_server = client.poll_output();
        if let Some(bytes) = &to_server {
            let mut bytes = &bytes[..];
            while let Some(event) = server.poll_event(&mut bytes, now).unwrap() {
                events.push(event);
            }
        }
        let to_client = server.poll_output();
        if let Some(bytes) = &to_client {
            client.handle_bytes(bytes, now)?;
        }
        if to_server.is_none() && to_client.is_none() {
            return Ok(events);
        }
    }
}

#[test]
fn our_client_publishes_to_our_server() {
    let mut server = ServerSession::new(SessionConfig::default(), [1; 32], Instant::now());
    let url = StreamUrl::new("localhost", "live", "test?key=k").unwrap();
    let mut client = ClientSession::publish(url, [2; 32]);
    let events = converse(&mut client, &mut server).unwrap();
    assert!(!client.is_active());
    assert!(events.len() == 2, "connected and requested");
    server.accept_publish();
    converse(&mut client, &mut server).unwrap();
    assert!(client.is_active());

    client.send_metadata(object([("encoder", "test".into())]));
    client.send_video(0, Bytes::from(vec![0x17; 100_000]));
    client.send_audio(20, Bytes::from_static(&[0xAF, 1]));
    client.close();
    let events = converse(&mut client, &mut server).unwrap();
    assert!(
        matches!(
            &events[..],
            [
                SessionEvent::Media { message: MediaMessage::Data { .. }, .. },
                SessionEvent::Media { message: MediaMessage::Video { body, .. }, .. },
                SessionEvent::Media { message: MediaMessage::Audio { .. }, .. },
                SessionEvent::PublishEnded { reason: EndReason::FcUnpublish, .. },
            ] if body.len() == 100_000
        ),
        "{events:?}"
    );
}

#[test]
fn our_client_returns_the_refusal_of_our_server() {
    let mut server = ServerSession::new(SessionConfig::default(), [1; 32], Instant::now());
    let url = StreamUrl::new("localhost", "live", "test").unwrap();
    let mut client = ClientSession::publish(url, [2; 32]);
    converse(&mut client, &mut server).unwrap();
    server.reject_publish("NetStream.Publish.BadName", "in use");
    let error = converse(&mut client, &mut server).unwrap_err();
    assert!(
        matches!(&error, ClientSessionError::Refused { code, description }
            if code == "NetStream.Publish.BadName" && description == "in use"),
        "{error}"
    );
}
