//! Hands `webrtc_peer` to libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| distributary_fuzz::webrtc_peer(data));
