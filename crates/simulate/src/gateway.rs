//! The gateway of a simulation: the real hub, RTMP server and engine, over pipes and simulated
//! networks.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use distributary_bench::rtp::read_header;
use distributary_egress::driven::DrivenEngine;
use distributary_egress::engine::EngineConfig;
use distributary_hub::{Hub, HubConfig, ViewerLimits};
use distributary_names::StreamName;
use distributary_rtmp::{OnDuplicate, PublishersConfig, RtmpConfig, RtmpService};
use distributary_webrtc::demux::DatagramKind;
use distributary_webrtc::stun::{Class, Message};
use tokio::io::{DuplexStream, duplex};
use tokio::sync::watch;

use crate::scenario::{Duplicates, Scenario};

/// The address of the gateway.
pub(crate) const ADDRESS: ([u8; 4], u16) = ([192, 0, 2, 1], 8189);

/// Bytes that may be sent to an address that has not proved itself, for each byte that came from
/// there.
const ALLOWANCE: u64 = 3;

/// Size of the largest datagram that the gateway may send.
const MAX_DATAGRAM: usize = 1200;

/// Bytes of the pipe between a publisher and the gateway.
const PIPE: usize = 1 << 20;

/// Bytes of the buffer of a viewer's TCP connection.
const TCP_BUFFER: usize = 64 * 1024;

/// The gateway of a simulation.
pub(crate) struct Gateway {
    pub(crate) hub: Hub,
    pub(crate) engine: DrivenEngine,
    pub(crate) stream: StreamName,
    rtmp: RtmpService,
    stop: watch::Sender<bool>,
    pub(crate) draining: watch::Sender<bool>,
    accounts: BTreeMap<SocketAddr, Account>,
    max_log: usize,
}

/// The bytes from and to an address.
#[derive(Clone, Copy, Debug, Default)]
struct Account {
    received: u64,
    sent: u64,
    /// DTLS was sent there.
    has_dtls: bool,
    /// Somebody there has answered what only a receiver there knows.
    is_proven: bool,
}

impl Gateway {
    pub(crate) fn new(scenario: &Scenario, now: Instant) -> Result<Self, String> {
        let config = HubConfig::default();
        let max_log = config.streams.cache_size;
        let hub = Hub::with_driven_audio(config);
        let engine = EngineConfig {
            listen: ADDRESS.into(),
            candidates: vec![ADDRESS.0.into()],
            ..EngineConfig::default()
        };
        let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let engine = DrivenEngine::new(engine, hub.clone(), scenario.shards, now, wall);
        let draining = watch::Sender::new(false);
        let rtmp = RtmpConfig {
            draining: draining.subscribe(),
            publishers: PublishersConfig {
                on_duplicate: match scenario.duplicates {
                    Duplicates::Refuse => OnDuplicate::Refuse,
                    Duplicates::Takeover => OnDuplicate::Takeover,
                    Duplicates::Standby => OnDuplicate::Standby,
                },
                ..PublishersConfig::default()
            },
            ..RtmpConfig::default()
        };
        Ok(Self {
            engine: engine.map_err(|error| error.to_string())?,
            rtmp: RtmpService::new(rtmp, hub.clone()),
            hub,
            stream: StreamName::parse("live/show").map_err(|error| error.to_string())?,
            stop: watch::Sender::new(false),
            draining,
            accounts: BTreeMap::new(),
            max_log,
        })
    }

    /// Loads the configuration again, with these limits of viewers. Their sessions stay.
    pub(crate) fn reload(&self, viewers: ViewerLimits) {
        let config = HubConfig::clone(&self.hub.config());
        self.hub.reconfigure(HubConfig { viewers, ..config });
    }

    /// Lets a standby take over, if there is one. Returns whether it will.
    pub(crate) fn request_takeover(&self, now: Instant) -> bool {
        let stream = self.hub.stream(&self.stream);
        stream.is_some_and(|stream| stream.request_takeover(None, now).is_ok())
    }

    /// Accepts an RTMP connection. Returns the end of the client.
    pub(crate) fn accept(&self, peer: SocketAddr) -> DuplexStream {
        let (client, server) = duplex(PIPE);
        let (rtmp, stopped) = (self.rtmp.clone(), self.stop.subscribe());
        tokio::spawn(async move { rtmp.serve(server, peer, stopped).await });
        client
    }

