//! Stats of a viewer's path.

use std::time::Duration;

use crate::rtcp::ReportBlock;

/// Stats of a viewer's path, from its RTCP feedback.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerStats {
    /// Newest receiver report on the video, or on the audio if there is no video.
    pub report: Option<ReportBlock>,
    /// Fraction of the audio packets that were lost before the newest report, in 256ths.
    pub audio_loss: Option<u8>,
    /// Round-trip time by the newest report that has one.
    pub round_trip: Option<Duration>,
    /// Estimated path bandwidth in bits per second.
    pub bandwidth: Option<u64>,
    /// True if the path is slower than the stream, so that the send rate is limited to the
    /// estimate.
    pub is_limited: bool,
    /// Lower bound of the playout delay that the viewer was asked for; `None` if it does not follow
    /// the path.
    pub playout_delay: Option<Duration>,
    /// Packets that the viewer sent a NACK for.
    pub nacks: u64,
    /// Keyframes the viewer asked for.
    pub keyframe_requests: u64,
}
