//! The memory of the engine.

use super::Engine;

/// Memory of a session in bytes, as measured with 500 viewers: mostly SRTP, the SDP, and the places
/// of the packets that it was sent.
const SESSION: usize = 24 << 10;

/// Further memory of a session while its DTLS handshake is incomplete, nearly all of it OpenSSL's.
const HANDSHAKE: usize = 71 << 10;

/// The memory of the engine without the payload of frames, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineMemory {
    /// The packets in the logs of the shards, as they were a second ago at most.
    pub logs: usize,
    /// The sessions: an estimate from their number.
    pub sessions: usize,
}

impl Engine {
    /// Returns the memory of the engine.
    pub fn memory(&self) -> EngineMemory {
        let handshakes = self.shared.handshakes.count();
        EngineMemory {
            logs: self.shared.log_records.total(),
            sessions: self.sessions() * SESSION + handshakes * HANDSHAKE,
        }
    }
}
