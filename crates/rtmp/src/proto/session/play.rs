//! The play side of a session (RTMP 1.0 section 7.2.2.1).

use bytes::Bytes;

use super::{Activity, PlayRequest, Purpose, ServerSession, SessionEvent, status};
use crate::proto::amf::Value;
use crate::proto::chunk::MessageHead;
use crate::proto::message::{Command, Message, type_id};

/// Chunk streams of the media for a player, so that headers compress well.
const AUDIO_CHUNK_STREAM: u32 = 4;
const DATA_CHUNK_STREAM: u32 = 5;
const VIDEO_CHUNK_STREAM: u32 = 6;

impl ServerSession {
    pub(super) fn play(&mut self, command: &Command, stream_id: u32) {
        let stream = command.argument(0).as_str().unwrap_or_default();
        self.ask_to_play(stream, stream_id);
    }

    /// Switches a message stream to the stream that the options name (`NetStream.play2` of the
    /// ActionScript 3 reference).
    pub(super) fn play2(&mut self, command: &Command, stream_id: u32) {
        let stream = command.argument(0).get("streamName");
        if let Some(stream) = stream.and_then(Value::as_str) {
            self.end_playing_on(stream_id);
            self.ask_to_play(stream, stream_id);
        }
    }

    fn ask_to_play(&mut self, stream: &str, stream_id: u32) {
        let code = "NetStream.Play.Failed";
        if let Some(target) = self.request(Purpose::Play, stream, stream_id, code) {
            let request = PlayRequest { target };
            self.events.push_back(SessionEvent::PlayRequested(request));
        }
    }

    fn end_playing_on(&mut self, stream_id: u32) {
        if let Some(Activity::Playing { .. }) = self.streams.get(&stream_id) {
            self.stop(stream_id);
            self.events.push_back(SessionEvent::PlayEnded);
        }
    }

    /// Accepts the request to play. Send the sequence headers and frames then.
    pub fn accept_play(&mut self) {
        let Some(asked) = self.answer(Purpose::Play) else {
            return;
        };
        let stream_id = asked.stream_id;
        let playing = Activity::Playing { name: asked.name };
        self.streams.insert(stream_id, playing);
        self.link.send_stream_begin(stream_id);
        for (code, description) in [
            ("NetStream.Play.Reset", "The stream is reset."),
            ("NetStream.Play.Start", "The stream begins."),
        ] {
            self.send_status(stream_id, &status::status(code, description));
        }
    }

    /// Refuses the request to play. `code` is for the client (`NetStream.Play.StreamNotFound`), the
    /// description for people who read the client's log.
    pub fn reject_play(&mut self, code: &str, description: &str) {
        self.reject(Purpose::Play, code, description);
    }

    /// Returns the message stream of the played stream; there is at most one.
    pub(super) fn played(&self) -> Option<u32> {
        let mut streams = self.streams.iter();
        streams
            .find_map(|(id, activity)| matches!(activity, Activity::Playing { .. }).then_some(*id))
    }

    /// Sends a player an FLV video tag body with its decoding time in milliseconds, modulo 2^32.
    /// The body is the concatenation of the parts.
    pub fn send_video(&mut self, timestamp: u32, parts: &[Bytes]) {
        self.send_parts(VIDEO_CHUNK_STREAM, type_id::VIDEO, timestamp, parts);
    }

    /// Sends a player an FLV audio tag body with its time in milliseconds, modulo 2^32. The body is
    /// the concatenation of the parts.
    pub fn send_audio(&mut self, timestamp: u32, parts: &[Bytes]) {
        self.send_parts(AUDIO_CHUNK_STREAM, type_id::AUDIO, timestamp, parts);
    }

    /// Sends a player a data message such as `onMetaData` with its time in milliseconds, modulo
    /// 2^32.
    pub fn send_data(&mut self, timestamp: u32, name: &str, values: Vec<Value>) {
        if let Some(stream_id) = self.played() {
            let values = std::iter::once(name.into()).chain(values).collect();
            let message = Message::Data(values);
            self.link
                .send(DATA_CHUNK_STREAM, timestamp, stream_id, &message);
        }
    }

    /// Notifies a player of the end of its stream and the reason.
    pub fn end_play(&mut self, description: &str) {
        if let Some(stream_id) = self.played() {
            self.stop(stream_id);
            let code = "NetStream.Play.UnpublishNotify";
            self.send_status(stream_id, &status::status(code, description));
            self.link.send_stream_eof(stream_id);
        }
    }

    fn send_parts(&mut self, chunk_stream: u32, type_id: u8, timestamp: u32, parts: &[Bytes]) {
        if let Some(stream_id) = self.played() {
            let head = MessageHead {
                timestamp,
                type_id,
                stream_id,
            };
            self.link.send_parts(chunk_stream, head, parts);
        }
    }
}
