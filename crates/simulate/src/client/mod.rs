//! Simulated players.
//!
//! * `connection`: ICE, DTLS and SRTP of the simulation's own player.
//! * `receiver`: puts packets in order, and asks for those that are missing.
//! * `depacketizer`: access units of H264.
//! * `own`: the simulation's own player.
//! * `independent`: str0m, which shares no code with the gateway.

mod depacketizer;
mod independent;
mod own;
mod receiver;

use std::net::SocketAddr;
use std::time::Instant;

use distributary_webrtc::certificate::Fingerprint;
use distributary_webrtc::dtls::DtlsContext;

pub use independent::IndependentPlayer;
pub use own::OwnPlayer;

/// Media that a player has received, in the order in which it plays them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Played {
    /// A video frame.
    Video {
        /// Its NAL units.
        units: Vec<Vec<u8>>,
        /// Its RTP timestamp, which does not wrap.
        timestamp: i64,
        /// Packets between it and the frame before were lost for good.
        after_loss: bool,
    },
    /// An audio frame.
    Audio {
        /// The packet of Opus.
        packet: Vec<u8>,
        /// Its RTP timestamp, which does not wrap.
        timestamp: i64,
        /// Packets between it and the one before were lost for good.
        after_loss: bool,
    },
}

/// The state that all players of a simulation share.
pub struct PlayerContext {
    /// The DTLS context with the players' certificate.
    pub dtls: DtlsContext,
    /// The fingerprint of that certificate.
    pub fingerprint: Fingerprint,
}

/// A player, without a socket and without a clock.
pub trait Player {
    /// Handles the answer to its offer.
    ///
    /// # Errors
    /// Returns the reason if the answer is unusable.
    fn handle_answer(
        &mut self,
        answer: &str,
        context: &PlayerContext,
        now: Instant,
    ) -> Result<(), String>;
    /// Handles a datagram of the gateway at `gateway`.
    fn handle_datagram(&mut self, gateway: SocketAddr, datagram: &[u8], now: Instant);
    /// Handles due timeouts.
    fn handle_timeout(&mut self, now: Instant);
    /// Returns when [`Self::handle_timeout`] is due.
    fn poll_timeout(&self) -> Option<Instant>;
    /// Returns the next datagram to send.
    fn poll_transmit(&mut self) -> Option<Vec<u8>>;
    /// Returns the next media.
    fn poll_played(&mut self) -> Option<Played>;
    /// Returns the ICE fragment with new credentials, to restart ICE; `None` if it cannot.
    fn restart_ice(&mut self) -> Option<String> {
        None
    }
    /// Handles the answer to its ICE fragment.
    ///
    /// # Errors
    /// Returns the reason if the answer is unusable.
    fn handle_fragment(&mut self, _fragment: &str, _now: Instant) -> Result<(), String> {
        Ok(())
    }
    /// Says goodbye by DTLS.
    fn close(&mut self);
    /// Returns the reason why it plays no more.
    fn failure(&self) -> Option<String>;
    /// Returns the number of packets that it has given up.
    fn given_up(&self) -> u64;
}
