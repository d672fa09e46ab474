//! Named live streams: who publishes, who subscribes, and what a newcomer is given first.
//!
//! ```text
//! Publisher::push ──► timeline ─┬─► video: group-of-pictures cache ─┬─► one bounded queue
//!                               └─► AAC: a thread that makes Opus ──┘   per subscriber
//! ```
//!
//! A subscriber is an egress shard, not a viewer: whatever the number of viewers, the hub hands a
//! frame over once per shard. Nothing here waits for a subscriber: when its queue is full the frame
//! is dropped for it alone, counted, and video goes on at the next keyframe.
//!
//! * [`hub`]: [`Hub`], the registry of streams.
//! * [`policy`]: what is done with streams that not every viewer can show.
//! * [`demand`]: streams that are had when somebody asks for them.
//! * [`provider`]: those who provide such streams.
//! * `rendition`: what a viewer is given that cannot show a stream as it is published.
//! * [`stream`]: [`Stream`] and its two handles, [`Publisher`] and [`Subscription`].
//! * `transcoders`: the programs that encode streams anew, in figures.
//! * `adapt`: small changes to pictures.
//! * `audio`: the thread that turns a stream's AAC into Opus, while somebody listens.
//! * `config`: the sections of the configuration.
//! * [`cache`]: the group-of-pictures cache.
//! * [`event_limit`]: [`EventLimit`], a bound for log lines that a client can cause.
//! * [`meter`]: what a publisher sends, measured.
//! * [`viewers`]: how many may watch.
//! * [`players`]: those of them that are not WebRTC sessions.
//! * `transcoder`: whether there is one.
//! * [`timeline`]: one continuous clock for a stream, whatever its publishers send.

mod adapt;
mod audio;
pub mod cache;
mod config;
pub mod demand;
pub mod event_limit;
pub mod hub;
pub mod meter;
pub mod players;
pub mod policy;
pub mod provider;
mod rendition;
pub mod stream;
pub mod subscriber;
pub mod timeline;
mod transcoder;
mod transcoder_stats;
pub mod viewers;

pub use config::{HubConfig, StreamRule, StreamsConfig};
pub use demand::{Demand, DemandError};
pub use event_limit::EventLimit;
pub use hub::{Hub, PublishError};
pub use meter::{Gop, PublisherStats};
pub use players::{Player, PlayerId, PlayerInfo, PlayerStats, Players};
pub use policy::{BFrameAdvice, BFramePolicy, Refusal, SeiPolicy, VuiPolicy};
pub use provider::{Audience, DemandQueue, provide_each};
pub use rendition::BFrameChoice;
pub use stream::{
    Dismissal, MissingAudio, MissingVideo, Publisher, PublisherInfo, Reservation, Stream,
    StreamStats, Subscription,
};
pub use subscriber::{AudioForm, Delivery, Sink, StreamEvent};
pub use transcoder_stats::{RunningTranscoder, TranscoderStats};
pub use viewers::{TooManyViewers, ViewerLimits, ViewerPermit, Viewers};
