//! The bodies of the fuzz targets.
//!
//! A target is a function from bytes to nothing that panics when a promise is broken. The binaries
//! in `fuzz_targets` hand them to libFuzzer; the tests of this crate run them over the seeds, so
//! that a finding, once kept as a seed, stays fixed.

mod cluster;
mod configuration;
mod frames;
mod http;
mod media;
mod names;
mod rtmp;
mod viewer;
mod webrtc;

use std::sync::LazyLock;
use std::time::Instant;

pub use cluster::{cluster_control, cluster_message};
pub use configuration::configuration;
pub use frames::frames;
pub use http::http_requests;
pub use media::{
    aac_access_units, audio_specific_config, avc_configuration, flv_audio, flv_file, flv_video,
    g711_samples, mp3_frames, parameter_sets,
};
pub use names::stream_name;
pub use rtmp::{rtmp_amf0, rtmp_amf3, rtmp_chunk, rtmp_handshake, rtmp_session};
pub use viewer::{data_channel, data_request, ice_fragment, tcp_frames};
pub use webrtc::{rtcp, sdp_offer, srtcp, stun, webrtc_peer};

/// A target.
pub type Target = fn(&[u8]);

/// All targets, by the name of their binary and of their folder in `seeds`.
pub const TARGETS: &[(&str, Target)] = &[
    ("aac_access_units", aac_access_units),
    ("audio_specific_config", audio_specific_config),
    ("avc_configuration", avc_configuration),
    ("cluster_control", cluster_control),
    ("cluster_message", cluster_message),
    ("configuration", configuration),
    ("data_channel", data_channel),
    ("data_request", data_request),
    ("flv_audio", flv_audio),
    ("flv_file", flv_file),
    ("flv_video", flv_video),
    ("frames", frames),
    ("g711_samples", g711_samples),
    ("http_requests", http_requests),
    ("ice_fragment", ice_fragment),
    ("mp3_frames", mp3_frames),
    ("parameter_sets", parameter_sets),
    ("rtcp", rtcp),
    ("rtmp_amf0", rtmp_amf0),
    ("rtmp_amf3", rtmp_amf3),
    ("rtmp_chunk", rtmp_chunk),
    ("rtmp_handshake", rtmp_handshake),
    ("rtmp_session", rtmp_session),
    ("sdp_offer", sdp_offer),
    ("srtcp", srtcp),
    ("stream_name", stream_name),
    ("stun", stun),
    ("tcp_frames", tcp_frames),
    ("webrtc_peer", webrtc_peer),
];

/// Splits the input into pieces, each with its length in two bytes before it; what is cut off is
/// taken as it is.
fn pieces(mut data: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (len, rest) = data.split_first_chunk()?;
        let len = usize::from(u16::from_be_bytes(*len)).min(rest.len());
        let (piece, rest) = rest.split_at(len);
        data = rest;
        Some(piece)
    })
}

/// The start time of all targets.
#[allow(
    clippy::disallowed_methods,
    reason = "an origin for the simulated clock"
)]
static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);
