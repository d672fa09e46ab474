//! The id that ties a response to its request.

/// Transaction id: 96 random bits of the requester (RFC 8489 section 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TransactionId(pub [u8; 12]);
