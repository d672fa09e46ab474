//! Fuzzes the parser of stream names.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| distributary_fuzz::stream_name(data));
