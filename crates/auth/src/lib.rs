//! Access control for publishers and viewers.
//!
//! ```text
//! RTMP publish, RTMP play, WHEP POST ──► Authorizer ──► open | keys | JSON Web Token | webhook
//!                                            │
//!                                            └─► Ok, or Denied: each caller reports it in its protocol
//! ```
//!
//! * [`access`]: [`AccessRequest`], and [`Denied`], the reason for a denial.
//! * [`authorizer`]: [`Authorizer`], the rules in force, which can be replaced while the gateway
//!   runs.
//! * [`blocks`]: addresses and names that are blocked for a time.
//! * `config`: the section `[auth]` of the configuration.
//! * [`keys`]: keys in the configuration, by pattern of stream names.
//! * [`jwt`]: JSON Web Tokens (RFC 7519), verified with keys from the configuration, a file or a
//!   URL.
//! * [`webhook`]: an HTTP request to another program, which decides.
//! * [`client`]: [`HttpClient`](client::HttpClient), for webhooks and key sets.
//! * [`rate`]: rate limits of requests.

pub mod access;
pub mod authorizer;
pub mod blocks;
pub mod client;
mod config;
mod http_url;
pub mod jwt;
mod key_set;
pub mod keys;
pub mod rate;
#[cfg(test)]
mod test_server;
pub mod webhook;

pub use access::{AccessRequest, Action, Denied, Grant};
pub use authorizer::{AuthError, Authorizer};
pub use blocks::{Block, BlockError, BlockTarget, Blocks, MAX_BLOCKS};
pub use config::{AuthConfig, Method};
pub use http_url::{HttpUrl, HttpUrlError};
