//! RTP (RFC 3550) and the payload formats that are sent.
//!
//! * [`header`]: the fixed header.
//! * [`extension`]: header extensions (RFC 8285), and the header as a template.
//! * [`payload`]: the payload, as slices of the frame it came from.
//! * [`h264`], [`h265`], [`av1`], [`vp9`]: the payload formats of video; [`packetize`] chooses.
//! * `nal`: the common part of the first two.
//! * [`red`]: audio packets that carry the previous one as well (RFC 2198).

pub mod av1;
pub mod extension;
pub mod h264;
pub mod h265;
pub mod header;
mod nal;
pub mod payload;
pub mod red;
pub mod vp9;

use bytes::Bytes;
use distributary_media::VideoCodec;

pub use extension::{HeaderTemplate, StreamExtensions};
pub use header::RtpHeader;
pub use payload::Payload;

/// Cuts the units of a frame, or of a part of one, into payloads of at most `max_payload` bytes, by
/// the format of its codec (see [`VideoFrame::units`](distributary_media::VideoFrame::units)).
/// Returns none for a codec without a format.
pub fn packetize(
    codec: VideoCodec,
    units: &[Bytes],
    keyframe: bool,
    max_payload: usize,
    emit: impl FnMut(Payload),
) {
    match codec {
        VideoCodec::H264 => h264::packetize(units, max_payload, emit),
        VideoCodec::H265 => h265::packetize(units, max_payload, emit),
        VideoCodec::Av1 => av1::packetize(units, keyframe, max_payload, emit),
        VideoCodec::Vp9 => vp9::packetize(units, keyframe, max_payload, emit),
        _ => {}
    }
}
