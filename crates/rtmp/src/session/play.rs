//! The play side of a session (RTMP 1.0 section 7.2.2.1).

use bytes::Bytes;

use super::{Activity, PlayRequest, ServerSession, SessionError, SessionEvent, status};
use crate::amf::Value;
use crate::message::{Command, Message};

/// Chunk streams of what a player is sent, so that headers compress well.
const AUDIO_CHUNK_STREAM: u32 = 4;
const DATA_CHUNK_STREAM: u32 = 5;
const VIDEO_CHUNK_STREAM: u32 = 6;

impl ServerSession {
    pub(super) fn play(&mut self, command: &Command, stream_id: u32) {
        if let Some(target) = self.request(command, stream_id, "NetStream.Play.Failed") {
            self.activity = Activity::PlayAsked { stream_id };
            let request = PlayRequest { target };
            self.events.push_back(SessionEvent::PlayRequested(request));
        }
    }

    /// Grants the request to play. Send the sequence headers and frames then.
    ///
    /// # Errors
    /// As [`Self::handle_bytes`], for what the client sent in the meantime.
    pub fn accept_play(&mut self) -> Result<(), SessionError> {
        let Activity::PlayAsked { stream_id } = self.activity else {
            return Ok(());
        };
        self.activity = Activity::Playing { stream_id };
        self.link.send_stream_begin(stream_id);
        for (code, description) in [
            ("NetStream.Play.Reset", "The stream is reset."),
            ("NetStream.Play.Start", "The stream begins."),
        ] {
            self.send_status(stream_id, &status::status(code, description));
        }
        self.resume()
    }

    /// Refuses the request to play. `code` is for the client (`NetStream.Play.StreamNotFound`), the
    /// description for the person who reads its log.
    ///
    /// # Errors
    /// As [`Self::handle_bytes`], for what the client sent in the meantime.
    pub fn reject_play(&mut self, code: &str, description: &str) -> Result<(), SessionError> {
        let Activity::PlayAsked { stream_id } = self.activity else {
            return Ok(());
        };
        self.activity = Activity::Nothing;
        self.send_status(stream_id, &status::error(code, description));
        self.resume()
    }

    /// Sends a player an FLV video tag body with its decoding time in milliseconds, modulo 2^32.
    pub fn send_video(&mut self, timestamp: u32, body: Bytes) {
        self.send_media(VIDEO_CHUNK_STREAM, timestamp, &Message::Video(body));
    }

    /// Sends a player an FLV audio tag body with its time in milliseconds, modulo 2^32.
    pub fn send_audio(&mut self, timestamp: u32, body: Bytes) {
        self.send_media(AUDIO_CHUNK_STREAM, timestamp, &Message::Audio(body));
    }

    /// Sends a player a data message such as `onMetaData` with its time in milliseconds, modulo 2^32.
    pub fn send_data(&mut self, timestamp: u32, name: &str, values: Vec<Value>) {
        let values = std::iter::once(name.into()).chain(values).collect();
        self.send_media(DATA_CHUNK_STREAM, timestamp, &Message::Data(values));
    }

    /// Tells a player that the stream has ended.
    pub fn end_play(&mut self) {
        if let Activity::Playing { stream_id } = self.activity {
            self.activity = Activity::Nothing;
            self.idle_since = self.last_received;
            let code = "NetStream.Play.UnpublishNotify";
            self.send_status(stream_id, &status::status(code, "The stream has ended."));
            self.link.send_stream_eof(stream_id);
        }
    }

    fn send_media(&mut self, chunk_stream: u32, timestamp: u32, message: &Message) {
        if let Activity::Playing { stream_id } = self.activity {
            self.link.send(chunk_stream, timestamp, stream_id, message);
        }
    }
}
