//! Hands `g711_samples` to libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| distributary_fuzz::g711_samples(data));