    /// Accepts a TCP connection of a viewer. Returns the end of the viewer.
    ///
    /// # Errors
    /// Returns the rule that is broken if the gateway refuses it.
    pub(crate) fn connect(&self, viewer: SocketAddr, now: Instant) -> Result<DuplexStream, String> {
        let (client, server) = duplex(TCP_BUFFER);
        let serve = self.engine.serve_tcp(server, viewer, now);
        tokio::spawn(serve.ok_or("a TCP connection of a viewer is refused")?);
        Ok(client)
    }

    /// Delivers a datagram of `source`.
    pub(crate) fn handle_datagram(&mut self, source: SocketAddr, bytes: &mut [u8], now: Instant) {
        let account = self.accounts.entry(source).or_default();
        account.received += bytes.len() as u64;
        account.is_proven |= match DatagramKind::of(bytes) {
            DatagramKind::Dtls => account.has_dtls,
            DatagramKind::Stun => {
                Message::parse(bytes).is_ok_and(|message| message.class == Class::Success)
            }
            _ => false,
        };
        let shard = usize::from(source.port()) % self.engine.shards();
        self.engine.handle_datagram(shard, source, bytes, now);
    }

    /// Takes the datagrams that are sent.
    ///
    /// # Errors
    /// Returns the rule that one of them breaks.
    pub(crate) fn take_sent(&mut self) -> Result<Vec<(SocketAddr, Vec<u8>)>, String> {
        let mut all = Vec::new();
        for shard in 0..self.engine.shards() {
            for sent in self.engine.take_sent(shard) {
                self.check(sent.destination, &sent.bytes)?;
                all.push((sent.destination, sent.bytes));
            }
        }
        Ok(all)
    }

    fn check(&mut self, destination: SocketAddr, bytes: &[u8]) -> Result<(), String> {
        if bytes.len() > MAX_DATAGRAM {
            return Err(format!("a datagram has {} bytes", bytes.len()));
        }
        let account = self.accounts.entry(destination).or_default();
        account.sent += bytes.len() as u64;
        let kind = DatagramKind::of(bytes);
        account.has_dtls |= kind == DatagramKind::Dtls;
        if !account.is_proven && account.sent > ALLOWANCE * account.received {
            return Err(format!(
                "{} bytes were sent to {destination}, which has not proved itself, for {} received \
                 ({kind:?})",
                account.sent, account.received
            ));
        }
        if kind == DatagramKind::Rtp && read_header(bytes).is_none() {
            return Err("an RTP packet has no header".to_owned());
        }
        Ok(())
    }

    /// Returns the number of viewers that have come: sessions that wait are none.
    pub(crate) fn viewers_of_shards(&self) -> usize {
        let shards = (0..self.engine.shards()).filter_map(|shard| self.engine.tables(shard));
        shards.map(|tables| tables.viewers).sum()
    }

    /// Checks the bounds of the tables.
    ///
    /// # Errors
    /// Returns the bound that is exceeded.
    pub(crate) fn check_tables(&self) -> Result<(), String> {
        let sessions = self.engine.sessions();
        let mut viewers = 0;
        for tables in (0..self.engine.shards()).filter_map(|shard| self.engine.tables(shard)) {
            viewers += tables.viewers;
            let is_bounded = tables.sessions == tables.viewers
                && tables.addresses <= tables.claims
                && tables.claims <= 8 * tables.viewers
                && tables.ufrags <= 4 * tables.viewers
                && tables.log_bytes <= 2 * self.max_log;
            if !is_bounded {
                return Err(format!("the tables of a shard are too large: {tables:?}"));
            }
        }
        if viewers > sessions {
            return Err(format!("{viewers} viewers have {sessions} sessions"));
        }
        let admitted = self.hub.viewers().count();
        if admitted != sessions {
            return Err(format!(
                "{admitted} viewers are counted for {sessions} sessions"
            ));
        }
        Ok(())
    }

    /// Checks that nothing is left of sessions and streams.
    ///
    /// # Errors
    /// Returns what is left.
    pub(crate) fn check_empty(&self) -> Result<(), String> {
        let shards = (0..self.engine.shards()).filter_map(|shard| self.engine.tables(shard));
        let left = shards.filter(|tables| *tables != Default::default());
        let shards: Vec<_> = left.collect();
        let (sessions, handshakes) = (self.engine.sessions(), self.engine.handshakes());
        let (viewers, streams) = (self.hub.viewers().count(), self.hub.streams().len());
        if shards.is_empty() && [sessions, handshakes, viewers, streams] == [0; 4] {
            return Ok(());
        }
        Err(format!(
            "left at the end: {sessions} sessions, {handshakes} handshakes, {viewers} viewers, \
             {streams} streams, shards with {shards:?}"
        ))
    }
}
