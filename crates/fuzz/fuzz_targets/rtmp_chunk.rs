//! Fuzzes the chunk stream.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| distributary_fuzz::rtmp_chunk(data));
