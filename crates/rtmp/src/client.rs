//! A publishing client over TCP: what feeds the gateway its own clip, and loads it in tests.

mod session;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::amf::Value;
use crate::session::SessionError;

pub use session::{ClientSession, StreamUrl};

/// How long a server may take for any one step.
const STEP_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes read at once.
const READ_SIZE: usize = 4096;

/// Why a client cannot publish, or not go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The connection failed.
    #[error("the connection to the RTMP server failed: {0}")]
    Io(#[from] io::Error),
    /// The server breaks the protocol.
    #[error("the RTMP server breaks the protocol: {0}")]
    Protocol(#[from] SessionError),
    /// The server said no.
    #[error("the RTMP server refuses: {code}: {description}")]
    Refused {
        /// Its code, `NetStream.Publish.BadName` for a name in use.
        code: String,
        /// Its words.
        description: String,
    },
    /// The server closed the connection.
    #[error("the RTMP server closed the connection")]
    Closed,
    /// The server did not answer in time.
    #[error("the RTMP server did not answer within {STEP_TIMEOUT:?}")]
    Timeout,
}

/// Connects to the RTMP server at `address` and publishes `stream` of the application `app`; the
/// stream may have a query.
///
/// # Errors
/// When the server cannot be reached, breaks the protocol or refuses the name.
pub async fn publish(
    address: SocketAddr,
    app: &str,
    stream: &str,
) -> Result<ClientPublisher, ClientError> {
    let connect = TcpStream::connect(address);
    let socket = timeout(STEP_TIMEOUT, connect)
        .await
        .map_err(|_| ClientError::Timeout)??;
    socket.set_nodelay(true)?;
    let url = StreamUrl::new(&address.to_string(), app, stream);
    let mut publisher = ClientPublisher {
        socket,
        session: ClientSession::publish(url, rand::random()),
    };
    while !publisher.session.is_publishing() {
        publisher.flush().await?;
        let read = publisher.read();
        timeout(STEP_TIMEOUT, read)
            .await
            .map_err(|_| ClientError::Timeout)??;
    }
    Ok(publisher)
}

/// A stream that is being published.
#[derive(Debug)]
pub struct ClientPublisher {
    socket: TcpStream,
    session: ClientSession,
}

impl ClientPublisher {
    /// Sends an FLV video tag body with its decoding time in milliseconds.
    ///
    /// # Errors
    /// When the server is gone, does not take anything for long, or has ended the stream.
    pub async fn send_video(&mut self, timestamp: u32, body: Bytes) -> Result<(), ClientError> {
        self.session.send_video(timestamp, body);
        self.exchange().await
    }

    /// Sends an FLV audio tag body with its time in milliseconds.
    ///
    /// # Errors
    /// As [`Self::send_video`].
    pub async fn send_audio(&mut self, timestamp: u32, body: Bytes) -> Result<(), ClientError> {
        self.session.send_audio(timestamp, body);
        self.exchange().await
    }

    /// Sends the `onMetaData` object.
    ///
    /// # Errors
    /// As [`Self::send_video`].
    pub async fn send_metadata(&mut self, metadata: Value) -> Result<(), ClientError> {
        self.session.send_metadata(metadata);
        self.exchange().await
    }

    /// Ends the stream and the connection.
    ///
    /// # Errors
    /// As [`Self::send_video`].
    pub async fn close(mut self) -> Result<(), ClientError> {
        self.session.close();
        self.flush().await?;
        self.socket.shutdown().await?;
        Ok(())
    }

    /// Takes in what has come from the server without waiting for more, and sends what is to be sent.
    async fn exchange(&mut self) -> Result<(), ClientError> {
        let mut bytes = [0; READ_SIZE];
        loop {
            match self.socket.try_read(&mut bytes) {
                Ok(0) => return Err(ClientError::Closed),
                Ok(len) => self
                    .session
                    .handle_bytes(bytes.get(..len).unwrap_or_default())?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        self.flush().await
    }

    async fn read(&mut self) -> Result<(), ClientError> {
        let mut bytes = [0; READ_SIZE];
        let len = self.socket.read(&mut bytes).await?;
        if len == 0 {
            return Err(ClientError::Closed);
        }
        self.session
            .handle_bytes(bytes.get(..len).unwrap_or_default())
    }

    async fn flush(&mut self) -> Result<(), ClientError> {
        while let Some(bytes) = self.session.poll_output() {
            let write = self.socket.write_all(&bytes);
            timeout(STEP_TIMEOUT, write)
                .await
                .map_err(|_| ClientError::Timeout)??;
        }
        Ok(())
    }
}
