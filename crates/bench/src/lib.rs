//! Load generators: many viewers of a WHEP server, or many publishers of an RTMP server, in one
//! process, cheap enough that the measurement is that of the server.
//!
//! ```text
//! swarm   one thread: sockets, clock, ramp, phases          whep   one thread: POST and DELETE
//!   viewer    one player, without a socket
//!     feedback  when each packet arrived, if it is to tell
//!     ice       connectivity and consent checks of a full, controlling agent
//!     inspector   (the first viewers only) decrypts, and checks the H264 access units
//!     traffic   loss, frames and gaps by the RTP headers, which are in the clear
//! mark    who sent a frame, and when: written by an encoder, read by the inspector
//! publishers   one thread: RTMP publishers, each with the tags of one FLV file
//! floor  the same packets, sealed and sent by nothing but the system's calls
//! report  the results;   process  the kernel's counters of the server;   socket  receiving
//! ```
//!
//! Nothing is decoded, and beyond the first few viewers nothing is decrypted: a packet costs the
//! swarm its share of a `recvmmsg` and the reading of twelve bytes.

pub mod answer;
pub mod arguments;
pub mod attack;
pub mod feedback;
pub mod floor;
pub mod h264;
pub mod ice;
pub mod inspector;
pub mod mark;
pub mod offer;
pub mod percentile;
pub mod process;
pub mod publishers;
pub mod report;
pub mod rtcp;
pub mod rtp;
pub mod socket;
pub mod swarm;
pub mod traffic;
pub mod viewer;
pub mod whep;
