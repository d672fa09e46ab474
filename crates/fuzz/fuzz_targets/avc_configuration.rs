//! Hands `avc_configuration` to libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| distributary_fuzz::avc_configuration(data));
