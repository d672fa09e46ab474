//! The server: accepts connections, publishes what they send to the hub, plays streams to them, and
//! pulls streams from other servers.

mod config;
mod connection;
mod holders;
mod ingest;
mod json;
mod listener;
mod playback;
mod pull;
mod swf_source;
mod tls;

pub use config::{OnDuplicate, PublishersConfig};
pub use listener::{RtmpConfig, RtmpServer, StartError};
pub use pull::{PullRule, PullRuleError, PullsConfig};
pub use swf_source::{KnownSwf, SwfSource};
pub use tls::TlsConfig;
