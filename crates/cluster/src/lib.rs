//! Many gateways with one set of streams, on NATS: a viewer on any node watches a publisher on any
//! node.
//!
//! ```text
//!              the owner's node                                         another node, an edge
//! publisher ─► hub ─► feed ──────────── media, in parts ────────────► edge ─► hub ─► viewers
//!               │      ▲ ticks, interest                                │
//!               ▼      └──────────────── join, keep ◄───────────────────┤
//!             owner ◄─────────────────── who owns it? ◄─────────────────┘
//!               └──► arbiter: one entry per name in a bucket of JetStream
//! ```
//!
//! The revision of a name's entry is its *epoch*, and part of the subject of its media: frames of an
//! owner that was replaced reach nobody. The arbiter is asked before a name is published; it is not
//! on the path of a stream that runs.
//!
//! State machines and formats, without sockets and clocks:
//!
//! * `subject`: the subjects; `strand`: what of a stream travels on one.
//! * [`message`]: media messages; [`reassembly`]: parts in, whole messages out; [`content`]: the
//!   content of a message; [`tracks`]: the tracks as they travel; `offers`: the renditions of the owner
//!   there; `video_kind`: codecs there.
//! * [`control`]: control messages.
//! * `claim`: the claim of a name. `successors`: nodes that wait for a name of this one. `interest`: who watches a stream. `nodes`: the table of nodes.
//! * `roster`: the streams that other nodes have. `choice`: other nodes for viewers of this one.
//! * `public_url`: URLs of nodes. [`Share`]: shares of limits.
//! * `epoch`: the order of owners; `backoff`: delays between attempts.
//! * `transit`: how late messages are; `anchor`: when frames arrived at their owner. `follow`: one stream of another node, from messages to
//!   frames. `trunk`: a stream of another node, as its further strands see it.
//!
//! Drivers:
//!
//! * `cluster`: [`ClusterSetup`] and [`Cluster`], which start and end all parts together.
//! * `link`: the connection to NATS; `subscription`: the messages of other nodes on a subject; `next_server`: the server that is tried next.
//! * `arbiter`: the owners of names; `bucket`: the bucket that has them; `entries`: follows it.
//! * `owners`: the names that publishers of this node use; `owner`: one of them; `waiting`: waits
//!   for a name that another node has; `owned_name`:
//!   what these two share; `claimant`: takes the steps of a claim; `feed`: sends one strand of a stream;
//!   `outlet`: numbers what it sends;
//!   `answer`: the answer to a request to join it; `keyframe_requests`: requests for keyframes;
//!   `liveness`: tells when it is live.
//! * `edges`: the streams of other nodes; `edge`: one of them; `passage`: from its owners to the hub;
//!   `relay`: what the hub has of it. `reception`: the messages of one strand; `held`: what waits while it
//!   is joined; `following`: the follower of its owners; `keeps`: says which are watched.
//! * `branches`: the strands beside the main one; `branch`: one of them, as `remote_rendition` and
//!   `remote_audio` see it.
//! * `ask`: the question who owns a stream.
//! * `roster_exchange`: says which streams this node has, and learns those of the others.
//! * `viewers`: what viewers need of other nodes; `load`: the load of this one. `forward`: requests for
//!   sessions of other nodes; `slots`: what is in progress with other nodes.
//! * [`config`]: the section `[cluster]`. `stats`: counters; `versions`: the versions of
//!   messages. `context`: what all tasks share; `clock`: their clocks.

mod anchor;
mod answer;
mod arbiter;
mod ask;
mod backoff;
mod branch;
mod branches;
mod bucket;
mod choice;
mod claim;
mod claimant;
mod clock;
mod cluster;
pub mod config;
pub mod content;
mod context;
pub mod control;
mod edge;
mod edges;
mod entries;
mod epoch;
mod feed;
mod follow;
mod following;
mod forward;
mod held;
mod interest;
mod keeps;
mod keyframe_requests;
mod link;
mod liveness;
mod load;
pub mod message;
mod next_server;
mod nodes;
mod offers;
mod outlet;
mod owned_name;
mod owner;
mod owners;
mod passage;
mod public_url;
pub mod reassembly;
mod reception;
mod relay;
mod remote_audio;
mod remote_rendition;
mod roster;
mod roster_exchange;
mod share;
mod slots;
mod stats;
mod strand;
mod subject;
mod subscription;
mod successors;
#[cfg(feature = "test-util")]
pub mod test_util;
pub mod tracks;
mod transit;
mod trunk;
mod versions;
mod video_kind;
mod viewers;

pub use cluster::{ArbiterStatus, Cluster, ClusterDriver, ClusterSetup, ClusterStatus};
pub use config::{ClusterConfig, ConfigFault, Label, LabelError, WithoutArbiter};
pub use forward::ForwardError;
pub use link::{LinkError, LinkState};
pub use nodes::Node;
pub use roster::RemoteStream;
pub use share::{Share, ShareError};
pub use stats::ClusterCounters;
pub use versions::MessageVersions;
