#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tapster_fuzz::catalog::xlogdb(data));
