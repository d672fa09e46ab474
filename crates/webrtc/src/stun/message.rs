//! Reading a message (RFC 8489 sections 5, 6.3 and 14).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |0 0|     STUN Message Type     |         Message Length        |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                         Magic Cookie                          |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                     Transaction ID (96 bits)                  |
//! |                                                               |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use std::net::SocketAddr;

use thiserror::Error;

use super::attribute::{AttributeType, ErrorCode, IceRole, UnknownAttributes};
use super::layout::{
    ATTRIBUTE_HEADER_LEN, HEADER_LEN, INTEGRITY_32_LEN, INTEGRITY_LEN, MAGIC_COOKIE,
    MAX_USERNAME_LEN,
};
use super::transaction::TransactionId;
use super::{address, integrity};

/// A well-formed STUN message, read in place.
///
/// The FINGERPRINT, if there is one, has been verified. The MESSAGE-INTEGRITY has not, because that
/// takes a key: nothing of the message is trustworthy before [`Message::verify_integrity`].
/// Attributes behind MESSAGE-INTEGRITY are not covered by it and have been removed.
#[derive(Debug, Clone)]
pub struct Message<'a> {
    /// Request, indication or response.
    pub class: Class,
    /// Method.
    pub method: Method,
    /// Ties a response to its request.
    pub transaction: TransactionId,
    /// USERNAME.
    pub username: Option<&'a str>,
    /// PRIORITY the sender would give to a peer-reflexive candidate.
    pub priority: Option<u32>,
    /// ICE-CONTROLLING or ICE-CONTROLLED.
    pub ice_role: Option<IceRole>,
    /// USE-CANDIDATE: the sender nominates this pair.
    pub use_candidate: bool,
    /// XOR-MAPPED-ADDRESS: where the request was seen to come from.
    pub xor_mapped_address: Option<SocketAddr>,
    /// ERROR-CODE of an error response.
    pub error_code: Option<ErrorCode<'a>>,
    /// Comprehension-required attributes that are not supported.
    pub unknown_attributes: UnknownAttributes,
    /// True if there was a FINGERPRINT.
    pub has_fingerprint: bool,
    /// The version of the short check that the sender knows, the first number of GOOG-MISC-INFO.
    pub goog_ping_version: Option<u16>,
    integrity: Option<Integrity<'a, INTEGRITY_LEN>>,
    integrity_32: Option<Integrity<'a, INTEGRITY_32_LEN>>,
}

/// Class of a message: two bits of its type (RFC 8489 section 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Wants a response.
    Request,
    /// Wants none.
    Indication,
    /// The request was granted.
    Success,
    /// The request was refused.
    Error,
}

/// Method of a message: twelve bits of its type (RFC 8489 section 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Method(pub u16);

impl Method {
    /// Binding (RFC 8489 section 3), the method of connectivity checks.
    pub const BINDING: Self = Self(0x001);
    /// A connectivity check in the short form of libwebrtc: message type 0x200 as a request and
    /// 0x300 as a response. Not registered.
    pub const GOOG_PING: Self = Self(0x080);
}

/// The reason why a datagram is not a usable message: an error of the sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum StunError {
    /// Shorter than a header, no magic cookie, or the type's top bits are set.
    #[error("not a STUN message")]
    NotStun,
    /// The length field is not the length of the rest of the datagram.
    #[error("message length is {stated} and the datagram has {actual} bytes for it")]
    Length {
        /// The length field of the header.
        stated: usize,
        /// Bytes behind the header.
        actual: usize,
    },
    /// An attribute reaches beyond the end of the message.
    #[error("attribute {:#06x} is cut off", attribute.0)]
    Truncated {
        /// The attribute that is cut off.
        attribute: AttributeType,
    },
    /// An attribute has a value that its definition does not allow.
    #[error("attribute {:#06x} has a bad value", attribute.0)]
    BadValue {
        /// The attribute with the value.
        attribute: AttributeType,
    },
    /// FINGERPRINT does not match, or is not the last attribute.
    #[error("wrong FINGERPRINT")]
    Fingerprint,
}

#[derive(Debug, Clone, Copy)]
struct Integrity<'a, const LEN: usize> {
    /// Everything before the attribute.
    covered: &'a [u8],
    tag: &'a [u8; LEN],
}

