//! The choice of the rendition that a viewer gets.
//!
//! * [`Selector`]: moves down when the path is slower than the stream, and up when clusters have
//!   proven that it carries more.
//! * [`Step`]: what it does next; `climb`: the steps up.
//! * [`Preference`]: what the viewer asks for.
//! * `proof`: what clusters have shown about each rendition.
//! * `budget`: the bytes that clusters may cost.

mod budget;
mod climb;
mod preference;
mod proof;
mod selector;
mod step;
#[cfg(test)]
mod tests;

pub use preference::Preference;
pub use selector::Selector;
pub use step::{Reason, Step};

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
