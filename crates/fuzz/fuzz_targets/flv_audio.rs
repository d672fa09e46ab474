//! Fuzzes the bodies of audio tags.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| distributary_fuzz::flv_audio(data));
