//! Hands `ice_fragment` to libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| distributary_fuzz::ice_fragment(data));
