//! The choice of the rendition that a viewer gets.
//!
//! * [`Selector`]: moves down when the path is slower than the stream, and up when clusters have
//!   proven that it carries more.
//! * [`Preference`]: what the viewer asks for.
//! * `proof`: what clusters have shown about each rendition.
//! * `budget`: the bytes that clusters may cost.

mod budget;
mod preference;
mod proof;
mod selector;
#[cfg(test)]
mod tests;

pub use preference::Preference;
pub use selector::{Reason, Selector, Step};

/// A rendition that a viewer could get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rung<I> {
    /// Its id.
    pub id: I,
    /// Height of its frames, in pixels.
    pub height: u32,
    /// Bits per second that it takes on the wire, audio included.
    pub rate: u64,
}
