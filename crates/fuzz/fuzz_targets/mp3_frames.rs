//! Hands `mp3_frames` to libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| distributary_fuzz::mp3_frames(data));
