//! Page checksums, against the pages of a real server and the verdict of `pg_checksums`.

use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use tapster_copy::archive::{ArchiveOptions, ArchiveWriter};
use tapster_copy::extract::TablespaceTarget;
use tapster_copy::pages::{
    FilePages, PAGE_SIZE, PageReport, PageRules, PageState, page_checksum, relation_segment,
};
use tapster_copy::tar::member_header;
use tapster_copy::{ExtractOptions, TarExtractor};
use walfile::{ControlFile, Lsn};

use crate::server::Cluster;

/// Every page of every relation below `root`, and the bytes that make no page.
fn verify(root: &Path, rules: PageRules) -> PageReport {
    let mut report = PageReport::default();
    let mut pending = vec![PathBuf::new()];
    while let Some(directory) = pending.pop() {
        for entry in std::fs::read_dir(root.join(&directory)).unwrap() {
            let entry = entry.unwrap();
            let path = directory.join(entry.file_name());
            if entry.path().is_dir() {
                pending.push(path);
            } else if let Some(segment) = relation_segment(&path) {
                let mut pages = FilePages::new(rules, segment);
                let bytes = std::fs::read(entry.path()).unwrap();
                for (index, piece) in bytes.chunks(100_000).enumerate() {
                    pages.feed(index as u64 * 100_000, piece, |suspect| report.add(&path, &suspect));
                }
                report.count(&pages.finish());
            }
        }
    }
    report
}

/// File and block, and the checksum there and what it should be.
type Verdict = BTreeMap<(PathBuf, u64), (u16, u16)>;

/// What `pg_checksums --check` says: pages seen, and the bad ones.
fn judged(cluster: &Cluster) -> (u64, Verdict) {
    let output = cluster.command("pg_checksums", &["--check", "-D", &cluster.text("data")]);
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    let blocks = out.lines().find_map(|line| line.strip_prefix("Blocks scanned:")).unwrap();
    let hex = |text: &str| u16::from_str_radix(text, 16).unwrap();
    let bad = err.lines().filter_map(|line| line.split_once("failed in file \"")).map(|(_, rest)| {
        let (path, rest) = rest.split_once("\", block ").unwrap();
        let (block, rest) = rest.split_once(": calculated checksum ").unwrap();
        let (calculated, stored) = rest.split_once(" but block contains ").unwrap();
        let path = Path::new(path).strip_prefix(cluster.path("data")).unwrap().to_path_buf();
        ((path, block.parse().unwrap()), (hex(stored), hex(calculated)))
    });
    (blocks.trim().parse().unwrap(), bad.collect())
}

