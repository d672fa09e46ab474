//! Media messages between nodes, in binary.
//!
//! A message is one frame, or something else of a stream, and travels in parts of at most
//! [`MAX_PART`] bytes of body, so that a large keyframe does not hold up the frames of other
//! streams on the connection. All numbers are big-endian:
//!
//! | bytes | |
//! |---|---|
//! | 1 | version, 1 |
//! | 1 | kind |
//! | 1 | flags: 1 keyframe, 2 first part, 4 last part, 8 disposable, 16 recovery point |
//! | 1 | codec: of video 0 H264, 1 H265, 2 AV1, 3 VP9; of audio 0 AAC, 1 Opus, 2 MP3, 3 and 4 G.711 A-law and µ-law; else 0 |
//! | 1 | B-frames: 0 none, 1 non-reference, 2 reference; 16 is added if that is certain |
//! | 1 | reorder depth |
//! | 8 | epoch |
//! | 8 | sequence number, one more for each part on the subject |
//! | 8 | clock of the owner when the part was sent, in microseconds |
//! | 8 | decoding time in nanoseconds on the owner's timeline |
//! | 8 | presentation time |
//! | 4 | time since the frame arrived at the owner, in microseconds |
//! | 4 | bytes of the body, all parts together |
//!
//! Then the body follows. That of video begins with the number of units in two bytes and the length
//! of each in four.
//!
//! `header` and `part` are the layout; `frame`: frames as bodies; `codec`: the numbers of codecs.

mod codec;
mod error;
mod frame;
mod header;
mod part;
mod reader;

pub use error::{MessageError, VERSION};
pub use frame::encode_frame;
pub use header::{Header, Kind};
pub use part::{MAX_BODY, MAX_PART, Part, encode};

pub(crate) use codec::{audio_codec, video_codec};
pub(crate) use frame::{is_sendable, units};
