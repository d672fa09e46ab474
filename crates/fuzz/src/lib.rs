//! What each fuzz target does with its input.
//!
//! A target is a function from bytes to nothing that panics when a promise is broken. The binaries
//! in `fuzz_targets` hand them to libFuzzer; the tests of this crate run them over the seeds, so
//! that a finding, once kept as a seed, stays fixed.

use std::time::Instant;

use bytes::Bytes;
use distributary_media::flv::{FlvDemuxer, FlvError, FlvEvent, FlvEvents, muxer};
use distributary_media::{Frame, MediaTime};
use distributary_rtmp::amf::{AmfLimits, Value};
use distributary_rtmp::chunk::{ChunkLimits, ChunkReader};
use distributary_rtmp::{ServerSession, SessionConfig, SessionError, SessionEvent, amf0};

/// A target.
pub type Target = fn(&[u8]);

/// All targets, by the name of their binary and of their folder in `seeds`.
pub const TARGETS: &[(&str, Target)] = &[
    ("flv_audio", flv_audio),
    ("flv_video", flv_video),
    ("rtmp_amf0", rtmp_amf0),
    ("rtmp_amf3", rtmp_amf3),
    ("rtmp_chunk", rtmp_chunk),
    ("rtmp_handshake", rtmp_handshake),
    ("rtmp_session", rtmp_session),
    ("stream_name", stream_name),
];

/// Names of streams, as they come in a URL or an RTMP command: an accepted one is safe to print and
/// reads back as itself.
pub fn stream_name(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(name) = distributary_hub::StreamName::parse(text) {
        assert_eq!(name.as_str(), text);
        assert!(!text.chars().any(char::is_control));
        assert!(
            !text
                .split('/')
                .any(|segment| segment == ".." || segment.is_empty())
        );
    }
}

/// The bodies of audio tags, each with its length in two bytes before it.
pub fn flv_audio(data: &[u8]) {
    flv(data, |demuxer, time, body| demuxer.handle_audio(time, body));
}

/// The bodies of video tags, each with its length in two bytes before it.
pub fn flv_video(data: &[u8]) {
    flv(data, |demuxer, time, body| demuxer.handle_video(time, body));
}

/// Feeds tags to a demuxer and its frames to the muxer: no unit of a frame is empty.
fn flv(
    mut data: &[u8],
    handle: impl Fn(&mut FlvDemuxer, MediaTime, Bytes) -> Result<FlvEvents, FlvError>,
) {
    let mut demuxer = FlvDemuxer::new();
    while let Some((len, rest)) = data.split_first_chunk() {
        let len = usize::from(u16::from_be_bytes(*len)).min(rest.len());
        let (body, rest) = rest.split_at(len);
        data = rest;
        let events = handle(&mut demuxer, MediaTime::ZERO, Bytes::copy_from_slice(body));
        for event in events.into_iter().flatten() {
            match event {
                FlvEvent::VideoTrack(track) => drop(muxer::video_header(&track)),
                FlvEvent::AudioTrack(track) => drop(muxer::audio_header(&track)),
                FlvEvent::Frame(Frame::Video(frame)) => {
                    assert!(!frame.units.is_empty());
                    assert!(frame.units.iter().all(|unit| !unit.is_empty()));
                    muxer::video_frame(&frame);
                }
                FlvEvent::Frame(Frame::Audio(frame)) => drop(muxer::audio_frame(&frame)),
                FlvEvent::OtherTrack(_) => {}
            }
        }
    }
}

/// The values of a command: what is decoded keeps to the limits, and is the same once encoded and
/// decoded again.
pub fn rtmp_amf0(data: &[u8]) {
    let limits = AmfLimits::default();
    let Ok(values) = amf0::decode_all(data, limits) else {
        return;
    };
    assert!(values.iter().map(count).sum::<usize>() <= limits.max_values);
    let mut encoded = Default::default();
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
    let now = Instant::now();
    let mut session = ServerSession::new(SessionConfig::default(), [7; 32], now);
    for piece in pieces {
        let result = session
            .handle_bytes(piece, now)
            .and_then(|()| grant(&mut session));
        while session.poll_output().is_some() {}
        if result.is_err() {
            return;
        }
    }
}

fn grant(session: &mut ServerSession) -> Result<(), SessionError> {
    while let Some(event) = session.poll_event() {
        match event {
            SessionEvent::PublishRequested(_) => session.accept_publish()?,
            SessionEvent::PlayRequested(_) => {
                session.accept_play()?;
                session.send_video(0, Bytes::from_static(&[0x17, 1]));
            }
            _ => {}
        }
    }
    Ok(())
}