#[test]
fn pg_checksums_finds_the_same_pages() {
    let Some(cluster) = Cluster::start() else {
        eprintln!("skipped: no PostgreSQL found");
        return;
    };
    let host = cluster.text("");
    cluster.run(
        "psql",
        &[
            "-h",
            &host,
            "-U",
            "postgres",
            "-qc",
            "create table t as select g, repeat('x', g % 300) from generate_series(1, 50000) g; create index on t (g)",
            "-c",
            "vacuum t",
            "-c",
            "create unlogged table u as select g from generate_series(1, 1000) g",
        ],
    );
    cluster.run("pg_ctl", &["-D", &cluster.text("data"), "-m", "fast", "-w", "stop"]);
    let data = cluster.path("data");
    let control = ControlFile::parse(&std::fs::read(data.join("global/pg_control")).unwrap()).unwrap();
    let rules = PageRules::of(&control, Lsn::new(u64::MAX)).unwrap();
    assert_eq!(rules.segment_blocks, 131_072);

    let (blocks, bad) = judged(&cluster);
    let report = verify(&data, rules);
    assert!(bad.is_empty() && report.bad == 0, "{bad:?} {report}");
    assert_eq!(report.good, blocks);

    // Broken in the middle, at the place of the sum, swapped; and a second segment with one page that is at its place.
    let database = std::fs::read_dir(data.join("base")).unwrap().map(|e| e.unwrap().path()).max_by_key(|d| {
        std::fs::read_dir(d).unwrap().map(|f| f.unwrap().metadata().unwrap().len()).sum::<u64>()
    });
    let mut files: Vec<_> =
        std::fs::read_dir(database.unwrap()).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort_by_key(|path| std::cmp::Reverse(path.metadata().unwrap().len()));
    let file = std::fs::File::options().read(true).write(true).open(&files[0]).unwrap();
    let mut pages = vec![[0; PAGE_SIZE]; 3];
    for (index, page) in pages.iter_mut().enumerate() {
        file.read_exact_at(page, (index * PAGE_SIZE) as u64).unwrap();
    }
    file.write_all_at(&[0xa5], 7 * PAGE_SIZE as u64 + 5000).unwrap();
    file.write_all_at(&[1, 2], 9 * PAGE_SIZE as u64 + 8).unwrap();
    file.write_all_at(&pages[1], 2 * PAGE_SIZE as u64).unwrap();
    file.write_all_at(&pages[2], PAGE_SIZE as u64).unwrap();
    let mut moved = pages[0];
    let sum = page_checksum(&moved, 131_073);
    moved[8..10].copy_from_slice(&sum.to_le_bytes());
    let second = format!("{}.1", files[0].to_str().unwrap());
    std::fs::write(&second, [pages[0], moved].concat()).unwrap();
    std::fs::set_permissions(&second, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();

    let (_, bad) = judged(&cluster);
    let report = verify(&data, rules);
    let found = report.pages.iter().map(|page| match page.state {
        PageState::Bad { stored, calculated } => {
            ((page.path.clone(), page.offset / PAGE_SIZE as u64), (stored, calculated))
        }
        other => panic!("{other:?}"),
    });
    assert_eq!(found.collect::<Verdict>(), bad);
    assert_eq!(bad.len(), 5, "{bad:?}");
    // What changed since the start of a backup is left to the WAL.
    let report = verify(&data, PageRules { start: Lsn::new(0), ..rules });
    assert_eq!(report.bad, 0);
}

/// A page with a right checksum for `block`.
fn page(lsn: u64, block: u32, fill: u8) -> [u8; PAGE_SIZE] {
    let mut page = [fill; PAGE_SIZE];
    page[..8].copy_from_slice(&lsn.rotate_left(32).to_le_bytes());
    let sum = page_checksum(&page, block);
    page[8..10].copy_from_slice(&sum.to_le_bytes());
    page
}

/// The members of a stream, one page of each kind among them, and what must be said about it.
fn broken_stream(prefix: &str) -> (Vec<u8>, String) {
    let mut broken = page(5, 2, 4);
    broken[5000] ^= 1;
    let mut torn_new = [0; PAGE_SIZE];
    torn_new[5000] = 1;
    let table = [page(5, 0, 1), [0; PAGE_SIZE], broken, page(0x2000, 77, 5), torn_new].concat();
    let second = [page(5, 4, 1), page(5, 1, 1)].concat();
    let mut files = vec![
        (format!("{prefix}5/16384"), table),
        (format!("{prefix}5/16384.1"), second),
        (format!("{prefix}5/t3_16384"), vec![7; PAGE_SIZE]),
        (format!("{prefix}5/INCREMENTAL.16385"), vec![7; PAGE_SIZE]),
    ];
    if prefix == "base/" {
        files.push(("global/pg_control".to_owned(), vec![7; PAGE_SIZE]));
    }
    let mut bytes = Vec::new();
    for directory in [prefix.to_owned(), format!("{prefix}5/"), "global/".to_owned()] {
        bytes.extend(member_header(&directory, 0, 0o700, 0).unwrap());
    }
    for (name, content) in files {
        bytes.extend(member_header(&name, content.len() as u64, 0o600, 0).unwrap());
        bytes.extend(content);
    }
    bytes.extend([0; 1024]);
    let listed = if prefix == "base/" { "base/5/16384" } else { "pg_tblspc/99/PG_15_1/5/16384" };
    (bytes, format!("{listed} block 2, {listed}.1 block 5"))
}

fn named(report: &PageReport) -> String {
    let pages = report.pages.iter().map(|page| format!("{} block {}", page.path.display(), page.block));
    pages.collect::<Vec<_>>().join(", ")
}

#[test]
fn bad_pages_in_a_stream_are_named() {
    let rules = PageRules { segment_blocks: 4, start: Lsn::new(0x1000) };
    let (base, in_base) = broken_stream("base/");
    let (space, in_space) = broken_stream("PG_15_1/");
    let expected = format!("{in_base}, {in_space}");
    for size in [700, 8192, 100_000] {
        let dir = tempfile::tempdir().unwrap();
        let mut options = ExtractOptions::default();
        options.pages = Some(rules);
        options.tablespaces.insert(99, TablespaceTarget::Directory(dir.path().join("99")));
        let mut extractor = TarExtractor::create(&dir.path().join("data"), options).unwrap();
        for (oid, bytes) in [(None, &base), (Some(99), &space)] {
            extractor.start_archive(oid).unwrap();
            bytes.chunks(size).for_each(|piece| extractor.feed(piece).unwrap());
        }
        let report = extractor.finish().unwrap().pages.unwrap();
        assert_eq!((named(&report), report.bad, report.good), (expected.clone(), 4, 8), "pieces of {size}");

        let mut options = ArchiveOptions::default();
        options.inspect = true;
        options.pages = Some(rules);
        let mut writer = ArchiveWriter::create(&dir.path().join("tar"), options).unwrap();
        for (oid, bytes) in [(None, &base), (Some(99), &space)] {
            writer.start_archive(oid).unwrap();
            bytes.chunks(size).for_each(|piece| writer.feed(piece).unwrap());
        }
        let report = writer.finish().unwrap().pages.unwrap();
        assert_eq!((named(&report), report.bad, report.good), (expected.clone(), 4, 8), "pieces of {size}");
    }
}
