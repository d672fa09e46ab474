//! Shared parts of the configuration sections. Each crate owns the types of its own sections, which
//! serde reads and writes; the gateway combines them.
//!
//! * [`section`]: [`Section`], the keys of a section, and whether a reload applies them.
//! * [`time`] and [`size`]: times and sizes with their units, for `#[serde(with = "...")]`.
//! * [`text`]: values that are written as text, by their `FromStr` and `Display`.

// The derive names the crate so, in its own tests too.
#[cfg(test)]
extern crate self as distributary_config;

pub mod section;
pub mod size;
pub mod text;
pub mod time;
mod unit;

pub use distributary_config_derive::Section;
pub use section::{Key, KeyPath, Section, paths};
#[doc(hidden)]
pub use serde;
pub use unit::UnitError;
