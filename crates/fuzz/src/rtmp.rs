//! Targets for RTMP, from the first byte of a connection on.

use bytes::{Bytes, BytesMut};
use distributary_rtmp::amf::{AmfLimits, Value, amf0};
use distributary_rtmp::chunk::{ChunkLimits, ChunkReader};
use distributary_rtmp::{ServerSession, SessionConfig, SessionEvent};

use crate::ORIGIN;

/// The values of a command: decoded values keep to the limits, and are the same once encoded and
/// decoded again.
pub fn rtmp_amf0(data: &[u8]) {
    let limits = AmfLimits::default();
    let Ok(values) = amf0::decode_all(data, limits) else {
        return;
    };
    assert!(values.iter().map(count).sum::<usize>() <= limits.max_values);
    let mut encoded = BytesMut::new();
    for value in &values {
        amf0::encode(value, &mut encoded);
    }
    // A name that is not UTF-8 grows when it is replaced, and is cut then.
    if let Ok(again) = amf0::decode_all(&encoded, limits) {
        assert_eq!(again.len(), values.len());
    }
}

/// A value of AMF3, as AMF0 embeds it.
pub fn rtmp_amf3(data: &[u8]) {
    rtmp_amf0(&[&[0x11], data].concat());
}

fn count(value: &Value) -> usize {
    match value {
        Value::Object(members) | Value::EcmaArray(members) => {
            1 + members.iter().map(|(_, value)| count(value)).sum::<usize>()
        }
        Value::StrictArray(values) => 1 + values.iter().map(count).sum::<usize>(),
        _ => 1,
    }
}

/// A chunk stream; the first byte is the chunk size. In one piece or byte by byte it is the same.
pub fn rtmp_chunk(data: &[u8]) {
    let Some((&size, data)) = data.split_first() else {
        return;
    };
    let read = |piece: usize| {
        let mut reader = ChunkReader::new(ChunkLimits::default());
        if reader.set_chunk_size(size.into()).is_err() {
            return (Vec::new(), None);
        }
        let mut messages = Vec::new();
        for mut piece in data.chunks(piece) {
            loop {
                match reader.read(&mut piece) {
                    Ok(Some(message)) => messages.push(message),
                    Ok(None) => break,
                    Err(error) => return (messages, Some(error)),
                }
            }
        }
        (messages, None)
    };
    assert!(read(1) == read(data.len().max(1)));
}

/// A connection from its first byte.
pub fn rtmp_handshake(data: &[u8]) {
    serve(&[data]);
}

/// A connection after a simple handshake, in pieces of as many bytes as the first byte says.
pub fn rtmp_session(data: &[u8]) {
    let Some((&piece, data)) = data.split_first() else {
        return;
    };
    let mut hello = vec![0; 1 + 2 * 1536];
    hello[0] = 3;
    let pieces = data.chunks(usize::from(piece).max(1));
    serve(
        &std::iter::once(&hello[..])
            .chain(pieces)
            .collect::<Vec<_>>(),
    );
}

/// Serves a client that is granted everything.
fn serve(pieces: &[&[u8]]) {
    let now = *ORIGIN;
    let mut session = ServerSession::new(SessionConfig::default(), [7; 32], now);
    for piece in pieces {
        let mut input = *piece;
        loop {
            match session.poll_event(&mut input, now) {
                Ok(Some(event)) => grant(&mut session, &event),
                Ok(None) => break,
                Err(_) => return,
            }
            while session.poll_output().is_some() {}
        }
        assert!(input.is_empty());
        while session.poll_output().is_some() {}
    }
}

fn grant(session: &mut ServerSession, event: &SessionEvent) {
    match event {
        SessionEvent::PublishRequested(_) => session.accept_publish(),
        SessionEvent::PlayRequested(_) => {
            session.accept_play();
            session.send_video(0, &[Bytes::from_static(&[0x17, 1])]);
        }
        _ => {}
    }
}
