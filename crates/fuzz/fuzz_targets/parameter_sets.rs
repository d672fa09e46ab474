//! Hands `parameter_sets` to libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| distributary_fuzz::parameter_sets(data));
