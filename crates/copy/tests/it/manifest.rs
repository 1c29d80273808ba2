//! Manifests: round trips, limits, verification.

use std::io::{self, Read};
use std::sync::atomic::AtomicBool;

use proptest::collection::vec;
use proptest::prelude::*;
use tapster_copy::manifest::{ManifestFile, ManifestReader, ManifestWriter};
use tapster_copy::manifest::{Problem, VerifyError, VerifyOptions, WalRange, verify};
use tapster_copy::{Checksum, ChecksumAlgorithm, ManifestError, Silent};
use walfile::{Lsn, Timeline};

proptest! {
    #[test]
    fn what_is_written_is_read(
        files in vec((vec(any::<u8>(), 1..60), any::<u64>(), 0_u64..200_000_000_000, any::<u32>()), 0..20),
        id: u64,
        ranges in vec((1_u32.., any::<u64>(), any::<u64>()), 0..3),
    ) {
        let ranges: Vec<WalRange> = ranges
            .iter()
            .map(|(tli, start, end)| WalRange::new(Timeline::new(*tli).unwrap(), Lsn::new(*start), Lsn::new(*end)))
            .collect();
        let mut writer = ManifestWriter::new(Vec::new(), 2, Some(id)).unwrap();
        for (path, size, mtime, sum) in &files {
            let sum = Checksum::new(&sum.to_le_bytes());
            writer.file(path, *size, *mtime, ChecksumAlgorithm::Crc32c, sum).unwrap();
        }
        let text = writer.finish(&ranges).unwrap();
        let mut reader = ManifestReader::new(text.as_slice()).unwrap();
        let mut found = ManifestFile::default();
        for (path, size, _, sum) in &files {
            prop_assert!(reader.next_file(&mut found).unwrap());
            prop_assert_eq!(&found.path, path);
            prop_assert_eq!(found.size, *size);
            prop_assert_eq!(found.checksum.as_bytes(), sum.to_le_bytes());
        }
        let summary = reader.finish().unwrap();
        prop_assert_eq!(summary.system_identifier, Some(id));
        prop_assert_eq!(summary.wal_ranges, ranges);
        // serde_json reads it as JSON, too.
        serde_json::from_slice::<serde_json::Value>(&text).unwrap();
    }

    #[test]
    fn any_changed_byte_is_found(at: prop::sample::Index, to: u8) {
        let mut writer = ManifestWriter::new(Vec::new(), 1, None).unwrap();
        writer.file(b"base/1/1", 8192, 0, ChecksumAlgorithm::Crc32c, Checksum::new(&[1, 2, 3, 4])).unwrap();
        let text = writer.finish(&[]).unwrap();
        let mut changed = text.clone();
        let at = at.index(text.len());
        changed[at] = to;
        let result = ManifestReader::new(changed.as_slice()).and_then(ManifestReader::finish);
        // White space in the last line, and the case of the sum's digits, mean nothing.
        let last = text[..text.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap();
        let sum = last + "\n\"Manifest-Checksum\": \"".len();
        let same_digit = at >= sum && text[at].eq_ignore_ascii_case(&to);
        let other_space =
            at > last && at < text.len() - 1 && to.is_ascii_whitespace() && text[at].is_ascii_whitespace();
        prop_assert_eq!(result.is_ok(), changed == text || same_digit || other_space);
    }
}

/// A manifest of a million files that is never in memory as a whole.
struct Endless {
    next: u64,
    end: u64,
    line: Vec<u8>,
    at: usize,
}

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.line.len() {
            if self.next == self.end {
                return Ok(0);
            }
            let comma = if self.next == 0 { "" } else { ",\n" };
            self.line = format!(
                "{comma}{{ \"Path\": \"base/5/{}\", \"Size\": 8192, \"Checksum-Algorithm\": \"CRC32C\", \"Checksum\": \"01020304\" }}",
                self.next
            )
            .into_bytes();
            self.at = 0;
            self.next += 1;
        }
        let length = buffer.len().min(self.line.len() - self.at);
        buffer[..length].copy_from_slice(&self.line[self.at..self.at + length]);
        self.at += length;
        Ok(length)
    }
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_million_files_take_no_memory() {
    let head = &b"{ \"PostgreSQL-Backup-Manifest-Version\": 1,\n\"Files\": ["[..];
    let tail = &b"],\n\"WAL-Ranges\": [],\n\"Manifest-Checksum\": \"00\"}\n"[..];
    let body = Endless { next: 0, end: 1_000_000, line: Vec::new(), at: 0 };
    let before = resident_kib();
    let mut reader = ManifestReader::new(head.chain(body).chain(tail)).unwrap();
    let mut file = ManifestFile::default();
    let mut count = 0;
    while reader.next_file(&mut file).unwrap() {
        count += 1;
    }
    assert_eq!(count, 1_000_000);
    assert_eq!(file.path, b"base/5/999999");
    // Other tests may run in this process, hence the room; the manifest has 100 MB.
    assert!(resident_kib().saturating_sub(before) < 48 * 1024);
    assert!(matches!(reader.finish(), Err(ManifestError::Checksum { .. })));
}

