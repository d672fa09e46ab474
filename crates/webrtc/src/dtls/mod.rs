//! DTLS 1.2 with the `use_srtp` extension (RFC 6347, RFC 5764), by OpenSSL over memory buffers.
//!
//! * [`DtlsContext`]: the state common to all associations: certificate, ciphers, profiles.
//! * [`Dtls`]: one association as a state machine, without a socket.
//! * [`DtlsRole`]: which side begins.
//!
//! An association is a state machine over one handshake. `handshake` drives it, with its
//! retransmissions and early keys; `engine` is OpenSSL, `record_layer` takes over from it. Only
//! these and what they are made of (`record`, `handshake_message`, `pipe`) are tied to version 1.2:
//! another version is another handshake with the same outcomes, chosen before the first datagram.

mod association;
mod context;
mod engine;
mod event;
mod handshake;
mod handshake_message;
mod pipe;
mod record;
mod record_layer;
mod resend;
mod role;
#[cfg(test)]
mod tests;
mod timeouts;

pub use association::Dtls;
pub use context::{DtlsContext, MTU};
pub use event::{DtlsError, DtlsEvent};
pub use role::DtlsRole;
pub use timeouts::{FINISHED_TIMEOUT, HANDSHAKE_TIMEOUT};
