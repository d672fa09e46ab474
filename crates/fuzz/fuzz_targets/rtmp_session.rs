//! Fuzzes the server's side of a connection after its handshake.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| distributary_fuzz::rtmp_session(data));
