//! Streams encoded anew for viewers that cannot show them as they are: with B-frames, or in a coding that
//! a browser does not know.
//!
//! ```text
//! hub: demand ──► Transcoder ──► one task per stream, one ffmpeg per task
//!
//! stream ──► pictures ──► Feed ──► ffmpeg ──► Harvest ──┐
//!        └─► sound, as Opus ────────────────────────────┴──► rendition of the stream
//! ```
//!
//! The encoder is a child process that reads FLV from its standard input and writes FLV to its standard
//! output: there is no port, no URL and no key by which anybody else could reach it, and when the gateway
//! is gone, however that came about, its pipes are closed and it ends. It has the pictures alone. Sound
//! goes past it, so that it is encoded once for all viewers and goes on while an encoder is replaced.
//!
//! * [`config`]: the section `[transcode]` of the configuration.
//! * [`transcoder`]: [`Transcoder`], which answers the hub's demands for renditions.
//! * `rendition`: the life of one of them.
//! * `supervisor`: what follows the end of an encoder.
//! * `attempt`: the work of one encoder.
//! * `encoder`: the child process.
//! * `feed`, `harvest`: what it reads and what it writes.
//! * `complaints`: what it says.

mod attempt;
mod complaints;
pub mod config;
mod encoder;
mod feed;
mod harvest;
mod rendition;
mod supervisor;
pub mod transcoder;

pub use config::TranscodeConfig;
pub use transcoder::{FindError, Transcoder, run};
