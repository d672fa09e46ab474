//! Hands `cluster_control` to libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| distributary_fuzz::cluster_control(data));
