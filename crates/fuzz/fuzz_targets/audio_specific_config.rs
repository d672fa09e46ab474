//! Hands `audio_specific_config` to libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| distributary_fuzz::audio_specific_config(data));
