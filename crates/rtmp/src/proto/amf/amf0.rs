//! Action Message Format, version 0 (AMF 0 specification, December 2007).

use bytes::{Buf, BufMut, BytesMut};

use crate::proto::amf::amf3;
use crate::proto::amf::{AmfError, AmfLimits, Budget, Value, take_bytes, text};

/// Type markers (section 2.1).
mod marker {
    pub(super) const NUMBER: u8 = 0x00;
    pub(super) const BOOLEAN: u8 = 0x01;
    pub(super) const STRING: u8 = 0x02;
    pub(super) const OBJECT: u8 = 0x03;
    pub(super) const NULL: u8 = 0x05;
    pub(super) const UNDEFINED: u8 = 0x06;
    pub(super) const REFERENCE: u8 = 0x07;
    pub(super) const ECMA_ARRAY: u8 = 0x08;
    pub(super) const OBJECT_END: u8 = 0x09;
    pub(super) const STRICT_ARRAY: u8 = 0x0A;
    pub(super) const DATE: u8 = 0x0B;
    pub(super) const LONG_STRING: u8 = 0x0C;
    pub(super) const UNSUPPORTED: u8 = 0x0D;
    pub(super) const XML_DOCUMENT: u8 = 0x0F;
    pub(super) const TYPED_OBJECT: u8 = 0x10;
    pub(super) const AVM_PLUS: u8 = 0x11;
}

/// Decodes all values of a message.
///
/// # Errors
/// Returns [`AmfError`] if the bytes are not AMF0 or exceed the limits.
pub fn decode_all(bytes: &[u8], limits: AmfLimits) -> Result<Vec<Value>, AmfError> {
    let decoded = decode(bytes, limits);
    match decoded.error {
        None => Ok(decoded.values),
        Some(error) => Err(error),
    }
}

/// The decoded values of a message.
pub(crate) struct Decoded {
    /// The values before the error, if there is one.
    pub(crate) values: Vec<Value>,
    /// The error that ended decoding before the end of the message.
    pub(crate) error: Option<AmfError>,
    /// The cost of decoding, in bytes of memory.
    pub(crate) cost: usize,
}

/// Decodes the values of a message up to the first error.
pub(crate) fn decode(bytes: &[u8], limits: AmfLimits) -> Decoded {
    let mut decoder = Decoder::new(bytes, limits);
    let mut values = Vec::new();
    let mut error = None;
    while !decoder.rest.is_empty() && error.is_none() {
        match decoder.value(0) {
            Ok(value) => values.push(value),
            Err(found) => error = Some(found),
        }
    }
    Decoded {
        values,
        error,
        cost: decoder.budget.cost(),
    }
}

/// Appends a value. Strings longer than 65535 bytes become long strings; names are cut there.
pub fn encode(value: &Value, out: &mut BytesMut) {
    match value {
        Value::Number(number) => {
            out.put_u8(marker::NUMBER);
            out.put_f64(*number);
        }
        Value::Boolean(truth) => {
            out.put_u8(marker::BOOLEAN);
            out.put_u8(u8::from(*truth));
        }
        Value::String(string) => match u16::try_from(string.len()) {
            Ok(len) => {
                out.put_u8(marker::STRING);
                out.put_u16(len);
                out.put_slice(string.as_bytes());
            }
            Err(_) => {
                out.put_u8(marker::LONG_STRING);
                out.put_u32(string.len() as u32);
                out.put_slice(string.as_bytes());
            }
        },
        Value::Object(members) => {
            out.put_u8(marker::OBJECT);
            encode_members(members, out);
        }
        Value::EcmaArray(members) => {
            out.put_u8(marker::ECMA_ARRAY);
            out.put_u32(members.len() as u32);
            encode_members(members, out);
        }
        Value::StrictArray(values) => {
            out.put_u8(marker::STRICT_ARRAY);
            out.put_u32(values.len() as u32);
            for value in values {
                encode(value, out);
            }
        }
        Value::Date(millis) => {
            out.put_u8(marker::DATE);
            out.put_f64(*millis);
            // The time zone, reserved and zero (section 2.13).
            out.put_u16(0);
        }
        Value::Null => out.put_u8(marker::NULL),
        Value::Undefined => out.put_u8(marker::UNDEFINED),
    }
}

