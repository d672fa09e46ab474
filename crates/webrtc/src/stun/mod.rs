//! STUN messages (RFC 8489) with the attributes of connectivity checks (RFC 8445 section 7.1).
//!
//! [`Message`] reads a datagram in place, [`MessageWriter`] writes one into a buffer of the caller;
//! neither allocates. [`local_ufrag`] finds out whom a datagram is for before anything else of it
//! is looked at.

mod address;
mod attribute;
mod integrity;
mod message;
#[cfg(test)]
mod tests;
mod writer;

pub use attribute::{AttributeType, ErrorCode, IceRole, UnknownAttributes};
pub use message::{Class, Message, Method, StunError, TransactionId, is_named_check, local_ufrag};
pub use writer::MessageWriter;

/// Fixed value of bytes 4 to 7 of each message (RFC 8489 section 5).
const MAGIC_COOKIE: u32 = 0x2112_A442;

/// Length of the message header in bytes (RFC 8489 section 5).
const HEADER_LEN: usize = 20;

/// Length of type and length in front of each attribute (RFC 8489 section 14).
const ATTRIBUTE_HEADER_LEN: usize = 4;

/// Length of an HMAC-SHA1 in bytes (RFC 8489 section 14.5).
const INTEGRITY_LEN: usize = 20;

/// Length of an HMAC-SHA1 in the short checks of libwebrtc, in bytes.
const INTEGRITY_32_LEN: usize = 4;

/// Longest USERNAME (RFC 8489 section 14.3: less than 509 bytes).
const MAX_USERNAME_LEN: usize = 508;
