//! Hands `data_request` to libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| distributary_fuzz::data_request(data));
