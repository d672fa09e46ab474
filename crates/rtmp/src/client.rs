//! A client over TCP. It publishes the gateway's own clip, loads the gateway in tests, and plays
//! streams that are pulled from other servers.

pub(crate) mod programs;

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use distributary_tls::{AuthorityError, TlsClient};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing::{Instrument, warn};

use crate::client::programs::Programs;
use crate::clock::now;
use crate::proto::amf::Value;
use crate::proto::media::MediaMessage;
use crate::proto::swf::Swf;

pub use crate::proto::client::{ClientSession, ClientSessionError};
pub use crate::proto::url::{StreamUrl, UrlError};

/// Timeout for each response of the server.
const STEP_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes read at once.
const READ_SIZE: usize = 8 << 10;

/// The error of a client that cannot publish or play.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The URL is not valid.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// The connection failed.
    #[error("the connection to the RTMP server failed: {0}")]
    Io(#[from] io::Error),
    /// TLS failed: the server does not speak it, or its certificate is not trusted.
    #[error(
        "TLS to the RTMP server failed: {0}; for a certificate of an own authority, set ca under [[pull]]"
    )]
    Tls(io::Error),
    /// There are no authorities to trust.
    #[error(transparent)]
    Authorities(#[from] AuthorityError),
    /// The server refuses, breaks the protocol or has ended the stream.
    #[error(transparent)]
    Session(#[from] ClientSessionError),
    /// The server did not answer in time.
    #[error("the RTMP server did not answer within {STEP_TIMEOUT:?}")]
    Timeout,
}

/// Connects to the RTMP server at `address` and publishes `stream` of the application `app`; the
/// stream may have a query.
///
/// # Errors
/// Returns [`ClientError`] if the server cannot be reached, breaks the protocol or refuses the
/// name.
pub async fn publish(
    address: SocketAddr,
    app: &str,
    stream: &str,
) -> Result<ClientPublisher, ClientError> {
    publish_to(&StreamUrl::new(&address.to_string(), app, stream)?).await
}

/// Connects to the RTMP server of `url` and publishes the stream.
///
/// # Errors
/// As [`publish`].
pub async fn publish_to(url: &StreamUrl) -> Result<ClientPublisher, ClientError> {
    let session = ClientSession::publish(url.clone(), rand::random());
    let connection = ClientConnection::open(url, session, Peers::default()).await?;
    Ok(ClientPublisher { connection })
}

/// Connects to the RTMP server of `url` and plays the stream.
///
/// # Errors
/// Returns [`ClientError`] if the server cannot be reached, breaks the protocol or does not have
/// the stream.
pub async fn play(url: &StreamUrl) -> Result<ClientPlayer, ClientError> {
    play_with(url, Peers::default()).await
}

/// The connections of a client to other servers than the RTMP server.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    /// The source of Flash programs: one is downloaded if the server asks for SWF verification and
    /// the URL of the stream has only the program's URL.
    pub(crate) programs: Option<Programs>,
    /// TLS with own authorities, in place of those of the system.
    pub(crate) tls: Option<TlsClient>,
}

/// Plays as [`play`] does.
pub(crate) async fn play_with(url: &StreamUrl, peers: Peers) -> Result<ClientPlayer, ClientError> {
    let session = ClientSession::play(url.clone(), rand::random());
    let connection = ClientConnection::open(url, session, peers).await?;
    Ok(ClientPlayer { connection })
}

/// A stream that is being published.
#[derive(Debug)]
pub struct ClientPublisher {
    connection: ClientConnection,
}

/// A stream that is being played.
#[derive(Debug)]
pub struct ClientPlayer {
    connection: ClientConnection,
}

impl ClientPublisher {
    /// Sends an FLV video tag body with its decoding time in milliseconds.
    ///
    /// # Errors
    /// Returns [`ClientError`] if the connection is lost, the server does not read in time, or it
    /// has ended the stream.
    pub async fn send_video(&mut self, timestamp: u32, body: Bytes) -> Result<(), ClientError> {
        self.connection.session.send_video(timestamp, body);
        self.connection.exchange().await
    }

    /// Sends an FLV audio tag body with its time in milliseconds.
    ///
    /// # Errors
    /// As [`Self::send_video`].
    pub async fn send_audio(&mut self, timestamp: u32, body: Bytes) -> Result<(), ClientError> {
        self.connection.session.send_audio(timestamp, body);
        self.connection.exchange().await
    }

    /// Sends the `onMetaData` object.
    ///
    /// # Errors
    /// As [`Self::send_video`].
    pub async fn send_metadata(&mut self, metadata: Value) -> Result<(), ClientError> {
        self.connection.session.send_metadata(metadata);
        self.connection.exchange().await
    }

    /// Sends a data message of another name, such as `onTextData`, with its time in milliseconds.
    ///
    /// # Errors
    /// As [`Self::send_video`].
    pub async fn send_data(
        &mut self,
        timestamp: u32,
        name: &str,
        value: Value,
    ) -> Result<(), ClientError> {
        self.connection.session.send_data(timestamp, name, value);
        self.connection.exchange().await
    }

    /// Ends the stream and the connection.
    ///
    /// # Errors
    /// As [`Self::send_video`].
    pub async fn close(mut self) -> Result<(), ClientError> {
        self.connection.close().await
    }
}

impl ClientPlayer {
    /// Returns the next message of the stream. Nothing is lost when the future is dropped.
    ///
    /// # Errors
    /// Returns [`ClientError`] if the stream has ended, the connection is lost, or the server has
    /// been silent for ten seconds.
    pub async fn next(&mut self) -> Result<MediaMessage, ClientError> {
        loop {
            if let Some(media) = self.connection.session.poll_media() {
                return Ok(media);
            }
            self.connection.step().await?;
        }
    }