impl<'a> Message<'a> {
    /// Reads a datagram that holds exactly one message.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, StunError> {
        let header = Header::read(datagram).ok_or(StunError::NotStun)?;
        let actual = datagram.len().saturating_sub(HEADER_LEN);
        if header.length != actual || header.length % 4 != 0 {
            return Err(StunError::Length {
                stated: header.length,
                actual,
            });
        }
        let mut message = Self {
            class: header.class,
            method: header.method,
            transaction: header.transaction,
            username: None,
            priority: None,
            ice_role: None,
            use_candidate: false,
            xor_mapped_address: None,
            error_code: None,
            unknown_attributes: UnknownAttributes::default(),
            has_fingerprint: false,
            goog_ping_version: None,
            integrity: None,
            integrity_32: None,
        };
        for attribute in Attributes::of(datagram) {
            message.take(&attribute?)?;
        }
        Ok(message)
    }

    /// Returns whether there is a MESSAGE-INTEGRITY made with `key` (RFC 8489 section 9.1.3). The
    /// comparison takes the same time wherever the difference is.
    #[must_use]
    pub fn verify_integrity(&self, key: &[u8]) -> bool {
        self.integrity
            .is_some_and(|Integrity { covered, tag }| integrity::verify(covered, tag, key))
    }

    /// Returns whether there is a GOOG-MESSAGE-INTEGRITY-32 made with `key`.
    #[must_use]
    pub fn verify_integrity_32(&self, key: &[u8]) -> bool {
        self.integrity_32
            .is_some_and(|Integrity { covered, tag }| integrity::verify(covered, tag, key))
    }

    /// Returns whether there is a MESSAGE-INTEGRITY at all.
    #[must_use]
    pub fn has_integrity(&self) -> bool {
        self.integrity.is_some()
    }

    fn take(&mut self, attribute: &Attribute<'a>) -> Result<(), StunError> {
        if self.has_fingerprint {
            return Err(StunError::Fingerprint);
        }
        if attribute.kind == AttributeType::FINGERPRINT {
            return self.take_fingerprint(attribute);
        }
        // RFC 8489 section 14.5: attributes after MESSAGE-INTEGRITY are ignored, except
        // FINGERPRINT.
        if self.integrity.is_some() || self.integrity_32.is_some() {
            return Ok(());
        }
        self.take_covered(attribute).ok_or(StunError::BadValue {
            attribute: attribute.kind,
        })
    }

    fn take_fingerprint(&mut self, attribute: &Attribute<'a>) -> Result<(), StunError> {
        let stated = attribute.value.try_into().map(u32::from_be_bytes).ok();
        if stated != Some(integrity::fingerprint(attribute.before)) {
            return Err(StunError::Fingerprint);
        }
        self.has_fingerprint = true;
        Ok(())
    }

    /// Takes an attribute that MESSAGE-INTEGRITY covers; `None` if its value is malformed.
    ///
    /// RFC 8489 section 14: of an attribute that appears more than once, the first counts.
    fn take_covered(&mut self, attribute: &Attribute<'a>) -> Option<()> {
        let value = attribute.value;
        match attribute.kind {
            AttributeType::USERNAME => {
                let username = str::from_utf8(value).ok()?;
                if username.len() > MAX_USERNAME_LEN {
                    return None;
                }
                self.username.get_or_insert(username);
            }
            AttributeType::MESSAGE_INTEGRITY => {
                let tag = value.try_into().ok()?;
                let covered = attribute.before;
                self.integrity = Some(Integrity { covered, tag });
            }
            AttributeType::ERROR_CODE => {
                let error_code = read_error_code(value)?;
                self.error_code.get_or_insert(error_code);
            }
            AttributeType::XOR_MAPPED_ADDRESS => {
                let address = address::read_xor_mapped(value, self.transaction)?;
                self.xor_mapped_address.get_or_insert(address);
            }
            AttributeType::PRIORITY => {
                let priority = u32::from_be_bytes(value.try_into().ok()?);
                self.priority.get_or_insert(priority);
            }
            AttributeType::USE_CANDIDATE => {
                self.use_candidate = true;
            }
            AttributeType::ICE_CONTROLLING => {
                let tie_breaker = u64::from_be_bytes(value.try_into().ok()?);
                self.ice_role
                    .get_or_insert(IceRole::Controlling(tie_breaker));
            }
            AttributeType::ICE_CONTROLLED => {
                let tie_breaker = u64::from_be_bytes(value.try_into().ok()?);
                self.ice_role
                    .get_or_insert(IceRole::Controlled(tie_breaker));
            }
            AttributeType::GOOG_MESSAGE_INTEGRITY_32 => {
                let tag = value.try_into().ok()?;
                let covered = attribute.before;
                self.integrity_32 = Some(Integrity { covered, tag });
            }
            AttributeType::GOOG_MISC_INFO => {
                let version = value.first_chunk().copied().map(u16::from_be_bytes);
                self.goog_ping_version = self.goog_ping_version.or(version);
            }
            // Attributes that this side sent and the peer does not support: nothing to do.
            AttributeType::UNKNOWN_ATTRIBUTES => {}
            unknown if unknown.is_comprehension_required() => {
                self.unknown_attributes.push(unknown);
            }
            // SOFTWARE, GOOG-NETWORK-INFO and others that may be ignored.
            _ => {}
        }
        Some(())
    }
}

