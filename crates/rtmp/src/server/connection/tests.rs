//! Tests of one connection over a pipe.

mod fairness;
mod limits;
mod timeouts;

use std::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::proto::amf::{Value, object};
use crate::proto::chunk::{ChunkWriter, Output, RawMessage};
use crate::proto::message::{Command, Message, UserControl};
use crate::server::config::{PublishersConfig, RtmpConfig};
use bytes::Bytes;
use distributary_hub::{Hub, HubConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

const PEER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1);

fn context() -> Arc<ServerContext> {
    let hub = Hub::new(HubConfig::default());
    Arc::new(ServerContext::new(RtmpConfig::default(), hub, None))
}

/// The handshake of a client that checks nothing.
const HELLO: [u8; 1 + 2 * 1536] = {
    let mut hello = [0; 1 + 2 * 1536];
    hello[0] = 3;
    hello
};

/// Turns messages into the bytes that a client sends.
struct Writer(ChunkWriter);

impl Writer {
    fn new() -> Self {
        Self(ChunkWriter::new())
    }

    fn write(&mut self, raw: &RawMessage) -> Vec<u8> {
        let mut output = Output::default();
        self.0.write(3, raw, &mut output);
        let mut bytes = Vec::new();
        while let Some(piece) = output.pop() {
            bytes.extend(piece);
        }
        bytes
    }

    fn message(&mut self, time: u32, stream_id: u32, message: &Message) -> Vec<u8> {
        self.write(&message.encode(time, stream_id).unwrap())
    }

    fn connect(&mut self) -> Vec<u8> {
        let mut bytes = self.message(0, 0, &Message::SetChunkSize(65_536));
        self.0.set_chunk_size(65_536);
        let connect = Command::new("connect", 1.0, [object([("app", "live".into())])]);
        bytes.extend(self.message(0, 0, &Message::Command(connect)));
        bytes
    }

    /// Asks for `live/<name>` on message stream 1.
    fn ask(&mut self, command: &str, name: &str) -> Vec<u8> {
        let ask = Command::new(command, 2.0, [Value::Null, name.into()]);
        self.message(0, 1, &Message::Command(ask))
    }
}

/// A client over a pipe.
struct Client {
    pipe: DuplexStream,
    writer: Writer,
    _stop: watch::Sender<bool>,
}

impl Client {
    /// Returns a client at this address that asks for `live/<name>`.
    async fn ask(context: &Arc<ServerContext>, ip: [u8; 4], command: &str, name: &str) -> Self {
        let (server, mut pipe) = duplex(1 << 20);
        let (stop, stopped) = watch::channel(false);
        let peer = SocketAddr::from((ip, 1));
        tokio::spawn(ServerConnection::new(server, peer, Arc::clone(context)).run(stopped));
        let mut writer = Writer::new();
        pipe.write_all(&HELLO).await.unwrap();
        pipe.write_all(&writer.connect()).await.unwrap();
        pipe.write_all(&writer.ask(command, name)).await.unwrap();
        Self {
            pipe,
            writer,
            _stop: stop,
        }
    }

    /// Reads until these words have arrived or the server closes. Returns the text.
    async fn read_until(&mut self, words: &str) -> String {
        let mut said = Vec::new();
        loop {
            let text = String::from_utf8_lossy(&said);
            if text.contains(words) || self.pipe.read_buf(&mut said).await.unwrap() == 0 {
                return String::from_utf8_lossy(&said).into_owned();
            }
        }
    }

    async fn assert_receives(&mut self, words: &str) {
        let said = self.read_until(words).await;
        assert!(said.contains(words), "{words:?} is missing in {said:?}");
    }

    async fn send(&mut self, message: &Message) {
        let bytes = self.writer.message(0, 1, message);
        self.pipe.write_all(&bytes).await.unwrap();
    }

    async fn send_frame(&mut self) {
        for body in [&[0xAF, 0, 0x11, 0x88][..], &[0xAF, 1, 0x01, 0x40, 0x20]] {
            self.send(&Message::Audio(Bytes::copy_from_slice(body)))
                .await;
        }
    }

    /// Answers a ping that was not sent: a sign of life.
    async fn pong(&mut self) {
        self.send(&Message::UserControl(UserControl::PingResponse(0)))
            .await;
    }
}

fn context_with(config: RtmpConfig) -> Arc<ServerContext> {
    let hub = Hub::new(HubConfig::default());
    Arc::new(ServerContext::new(config, hub, None))
}

const STARTED: &str = "NetStream.Publish.Start";
const ONE: [u8; 4] = [192, 0, 2, 1];
const OTHER: [u8; 4] = [192, 0, 2, 2];
const THIS_MACHINE: [u8; 4] = [127, 0, 0, 1];
