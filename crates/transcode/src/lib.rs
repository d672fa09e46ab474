//! Transcodes streams for viewers that cannot decode them as published, with B-frames or in a
//! codec that a browser does not support, and for viewers on paths that are too slow for them.
//!
//! ```text
//! hub: demand ──► Transcoder ──► one job per stream, one ffmpeg per job
//!
//! stream ──► video ──► Feed ──► ffmpeg ─┬─► Harvest ──► rendition of the stream
//!                                       └─► Harvest ──► rendition ...
//! ```
//!
//! The encoder is a child process that reads FLV from its standard input and writes FLV to its
//! standard output: no port, URL or key gives others access to it, and when the gateway ends for
//! any reason, its pipes are closed and it ends too. It gets video only: the hub adds the audio to
//! each rendition.
//!
//! * [`config`]: the section `[transcode]` of the configuration.
//! * [`transcoder`]: [`Transcoder`], which answers the hub's demands for renditions.
//! * [`ladder`]: the renditions that can be made of a stream; `availability`: those that can be made now.
//! * `job`: the transcode of one stream; `requests`: the demands that wait for it; `context`: what all
//!   jobs share.
//! * `supervisor`: decides whether and when an ended encoder is restarted.
//! * `worker`: a run of an encoder in a task of its own; `splice`: lets one take over from another.
//! * `attempt`: one run of an encoder.
//! * `encoder`: the child process; `arguments`: its command line.
//! * `feed`, `harvest`: its input and its output; `output_limit`: the bound for the latter.
//! * `keyframes`: keyframes on request.
//! * `error_lines`: its standard error, for the log.

mod arguments;
mod attempt;
mod availability;
pub mod config;
mod context;
mod encoder;
mod error_lines;
mod feed;
mod harvest;
mod job;
mod keyframes;
pub mod ladder;
mod output_limit;
mod requests;
mod splice;
mod supervisor;
pub mod transcoder;
mod worker;

pub use config::TranscodeConfig;
pub use ladder::{Ladder, LadderError, Rung};
pub use transcoder::{FindError, Transcoder, run};
