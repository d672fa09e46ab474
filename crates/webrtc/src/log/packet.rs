//! One packet of the log.

use std::time::Instant;

use distributary_media::{MediaTime, VideoCodec};

use crate::reorder::{Decoders, Lags};
use crate::rtp::Payload;
use crate::rtp::extension::MAX_HEADER;
use crate::srtp::rtp::MAX_TAG_LEN;

/// Longest packet in bytes of UDP payload: it passes every path that carries IPv6 in a tunnel.
pub const MAX_PACKET: usize = 1200;

/// Bytes of the original sequence number in front of a retransmitted payload (RFC 4588 section 4).
pub(crate) const OSN_LEN: usize = 2;

/// Longest payload of a packet in bytes: [`MAX_PACKET`] minus the longest header and tag, also in a
/// retransmission.
pub const MAX_PAYLOAD: usize = MAX_PACKET - MAX_HEADER - OSN_LEN - MAX_TAG_LEN;

/// Most memory that a packet takes besides its payload: its own fields and the header of the buffer
/// that its slices share.
const PACKET_OVERHEAD: usize = size_of::<LoggedPacket>() + 64;

/// One packet of the log.
#[derive(Clone, Debug)]
pub struct LoggedPacket {
    /// The bytes after the RTP header.
    pub payload: Payload,
    /// Codec of the video; `None` for audio.
    pub codec: Option<VideoCodec>,
    /// The payload with the previous audio frame in front (RFC 2198), if the log has redundancy.
    pub red: Option<Box<Payload>>,
    /// Presentation time since the stream's epoch.
    pub pts: MediaTime,
    /// The same in ticks of the media clock, modulo 2^32.
    pub timestamp: u32,
    /// Ticks by which decoders that hold back frames lag behind its frame.
    pub lags: Lags,
    /// True if it is the first packet of its frame.
    pub first: bool,
    /// True if it is the last packet of its frame.
    pub marker: bool,
    /// True if no other frame refers to its frame, so that it can be dropped.
    pub disposable: bool,
    /// The viewers that are sent it.
    pub audience: Audience,
    /// Bytes of padding behind the payload (RFC 3550 section 5.1); 0 for none.
    pub padding: u8,
    /// When it was logged.
    pub at: Instant,
}

/// The viewers that are sent a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// All of them.
    All,
    /// Those that start with it.
    Newcomers,
    /// Those whose decoder reorders frames and is one of these.
    Reordering(Decoders),
}

impl LoggedPacket {
    /// Returns the memory that the packet takes, in bytes. Its payload is a slice of a frame that
    /// the hub has compacted, so the packets of a frame cost no more than the frame.
    pub(super) fn memory(&self) -> usize {
        let red = self.red.as_ref();
        let red = red.map_or(0, |red| red.len() + size_of::<Payload>());
        self.payload.len() + red + PACKET_OVERHEAD
    }
}
