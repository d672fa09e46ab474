//! The layout of messages.

/// Fixed value of bytes 4 to 7 of each message (RFC 8489 section 5).
pub(super) const MAGIC_COOKIE: u32 = 0x2112_A442;

/// Length of the message header in bytes (RFC 8489 section 5).
pub(super) const HEADER_LEN: usize = 20;

/// Length of type and length in front of each attribute (RFC 8489 section 14).
pub(super) const ATTRIBUTE_HEADER_LEN: usize = 4;

/// Length of an HMAC-SHA1 in bytes (RFC 8489 section 14.5).
pub(super) const INTEGRITY_LEN: usize = 20;

/// Length of an HMAC-SHA1 in the short checks of libwebrtc, in bytes.
pub(super) const INTEGRITY_32_LEN: usize = 4;

/// Longest USERNAME (RFC 8489 section 14.3: less than 509 bytes).
pub(super) const MAX_USERNAME_LEN: usize = 508;
