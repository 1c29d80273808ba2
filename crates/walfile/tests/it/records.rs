//! Records of real WAL against what PostgreSQL itself reads in it, record by record.

use walfile::record::{Fork, ImageCompression};
use walfile::{EndReason, Lsn, Record};

use crate::golden::MAJORS;
use crate::wal;

/// `rel 1663/5/16384 fork fsm blk 0 FPW`, as pg_waldump writes the blocks of a record.
fn block_refs(record: &Record<'_>) -> String {
    let mut line = String::new();
    for block in record.parts().unwrap().blocks() {
        line += &format!(", blkref #{}: rel {}", block.id, block.relation);
        if block.fork != Fork::Main {
            line += &format!(" fork {}", block.fork);
        }
        line += &format!(" blk {}", block.block);
        match block.image {
            Some(image) if image.apply => line += " FPW",
            Some(_) => line += " FPW for WAL verification",
            None => {}
        }
    }
    line
}

/// A line of pg_waldump, without the details of the description.
fn waldump_line(record: &Record<'_>) -> String {
    let header = &record.header;
    let image_bytes = record.parts().unwrap().image_bytes;
    format!(
        "rmgr: {:<11} len (rec/tot): {:6}/{:6}, tx: {:10}, lsn: {:X}/{:08X}, prev {:X}/{:08X}, desc: {}{}",
        header.rmgr.to_string(),
        header.total_len - image_bytes,
        header.total_len,
        header.xid.get(),
        record.lsn.get() >> 32,
        record.lsn.get() & 0xFFFF_FFFF,
        header.prev.get() >> 32,
        header.prev.get() & 0xFFFF_FFFF,
        record.type_name().unwrap_or("UNKNOWN"),
        block_refs(record),
    )
}

#[test]
fn the_same_records_as_pg_waldump() {
    let expected = wal::text("15.waldump.xz");
    let mut expected = expected.lines();
    let mut count = 0;
    let end = wal::walk(&wal::log(15), &mut |record| {
        assert_eq!(waldump_line(record), expected.next().unwrap());
        count += 1;
    });
    assert_eq!(expected.next(), None);
    assert!(count > 3000, "{count}");
    assert_eq!(end.reason, EndReason::NothingWritten);
}

/// Columns of `pg_get_wal_records_info`: positions, xid, names, lengths.
#[test]
fn the_same_records_as_pg_walinspect() {
    for major in 16..=18 {
        let expected = wal::text(&format!("{major}.walinspect.xz"));
        let mut expected = expected.lines().peekable();
        let mut count = 0;
        wal::walk(&wal::log(major), &mut |record| {
            // The server stops at the position that was the end when it was asked.
            let Some(line) = expected.next() else { return };
            let columns: Vec<&str> = line.split('\t').collect();
            let parts = record.parts().unwrap();
            let header = &record.header;
            let found = [
                record.lsn.to_string(),
                record.end.to_string(),
                header.prev.to_string(),
                header.xid.to_string(),
                header.rmgr.to_string(),
                record.type_name().unwrap_or("UNKNOWN").to_owned(),
                header.total_len.to_string(),
                parts.main.len().to_string(),
                parts.image_bytes.to_string(),
            ];
            assert_eq!(found[..], columns[..9], "{major}: {line}");
            let blocks = columns[9].matches("blkref #").count();
            assert_eq!(blocks, usize::from(parts.block_count), "{line}");
            for block in parts.blocks() {
                let text = format!(
                    "blkref #{}: rel {} fork {} blk {}",
                    block.id, block.relation, block.fork, block.block
                );
                assert!(columns[9].contains(&text), "{text} in {line}");
            }
            assert_eq!(columns[9].contains("FPW"), parts.image_bytes > 0, "{line}");
            count += 1;
        });
        assert_eq!(expected.next(), None, "{major}");
        assert!(count > 2000, "{major}: {count}");
    }
}

#[test]
fn every_record_of_every_major_is_known() {
    for major in MAJORS {
        let log = wal::log(major);
        let (mut count, mut images, mut page) = (0, 0, Vec::new());
        let mut replaced = None;
        let end = wal::walk(&log, &mut |record| {
            count += 1;
            assert_eq!(record.major(), major);
            assert!(record.type_name().is_some(), "{major} {:?}", record.header);
            record.payload().unwrap();
            let parts = record.parts().unwrap();
            assert_eq!(record.image_bytes(), Some(parts.image_bytes));
            assert_eq!(parts.blocks().count(), usize::from(parts.block_count));
            if let Some(lost) = record.replaces {
                assert_eq!(record.type_name(), Some("OVERWRITE_CONTRECORD"));
                assert!(lost < record.lsn);
                replaced = Some(lost);
            }
            for image in parts.blocks().filter_map(|block| block.image) {
                images += 1;
                if !readable(image.compression) {
                    assert!(image.restore(&mut page).is_err());
                    continue;
                }
                image.restore(&mut page).unwrap();
                check_page(&page, major, image.hole_offset, image.hole_length);
            }
        });
        assert!(count > 2000 && images > 50, "{major}: {count} records, {images} images");
        assert!(replaced.is_some(), "{major}: no record was cut off");
        assert!(matches!(end.reason, EndReason::NothingWritten | EndReason::Page { .. }), "{major}: {end}");
        let stop: Lsn = wal::facts(major).iter().find(|(key, _)| key == "end").unwrap().1.parse().unwrap();
        assert!(end.at >= stop, "{major}: {end}, {stop}");
    }
}

const fn readable(compression: ImageCompression) -> bool {
    (cfg!(feature = "lz4") || !matches!(compression, ImageCompression::Lz4))
        && (cfg!(feature = "zstd") || !matches!(compression, ImageCompression::Zstd))
}

/// A data page: its header says its size and, where it follows the usual layout, what the hole is.
fn check_page(page: &[u8], major: u16, hole_offset: u16, hole_length: u16) {
    assert_eq!(page.len(), 8192);
    let word = |at: usize| u16::from_le_bytes([page[at], page[at + 1]]);
    let (lower, upper, special, size_version) = (word(12), word(14), word(16), word(18));
    if page.iter().all(|byte| *byte == 0) {
        return;
    }
    assert_eq!(size_version, 8192 | 4, "{major}");
    assert!(special <= 8192 && upper <= special, "{major}: {lower} {upper} {special}");
    if hole_length > 0 {
        assert_eq!((lower, upper), (hole_offset, hole_offset + hole_length), "{major}");
        assert!(page[usize::from(lower)..usize::from(upper)].iter().all(|byte| *byte == 0));
    }
}

#[test]
fn all_image_compressions_occur() {
    let mut seen = Vec::new();
    for major in [11, 12, 15, 16] {
        wal::walk(&wal::log(major), &mut |record| {
            for image in record.parts().unwrap().blocks().filter_map(|block| block.image) {
                let key = (major, image.compression.name());
                if !seen.contains(&key) {
                    seen.push(key);
                }
            }
        });
    }
    for key in
        [(11, "none"), (12, "pglz"), (15, "pglz"), (15, "lz4"), (15, "zstd"), (15, "none"), (16, "none")]
    {
        assert!(seen.contains(&key), "{key:?} in {seen:?}");
    }
}
