//! The target of an attack, and its report.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

/// The target of an attack, its source addresses, and its bounds.
#[derive(Clone, Debug)]
pub struct Target {
    /// The gateway's RTMP port.
    pub rtmp: SocketAddr,
    /// The gateway's HTTP port.
    pub http: SocketAddr,
    /// The gateway's media port.
    pub media: SocketAddr,
    /// Address at which the attacker plays the origin of pulled streams.
    pub origin: Option<SocketAddr>,
    /// The attacker's addresses; the system chooses when there is none.
    pub sources: Vec<IpAddr>,
    /// The name of a stream that is live.
    pub stream: String,
    /// FLV file with H264 and AAC.
    pub clip: Option<PathBuf>,
    /// Time to attack.
    pub duration: Duration,
    /// Bits per second, of all connections together.
    pub rate: u64,
}

/// The report of an attack.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outcome {
    /// Its name.
    pub attack: String,
    /// Duration in seconds.
    pub seconds: f64,
    /// Bytes it has sent.
    pub sent: u64,
    /// Bytes that came to it.
    pub received: u64,
    /// Sockets it has opened.
    pub sockets: u64,
    /// Counters by name.
    pub observed: BTreeMap<&'static str, f64>,
    /// The error that ended it early.
    pub error: Option<String>,
}