/// Returns the part of USERNAME before the colon of a Binding request: in a connectivity check, the
/// username fragment of the one it is sent to (RFC 8445 section 7.1.2).
///
/// Nothing is verified. The result finds the session that has the key to verify the message.
#[must_use]
pub fn local_ufrag(datagram: &[u8]) -> Option<&str> {
    let header = Header::read(datagram)?;
    if header.class != Class::Request || header.method != Method::BINDING {
        return None;
    }
    let username = Attributes::of(datagram)
        .map_while(Result::ok)
        .find(|attribute| attribute.kind == AttributeType::USERNAME)?
        .value;
    if username.len() > MAX_USERNAME_LEN {
        return None;
    }
    let (local, _remote) = str::from_utf8(username).ok()?.split_once(':')?;
    Some(local)
}

/// Returns whether this is a Binding request, which names a session. A short check of libwebrtc and
/// the response to a check do not: their source address identifies the session.
#[must_use]
pub fn is_named_check(datagram: &[u8]) -> bool {
    Header::read(datagram)
        .is_some_and(|header| header.class == Class::Request && header.method == Method::BINDING)
}

struct Header {
    class: Class,
    method: Method,
    length: usize,
    transaction: TransactionId,
}

impl Header {
    fn read(datagram: &[u8]) -> Option<Self> {
        let (kind, rest) = datagram.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        let (cookie, rest) = rest.split_first_chunk()?;
        let (transaction, _attributes) = rest.split_first_chunk()?;
        let kind = u16::from_be_bytes(*kind);
        if kind & 0xc000 != 0 || u32::from_be_bytes(*cookie) != MAGIC_COOKIE {
            return None;
        }
        Some(Self {
            class: Class::of(kind),
            method: Method::of(kind),
            length: usize::from(u16::from_be_bytes(*length)),
            transaction: TransactionId(*transaction),
        })
    }
}

// RFC 8489 section 5, the bits of method (M) and class (C) within the type:
//
//  0   1   2  3  4 5 6 7 8 9 0 1 2 3 4 5
//  0   0 | M11 .. M7 |C1| M6 M5 M4 |C0| M3 .. M0
impl Class {
    fn of(kind: u16) -> Self {
        match (kind & 0x0100 != 0, kind & 0x0010 != 0) {
            (false, false) => Self::Request,
            (false, true) => Self::Indication,
            (true, false) => Self::Success,
            (true, true) => Self::Error,
        }
    }

    pub(super) fn bits(self) -> u16 {
        match self {
            Self::Request => 0x0000,
            Self::Indication => 0x0010,
            Self::Success => 0x0100,
            Self::Error => 0x0110,
        }
    }
}

impl Method {
    fn of(kind: u16) -> Self {
        Self(kind & 0x000f | (kind & 0x00e0) >> 1 | (kind & 0x3e00) >> 2)
    }

    pub(super) fn bits(self) -> u16 {
        self.0 & 0x000f | (self.0 & 0x0070) << 1 | (self.0 & 0x0f80) << 2
    }
}

struct Attribute<'a> {
    kind: AttributeType,
    value: &'a [u8],
    /// All of the message that comes before it.
    before: &'a [u8],
}

/// Walks over the attributes of a message; ends after the first that is cut off.
struct Attributes<'a> {
    datagram: &'a [u8],
    at: usize,
}

impl<'a> Attributes<'a> {
    fn of(datagram: &'a [u8]) -> Self {
        Self {
            datagram,
            at: HEADER_LEN,
        }
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Result<Attribute<'a>, StunError>;

    fn next(&mut self) -> Option<Self::Item> {
        let (before, rest) = self.datagram.split_at_checked(self.at)?;
        let (&[kind_hi, kind_lo, len_hi, len_lo], rest) = rest.split_first_chunk()?;
        let kind = AttributeType(u16::from_be_bytes([kind_hi, kind_lo]));
        let length = usize::from(u16::from_be_bytes([len_hi, len_lo]));
        let padded = length.next_multiple_of(4);
        self.at += ATTRIBUTE_HEADER_LEN + padded;
        Some(match rest.get(..length) {
            Some(value) if padded <= rest.len() => Ok(Attribute {
                kind,
                value,
                before,
            }),
            _ => Err(StunError::Truncated { attribute: kind }),
        })
    }
}

/// ```text
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |           Reserved, should be 0         |Class|     Number    |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |      Reason Phrase (variable)                                ..
/// ```
fn read_error_code(value: &[u8]) -> Option<ErrorCode<'_>> {
    let (&[_, _, class, number], reason) = value.split_first_chunk()?;
    let class = class & 0x07;
    if !(3..=6).contains(&class) || number > 99 {
        return None;
    }
    Some(ErrorCode {
        code: u16::from(class) * 100 + u16::from(number),
        reason: str::from_utf8(reason).ok()?,
    })
}
