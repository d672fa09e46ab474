//! The server: publishes the streams of its clients to the hub, plays streams to them, and pulls
//! streams from other servers.
//!
//! * `listener`: [`RtmpServer`], which accepts connections and starts a task for each.
//! * `service`: [`RtmpService`], the server without its listeners.
//! * `connection`: one connection, from its socket to the hub.
//! * `ingest`: the media of one publisher on its way into the hub.
//! * `playback`: a stream on its way from the hub to a player.
//! * `pull`: streams pulled from other servers while they have viewers.
//! * `holders`: the publishers of all names.
//! * `context`: the state that all of them share.
//! * `config`, `swf_source`, `tls`: the configuration. `json`: AMF values as JSON.

mod config;
mod connection;
mod context;
mod holders;
mod ingest;
mod json;
mod listener;
mod playback;
mod pull;
mod service;
mod swf_source;
mod tls;

pub use config::{OnDuplicate, PublishersConfig, RtmpConfig};
pub use listener::{RtmpServer, StartError};
pub use pull::limits::PullsConfig;
pub use pull::rule::{PullRule, PullRuleError};
pub use service::RtmpService;
pub use swf_source::{KnownSwf, SwfSource};
pub use tls::TlsConfig;
