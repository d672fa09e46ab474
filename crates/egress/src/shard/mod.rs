//! An egress shard: an OS thread with its own socket, its own viewers and its own copy of the logs.
//!
//! * `addresses`: whose datagrams come from an address.
//! * `run`: the thread and its loop, the only part that reads a clock.
//! * `frames`: what comes and goes on the TCP connections of its viewers.
//! * `inbound`: datagrams in: whose they are, and what they bring about.
//! * `figures`: how the viewers fare.
//! * `outbound`: datagrams out: frames to the viewers, and what time brings about.
//! * `renditions`: viewers go over to what is made of their stream, and back.
//! * `strays`: addresses whose datagrams belong to another shard.
//! * `streams`: the streams its viewers watch, and their logs.
//! * `unsent`: what the kernel had no room for.
//! * `viewers`: the viewers, found by address, by user name fragment and by session.

mod addresses;
mod figures;
mod frames;
mod inbound;
mod outbound;
mod pictures;
mod renditions;
mod run;
mod strays;
mod streams;
mod unsent;
mod viewers;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use distributary_hub::Sink;

use crate::engine::{Latency, Shared};
use crate::ice_tcp::Connection;
use crate::session::SessionId;
use crate::udp::ShardSocket;
use distributary_webrtc::ice::Credentials;
use distributary_webrtc::send_buffer::SendBuffer;
use strays::Strays;
use streams::Streams;
use unsent::Unsent;
use viewers::Viewers;

pub(crate) use run::spawn;

/// Room for what is sent to one viewer with one turn.
const SEND_BUFFER: usize = 512 << 10;

/// How often viewers that are behind are sent more.
const FAST_TICK: Duration = Duration::from_millis(5);

/// How often everything else that depends on time is looked after: DTLS, reports, consent.
const SLOW_TICK: Duration = Duration::from_millis(100);

/// How often it is noted how the viewers fare.
const FIGURES_INTERVAL: Duration = Duration::from_secs(1);

/// How often the encoder of the sound is told what viewers lose.
const LOSS_INTERVAL: Duration = Duration::from_secs(5);

/// What a shard is told from outside.
pub(crate) enum Command {
    /// A datagram for a viewer of this shard came in at another one.
    Datagram {
        source: SocketAddr,
        local: Option<IpAddr>,
        bytes: Box<[u8]>,
    },
    /// A frame came in on a viewer's TCP connection.
    Frame {
        connection: Arc<Connection>,
        bytes: Box<[u8]>,
    },
    /// Give this session new ICE credentials, beside those it has.
    Restart {
        id: SessionId,
        local: Credentials,
        remote: Credentials,
    },
    /// End this session.
    Close(SessionId),
    /// End all sessions and the thread.
    Shutdown,
    /// Fail, as a bug would make it.
    #[cfg(any(test, debug_assertions))]
    Panic,
}

/// A shard between two turns of its loop.
struct Shard {
    index: usize,
    shared: Arc<Shared>,
    socket: ShardSocket,
    sink: Sink,
    streams: Streams,
    viewers: Viewers,
    /// Keys of the viewers that are behind the live edge.
    behind: Vec<usize>,
    /// Tags of the streams whose sound waits for a picture, or has waited until just now.
    sound_waits: Vec<u64>,
    strays: Strays,
    buffer: SendBuffer,
    /// What the kernel has not taken. While media is there, no more is sent: the viewers' cursors wait.
    unsent: Unsent,
    next_fast_tick: Instant,
    next_slow_tick: Instant,
    /// When the measurement of latency begins anew; the first shard sees to it.
    next_window: Instant,
    next_figures: Instant,
    next_loss: Instant,
}

impl Shard {
    fn new(
        index: usize,
        shared: Arc<Shared>,
        socket: ShardSocket,
        sink: Sink,
        now: Instant,
    ) -> Self {
        Self {
            index,
            shared,
            socket,
            sink,
            streams: Streams::default(),
            viewers: Viewers::default(),
            behind: Vec::new(),
            sound_waits: Vec::new(),
            strays: Strays::default(),
            buffer: SendBuffer::new(SEND_BUFFER),
            unsent: Unsent::default(),
            next_fast_tick: now,
            next_slow_tick: now,
            next_window: now + Latency::WINDOW,
            next_figures: now,
            next_loss: now + LOSS_INTERVAL,
        }
    }
}
