//! Stream names and patterns of them. A leaf crate: it depends only on `distributary-config`.
//!
//! * [`StreamName`] is a validated `app/stream`, or `stream` without an application.
//! * [`RenditionId`] names one of a stream's renditions.
//! * [`StreamPattern`] matches names, such as `live/*`.

mod name;
mod pattern;
mod rendition;

pub use name::{MAX_NAME_LEN, NameError, StreamName};
pub use pattern::{PatternError, StreamPattern};
pub use rendition::{MAX_RENDITION_ID_LEN, RenditionId, RenditionIdError};
