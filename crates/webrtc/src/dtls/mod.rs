//! DTLS 1.2 with the `use_srtp` extension (RFC 6347, RFC 5764), by OpenSSL over memory buffers.
//!
//! * [`DtlsContext`]: the state common to all associations: certificate, ciphers, profiles.
//! * [`Dtls`]: one association as a state machine, without a socket.
//! * [`DtlsRole`]: which side begins.

mod association;
mod context;
mod engine;
mod event;
mod handshake_message;
mod pipe;
mod record;
mod record_layer;
mod role;
#[cfg(test)]
mod tests;

pub use association::{Dtls, HANDSHAKE_TIMEOUT};
pub use context::{DtlsContext, MTU};
pub use event::{DtlsError, DtlsEvent};
pub use role::DtlsRole;
