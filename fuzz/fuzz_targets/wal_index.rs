//! A target of cargo-fuzz; the property itself is in `src/`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tapster_fuzz::catalog::wal_index(data));
