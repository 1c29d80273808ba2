//! Finds the last commit in WAL segments that follow each other: the latest moment that replaying them can reach.
//!
//! `cargo run -p walfile --example last_commit -- pg_wal/00000001*`
#![allow(clippy::print_stdout, reason = "an example shows what it found")]

use std::fs::File;

use walfile::RecordDecoder;
use walfile::rmgr::{Payload, Rmgr};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (mut decoder, mut last) = (RecordDecoder::new(), None);
    for name in std::env::args_os().skip(1) {
        let mut segment = File::open(name)?;
        while decoder.read_from(&mut segment, 256 * 1024)? > 0 {
            while let Some(record) = decoder.poll() {
                // Asked first, so that no other record is taken apart.
                if record.header.rmgr == Rmgr::TRANSACTION
                    && let Payload::Commit(commit) = record.payload()?
                {
                    last = Some((record.lsn, commit.xid, commit.time));
                }
            }
        }
    }
    match last {
        Some((lsn, xid, time)) => {
            let micros = time.unix_micros();
            println!(
                "transaction {xid} at {lsn}, {}.{:06} seconds after 1970 began",
                micros.div_euclid(1_000_000),
                micros.rem_euclid(1_000_000)
            );
        }
        None => println!("no transaction was committed"),
    }
    println!("{}", decoder.finish());
    Ok(())
}
