//! RTMP connections that send arbitrary messages.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use distributary_rtmp::chunk::{ChunkWriter, Output, RawMessage};
use distributary_rtmp::client::{ClientError, ClientSession, ClientSessionError, StreamUrl};
use distributary_rtmp::handshake::Handshake;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::context::Context;
use super::error::AttackError;

/// The types of audio and video messages (RTMP 1.0 section 7.1).
pub(super) const AUDIO: u8 = 8;
pub(super) const VIDEO: u8 = 9;

const SET_CHUNK_SIZE: u8 = 1;

/// The size of the chunks. The library's client has announced it by the time it publishes.
const CHUNK_SIZE: u32 = 65_536;

/// The first message stream that a server makes.
const STREAM: u32 = 1;

/// The first chunk stream of ours, which the library's client does not use. Each message type has
/// its own.
const CHUNK_STREAM: u32 = 20;

/// Bytes that are sent at once.
const PIECE: usize = 16 << 10;

/// Timeout of each step of the server.
const STEP_TIMEOUT: Duration = Duration::from_secs(5);

/// The attacker's side of a connection.
pub(super) struct RtmpPeer {
    stream: TcpStream,
    writer: ChunkWriter,
    out: BytesMut,
}

impl RtmpPeer {
    /// Creates a connection that has done the handshake and nothing else.
    pub(super) async fn greet(context: &Context, source: usize) -> Result<Self, AttackError> {
        let mut stream = context.connect(context.target().rtmp, source).await?;
        let mut handshake = Handshake::client(StdRng::from_seed(rand::random()));
        let mut is_done = false;
        while !is_done {
            send_all(context, &mut stream, || handshake.poll_output()).await?;
            let mut buffer = [0; 4096];
            let read = read_some(context, &mut stream, &mut buffer).await?;
            let handled = handshake.handle_bytes(&mut &buffer[..read]);
            is_done = handled.map_err(|_| ClientSessionError::Closed)?;
        }
        send_all(context, &mut stream, || handshake.poll_output()).await?;
        let mut peer = Self::new(stream);
        // The writer's size is ours, so the server has to be told of it in chunks of the default
        // size.
        let mut announcement = ChunkWriter::new();
        let size = RawMessage {
            timestamp: 0,
            type_id: SET_CHUNK_SIZE,
            stream_id: 0,
            payload: Bytes::copy_from_slice(&CHUNK_SIZE.to_be_bytes()),
        };
        let mut output = Output::default();
        announcement.write(2, &size, &mut output);
        peer.take(output);
        peer.flush(context).await?;
        Ok(peer)
    }

    /// Creates a publisher that was granted `live/<name>`.
    pub(super) async fn publish(
        context: &Context,
        source: usize,
        name: &str,
    ) -> Result<Self, AttackError> {
        let stream = context.connect(context.target().rtmp, source).await?;
        let url = url(context, &format!("live/{name}"))?;
        let session = ClientSession::publish(url, rand::random());
        Self::open(context, stream, session).await
    }

    /// Creates a player of `name` that has started to play. Its receive buffer is small.
    pub(super) async fn play(
        context: &Context,
        source: usize,
        name: &str,
    ) -> Result<Self, AttackError> {
        let stream = context
            .connect_narrow(context.target().rtmp, source)
            .await?;
        let session = ClientSession::play(url(context, name)?, rand::random());
        Self::open(context, stream, session).await
    }

    async fn open(
        context: &Context,
        mut stream: TcpStream,
        mut session: ClientSession,
    ) -> Result<Self, AttackError> {
        loop {
            send_all(context, &mut stream, || session.poll_output()).await?;
            if session.is_active() {
                return Ok(Self::new(stream));
            }
            let mut buffer = [0; 4096];
            let read = read_some(context, &mut stream, &mut buffer).await?;
            session.handle_bytes(&buffer[..read], now())?;
        }
    }

    fn new(stream: TcpStream) -> Self {
        let mut writer = ChunkWriter::new();
        writer.set_chunk_size(CHUNK_SIZE);
        Self {
            stream,
            writer,
            out: BytesMut::new(),
        }
    }

    /// Queues a message.
    pub(super) fn push(&mut self, type_id: u8, timestamp: u32, payload: Bytes) {
        let message = RawMessage {
            timestamp,
            type_id,
            stream_id: STREAM,
            payload,
        };
        let chunk_stream = CHUNK_STREAM + u32::from(type_id);
        let mut output = Output::default();
        self.writer.write(chunk_stream, &message, &mut output);
        self.take(output);
    }

    /// Queues a writer's output.
    fn take(&mut self, mut output: Output) {
        while let Some(bytes) = output.pop() {
            self.out.extend_from_slice(&bytes);
        }
    }

    /// Returns bytes that are queued.
    pub(super) fn queued(&self) -> usize {
        self.out.len()
    }

    /// Sends the queue at the attack's pace. Reads and drops what arrives.
    pub(super) async fn flush(&mut self, context: &Context) -> Result<(), AttackError> {
        while !self.out.is_empty() {
            let piece = self.out.split_to(self.out.len().min(PIECE));
            context.spend(piece.len()).await;
            self.stream.write_all(&piece).await?;
            self.drain(context)?;
        }
        Ok(())
    }

    /// Queues and sends a message.
    pub(super) async fn send(
        &mut self,
        context: &Context,
        type_id: u8,
        timestamp: u32,
        payload: Bytes,
    ) -> Result<(), AttackError> {
        self.push(type_id, timestamp, payload);
        self.flush(context).await
    }

    /// Reads arrived bytes. Fails if the server has closed the connection.
    pub(super) fn drain(&self, context: &Context) -> Result<(), AttackError> {
        let mut buffer = [0; 4096];
        loop {
            match self.stream.try_read(&mut buffer) {
                Ok(0) => return Err(ClientSessionError::Closed.into()),
                Ok(len) => context.received(len),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn url(context: &Context, path: &str) -> Result<StreamUrl, AttackError> {
    let url = format!("rtmp://{}/{path}", context.target().rtmp);
    Ok(url.parse().map_err(ClientError::Url)?)
}

async fn send_all(
    context: &Context,
    stream: &mut TcpStream,
    mut next: impl FnMut() -> Option<Bytes>,
) -> Result<(), AttackError> {
    while let Some(bytes) = next() {
        context.spend(bytes.len()).await;
        stream.write_all(&bytes).await?;
    }
    Ok(())
}

async fn read_some(
    context: &Context,
    stream: &mut TcpStream,
    buffer: &mut [u8],
) -> Result<usize, AttackError> {
    let read = timeout(STEP_TIMEOUT, stream.read(buffer)).await;
    let len = read.map_err(|_| AttackError::Timeout("answer over RTMP", STEP_TIMEOUT))??;
    if len == 0 {
        return Err(ClientSessionError::Closed.into());
    }
    context.received(len);
    Ok(len)
}

/// Returns the clock of the runtime.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
