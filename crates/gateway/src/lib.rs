//! The gateway as a whole: configuration, wiring, start and end.
//!
//! ```text
//! publisher ──RTMP──► distributary_rtmp ──► distributary_hub ──► distributary_webrtc ──UDP──► viewer
//!                                                                       ▲
//!                                         distributary_whep ──offer─────┘ ◄──HTTP── viewer
//! ```
//!
//! * [`cli`]: the command line; [`config`]: the configuration file, which the flags win over.
//! * [`gateway`]: [`Gateway`], all parts started and ended together.
//! * [`candidates`]: the addresses told to viewers.
//! * [`error`]: why the gateway does not start.
//! * `fault`: a fault on request, in builds for tests.
//! * [`banner`]: what is printed at the start.
//! * [`demo`]: the built-in clip, published in a loop.

pub mod banner;
pub mod candidates;
pub mod check;
pub mod cli;
pub mod config;
pub mod demo;
pub mod error;
#[cfg(all(unix, debug_assertions))]
mod fault;
pub mod gateway;
pub mod health;
pub mod limits;
pub mod log_limit;
pub mod logging;
mod memory;
pub mod reload;
pub mod signals;

pub use cli::Cli;
pub use config::Config;
pub use gateway::Gateway;
