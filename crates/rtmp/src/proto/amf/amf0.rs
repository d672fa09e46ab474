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
mod tests;