    /// Ends playing and the connection.
    ///
    /// # Errors
    /// Returns [`ClientError`] if the connection is lost.
    pub async fn close(mut self) -> Result<(), ClientError> {
        self.connection.close().await
    }
}

/// A connection over TCP, or over TLS.
trait Socket: AsyncRead + AsyncWrite + fmt::Debug + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + fmt::Debug + Send + Unpin> Socket for S {}

/// A session and its socket.
#[derive(Debug)]
struct ClientConnection {
    socket: Box<dyn Socket>,
    session: ClientSession,
    /// Output of the session that is not written yet.
    unsent: BytesMut,
    /// The source of Flash programs.
    programs: Option<Programs>,
    /// The download of the program that the server asks for.
    program: Option<JoinHandle<Option<Swf>>>,
}

impl Drop for ClientConnection {
    fn drop(&mut self) {
        if let Some(program) = &self.program {
            program.abort();
        }
    }
}

impl ClientConnection {
    /// Connects, and waits until the server has accepted the request.
    async fn open(
        url: &StreamUrl,
        session: ClientSession,
        peers: Peers,
    ) -> Result<Self, ClientError> {
        let Peers { programs, tls } = peers;
        let socket = timeout(STEP_TIMEOUT, connect(url, tls))
            .await
            .map_err(|_| ClientError::Timeout)??;
        let mut connection = Self {
            socket,
            session,
            unsent: BytesMut::new(),
            programs,
            program: None,
        };
        while !connection.session.is_active() {
            connection.step().await?;
        }
        Ok(connection)
    }

    /// Sends pending output, then reads the next input. Nothing is lost when the future is
    /// dropped.
    async fn step(&mut self) -> Result<(), ClientError> {
        self.flush().await?;
        let mut bytes = [0; READ_SIZE];
        let is_active = self.session.is_active();
        let len = match &mut self.program {
            Some(program) => tokio::select! {
                swf = program => {
                    self.program = None;
                    if let Ok(Some(swf)) = swf {
                        self.session.prove_swf(&swf);
                    }
                    return self.flush().await;
                }
                // The server refuses a request that arrives before the proof, so its messages wait.
                // Once the request is accepted, media continues meanwhile.
                len = self.socket.read(&mut bytes), if is_active => len?,
            },
            None => {
                let read = timeout(STEP_TIMEOUT, self.socket.read(&mut bytes));
                read.await.map_err(|_| ClientError::Timeout)??
            }
        };
        self.handle(bytes.get(..len).unwrap_or_default())
    }

    /// Reads received input without waiting for more, and sends pending output.
    async fn exchange(&mut self) -> Result<(), ClientError> {
        let mut bytes = [0; READ_SIZE];
        while let Some(len) = read_ready(&mut self.socket, &mut bytes).await? {
            self.handle(bytes.get(..len).unwrap_or_default())?;
        }
        self.flush().await
    }

    fn handle(&mut self, bytes: &[u8]) -> Result<(), ClientError> {
        if bytes.is_empty() {
            return Err(ClientSessionError::Closed.into());
        }
        self.session.handle_bytes(bytes, now())?;
        if self.session.poll_swf_request() && self.program.is_none() {
            self.load_program();
        }
        Ok(())
    }

    /// Starts downloading the program that the server asks for.
    fn load_program(&mut self) {
        let Some((programs, url)) = self.programs.clone().zip(self.session.swf_url()) else {
            warn!("the server asks for SWF verification: name the program by swf or swf_url");
            return;
        };
        let url = url.to_owned();
        let load = async move { programs.get(&url).await };
        self.program = Some(tokio::spawn(load.in_current_span()));
    }

    async fn flush(&mut self) -> Result<(), ClientError> {
        loop {
            while let Some(bytes) = self.session.poll_output() {
                self.unsent.extend_from_slice(&bytes);
            }
            if self.unsent.is_empty() {
                return Ok(());
            }
            let write = timeout(STEP_TIMEOUT, self.socket.write_buf(&mut self.unsent));
            write.await.map_err(|_| ClientError::Timeout)??;
        }
    }

    async fn close(&mut self) -> Result<(), ClientError> {
        self.session.close();
        self.flush().await?;
        self.socket.shutdown().await?;
        Ok(())
    }
}

/// Connects to the server of a URL.
async fn connect(url: &StreamUrl, tls: Option<TlsClient>) -> Result<Box<dyn Socket>, ClientError> {
    let socket = TcpStream::connect(url.authority()).await?;
    socket.set_nodelay(true)?;
    if !url.is_tls() {
        return Ok(Box::new(socket));
    }
    let tls = match tls {
        Some(tls) => tls,
        None => TlsClient::system()?,
    };
    let (host, _) = url.authority();
    let socket = tls.connect(host, socket).await.map_err(ClientError::Tls)?;
    Ok(Box::new(socket))
}

/// Reads what has arrived; `None` if that is nothing.
async fn read_ready(socket: &mut Box<dyn Socket>, bytes: &mut [u8]) -> io::Result<Option<usize>> {
    let mut buffer = ReadBuf::new(bytes);
    poll_fn(|context| {
        let read = Pin::new(&mut *socket).poll_read(context, &mut buffer);
        Poll::Ready(match read {
            Poll::Ready(read) => read.map(|()| Some(buffer.filled().len())),
            Poll::Pending => Ok(None),
        })
    })
    .await
}
