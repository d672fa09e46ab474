//! The values of the Action Message Format, whichever version carries them.

/// A value of AMF0 or AMF3.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A number; AMF3 integers become one too.
    Number(f64),
    /// A truth value.
    Boolean(bool),
    /// A string, short or long; XML documents become one too.
    String(String),
    /// An object with its members in the order they came, typed or not.
    Object(Vec<(String, Value)>),
    /// An associative array, the form in which encoders send metadata.
    EcmaArray(Vec<(String, Value)>),
    /// An array counted from 0.
    StrictArray(Vec<Value>),
    /// A point in time, in milliseconds since 1970 UTC.
    Date(f64),
    /// Nothing.
    Null,
    /// Not even nothing; AMF0's "unsupported" becomes this too.
    Undefined,
}

impl Value {
    /// The number, if it is one.
    pub fn as_number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// The string, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(string) => Some(string),
            _ => None,
        }
    }

    /// The members of an object or associative array.
    pub fn members(&self) -> Option<&[(String, Self)]> {
        match self {
            Self::Object(members) | Self::EcmaArray(members) => Some(members),
            _ => None,
        }
    }

    /// The member of this name of an object or associative array.
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

/// An object of the given members.
pub(crate) fn object<'a>(members: impl IntoIterator<Item = (&'a str, Value)>) -> Value {
    Value::Object(
        members
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
    )
}

/// Bounds of what one message may unfold into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AmfLimits {
    /// Deepest nesting of objects and arrays.
    pub max_depth: usize,
    /// Most values in one message, members and elements included.
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

/// Why bytes are not AMF, or not AMF we take. The peer is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AmfError {
    /// The bytes end within a value.
    #[error("the bytes end within a value")]
    Truncated,
    /// A type marker that does not exist or cannot stand here.
    #[error("the type marker {0:#04x} is unknown")]
    UnknownMarker(u8),
    /// An object of a class that writes itself in a way of its own.
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
    /// References unfold into more text than a message needs.
    #[error("values unfold into more than {limit} bytes of text")]
    TooMuchText {
        /// The limit for this message.
        limit: usize,
    },
    /// The peer sends more values than a connection may have decoded in this time.
    #[error("more values in a second than are decoded for one connection")]
    TooOften,
}

impl From<bytes::TryGetError> for AmfError {
    fn from(_: bytes::TryGetError) -> Self {
        Self::Truncated
    }
}

/// Values that a message may unfold into for each of its bytes. A value takes at least one byte; AMF3
/// counts each one again when its references are unfolded.
const VALUES_PER_BYTE: usize = 2;

/// Bytes of text that a message may unfold into for each of its own: AMF3 names and strings are sent
/// once and referred to by two bytes.
const TEXT_PER_BYTE: usize = 8;

/// What the shortest messages may unfold into besides.
const SPARE_VALUES: usize = 64;
const SPARE_TEXT: usize = 1 << 10;

/// What one value costs besides its text, in bytes: about its memory, with its place in a list and
/// its share of the allocation around it.
const VALUE_COST: usize = 128;

/// What is left of the limits while a message is decoded.
///
/// A reference costs what it unfolds to, and a message unfolds into no more than a multiple of its own
/// length: it never costs much more to decode than to send.
#[derive(Debug)]
pub(crate) struct Budget {
    max_depth: usize,
    max_values: usize,
    values: usize,
    max_text: usize,
    text: usize,
}

impl Budget {
    /// The budget of a message of `len` bytes.
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

    /// Counts one value that stands `depth` levels deep.
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

    /// Returns what was decoded so far, counted as bytes of memory.
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

/// Text as it comes: encoders send strings that are not UTF-8 (names in a local code page), and a
/// metadata field is no reason to end a stream.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
