//! Simulations of the gateway, its publishers, its viewers and their networks, by seed.
//!
//! One process, one thread, one simulated clock. A seed decides everything that is random in a
//! [`scenario`]: how many viewers there are, their paths, what the publisher sends, and what happens
//! when. [`run`] plays it through and checks the rules below at each step. A seed that fails prints
//! the simulated time and the last events, and goes the same way each time.
//!
//! ```text
//! publisher ── RTMP bytes over a pipe ──► gateway: RTMP server ─► hub ─► shards
//!                                                                          │ datagrams
//! seat: player ◄── down link ◄─────────────────────────────────────────────┤
//!          │  └──► up link ─────────────────────────────────────────────►──┘
//!          └─► check
//! ```
//!
//! Real: the RTMP client and server, the hub, the transcoder of AAC to Opus, the engine with its registry
//! and shards, ICE over UDP and TCP, DTLS and SRTP on both sides. Simulated: the clock (that of a paused
//! tokio runtime), the sockets, the threads of the audio transcoder, and the networks between the gateway
//! and each viewer.
//!
//! # Parts
//!
//! * [`scenario`]: what happens, by seed.
//! * `world`: runs a scenario; `outcome`: what comes of it. `ends`: the ends of sessions, from the log.
//!   `gateway`: the gateway with its rules. `seat`: the place of a viewer.
//! * [`publisher`], [`content`]: publishers, and frames that say which ones they are.
//! * [`network`]: loss, bursts, reordering, duplicates, delay, jitter, bottlenecks, largest packets,
//!   partitions. `tcp`: TCP connections over them.
//! * [`client`]: the players: our own, and str0m, which shares no code with the gateway.
//! * [`check`]: the rules for what a viewer gets. [`trace`]: the events and their hash.
//!
//! # Rules
//!
//! * Each frame is whole, comes once, and can be decoded when it comes: a delta frame follows the
//!   frame that it refers to, and after a gap only a keyframe with its parameter sets follows.
//! * A viewer at the live edge, whose path has lost and held back nothing, gets each frame of its track
//!   as long as the publisher is the same.
//! * Times only go forward, and are as far apart as those of the publisher. Audio has no gap that the
//!   network has not made, but for frames that their publisher sends late. Audio that the gateway
//!   transcodes goes on without a gap and is not silent.
//! * What a path loses gently is retransmitted, also after a move to another track, unless it was lost
//!   before a pause of the publisher. A path that loses nothing misses nothing.
//! * No datagram is larger than 1200 bytes. An address that has not proved itself is sent at most
//!   three times what came from it.
//! * The tables of the shards, the registry and the count of viewers agree and keep their bounds. A
//!   session is gone right after DELETE, and no viewer is left after shutdown.
//! * Ten seconds after networks and publishers work again, each viewer plays, in the same session if
//!   that has not ended.
//! * Each session ends once, and its end is logged with a reason that its viewer, its path or its
//!   stream has given. A session whose viewer has left ends in time. A reload, a drain and an ICE restart
//!   end none.
//! * While the gateway drains, nobody begins to publish.
//! * An operator's takeover by a standby leaves no gap.
//! * When everybody has left, no session, address, handshake, log or stream is left.
//!
//! # What is the same each time
//!
//! What happens to a datagram depends on the seed, its link and its number on the link (of DTLS: its number at that time). Keys, SSRCs
//! and first sequence numbers come from the system's random generator, so the trace has none of them
//! and nothing may depend on them. A defect that shows only at a certain first sequence number is
//! found, and not replayed.
//!
//! # Defects that must be found
//!
//! The folder `faults` has patches that plant one small defect each. `cargo xtask simulate --faults`
//! applies them one after the other to a copy of the tree, and fails if the simulations pass. It fails
//! at once if the simulations of the copy without a defect do not pass.
//!
//! # Not simulated
//!
//! HTTP, the cluster, the transcoding of video and renditions that `[[rendition]]` joins.

pub mod check;
pub mod client;
pub mod content;
mod ends;
mod gateway;
pub mod network;
mod outcome;
pub mod publisher;
pub mod random;
pub mod scenario;
mod seat;
mod tcp;
pub mod trace;
mod world;

pub use outcome::{Failure, Summary};
pub use world::run;
