//! A client that sends any messages, and H264 for it.

use bytes::Bytes;
use distributary_rtmp::amf::Value;
use distributary_rtmp::chunk::{ChunkWriter, Output, RawMessage};
use distributary_rtmp::message::{Command, Message};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{STEP_TIMEOUT, TestServer};

/// A client that sends what it is told to, and reads only on demand after the handshake.
pub struct RawClient {
    socket: TcpStream,
    writer: ChunkWriter,
}

impl RawClient {
    /// Returns a client that asks for `live/<name>` by this command, on message stream 1.
    pub async fn ask(server: &TestServer, command: &str, name: &str) -> Self {
        let mut client = Self::connect(server).await;
        client.ask_on(1, command, name).await;
        client
    }

    /// Returns a client that has connected to the application `live`.
    pub async fn connect(server: &TestServer) -> Self {
        let mut socket = TcpStream::connect(server.address).await.unwrap();
        let mut hello = [0; 1537];
        hello[0] = 3;
        socket.write_all(&hello).await.unwrap();
        let mut answer = vec![0; 1 + 2 * 1536];
        let read = timeout(STEP_TIMEOUT, socket.read_exact(&mut answer)).await;
        read.expect("the server answers the handshake").unwrap();
        socket.write_all(&answer[1..=1536]).await.unwrap();
        let mut client = Self {
            socket,
            writer: ChunkWriter::new(),
        };
        client.send(0, &Message::SetChunkSize(65_536)).await;
        client.writer.set_chunk_size(65_536);
        let app = Value::Object(vec![("app".to_owned(), "live".into())]);
        let connect = Command::new("connect", 1.0, [app]);
        client.send(0, &Message::Command(connect)).await;
        client
    }

    /// Asks for `live/<name>` by this command on a message stream.
    pub async fn ask_on(&mut self, stream_id: u32, command: &str, name: &str) {
        let arguments = [Value::Null, name.into()];
        let ask = Command::new(command, 2.0, arguments);
        self.send(stream_id, &Message::Command(ask)).await;
    }

    pub async fn send(&mut self, stream_id: u32, message: &Message) {
        let raw = message.encode(0, stream_id).unwrap();
        self.send_raw(&raw).await;
    }

    pub async fn send_raw(&mut self, raw: &RawMessage) {
        let mut output = Output::default();
        self.writer.write(3, raw, &mut output);
        while let Some(bytes) = output.pop() {
            // The server may close.
            let _ = self.socket.write_all(&bytes).await;
        }
    }

    pub async fn send_payload(&mut self, type_id: u8, payload: Vec<u8>) {
        let raw = RawMessage {
            timestamp: 0,
            type_id,
            stream_id: 1,
            payload: payload.into(),
        };
        self.send_raw(&raw).await;
    }

    /// Sends the beginning of a message of this length, which never ends.
    pub async fn begin_message(&mut self, type_id: u8, len: u32) {
        let len = len.to_be_bytes();
        let mut bytes = vec![6, 0, 0, 0, len[1], len[2], len[3], type_id, 1, 0, 0, 0];
        bytes.extend([0x27; 100]);
        self.socket.write_all(&bytes).await.unwrap();
    }

    /// Reads until the server has sent these words.
    pub async fn until_told(&mut self, words: &str) {
        let mut told = Vec::new();
        let read = timeout(STEP_TIMEOUT, async {
            while !told
                .windows(words.len())
                .any(|part| part == words.as_bytes())
            {
                let read = self.socket.read_buf(&mut told).await.unwrap();
                assert!(read > 0, "closed without {words:?}");
            }
        });
        assert!(read.await.is_ok(), "{words:?} is missing");
    }

    /// Closes its side, and waits until the server has handled everything.
    pub async fn finish(mut self) {
        let _ = self.socket.shutdown().await;
        let mut rest = Vec::new();
        let closed = timeout(STEP_TIMEOUT, self.socket.read_to_end(&mut rest)).await;
        let _ = closed.expect("the server closes the connection");
    }
}

/// H264 with lengths of four bytes.
pub const H264_HEADER: &[u8] = &[
    0x17, 0, 0, 0, 0, 0x01, 0x42, 0xC0, 0x1E, 0xFF, 0xE1, 0x00, 0x19, 0x67, 0x42, 0xC0, 0x1E, 0xD9,
    0x00, 0xA0, 0x2F, 0xF9, 0x70, 0x11, 0x00, 0x00, 0x03, 0x00, 0x01, 0x00, 0x00, 0x03, 0x00, 0x3C,
    0x0F, 0x16, 0x2E, 0x48, 0x01, 0x00, 0x05, 0x68, 0xCB, 0x83, 0xCB, 0x20,
];

/// Returns a frame with one NAL unit of this length, filled with `fill`: a slice that begins at the
/// first macroblock, so that it is a frame of its own.
pub fn frame(keyframe: bool, len: usize, fill: u8) -> Bytes {
    let (kind, nal) = if keyframe { (0x17, 0x65) } else { (0x27, 0x41) };
    let mut body = vec![kind, 1, 0, 0, 0];
    body.extend((len as u32).to_be_bytes());
    let begin = body.len();
    body.extend([nal, 0x88]);
    body.resize(begin + len, fill);
    body.into()
}
