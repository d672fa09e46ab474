//! Limits of session descriptions.

/// Longest session description that is read, in bytes. Full offers of today's browsers have 4 to 8
/// KiB.
pub const MAX_SDP_BYTES: usize = 64 * 1024;

/// Largest number of `m=` sections that is read.
pub const MAX_MEDIA_SECTIONS: usize = 16;
