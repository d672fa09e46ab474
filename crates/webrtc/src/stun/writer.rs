//! Writing a message (RFC 8489 sections 5 and 14).

use std::net::SocketAddr;

use super::address;
use super::attribute::{AttributeType, ErrorCode, IceRole, UnknownAttributes};
use super::integrity::{self, FINGERPRINT_LEN};
use super::layout::{
    ATTRIBUTE_HEADER_LEN, HEADER_LEN, INTEGRITY_32_LEN, INTEGRITY_LEN, MAGIC_COOKIE,
};
use super::message::{Class, Method};
use super::transaction::TransactionId;

/// Writes one message into a buffer that is reused: without an allocation once the buffer has
/// grown to the size of a message.
///
/// Attributes come in the order of the calls; MESSAGE-INTEGRITY and FINGERPRINT are last, and
/// [`MessageWriter::finish`] completes the message.
#[derive(Debug)]
#[must_use = "a message is whole only after `finish`"]
pub struct MessageWriter<'b> {
    buffer: &'b mut Vec<u8>,
    transaction: TransactionId,
}

impl<'b> MessageWriter<'b> {
    /// Starts a message. What the buffer held is dropped.
    pub fn new(
        buffer: &'b mut Vec<u8>,
        class: Class,
        method: Method,
        transaction: TransactionId,
    ) -> Self {
        buffer.clear();
        buffer.extend_from_slice(&(method.bits() | class.bits()).to_be_bytes());
        buffer.extend_from_slice(&[0, 0]);
        buffer.extend_from_slice(&MAGIC_COOKIE.to_be_bytes());
        buffer.extend_from_slice(&transaction.0);
        Self {
            buffer,
            transaction,
        }
    }

    /// USERNAME, 508 bytes at most (RFC 8489 section 14.3).
    pub fn username(self, username: &str) -> Self {
        self.attribute(AttributeType::USERNAME, |buffer| {
            buffer.extend_from_slice(username.as_bytes());
        })
    }

    /// PRIORITY.
    pub fn priority(self, priority: u32) -> Self {
        self.attribute(AttributeType::PRIORITY, |buffer| {
            buffer.extend_from_slice(&priority.to_be_bytes());
        })
    }

    /// ICE-CONTROLLING or ICE-CONTROLLED.
    pub fn ice_role(self, role: IceRole) -> Self {
        let (kind, tie_breaker) = match role {
            IceRole::Controlling(tie_breaker) => (AttributeType::ICE_CONTROLLING, tie_breaker),
            IceRole::Controlled(tie_breaker) => (AttributeType::ICE_CONTROLLED, tie_breaker),
        };
        self.attribute(kind, |buffer| {
            buffer.extend_from_slice(&tie_breaker.to_be_bytes());
        })
    }

    /// USE-CANDIDATE.
    pub fn use_candidate(self) -> Self {
        self.attribute(AttributeType::USE_CANDIDATE, |_| {})
    }

    /// XOR-MAPPED-ADDRESS.
    pub fn xor_mapped_address(self, address: SocketAddr) -> Self {
        let transaction = self.transaction;
        self.attribute(AttributeType::XOR_MAPPED_ADDRESS, |buffer| {
            address::write_xor_mapped(buffer, address, transaction);
        })
    }

    /// ERROR-CODE.
    pub fn error_code(self, error: ErrorCode<'_>) -> Self {
        let class = u8::try_from(error.code / 100).unwrap_or_default() & 0x07;
        let number = u8::try_from(error.code % 100).unwrap_or_default();
        self.attribute(AttributeType::ERROR_CODE, |buffer| {
            buffer.extend_from_slice(&[0, 0, class, number]);
            buffer.extend_from_slice(error.reason.as_bytes());
        })
    }

    /// UNKNOWN-ATTRIBUTES.
    pub fn unknown_attributes(self, unknown: &UnknownAttributes) -> Self {
        self.attribute(AttributeType::UNKNOWN_ATTRIBUTES, |buffer| {
            for attribute in unknown.iter() {
                buffer.extend_from_slice(&attribute.0.to_be_bytes());
            }
        })
    }

    /// GOOG-MISC-INFO with one number: the version of the short check that is spoken.
    pub fn goog_ping_version(self, version: u16) -> Self {
        self.attribute(AttributeType::GOOG_MISC_INFO, |buffer| {
            buffer.extend_from_slice(&version.to_be_bytes());
        })
    }

    /// Writes any other attribute, as a peer might.
    #[cfg(test)]
    pub(crate) fn other(self, kind: AttributeType, value: &[u8]) -> Self {
        self.attribute(kind, |buffer| buffer.extend_from_slice(value))
    }

    /// MESSAGE-INTEGRITY under `key`, over everything before.
    pub fn message_integrity(self, key: &[u8]) -> Self {
        let tag: [u8; INTEGRITY_LEN] = integrity::compute(self.buffer, key);
        self.attribute(AttributeType::MESSAGE_INTEGRITY, |buffer| {
            buffer.extend_from_slice(&tag);
        })
    }

    /// Ends a short check, or its response, with GOOG-MESSAGE-INTEGRITY-32 under `key`. It has no
    /// FINGERPRINT.
    pub fn finish_with_integrity_32(self, key: &[u8]) {
        let tag: [u8; INTEGRITY_32_LEN] = integrity::compute(self.buffer, key);
        let _whole = self.attribute(AttributeType::GOOG_MESSAGE_INTEGRITY_32, |buffer| {
            buffer.extend_from_slice(&tag);
        });
    }

    /// Ends the message with FINGERPRINT.
    pub fn finish(mut self) {
        // The CRC covers the length field of the whole message, this attribute included.
        self.set_length(ATTRIBUTE_HEADER_LEN + FINGERPRINT_LEN);
        let fingerprint = integrity::fingerprint(self.buffer);
        let _whole = self.attribute(AttributeType::FINGERPRINT, |buffer| {
            buffer.extend_from_slice(&fingerprint.to_be_bytes());
        });
    }

    /// Appends an attribute with padding; `value` appends its value to the buffer.
    fn attribute(mut self, kind: AttributeType, value: impl FnOnce(&mut Vec<u8>)) -> Self {
        self.buffer.extend_from_slice(&kind.0.to_be_bytes());
        self.buffer.extend_from_slice(&[0, 0]);
        let begin = self.buffer.len();
        value(self.buffer);
        let length = self.buffer.len() - begin;
        self.set_u16(begin - 2, length);
        self.buffer.resize(begin + length.next_multiple_of(4), 0);
        self.set_length(0);
        self
    }

    /// Sets the length field to the bytes written and `more` bytes that follow.
    fn set_length(&mut self, more: usize) {
        let length = self.buffer.len().saturating_sub(HEADER_LEN) + more;
        self.set_u16(2, length);
    }

    fn set_u16(&mut self, at: usize, value: usize) {
        let value = u16::try_from(value).unwrap_or(u16::MAX);
        if let Some(field) = self.buffer.get_mut(at..at + 2) {
            field.copy_from_slice(&value.to_be_bytes());
        }
    }
}
