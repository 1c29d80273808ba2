//! Lists the records of one WAL segment: where, by whom, what, which blocks.
//!
//! `cargo run -p walfile --example list -- 000000010000000000000005`
#![allow(clippy::print_stdout, reason = "an example shows what it found")]

use walfile::Segment;
use walfile::rmgr::Description;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let name = std::env::args_os().nth(1).ok_or("which segment?")?;
    let bytes = std::fs::read(name)?;
    let segment = Segment::new(&bytes)?;
    let mut records = segment.records();
    while let Some(record) = records.next_record() {
        let parts = record.parts()?;
        let kind = record.type_name().unwrap_or("UNKNOWN");
        print!("{} {} {} {}", record.lsn, record.header.xid, record.header.rmgr, kind);
        println!(" {}", Description::new(&record, &parts));
        for block in parts.blocks() {
            let image = if block.image.is_some() { ", with its page" } else { "" };
            println!("    {} {} block {}{image}", block.relation, block.fork, block.block);
        }
    }
    if let Some(end) = records.end() {
        println!("{end}");
    }
    Ok(())
}
