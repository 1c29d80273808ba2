//! Checks the links and checksums of every record of WAL segments that follow each other, in constant memory.
//!
//! `cargo run --release -p walfile --example verify -- pg_wal/00000001*`
#![allow(clippy::print_stdout, reason = "an example shows what it found")]

use std::fs::File;

use walfile::RecordDecoder;
use walfile::rmgr::RmgrSet;

/// What is read at once; fits into a second-level cache with what is kept of the piece before.
const PIECE: usize = 256 * 1024;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut decoder = RecordDecoder::new();
    for name in std::env::args_os().skip(1) {
        let mut file = File::open(&name)?;
        while decoder.end().is_none() && decoder.read_from(&mut file, PIECE)? > 0 {
            // No record is wanted: all are passed over, and checked.
            while decoder.poll_of(RmgrSet::NONE).is_some() {}
        }
    }
    let passed = decoder.passed();
    println!("{} records, {} bytes; {}", passed.records, passed.record_bytes, decoder.finish());
    Ok(())
}
