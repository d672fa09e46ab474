//! Who may publish and who may watch.
//!
//! ```text
//! RTMP publish, RTMP play, WHEP POST ──► Authorizer ──► open | keys | JSON Web Token | webhook
//!                                            │
//!                                            └─► Ok, or Denied: each caller has its own words for that
//! ```
//!
//! * [`access`]: [`AccessRequest`], what somebody wants to do, and [`Denied`], why not.
//! * [`authorizer`]: [`Authorizer`], the rules in force, which can be replaced while the gateway runs.
//! * `config`: the section `[auth]` of the configuration.
//! * [`keys`]: keys that are written into the configuration, by pattern of stream names.
//! * [`jwt`]: JSON Web Tokens (RFC 7519), verified with keys from the configuration, a file or a URL.
//! * [`webhook`]: another program that is asked over HTTP.
//! * [`client`]: [`HttpClient`](client::HttpClient), which asks webhooks and fetches files.
//! * [`rate`]: how often somebody may ask at all.

pub mod access;
pub mod authorizer;
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
pub use config::{AuthConfig, Method};
pub use http_url::{HttpUrl, HttpUrlError};
