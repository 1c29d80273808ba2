//! Page checksums, against the pages of a real server and the verdict of `pg_checksums`.

use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use tapster_copy::pages::{
    FilePages, PAGE_SIZE, PageReport, PageRules, PageState, page_checksum, relation_segment,
};
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