fn encode_members(members: &[(String, Value)], out: &mut BytesMut) {
    for (name, value) in members {
        let mut name = name.as_bytes();
        name = name.get(..usize::from(u16::MAX)).unwrap_or(name);
        out.put_u16(name.len() as u16);
        out.put_slice(name);
        encode(value, out);
    }
    out.put_u16(0);
    out.put_u8(marker::OBJECT_END);
}

/// Decodes from the front of a message.
struct Decoder<'a> {
    message: &'a [u8],
    rest: &'a [u8],
    budget: Budget,
    /// Positions of all objects and arrays, for references (section 2.9).
    complex: Vec<usize>,
    /// True while a referenced value is decoded again, which adds no entries to `complex`.
    revisiting: bool,
}

impl<'a> Decoder<'a> {
    fn new(message: &'a [u8], limits: AmfLimits) -> Self {
        Self {
            message,
            rest: message,
            budget: Budget::new(limits, message.len()),
            complex: Vec::new(),
            revisiting: false,
        }
    }

    fn value(&mut self, depth: usize) -> Result<Value, AmfError> {
        self.budget.take(depth)?;
        let start = self.message.len() - self.rest.len();
        let marker = self.rest.try_get_u8()?;
        if !self.revisiting
            && matches!(
                marker,
                marker::OBJECT | marker::ECMA_ARRAY | marker::STRICT_ARRAY | marker::TYPED_OBJECT
            )
        {
            self.complex.push(start);
        }
        Ok(match marker {
            marker::NUMBER => Value::Number(self.rest.try_get_f64()?),
            marker::BOOLEAN => Value::Boolean(self.rest.try_get_u8()? != 0),
            marker::STRING => Value::String(self.short_string()?),
            marker::OBJECT => Value::Object(self.members(depth)?),
            marker::NULL => Value::Null,
            marker::UNDEFINED | marker::UNSUPPORTED => Value::Undefined,
            marker::REFERENCE => self.reference(depth)?,
            marker::ECMA_ARRAY => {
                // The count is only a hint, which encoders get wrong; the end marker decides.
                self.rest.try_get_u32()?;
                Value::EcmaArray(self.members(depth)?)
            }
            marker::STRICT_ARRAY => self.strict_array(depth)?,
            marker::DATE => {
                let millis = self.rest.try_get_f64()?;
                self.rest.try_get_u16()?;
                Value::Date(millis)
            }
            marker::LONG_STRING | marker::XML_DOCUMENT => {
                let len = self.rest.try_get_u32()? as usize;
                Value::String(self.text(len)?)
            }
            marker::TYPED_OBJECT => {
                self.short_string()?;
                Value::Object(self.members(depth)?)
            }
            marker::AVM_PLUS => amf3::decode_value(&mut self.rest, &mut self.budget, depth)?,
            unknown => return Err(AmfError::UnknownMarker(unknown)),
        })
    }

    fn short_string(&mut self) -> Result<String, AmfError> {
        let len = usize::from(self.rest.try_get_u16()?);
        self.text(len)
    }

    fn text(&mut self, len: usize) -> Result<String, AmfError> {
        let bytes = take_bytes(&mut self.rest, len)?;
        self.budget.take_text(len)?;
        Ok(text(bytes))
    }

    fn members(&mut self, depth: usize) -> Result<Vec<(String, Value)>, AmfError> {
        let mut members = Vec::new();
        loop {
            // Some encoders omit the end marker of the last object of a message.
            if self.rest.is_empty() && !members.is_empty() {
                return Ok(members);
            }
            let name = self.short_string()?;
            if name.is_empty() && self.rest.first() == Some(&marker::OBJECT_END) {
                self.rest.try_get_u8()?;
                return Ok(members);
            }
            members.push((name, self.value(depth + 1)?));
        }
    }

    fn strict_array(&mut self, depth: usize) -> Result<Value, AmfError> {
        let count = self.rest.try_get_u32()?;
        let mut values = Vec::new();
        for _ in 0..count {
            values.push(self.value(depth + 1)?);
        }
        Ok(Value::StrictArray(values))
    }

