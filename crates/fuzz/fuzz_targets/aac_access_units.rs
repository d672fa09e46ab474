//! Hands `aac_access_units` to libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| distributary_fuzz::aac_access_units(data));
