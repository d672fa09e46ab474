//! The configuration of a swarm.

use std::time::Duration;

use distributary_webrtc::srtp::SrtpProfile;
use url::Url;

use crate::socket::ReceiveMode;

/// Configuration of a swarm.
#[derive(Clone, Debug)]
pub struct SwarmConfig {
    /// The WHEP endpoint.
    pub url: Url,
    /// Number of viewers.
    pub viewers: usize,
    /// Joins started per second.
    pub ramp: f64,
    /// Time that is measured, after all have joined.
    pub duration: Duration,
    /// Number of the viewers decrypt, the first ones.
    pub decrypt: usize,
    /// The process to be measured, on this machine.
    pub server_pid: Option<u32>,
    /// Receive mode of the viewers.
    pub receive: ReceiveMode,
    /// True if the viewers tell when each packet arrived.
    pub feedback: bool,
    /// SRTP profiles to offer; the server chooses.
    pub profiles: Vec<SrtpProfile>,
}
