//! Attribute types and the values that are more than a number (RFC 8489 section 14).

/// Type of an attribute, as in the IANA registry "STUN Attributes".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AttributeType(pub u16);

impl AttributeType {
    /// USERNAME (RFC 8489 section 14.3).
    pub const USERNAME: Self = Self(0x0006);
    /// MESSAGE-INTEGRITY (RFC 8489 section 14.5).
    pub const MESSAGE_INTEGRITY: Self = Self(0x0008);
    /// ERROR-CODE (RFC 8489 section 14.8).
    pub const ERROR_CODE: Self = Self(0x0009);
    /// UNKNOWN-ATTRIBUTES (RFC 8489 section 14.9).
    pub const UNKNOWN_ATTRIBUTES: Self = Self(0x000A);
    /// XOR-MAPPED-ADDRESS (RFC 8489 section 14.2).
    pub const XOR_MAPPED_ADDRESS: Self = Self(0x0020);
    /// PRIORITY (RFC 8445 section 16.1).
    pub const PRIORITY: Self = Self(0x0024);
    /// USE-CANDIDATE (RFC 8445 section 16.1).
    pub const USE_CANDIDATE: Self = Self(0x0025);
    /// FINGERPRINT (RFC 8489 section 14.7).
    pub const FINGERPRINT: Self = Self(0x8028);
    /// ICE-CONTROLLED (RFC 8445 section 16.1).
    pub const ICE_CONTROLLED: Self = Self(0x8029);
    /// ICE-CONTROLLING (RFC 8445 section 16.1).
    pub const ICE_CONTROLLING: Self = Self(0x802A);
    /// GOOG-MISC-INFO: numbers of 16 bits, by which libwebrtc tells its features. Not registered.
    pub const GOOG_MISC_INFO: Self = Self(0xC059);
    /// GOOG-MESSAGE-INTEGRITY-32: MESSAGE-INTEGRITY cut to four bytes. Not registered.
    pub const GOOG_MESSAGE_INTEGRITY_32: Self = Self(0xC060);

    /// Returns whether a receiver that does not know this type has to refuse the message
    /// (RFC 8489 section 14).
    #[must_use]
    pub const fn is_comprehension_required(self) -> bool {
        self.0 < 0x8000
    }
}

/// The role the sender of a check believes to have, and its tie-breaker (RFC 8445 section 7.1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IceRole {
    /// ICE-CONTROLLING was present.
    Controlling(u64),
    /// ICE-CONTROLLED was present.
    Controlled(u64),
}

/// The reason why a request was refused (RFC 8489 section 14.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorCode<'a> {
    /// 300 to 699.
    pub code: u16,
    /// Text for a human reader.
    pub reason: &'a str,
}

impl ErrorCode<'static> {
    /// USERNAME or MESSAGE-INTEGRITY is missing (RFC 8489 section 9.1.3).
    pub const BAD_REQUEST: Self = Self {
        code: 400,
        reason: "Bad Request",
    };
    /// USERNAME or MESSAGE-INTEGRITY is not the right one (RFC 8489 section 9.1.3).
    pub const UNAUTHENTICATED: Self = Self {
        code: 401,
        reason: "Unauthorized",
    };
    /// An attribute was not understood that has to be (RFC 8489 section 6.3.1).
    pub const UNKNOWN_ATTRIBUTE: Self = Self {
        code: 420,
        reason: "Unknown Attribute",
    };
    /// Both sides believe to have the same role (RFC 8445 section 7.3.1.1).
    pub const ROLE_CONFLICT: Self = Self {
        code: 487,
        reason: "Role Conflict",
    };
}

/// Comprehension-required attributes that were not understood, at most
/// [`UnknownAttributes::MAX`] of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UnknownAttributes {
    types: [u16; Self::MAX],
    len: usize,
}

impl UnknownAttributes {
    /// Number of attributes that are remembered; an error response omits further ones.
    pub const MAX: usize = 8;

    /// Returns whether there were none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the types in order of appearance.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = AttributeType> + '_ {
        self.types.iter().take(self.len).copied().map(AttributeType)
    }

    pub(super) fn push(&mut self, attribute: AttributeType) {
        if let Some(slot) = self.types.get_mut(self.len) {
            *slot = attribute.0;
            self.len += 1;
        }
    }
}