    /// Decodes the referenced value again, from its first position.
    ///
    /// A reference to an enclosing object ends at the depth limit: nothing that clients send to a
    /// server has such a form.
    fn reference(&mut self, depth: usize) -> Result<Value, AmfError> {
        let index = usize::from(self.rest.try_get_u16()?);
        let target = self
            .complex
            .get(index)
            .and_then(|&start| self.message.get(start..))
            .ok_or(AmfError::BadReference(index))?;
        let rest = std::mem::replace(&mut self.rest, target);
        let revisiting = std::mem::replace(&mut self.revisiting, true);
        let value = self.value(depth + 1);
        self.rest = rest;
        self.revisiting = revisiting;
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::amf::object;
    use proptest::prelude::*;

    fn all(bytes: &[u8]) -> Result<Vec<Value>, AmfError> {
        decode_all(bytes, AmfLimits::default())
    }

    fn encoded(value: &Value) -> Vec<u8> {
        let mut out = BytesMut::new();
        encode(value, &mut out);
        out.to_vec()
    }

    #[test]
    fn every_type_is_decoded() {
        let cases: [(&[u8], Value); 14] = [
            (&[0, 0x3F, 0xF0, 0, 0, 0, 0, 0, 0], Value::Number(1.0)),
            (&[1, 1], Value::Boolean(true)),
            (&[1, 0], Value::Boolean(false)),
            (b"\x02\x00\x04live", "live".into()),
            (
                b"\x03\x00\x03app\x02\x00\x04live\x00\x00\x09",
                object([("app", "live".into())]),
            ),
            (&[5], Value::Null),
            (&[6], Value::Undefined),
            (
                b"\x08\x00\x00\x00\x01\x00\x03fps\x00\x40\x3e\x00\x00\x00\x00\x00\x00\x00\x00\x09",
                Value::EcmaArray(vec![("fps".into(), Value::Number(30.0))]),
            ),
            (
                b"\x0a\x00\x00\x00\x02\x05\x01\x01",
                Value::StrictArray(vec![Value::Null, Value::Boolean(true)]),
            ),
            (
                &[0x0B, 0x3F, 0xF0, 0, 0, 0, 0, 0, 0, 0, 0],
                Value::Date(1.0),
            ),
            (b"\x0c\x00\x00\x00\x02hi", "hi".into()),
            (&[0x0D], Value::Undefined),
            (b"\x0f\x00\x00\x00\x04<a/>", "<a/>".into()),
            (
                b"\x10\x00\x01T\x00\x01a\x05\x00\x00\x09",
                object([("a", Value::Null)]),
            ),
        ];
        for (bytes, expected) in cases {
            assert_eq!(all(bytes), Ok(vec![expected]), "{bytes:02x?}");
        }
    }

    #[test]
    fn reference_is_replaced_by_its_object() {
        // Two equal objects, the second one as a reference to the first.
        let bytes = b"\x03\x00\x01a\x03\x00\x01b\x05\x00\x00\x09\x00\x00\x09\x07\x00\x01";
        let inner = object([("b", Value::Null)]);
        assert_eq!(all(bytes), Ok(vec![object([("a", inner.clone())]), inner]));
        assert_eq!(all(&[7, 0, 0]), Err(AmfError::BadReference(0)));
    }

    #[test]
    fn missing_end_marker_at_the_end_of_a_message_is_accepted() {
        assert_eq!(
            all(b"\x03\x00\x01a\x05"),
            Ok(vec![object([("a", Value::Null)])])
        );
    }

    #[test]
    fn truncated_values_are_errors() {
        let whole = b"\x03\x00\x03app\x02\x00\x04live\x00\x01b\x0a\x00\x00\x00\x01\x05\x00\x00\x09";
        assert!(all(whole).is_ok());
        for len in [1, 2, 5, 7, 10, 14, 17, 20, 23] {
            assert_eq!(all(&whole[..len]), Err(AmfError::Truncated), "{len}");
        }
    }

    #[test]
    fn unknown_markers_are_errors() {
        for marker in [0x04, 0x09, 0x0E, 0x12, 0xFF] {
            assert_eq!(all(&[marker]), Err(AmfError::UnknownMarker(marker)));
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let arrays = [0x0A, 0, 0, 0, 1].repeat(100_000);
        assert_eq!(all(&arrays), Err(AmfError::TooDeep { limit: 32 }));
        let objects = [3, 0, 1, b'a'].repeat(100_000);
        assert_eq!(all(&objects), Err(AmfError::TooDeep { limit: 32 }));
    }

    #[test]
    fn wrong_counts_cost_nothing() {
        assert_eq!(
            all(&[0x0A, 0xFF, 0xFF, 0xFF, 0xFF]),
            Err(AmfError::Truncated)
        );
        assert_eq!(
            all(&[8, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 9]),
            Ok(vec![Value::EcmaArray(vec![])])
        );
    }

    #[test]
    fn number_of_values_is_limited() {
        let mut bytes = vec![0x0A, 0, 1, 0, 0];
        bytes.extend([5; 0x10000]);
        assert_eq!(all(&bytes), Err(AmfError::TooManyValues { limit: 4096 }));
        assert_eq!(
            all(&[5; 4097]),
            Err(AmfError::TooManyValues { limit: 4096 })
        );
    }

    #[test]
    fn references_cannot_multiply_values_beyond_the_limit() {
        // Arrays of two references to the array before: 2^n values if they were unfolded.
        let mut bytes = vec![0x0A, 0, 0, 0, 2, 5, 5];
        for n in 0..30 {
            bytes.extend([0x0A, 0, 0, 0, 2, 7, 0, n, 7, 0, n]);
        }
        assert_eq!(all(&bytes), Err(AmfError::TooManyValues { limit: 738 }));
        // An array that contains itself.
        assert_eq!(
            all(&[0x0A, 0, 0, 0, 1, 7, 0, 0]),
            Err(AmfError::TooDeep { limit: 32 })
        );
    }

    #[test]
    fn decoded_values_are_limited_by_the_length_of_the_message() {
        // An array of 20 nulls and 25 references to it, in 105 bytes: 500 values.
        let mut bytes = vec![0x0A, 0, 0, 0, 20];
        bytes.extend([5; 20]);
        bytes.extend([7, 0, 0].repeat(25));
        let decoded = decode(&bytes, AmfLimits::default());
        assert!(matches!(
            decoded.error,
            Some(AmfError::TooManyValues { .. })
        ));
        assert!(decoded.cost <= 400 * bytes.len(), "{}", decoded.cost);
        // One reference of this kind is what a client may well send.
        assert_eq!(all(&bytes[..28]).map(|values| values.len()), Ok(2));
    }

    #[test]
    fn values_before_an_error_are_kept() {
        let decoded = decode(b"\x02\x00\x01a\x05\x00", AmfLimits::default());
        assert_eq!(decoded.values, ["a".into(), Value::Null]);
        assert_eq!(decoded.error, Some(AmfError::Truncated));
    }

    #[test]
    fn references_cannot_multiply_text() {
        // An array of one string of 60 000 bytes, then 1 000 references to it.
        let mut bytes = vec![0x0A, 0, 0, 0, 1, 0x0C, 0, 0, 0xEA, 0x60];
        bytes.extend([b'x'; 60_000]);
        bytes.extend([7, 0, 0].repeat(1000));
        assert!(matches!(all(&bytes), Err(AmfError::TooMuchText { .. })));
    }

    #[test]
    fn value_may_switch_to_amf3() {
        assert_eq!(
            all(b"\x02\x00\x01a\x11\x06\x03b\x05"),
            Ok(vec!["a".into(), "b".into(), Value::Null])
        );
    }

    #[test]
    fn long_strings_use_the_long_form() {
        let long = Value::String("x".repeat(70_000));
        let bytes = encoded(&long);
        assert_eq!(bytes[..5], [0x0C, 0, 1, 0x11, 0x70]);
        assert_eq!(all(&bytes), Ok(vec![long]));
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            prop::num::f64::NORMAL.prop_map(Value::Number),
            any::<bool>().prop_map(Value::Boolean),
            ".{0,20}".prop_map(Value::String),
            prop::num::f64::NORMAL.prop_map(Value::Date),
            Just(Value::Null),
            Just(Value::Undefined),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            let members = prop::collection::vec(("[a-z]{1,8}", inner.clone()), 0..5);
            prop_oneof![
                members.clone().prop_map(Value::Object),
                members.prop_map(Value::EcmaArray),
                prop::collection::vec(inner, 0..5).prop_map(Value::StrictArray),
            ]
        })
    }

    proptest! {
        #[test]
        fn values_survive_encoding_and_decoding(value in values()) {
            prop_assert_eq!(all(&encoded(&value)), Ok(vec![value]));
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = all(&bytes);
        }
    }
}
