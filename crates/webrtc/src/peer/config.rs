//! The negotiated parameters of a viewer.

use std::sync::Arc;

use super::playout_delay::DelayPolicy;
use crate::certificate::Fingerprint;
use crate::data::DataConfig;
use crate::dtls::DtlsRole;
use crate::ice::Credentials;
use crate::sender::SenderConfig;

/// The negotiated parameters of a viewer, ready for the first datagram.
#[derive(Clone)]
pub struct PeerConfig {
    /// Our ICE credentials.
    pub local: Credentials,
    /// The viewer's ICE credentials.
    pub remote: Credentials,
    /// Fingerprints of the certificates that the viewer may present.
    pub fingerprints: Vec<Fingerprint>,
    /// Our side of the DTLS handshake.
    pub role: DtlsRole,
    /// The video stream, if it was accepted.
    pub video: Option<SenderConfig>,
    /// The audio stream, if it was accepted.
    pub audio: Option<SenderConfig>,
    /// The data channel, if there is one.
    pub data: Option<DataConfig>,
    /// Canonical name of both (RFC 7022).
    pub cname: Arc<str>,
    /// Highest rate in bits per second at which a newcomer gets the GOP.
    pub start_pacing: u64,
    /// True if frames of many packets are sent at that pace, too.
    pub pace_frames: bool,
    /// True if the viewer gets sender reports several times a second while nothing else is sent to
    /// it, so that it can tell a silent publisher from a gateway that is gone.
    pub reports_silence: bool,
    /// Bounds of the playout delay, for viewers that support the extension.
    pub playout_delay: DelayPolicy,
}
