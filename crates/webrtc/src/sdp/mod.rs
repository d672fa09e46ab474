//! Session descriptions: a player's offer is read, and the answer to it is written
//! (RFC 8866, RFC 9429, RFC 9143).
//!
//! [`Offer::parse`] turns text from the network into checked types; [`Offer::answer`] decides what
//! can be sent to that player and gives the text of the answer together with what both sides have
//! now agreed on ([`Negotiated`]).
//!
//! The gateway has one UDP 5-tuple for each viewer, is an ICE-lite agent with all its candidates
//! in the answer, multiplexes RTP and RTCP always, and only ever sends. From that follow the
//! rules here that go beyond the specifications; each is explained where it is applied.

mod answer;
mod bundle;
mod candidate;
mod codec;
mod counter;
mod data;
mod error;
mod extmap;
mod fragment;
mod h264;
mod media;
mod negotiated;
mod normalise;
mod offer;
mod plan;
mod select;
mod setup;
mod token;
mod video;
mod write;

pub use answer::Answer;
pub use bundle::BundleGroup;
pub use candidate::{CandidateTransport, HostCandidate};
pub use codec::{Feedback, OfferedCodec};
pub use error::{SdpError, TransportError};
pub use extmap::{ExtensionId, HeaderExtension, OfferedExtension};
pub use fragment::{FRAGMENT_MEDIA_TYPE, IceFragment};
pub use h264::{H264Profile, PacketizationMode};
pub use media::{Direction, MediaKind, OfferedMedia, RemoteTransport};
pub use negotiated::{
    Negotiated, NegotiatedAudio, NegotiatedData, NegotiatedRtx, NegotiatedVideo, Note,
};
pub use offer::Offer;
pub use plan::{AudioPlan, LocalParameters, MediaPlan, VideoPlan};
pub use select::{RejectedMedia, Rejection};
pub use setup::Setup;
pub use token::Token;
pub use video::name as codec_name;

/// Largest offer that is read, in bytes. Full offers of today's browsers have 4 to 8 KiB.
pub const MAX_OFFER_BYTES: usize = 64 * 1024;

/// Largest number of `m=` sections that is read.
pub const MAX_MEDIA_SECTIONS: usize = 16;