#[test]
fn malformed_manifests_are_refused() {
    let nested =
        format!("{{\"PostgreSQL-Backup-Manifest-Version\": 1,\"Files\":[{{\"x\":{}", "[".repeat(100_000));
    let long =
        format!("{{\"PostgreSQL-Backup-Manifest-Version\": 1,\"Files\":[{{\"Path\":\"{}", "x".repeat(5000));
    let version = "{\"PostgreSQL-Backup-Manifest-Version\": ";
    for text in [
        "",
        "{}",
        "[]",
        "{\"Files\": []}",
        &format!("{version}3}}"),
        &format!("{version}1.0}}"),
        &format!("{version}18446744073709551616}}"),
        &format!("{version}1}}\n"),
        &format!("{version}1,\"Files\":[],\"Files\":[]}}"),
        &format!("{version}1,\"Files\":[{{\"Path\":\"a\"}}]}}"),
        &format!("{version}1,\"Files\":[{{\"Path\":\"a\",\"Size\":-1}}]}}"),
        &format!("{version}1,\"Files\":[{{\"Path\":\"a\",\"Path\":\"b\",\"Size\":1}}]}}"),
        &format!("{version}1,\"Files\":[{{\"Encoded-Path\":\"abc\",\"Size\":1}}]}}"),
        &format!("{version}1,\"Files\":[{{\"Path\":\"\\ud800\",\"Size\":1}}]}}"),
        &nested,
        &long,
    ] {
        let result = ManifestReader::new(text.as_bytes()).and_then(ManifestReader::finish);
        assert!(result.is_err(), "{text:.80}");
    }
}

#[test]
fn verification_names_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    std::fs::create_dir_all(root.join("base/1")).unwrap();
    let names = ["PG_VERSION", "base/1/1", "base/1/2", "base/1/3", "base/1/4"];
    let mut writer = ManifestWriter::new(Vec::new(), 1, None).unwrap();
    for name in names {
        std::fs::write(root.join(name), [7; 5000]).unwrap();
        let mut hasher = ChecksumAlgorithm::Sha256.hasher();
        hasher.update(&[7; 5000]);
        writer.file(name.as_bytes(), 5000, 0, ChecksumAlgorithm::Sha256, Some(hasher.finish())).unwrap();
    }
    writer.file(b"../outside", 0, 0, ChecksumAlgorithm::None, None).unwrap();
    let manifest = root.join("backup_manifest");
    std::fs::write(&manifest, writer.finish(&[]).unwrap()).unwrap();
    let check =
        |stop: bool| verify(&manifest, root, &VerifyOptions::default(), &Silent, &AtomicBool::new(stop));
    let report = check(false).unwrap();
    assert_eq!(report.problem_count, 1, "{:?}", report.problems);
    assert!(matches!(&report.problems[0], Problem::NotAFile { .. }));

    std::fs::remove_file(root.join("base/1/1")).unwrap();
    std::fs::write(root.join("base/1/2"), [7; 4999]).unwrap();
    let mut changed = [7; 5000];
    changed[4999] = 8;
    std::fs::write(root.join("base/1/3"), changed).unwrap();
    std::fs::write(root.join("base/1/new"), b"").unwrap();
    for ignored in ["postgresql.auto.conf", "standby.signal", "recovery.signal"] {
        std::fs::write(root.join(ignored), b"").unwrap();
    }
    let mut problems: Vec<String> = check(false).unwrap().problems.iter().map(ToString::to_string).collect();
    problems.sort();
    assert_eq!(problems.len(), 5, "{problems:#?}");
    assert!(problems[0].contains("../outside"));
    assert!(problems[1].contains("'base/1/1' is in the manifest but not on disk"));
    assert!(problems[2].contains("'base/1/2' has 4999 bytes on disk but 5000"));
    assert!(problems[3].contains("'base/1/3' has the checksum"));
    assert!(problems[4].contains("'base/1/new' is on disk but not in the manifest"));
    assert!(matches!(check(true), Err(VerifyError::Stopped)));
}
