//! The gateway: configuration, startup, reload and shutdown.
//!
//! ```text
//! publisher ──RTMP──► distributary_rtmp ──► distributary_hub ──► distributary_webrtc ──UDP──► viewer
//!                                                                       ▲
//!                                         distributary_whep ──offer─────┘ ◄──HTTP── viewer
//! ```
//!
//! * [`cli`]: the command line; [`config`]: the configuration file, which flags override.
//! * [`commands`]: commands other than serving; [`check`]: what would prevent a start.
//! * [`gateway`]: [`Gateway`], which starts and ends all parts together.
//! * `cluster`: the gateway as a node of a cluster.
//! * [`candidates`]: the addresses announced to viewers.
//! * [`error`]: errors that prevent the start.
//! * `fault`: fault injection, in builds for tests.
//! * [`banner`]: the output at startup.
//! * `doctor`: examines this machine's side of the gateway.
//! * [`demo`]: the built-in clip, published in a loop.
//! * `versions`: the output of `--version`.

pub mod banner;
pub mod candidates;
mod certificates;
pub mod check;
pub mod cli;
mod cluster;
pub mod commands;
pub mod config;
pub mod demo;
mod doctor;
pub mod error;
#[cfg(all(unix, debug_assertions))]
mod fault;
pub mod gateway;
pub mod limits;
mod listeners;
mod log_format;
pub mod log_limit;
pub mod logging;
mod memory;
pub mod reload;
pub mod signals;
mod versions;

pub use cli::Cli;
pub use config::Config;
pub use gateway::Gateway;
