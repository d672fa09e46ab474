//! Hands `rtmp_amf3` to libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| distributary_fuzz::rtmp_amf3(data));
