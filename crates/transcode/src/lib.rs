//! Transcodes streams for viewers that cannot decode them as published: with B-frames, or in a
//! codec that a browser does not support.
//!
//! ```text
//! hub: demand ──► Transcoder ──► one task per stream, one ffmpeg per task
//!
//! stream ──► video ──► Feed ──► ffmpeg ──► Harvest ──┐
//!        └─► audio, as Opus ─────────────────────────┴──► rendition of the stream
//! ```
//!
//! The encoder is a child process that reads FLV from its standard input and writes FLV to its
//! standard output: no port, URL or key gives others access to it, and when the gateway ends for
//! any reason, its pipes are closed and it ends too. It gets video only. Audio bypasses it, so that
//! it is encoded once for all viewers and continues while an encoder is replaced.
//!
//! * [`config`]: the section `[transcode]` of the configuration.
//! * [`transcoder`]: [`Transcoder`], which answers the hub's demands for renditions.
//! * `rendition`: the task of one rendition.
//! * `supervisor`: decides whether and when an ended encoder is restarted.
//! * `attempt`: one run of an encoder.
//! * `encoder`: the child process.
//! * `feed`, `harvest`: its input and its output.
//! * `error_lines`: its standard error, for the log.

mod attempt;
pub mod config;
mod encoder;
mod error_lines;
mod feed;
mod harvest;
mod rendition;
mod supervisor;
pub mod transcoder;

pub use config::TranscodeConfig;
pub use transcoder::{FindError, Transcoder, run};
