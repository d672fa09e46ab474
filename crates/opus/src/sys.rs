//! The functions of libopus, from its `include/opus.h` and `include/opus_defines.h`.

use std::ffi::{c_char, c_int};

pub(crate) const OPUS_OK: c_int = 0;
pub(crate) const OPUS_BAD_ARG: c_int = -1;

pub(crate) const OPUS_APPLICATION_VOIP: c_int = 2048;
pub(crate) const OPUS_APPLICATION_AUDIO: c_int = 2049;
pub(crate) const OPUS_APPLICATION_RESTRICTED_LOWDELAY: c_int = 2051;

pub(crate) const OPUS_SET_BITRATE_REQUEST: c_int = 4002;
pub(crate) const OPUS_SET_COMPLEXITY_REQUEST: c_int = 4010;
pub(crate) const OPUS_SET_INBAND_FEC_REQUEST: c_int = 4012;
pub(crate) const OPUS_SET_PACKET_LOSS_PERC_REQUEST: c_int = 4014;
pub(crate) const OPUS_GET_LOOKAHEAD_REQUEST: c_int = 4027;

/// The state of an encoder, which only libopus looks into.
#[repr(C)]
pub(crate) struct OpusEncoder {
    _private: [u8; 0],
}

#[allow(unsafe_code, reason = "functions in C")]
unsafe extern "C" {
    pub(crate) fn opus_encoder_create(
        rate: i32,
        channels: c_int,
        application: c_int,
        error: *mut c_int,
    ) -> *mut OpusEncoder;

    pub(crate) fn opus_encoder_destroy(encoder: *mut OpusEncoder);

    pub(crate) fn opus_encoder_ctl(encoder: *mut OpusEncoder, request: c_int, ...) -> c_int;

    pub(crate) fn opus_encode_float(
        encoder: *mut OpusEncoder,
        pcm: *const f32,
        frame_size: c_int,
        data: *mut u8,
        max_data_bytes: i32,
    ) -> i32;

    pub(crate) fn opus_strerror(error: c_int) -> *const c_char;

    pub(crate) fn opus_get_version_string() -> *const c_char;
}
