//! Fuzzes the decoder of AMF0.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| distributary_fuzz::rtmp_amf0(data));
