//! Named live streams: publish, subscribe, the GOP cache, and the limits of viewers.
//!
//! ```text
//! Publisher::push ──► timeline ─┬─► video: group of pictures (GOP) cache ┬► one bounded queue
//!                               └─► AAC: a thread that encodes Opus ──┘  per subscriber
//! ```
//!
//! A subscriber is an egress shard, not a viewer: whatever the number of viewers, the hub hands a
//! frame over once per shard. Nothing here waits for a subscriber: when its queue is full the frame
//! is dropped for it alone, counted, and video goes on at the next keyframe.
//!
//! * [`hub`]: [`Hub`], the registry of streams.
//! * [`policy`]: policies for streams that not every viewer can decode.
//! * [`demand`]: requests for streams that are provided on demand.
//! * [`provider`]: one task for each stream that is provided on demand.
//! * [`joined`]: streams that were published separately, as renditions of one.
//! * `offer`: what can be made of a stream; [`renditions`]: the table of a stream's renditions.
//! * `takeovers`: counters of takeovers by standbys.
//! * [`stream`]: [`Stream`] and its two handles, [`Publisher`] and [`Subscription`].
//! * `transcoder`: the availability of a transcoder; `transcoder_stats`: counters of its processes.
//! * `admission`: admission of publishers by an arbiter, where gateways share their streams.
//! * `adapt`: small changes to video frames.
//! * `audio`: the thread that transcodes a stream's audio to Opus while somebody listens.
//! * `config`: the sections of the configuration.
//! * [`cache`]: the GOP cache.
//! * [`event_limit`]: [`EventLimit`], a limit for log lines that a client can cause.
//! * [`advice`]: advice to publishers; `encoder`: how their programs name the settings.
//! * [`journal`]: the last events, for operators.
//! * [`memory`]: the memory of media, and what gives way when memory is short.
//! * [`meter`]: measured stats of a publisher.
//! * `video_load`: the bitrate that a path must carry for a video.
//! * [`viewers`]: the count of viewers and its limits.
//! * `watchable`: selects the transcode for viewers that cannot decode a stream as published.
//! * [`players`]: the viewers that are not WebRTC sessions.
//! * [`timeline`]: one continuous clock for a stream, whatever its publishers send.

mod adapt;
mod admission;
pub mod advice;
mod audio;
pub mod cache;
mod config;
pub mod demand;
mod encoder;
pub mod event_limit;
pub mod hub;
#[cfg(all(test, feature = "shuttle"))]
mod interleavings;
pub mod joined;
pub mod journal;
pub mod memory;
pub mod meter;
mod offer;
pub mod players;
pub mod policy;
pub mod provider;
pub mod renditions;
mod sent_bytes;
mod state;
pub mod stream;
mod stream_table;
pub mod subscriber;
mod takeovers;
pub mod timeline;
mod transcoder;
mod transcoder_stats;
mod video_load;
pub mod viewers;
mod watchable;

pub use admission::{Admission, AdmissionError, Permit, PermitEnd, Tenure, WhenTaken};
pub use config::{HubConfig, LimitsConfig, MemoryBudget, StreamRule, StreamsConfig};
pub use demand::{Demand, DemandError};
pub use event_limit::EventLimit;
pub use hub::{Hub, PublishError};
pub use joined::{MemberName, MemberNameError, RenditionCircle, RenditionRule, join_renditions};
pub use journal::{Journal, JournalEntry, JournalKind};
pub use memory::{IngestMemory, Memory, Pressure};
pub use meter::{Gop, PublisherStats};
pub use offer::{JoinAlignment, RenditionOffer, RenditionOrigin, SourceVideo};
pub use players::{Player, PlayerId, PlayerInfo, PlayerStats, Players};
pub use policy::{BFrameAdvice, BFramePolicy, Refusal, SeiPolicy, VuiPolicy};
pub use provider::{Audience, DemandQueue, provide_each};
pub use renditions::Rendition;
pub use sent_bytes::SentBytes;
pub use stream::{
    Dismissal, MissingAudio, MissingVideo, Publisher, PublisherInfo, Readiness, Reservation,
    Snapshot, StandbyStats, Standing, Standings, Stream, StreamReport, StreamStats, Subscription,
    Successor, TakeoverError, TakeoverReason, Tracks,
};
pub use subscriber::{AudioForm, Delivery, Sink, StreamEvent};
pub use takeovers::Takeovers;
pub use transcoder_stats::{RunningTranscoder, TranscoderStats};
pub use viewers::{TooManyViewers, ViewerLimits, ViewerPermit, Viewers};
pub use watchable::BFrameChoice;
