//! Fuzzes the server's side of a connection from its first byte.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| distributary_fuzz::rtmp_handshake(data));
