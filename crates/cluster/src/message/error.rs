//! The fault of a received message.

/// The version of the format.
pub const VERSION: u8 = 1;

/// A received message is malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// Its sender has a later version.
    #[error("it has the version {0}; this node supports {VERSION}: upgrade this node")]
    Version(u8),
    /// It ends too early.
    #[error("it is too short")]
    Short,
    /// A field has a value that is not defined.
    #[error("it has an undefined {0}")]
    Undefined(&'static str),
    /// It is larger than allowed.
    #[error("it is too large")]
    Large,
}
