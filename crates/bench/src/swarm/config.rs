//! The configuration of a swarm.

use std::time::Duration;

use distributary_webrtc::srtp::SrtpProfile;
use url::Url;

use super::churn::Departures;
use crate::socket::ReceiveMode;

/// Configuration of a swarm.
#[derive(Clone, Debug)]
pub struct SwarmConfig {
    /// The WHEP endpoint of the first stream. Its name ends with `-0` if there are several.
    pub url: Url,
    /// Number of streams, which the viewers watch in turn.
    pub streams: usize,
    /// Number of viewers.
    pub viewers: usize,
    /// Joins started per second.
    pub ramp: f64,
    /// Time that is measured, after all have joined.
    pub duration: Duration,
    /// Viewers that leave each second of it and are replaced by new ones.
    pub churn: Option<f64>,
    /// The ways in which these leave.
    pub departures: Departures,
    /// Number of the viewers that decrypt, the first ones.
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

impl SwarmConfig {
    /// Returns the endpoint of each stream, numbered as `rtmp-swarm` numbers them; `None` if the
    /// name of the first of several has no number.
    pub(super) fn endpoints(&self) -> Option<Vec<Url>> {
        if self.streams <= 1 {
            return Some(vec![self.url.clone()]);
        }
        let name = self.url.path().strip_suffix("-0")?;
        let endpoint = |number| {
            let mut endpoint = self.url.clone();
            endpoint.set_path(&format!("{name}-{number}"));
            endpoint
        };
        Some((0..self.streams).map(endpoint).collect())
    }
}
