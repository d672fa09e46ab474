//! The section `[viewers]` of the configuration.

use std::time::Duration;

use distributary_config::{Section, time};
use distributary_hub::ViewerLimits;
use serde::{Deserialize, Serialize};

use crate::playout_delay::PlayoutDelaySetting;
use crate::setup::SetupChoice;

/// Configuration of viewers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Section)]
#[serde(default, deny_unknown_fields)]
pub struct ViewersConfig {
    /// Maximum number of viewers, RTMP players included. The hub counts them, see [`Self::limits`].
    #[reload]
    pub max: usize,
    /// Maximum number of viewers of one stream.
    #[reload]
    pub max_per_stream: usize,
    /// Maximum number of viewers of one address, an IPv6 /64 network counting as one.
    #[reload]
    pub max_per_ip: usize,
    /// Time that viewers of a stream wait for its publisher to come or to come back, before they
    /// are closed.
    #[serde(with = "time")]
    pub offline_grace: Duration,
    /// Threads that serve viewers; 0 is one per core.
    pub shards: usize,
    /// Number of viewers of a stream on one shard from which audio is sent with the video frame
    /// after it: later by the time between two frames, and at a fraction of the cost.
    pub bundle_audio_from: usize,
    /// Highest rate in bits per second at which a new viewer gets the GOP, if its path is as fast.
    pub start_pacing: u64,
    /// True if frames of many packets are sent at that rate, too.
    pub pacing: bool,
    /// True if viewers may connect over TCP as well, on the port with the same number (RFC 6544),
    /// for networks that let no UDP through. Where that port is taken, UDP is served alone.
    pub tcp: bool,
    /// Our DTLS role towards players that leave it open.
    pub setup: SetupChoice,
    /// True if viewers are asked when each packet arrived, to estimate the bandwidth of their
    /// paths. Where they are not, or cannot tell, their own estimate is used.
    pub transport_feedback: bool,
    /// The playout delay that viewers are asked to keep.
    pub playout_delay: PlayoutDelaySetting,
    /// Time that packets are kept for retransmission.
    #[serde(with = "time")]
    pub history: Duration,
    /// True if audio packets carry the previous one as well, for viewers that offer it (RFC 2198).
    pub audio_red: bool,
    /// True if a player that can decode the audio of a stream and not its video is refused, in
    /// place of getting the audio alone.
    pub require_video: bool,
}

impl ViewersConfig {
    /// Returns the limits of viewers, for the hub.
    pub fn limits(&self) -> ViewerLimits {
        ViewerLimits {
            max: self.max,
            max_per_stream: self.max_per_stream,
            max_per_address: self.max_per_ip,
        }
    }
}

impl Default for ViewersConfig {
    fn default() -> Self {
        let limits = ViewerLimits::default();
        Self {
            max: limits.max,
            max_per_stream: limits.max_per_stream,
            max_per_ip: limits.max_per_address,
            offline_grace: Duration::from_secs(15),
            shards: 0,
            bundle_audio_from: 100,
            start_pacing: 40_000_000,
            pacing: true,
            tcp: true,
            setup: SetupChoice::default(),
            transport_feedback: true,
            playout_delay: PlayoutDelaySetting::default(),
            history: Duration::from_secs(2),
            audio_red: false,
            require_video: false,
        }
    }
}
