//! The part that both sides of a connection have in common: the handshake, chunks, and protocol
//! control messages (RTMP 1.0 sections 5.4 and 6.2).

use bytes::{Buf, Bytes, BytesMut};

use crate::proto::aggregate::Aggregate;
use crate::proto::chunk::{
    ChunkError, ChunkLimits, ChunkReader, ChunkWriter, MessageHead, Output, RawMessage,
};
use crate::proto::handshake::{Handshake, HandshakeError, HandshakeSummary, RtmpeCipher};
use crate::proto::message::{Message, UserControl, type_id};
use crate::proto::swf::ProofKey;

/// The chunk stream of protocol control (RTMP 1.0 section 5.4).
const CONTROL_CHUNK_STREAM: u32 = 2;

/// The chunk stream of commands of the connection.
pub(crate) const COMMAND_CHUNK_STREAM: u32 = 3;

/// The error that ends a connection below its commands. The peer is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// The peer does not speak RTMP.
    #[error("handshake: {0}")]
    Handshake(#[from] HandshakeError),
    /// The chunk stream is broken or exceeds a limit.
    #[error("chunk stream: {0}")]
    Chunk(#[from] ChunkError),
}

/// One side of a connection, below its commands.
#[derive(Debug)]
pub(crate) struct Link {
    /// The handshake, until it is complete.
    handshake: Option<Handshake>,
    /// The result of the handshake.
    summary: HandshakeSummary,
    /// The key for proofs of Flash programs.
    proof_key: ProofKey,
    cipher: Option<RtmpeCipher>,
    /// Deciphered input that has not been read.
    clear: BytesMut,
    reader: ChunkReader,
    /// The remaining messages of an aggregate message.
    parts: Option<Aggregate>,
    writer: ChunkWriter,
    /// Bytes of the handshake to send, before the first chunk.
    greeting: BytesMut,
    /// Chunks to send.
    output: Output,
    /// Number of received bytes.
    received: u64,
    /// The number of bytes that are acknowledged.
    acknowledged: u64,
    /// Number of bytes after which the peer expects an acknowledgement; 0 for none.
    window: u32,
}

impl Link {
    pub(crate) fn new(mut handshake: Handshake, limits: ChunkLimits, window: u32) -> Self {
        let greeting = handshake.poll_output().unwrap_or_default().into();
        Self {
            summary: handshake.summary(),
            proof_key: handshake.proof_key(),
            handshake: Some(handshake),
            cipher: None,
            clear: BytesMut::new(),
            greeting,
            reader: ChunkReader::new(limits),
            parts: None,
            writer: ChunkWriter::new(),
            output: Output::default(),
            received: 0,
            acknowledged: 0,
            window,
        }
    }

    /// Returns whether the handshake is complete.
    pub(crate) fn is_established(&self) -> bool {
        self.handshake.is_none()
    }

    /// Returns the result of the handshake. It must be complete.
    pub(crate) fn summary(&self) -> HandshakeSummary {
        self.summary
    }

    /// Returns the key for proofs of Flash programs. The handshake must be complete.
    pub(crate) fn proof_key(&self) -> &ProofKey {
        &self.proof_key
    }

    /// Limits the size of a message, and of all incomplete messages together, in bytes. Applies to
    /// messages that begin from now on.
    pub(crate) fn bound_messages(&mut self, max_message_size: usize, max_reassembly: usize) {
        self.reader.bound_messages(max_message_size, max_reassembly);
    }

    /// Returns the bytes of all incomplete messages, by the lengths that they declare.
    pub(crate) fn under_way(&self) -> usize {
        self.reader.under_way()
    }

    /// Returns the next message: the next part of an aggregate message, or the message at the front
    /// of the input, which is used up to its end.
    pub(crate) fn poll_message(
        &mut self,
        input: &mut &[u8],
    ) -> Result<Option<RawMessage>, LinkError> {
        loop {
            if let Some(part) = self.parts.as_mut().and_then(Iterator::next) {
                return Ok(Some(part));
            }
            self.parts = None;
            match self.receive(input)? {
                Some(raw) if raw.type_id == type_id::AGGREGATE => {
                    self.parts = Some(Aggregate::new(raw));
                }
                message => return Ok(message),
            }
        }
    }

    fn receive(&mut self, input: &mut &[u8]) -> Result<Option<RawMessage>, LinkError> {
        let before = input.len();
        let message = self.read(input);
        self.received += (before - input.len()) as u64;
        self.acknowledge();
        message
    }

    fn read(&mut self, input: &mut &[u8]) -> Result<Option<RawMessage>, LinkError> {
        if let Some(handshake) = &mut self.handshake {
            let done = handshake.handle_bytes(input);
            while let Some(bytes) = handshake.poll_output() {
                self.greeting.extend_from_slice(&bytes);
            }
            if !done? {
                return Ok(None);
            }
            self.summary = handshake.summary();
            self.proof_key = handshake.proof_key();
            self.cipher = handshake.take_cipher();
            self.handshake = None;
        }
        let Some(cipher) = &mut self.cipher else {
            return Ok(self.reader.read(input)?);
        };
        let start = self.clear.len();
        self.clear.extend_from_slice(std::mem::take(input));
        cipher.decrypt(self.clear.get_mut(start..).unwrap_or_default());
        let mut clear = &self.clear[..];
        let message = self.reader.read(&mut clear);
        let used = self.clear.len() - clear.len();
        self.clear.advance(used);
        Ok(message?)
    }

    /// Handles protocol control messages and pings; ignores other messages.
    pub(crate) fn handle_control(&mut self, message: &Message) -> Result<(), LinkError> {
        match *message {
            Message::SetChunkSize(size) => self.reader.set_chunk_size(size)?,
            Message::Abort { chunk_stream } => self.reader.abort(chunk_stream),
            Message::WindowAckSize(window) => self.window = window,
            Message::UserControl(UserControl::PingRequest(timestamp)) => {
                let pong = UserControl::PingResponse(timestamp);
                self.send_control(&Message::UserControl(pong));
            }
            _ => {}
        }
        Ok(())
    }

    /// Sends an acknowledgement when a window is full (RTMP 1.0 section 5.4.3).
    fn acknowledge(&mut self) {
        let due = self.window > 0 && self.received - self.acknowledged >= self.window.into();
        if due && self.is_established() {
            self.acknowledged = self.received;
            self.send_control(&Message::Acknowledgement(self.received as u32));
        }
    }

    /// Sends a message about the connection.
    pub(crate) fn send_control(&mut self, message: &Message) {
        self.send(CONTROL_CHUNK_STREAM, 0, 0, message);
    }

    pub(crate) fn send_stream_begin(&mut self, stream_id: u32) {
        self.send_control(&Message::UserControl(UserControl::StreamBegin(stream_id)));
    }

    pub(crate) fn send_stream_eof(&mut self, stream_id: u32) {
        self.send_control(&Message::UserControl(UserControl::StreamEof(stream_id)));
    }

    /// Sends a ping, which the peer answers.
    pub(crate) fn send_ping(&mut self, timestamp: u32) {
        self.send_control(&Message::UserControl(UserControl::PingRequest(timestamp)));
    }

    /// Announces a chunk size and uses it from then on.
    pub(crate) fn send_chunk_size(&mut self, size: u32) {
        self.send_control(&Message::SetChunkSize(size));
        self.writer.set_chunk_size(size);
    }

    pub(crate) fn send(
        &mut self,
        chunk_stream: u32,
        timestamp: u32,
        stream_id: u32,
        message: &Message,
    ) {
        if let Some(raw) = message.encode(timestamp, stream_id) {
            self.send_raw(chunk_stream, &raw);
        }
    }

    pub(crate) fn send_raw(&mut self, chunk_stream: u32, raw: &RawMessage) {
        self.writer.write(chunk_stream, raw, &mut self.output);
    }

    /// Sends a message of a stream. Its payload is the concatenation of the parts.
    pub(crate) fn send_parts(&mut self, chunk_stream: u32, head: MessageHead, parts: &[Bytes]) {
        self.writer
            .write_parts(chunk_stream, head, parts, &mut self.output);
    }

    /// Returns the next bytes to send.
    pub(crate) fn poll_output(&mut self) -> Option<Bytes> {
        if !self.greeting.is_empty() {
            return Some(self.greeting.split().freeze());
        }
        if !self.is_established() {
            return None;
        }
        let output = self.output.pop()?;
        Some(match &mut self.cipher {
            // Shared bytes are copied, because encryption changes them.
            Some(cipher) => {
                let mut output = BytesMut::from(output);
                cipher.encrypt(&mut output);
                output.freeze()
            }
            None => output,
        })
    }
}
