//! Addresses, clock and stats of one attack.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use distributary_webrtc::certificate::Certificate;
use distributary_webrtc::dtls::{DtlsContext, DtlsError};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::error::AttackError;
use super::pace::Pace;
use super::target::{Outcome, Target};

/// Most sockets that an attack opens.
const MAX_SOCKETS: u64 = 8192;

/// Timeout of a connection attempt.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Buffers of a connection that is not to be read, in bytes.
const NARROW: u32 = 4096;

/// An attack that is under way. Clones are handles to the same.
#[derive(Clone)]
pub(super) struct Context(Arc<Inner>);

struct Inner {
    target: Target,
    begin: Instant,
    end: Instant,
    pace: Pace,
    stats: Mutex<AttackStats>,
    certificate: Certificate,
    dtls: DtlsContext,
}

#[derive(Default)]
struct AttackStats {
    sent: u64,
    received: u64,
    sockets: u64,
    observed: BTreeMap<&'static str, f64>,
}

impl Context {
    pub(super) fn new(target: Target) -> Result<Self, AttackError> {
        let certificate = Certificate::generate(SystemTime::now())?;
        let begin = Instant::now();
        Ok(Self(Arc::new(Inner {
            begin,
            end: begin + target.duration,
            pace: Pace::new(target.rate),
            stats: Mutex::default(),
            dtls: DtlsContext::new(&certificate).map_err(DtlsError::Setup)?,
            certificate,
            target,
        })))
    }

    pub(super) fn target(&self) -> &Target {
        &self.0.target
    }

    pub(super) fn certificate(&self) -> &Certificate {
        &self.0.certificate
    }

    pub(super) fn dtls(&self) -> &DtlsContext {
        &self.0.dtls
    }

    /// Runs an attack until it ends, or its time is over.
    pub(super) async fn until_the_end(
        &self,
        attack: impl Future<Output = Result<(), AttackError>>,
    ) -> Result<(), AttackError> {
        timeout_at(self.0.end, attack).await.unwrap_or(Ok(()))
    }

    /// Waits for the end of the attack.
    pub(super) async fn rest(&self) {
        sleep(self.remaining()).await;
    }

    /// Returns the time that is left.
    pub(super) fn remaining(&self) -> Duration {
        self.0.end.saturating_duration_since(Instant::now())
    }

    /// Waits until `bytes` may be sent, and counts them.
    pub(super) async fn spend(&self, bytes: usize) {
        self.0.pace.spend(bytes).await;
        self.stats().sent += bytes as u64;
    }

    /// Counts bytes that came.
    pub(super) fn received(&self, bytes: usize) {
        self.stats().received += bytes as u64;
    }

    /// Adds to the observed value with this name.
    pub(super) fn add(&self, name: &'static str, value: f64) {
        *self.stats().observed.entry(name).or_default() += value;
    }

    /// Sets the observed value with this name.
    pub(super) fn note(&self, name: &'static str, value: f64) {
        self.stats().observed.insert(name, value);
    }

    /// Raises the observed value with this name to `value`.
    pub(super) fn note_max(&self, name: &'static str, value: f64) {
        let mut stats = self.stats();
        let known = stats.observed.entry(name).or_default();
        *known = known.max(value);
    }

    /// Connects from the attacker's address of this number.
    pub(super) async fn connect(
        &self,
        to: SocketAddr,
        source: usize,
    ) -> Result<TcpStream, AttackError> {
        self.connect_with(to, source, false).await
    }

    /// The same with small buffers.
    pub(super) async fn connect_narrow(
        &self,
        to: SocketAddr,
        source: usize,
    ) -> Result<TcpStream, AttackError> {
        self.connect_with(to, source, true).await
    }

    async fn connect_with(
        &self,
        to: SocketAddr,
        source: usize,
        is_narrow: bool,
    ) -> Result<TcpStream, AttackError> {
        self.count_socket()?;
        let socket = match to {
            SocketAddr::V4(_) => TcpSocket::new_v4(),
            SocketAddr::V6(_) => TcpSocket::new_v6(),
        }?;
        if is_narrow {
            socket.set_recv_buffer_size(NARROW)?;
            socket.set_send_buffer_size(NARROW)?;
        }
        if let Some(address) = self.source(source) {
            socket.bind(SocketAddr::new(address, 0))?;
        }
        let connected = timeout(CONNECT_TIMEOUT, socket.connect(to)).await;
        let stream =
            connected.map_err(|_| AttackError::Timeout("connection", CONNECT_TIMEOUT))??;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// Returns a UDP socket at the attacker's address of this number, connected to the gateway.
    pub(super) async fn datagrams(
        &self,
        to: SocketAddr,
        source: usize,
    ) -> Result<UdpSocket, AttackError> {
        self.count_socket()?;
        let any = match to {
            SocketAddr::V4(_) => IpAddr::from([0; 4]),
            SocketAddr::V6(_) => IpAddr::from([0_u16; 8]),
        };
        let from = self.source(source).unwrap_or(any);
        let socket = UdpSocket::bind(SocketAddr::new(from, 0)).await?;
        socket.connect(to).await?;
        Ok(socket)
    }

    fn source(&self, number: usize) -> Option<IpAddr> {
        let sources = &self.0.target.sources;
        sources.get(number % sources.len().max(1)).copied()
    }

    fn count_socket(&self) -> Result<(), AttackError> {
        let mut stats = self.stats();
        if stats.sockets >= MAX_SOCKETS {
            let error = format!("{MAX_SOCKETS} sockets, which is the most an attack may open");
            return Err(io::Error::other(error).into());
        }
        stats.sockets += 1;
        Ok(())
    }

    fn stats(&self) -> MutexGuard<'_, AttackStats> {
        let stats = self.0.stats.lock();
        stats.unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn outcome(&self, attack: &str, ended: Result<(), AttackError>) -> Outcome {
        let stats = self.stats();
        Outcome {
            attack: attack.to_owned(),
            seconds: self.0.begin.elapsed().as_secs_f64(),
            sent: stats.sent,
            received: stats.received,
            sockets: stats.sockets,
            observed: stats.observed.clone(),
            error: ended.err().map(|error| error.to_string()),
        }
    }
}
