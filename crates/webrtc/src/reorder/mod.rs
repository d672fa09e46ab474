//! Video with B-frames, whose display order differs from its decoding order, for receivers that can
//! be made to reorder it.
//!
//! # Problem
//!
//! WebRTC receivers expect one frame out of the decoder for each that goes in. With B-frames a
//! decoder first has to hold back frames, which they take for an error; the video then freezes
//! until the next keyframe.
//!
//! # Recipe
//!
//! Chromium's software decoder shows such a stream, whole and in order, if three things come
//! together:
//!
//! 1. *The decoder knows how many frames to hold back.* Chromium rewrites each sequence parameter
//!    set that it recognizes, so that nothing is held back. So a second copy of the parameter sets,
//!    after the usual packet, travels inside an access unit delimiter, the *carrier*, which
//!    Chromium passes to the decoder unchanged; the decoder takes the bytes after a start code as a
//!    unit of its own. The last copy counts.
//! 2. *The decoder is primed.* The slices of a viewer's first keyframe are repeated in the same
//!    access unit, once for each frame that is held back. From then on one frame comes out for each
//!    that goes in.
//! 3. *The timestamps are those of the frames that come out.* When a frame goes in, the decoder
//!    outputs the earliest that it has, so each frame is sent with the time of that one.
//!
//! No specification says any of this, so it is only done for viewers that are known to support it.
//! Others are sent the keyframes, which any decoder shows at once.
//!
//! A decoder that was primed goes on holding back frames when the stream has no B-frames any more,
//! as when another publisher takes it over. Frames are then sent with their own time, so each
//! viewer's timestamps are moved back by the *lag* of its decoder: the distance to the frame that
//! comes out.
//!
//! # Parts
//!
//! Ingest finds out the number of frames to hold back, the *depth* (see
//! [`FrameInfo`](distributary_media::FrameInfo)). The caller that fills the log chooses for each
//! frame whether it is sent so ([`Log::push_reordered`](crate::log::Log::push_reordered)).
//!
//! * `keyframe`: the parts of a keyframe, with the carrier, in the order in which they are sent.
//! * `display_order`: the timestamps and lags of a stream's frames. The log has one.
//! * `decoder`: the state of one viewer's decoder. The sender has one, and asks it which packets
//!   the viewer is sent.

mod decoder;
mod display_order;
mod keyframe;

pub(crate) use decoder::Decoder;
pub use decoder::Decoders;
pub use display_order::Lags;
pub(crate) use display_order::{DisplayOrder, TICK};
pub(crate) use keyframe::Keyframe;
