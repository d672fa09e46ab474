//! STUN messages (RFC 8489) with the attributes of connectivity checks (RFC 8445 section 7.1).
//!
//! [`Message`] reads a datagram in place, [`MessageWriter`] writes one into a buffer of the caller;
//! neither allocates. [`local_ufrag`] finds out whom a datagram is for before anything else of it
//! is looked at.

mod address;
mod attribute;
mod integrity;
mod layout;
mod message;
#[cfg(test)]
mod tests;
mod transaction;
mod writer;

pub use attribute::{AttributeType, ErrorCode, IceRole, UnknownAttributes};
pub use message::{Class, Message, Method, StunError, is_named_check, local_ufrag};
pub use transaction::TransactionId;
pub use writer::MessageWriter;
