//! Session descriptions: parses what players send, and writes ours (RFC 8866, RFC 9429, RFC 9143).
//!
//! [`Offer::parse`] turns text from the network into checked types. [`Offer::answer`] decides which
//! media the player is sent, and returns the text of our answer and the negotiated parameters
//! ([`Negotiated`]). A player without an offer that can be answered can get a counter-offer
//! ([`MediaPlan::counter_offer`]); its [`Answer`] to that leads to the same [`Negotiated`].
//!
//! The gateway has one UDP 5-tuple for each viewer, is an ICE-lite agent with all its candidates
//! in the answer, multiplexes RTP and RTCP always, and only ever sends. From that follow the
//! rules here that go beyond the specifications; each is explained where it is applied.

mod answer;
mod attributes;
mod bundle;
mod candidate;
mod codec;
mod counter_offer;
mod data;
mod description;
mod direction;
mod error;
mod extmap;
mod fragment;
mod h264;
mod limits;
mod media;
mod media_kind;
mod negotiate;
mod negotiated;
mod normalize;
mod offer;
mod plan;
mod rejection;
mod select;
mod setup;
mod token;
mod video;
mod write;

pub use answer::Answer;
pub use bundle::BundleGroup;
pub use candidate::{CandidateTransport, HostCandidate};
pub use codec::{CodecParameters, Feedback};
pub use direction::Direction;
pub use error::{NegotiationError, SdpError, TransportError, UndecodableVideo};
pub use extmap::{ExtensionId, ExtensionMapping, HeaderExtension};
pub use fragment::{FRAGMENT_MEDIA_TYPE, IceFragment};
pub use h264::{H264Profile, PacketizationMode};
pub use limits::{MAX_MEDIA_SECTIONS, MAX_SDP_BYTES};
pub use media::{MediaSection, RemoteTransport};
pub use media_kind::MediaKind;
pub use negotiated::{
    Negotiated, NegotiatedAudio, NegotiatedData, NegotiatedRtx, NegotiatedVideo, Note,
};
pub use offer::{LocalAnswer, Offer};
pub use plan::{AudioPlan, LocalParameters, MediaPlan, VideoPlan};
pub use rejection::{RejectedMedia, Rejection};
pub use setup::Setup;
pub use token::Token;
