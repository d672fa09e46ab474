//! The Action Message Format (AMF): values of either version, and the limits of decoding them.

mod allowance;
pub mod amf0;
mod amf3;
pub(crate) mod values;

/// A value of AMF0 or AMF3.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A number, or an AMF3 integer.
    Number(f64),
    /// A boolean.
    Boolean(bool),
    /// A string, short or long, or an XML document.
    String(String),
    /// An object, typed or not, with its members in the order of arrival.
    Object(Vec<(String, Value)>),
    /// An associative array, the form in which encoders send metadata.
    EcmaArray(Vec<(String, Value)>),
    /// An array counted from 0.
    StrictArray(Vec<Value>),
    /// A date, in milliseconds since 1970 UTC.
    Date(f64),
    /// Null.
    Null,
    /// Undefined, or AMF0's "unsupported".
    Undefined,
}

impl Value {
    /// Returns the number, if it is one.
    pub fn as_number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// Returns the string, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(string) => Some(string),
            _ => None,
        }
    }

    /// Returns the members of an object or associative array.
    pub fn members(&self) -> Option<&[(String, Self)]> {
        match self {
            Self::Object(members) | Self::EcmaArray(members) => Some(members),
            _ => None,
        }
    }

    /// Returns the member with this name of an object or associative array.
    pub fn get(&self, name: &str) -> Option<&Self> {
        let members = self.members()?;
        members
            .iter()
            .find_map(|(key, value)| (key == name).then_some(value))
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

impl From<&str> for Value {
    fn from(string: &str) -> Self {
        Self::String(string.to_owned())
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Self::Boolean(truth)
    }
}

/// Returns an object with the given members.
pub(crate) fn object<'a>(members: impl IntoIterator<Item = (&'a str, Value)>) -> Value {
    Value::Object(
        members
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
    )
}

/// Limits of the values decoded from one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AmfLimits {
    /// Maximum nesting of objects and arrays.
    pub max_depth: usize,
    /// Maximum values in one message, including members and elements.
    pub max_values: usize,
}

impl Default for AmfLimits {
    fn default() -> Self {
        Self {
            max_depth: 32,
            max_values: 4096,
        }
    }
}

/// The error of invalid or unsupported AMF. The peer is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AmfError {
    /// The bytes end within a value.
    #[error("the bytes end within a value")]
    Truncated,
    /// A type marker that does not exist or is not allowed here.
    #[error("the type marker {0:#04x} is unknown")]
    UnknownMarker(u8),
    /// An object of a class with its own serialization.
    #[error("an object of a class with its own format")]
    UnknownClass,
    /// A reference to an object that was not sent.
    #[error("reference {0} points to nothing")]
    BadReference(usize),
    /// Objects nested deeper than allowed.
    #[error("values are nested deeper than {limit}")]
    TooDeep {
        /// The limit.
        limit: usize,
    },
    /// More values than allowed.
    #[error("more than {limit} values in one message")]
    TooManyValues {
        /// The limit.
        limit: usize,
    },
    /// References expand to more text than a message needs.
    #[error("values expand to more than {limit} bytes of text")]
    TooMuchText {
        /// The limit for this message.
        limit: usize,
    },
    /// The peer sends values faster than the limit per connection.
    #[error("more values in a second than are decoded for one connection")]
    TooOften,
}

impl From<bytes::TryGetError> for AmfError {
    fn from(_: bytes::TryGetError) -> Self {
        Self::Truncated
    }
}

/// Maximum values per byte of a message. A value takes at least one byte; AMF3 counts each one
/// again when its references are expanded.
const VALUES_PER_BYTE: usize = 2;

/// Maximum bytes of decoded text per byte of a message: AMF3 names and strings are sent once and
/// referenced by two bytes.
const TEXT_PER_BYTE: usize = 8;

/// Additional allowance for the shortest messages.
const SPARE_VALUES: usize = 64;
const SPARE_TEXT: usize = 1 << 10;

/// Cost of one value in addition to its text, in bytes: about its memory, with its list entry and
/// its share of the allocation around it.
const VALUE_COST: usize = 128;

/// The remaining limits while a message is decoded.
///
/// A reference costs as much as its expansion, and a message expands to at most a multiple of its
/// own length: it never costs much more to decode than to send.
#[derive(Debug)]
pub(crate) struct Budget {
    max_depth: usize,
    max_values: usize,
    values: usize,
    max_text: usize,
    text: usize,
}

impl Budget {
    /// Returns the budget of a message of `len` bytes.
    pub(crate) fn new(limits: AmfLimits, len: usize) -> Self {
        let max_values = len
            .saturating_mul(VALUES_PER_BYTE)
            .saturating_add(SPARE_VALUES);
        Self {
            max_depth: limits.max_depth,
            max_values: limits.max_values.min(max_values),
            values: 0,
            max_text: len.saturating_mul(TEXT_PER_BYTE).saturating_add(SPARE_TEXT),
            text: 0,
        }
    }

    /// Counts one value at nesting level `depth`.
    pub(crate) fn take(&mut self, depth: usize) -> Result<(), AmfError> {
        if depth > self.max_depth {
            return Err(AmfError::TooDeep {
                limit: self.max_depth,
            });
        }
        self.values += 1;
        if self.values > self.max_values {
            return Err(AmfError::TooManyValues {
                limit: self.max_values,
            });
        }
        Ok(())
    }

    /// Counts text that is copied.
    pub(crate) fn take_text(&mut self, len: usize) -> Result<(), AmfError> {
        self.text = self.text.saturating_add(len);
        if self.text > self.max_text {
            return Err(AmfError::TooMuchText {
                limit: self.max_text,
            });
        }
        Ok(())
    }

    /// Returns the cost of the values decoded so far, in bytes of memory.
    pub(crate) fn cost(&self) -> usize {
        self.values
            .saturating_mul(VALUE_COST)
            .saturating_add(self.text)
    }
}

/// Splits `len` bytes off the front.
pub(crate) fn take_bytes<'a>(bytes: &mut &'a [u8], len: usize) -> Result<&'a [u8], AmfError> {
    let (taken, rest) = bytes.split_at_checked(len).ok_or(AmfError::Truncated)?;
    *bytes = rest;
    Ok(taken)
}

/// Decodes text leniently: encoders send strings that are not UTF-8 (names in a local code page),
/// and a metadata field is no reason to end a stream.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
