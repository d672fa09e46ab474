//! Stream names, patterns of them, and settings by name. A leaf: it depends on no other crate of the gateway.
//!
//! * [`StreamName`] is a validated `app/stream`.
//! * [`StreamPattern`] matches names, such as `live/*`.
//! * [`ByStream`] is a setting with exceptions by pattern.

mod by_stream;
mod name;
mod pattern;

pub use by_stream::ByStream;
pub use name::{MAX_NAME_LEN, NameError, StreamName};
pub use pattern::{PatternError, StreamPattern};
