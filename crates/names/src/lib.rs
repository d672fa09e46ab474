//! Stream names and patterns of them. A leaf crate: it depends only on `distributary-config`.
//!
//! * [`StreamName`] is a validated `app/stream`.
//! * [`StreamPattern`] matches names, such as `live/*`.

mod name;
mod pattern;

pub use name::{MAX_NAME_LEN, NameError, StreamName};
pub use pattern::{PatternError, StreamPattern};
