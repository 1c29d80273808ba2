//! Chains of backups made here, whose result is known: PostgreSQL's own files are compared with `pg_combinebackup` elsewhere.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use proptest::prelude::*;
use tapster_copy::combine::{
    CombineError, CombineOptions, CombineReport, CombineSource, CopyMethod, HeaderError, MAGIC, combine,
};
use tapster_copy::manifest::{ManifestWriter, VerifyOptions, verify};
use tapster_copy::{ChecksumAlgorithm, Silent, SyncMethod};
use walfile::ControlFile;

const BLOCK: usize = 8192;
const FILE: &str = "base/5/16384";
const PART: &str = "base/5/INCREMENTAL.16384";

fn control() -> Vec<u8> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../walfile/tests/data/17/pg_control.backup");
    std::fs::read(path).unwrap()
}

fn block(fill: u8) -> Vec<u8> {
    vec![fill; BLOCK]
}

fn whole(blocks: &[u8]) -> Vec<u8> {
    blocks.iter().flat_map(|fill| block(*fill)).collect()
}

/// As `basebackup.c` sends it.
fn incremental(truncation: u32, blocks: &BTreeMap<u32, u8>) -> Vec<u8> {
    let mut file: Vec<u8> =
        [MAGIC, blocks.len() as u32, truncation].iter().flat_map(|w| w.to_le_bytes()).collect();
    file.extend(blocks.keys().flat_map(|number| number.to_le_bytes()));
    if !blocks.is_empty() {
        file.resize(file.len().next_multiple_of(BLOCK), 0);
    }
    file.extend(blocks.values().flat_map(|fill| block(*fill)));
    file
}

/// Writes a backup with its label, control file and manifest; number 0 is the full one.
fn backup(root: &Path, number: u32, files: &[(&str, Vec<u8>)]) -> CombineSource {
    let data = root.join(number.to_string());
    let mut label = format!(
        "START WAL LOCATION: 0/{0}000028 (file 00000001000000000000000{0})\nCHECKPOINT LOCATION: 0/{0}000080\n\
         BACKUP METHOD: streamed\nBACKUP FROM: primary\nSTART TIME: 2026-11-21 00:25:13 UTC\nLABEL: x\n\
         START TIMELINE: 1\n",
        number + 1
    );
    if number > 0 {
        label.push_str(&format!("INCREMENTAL FROM LSN: 0/{number}000028\nINCREMENTAL FROM TLI: 1\n"));
    }
    let mut all = vec![
        ("PG_VERSION", b"17\n".to_vec()),
        ("backup_label", label.into_bytes()),
        ("global/pg_control", control()),
    ];
    all.extend(files.iter().cloned());
    let id = ControlFile::parse(&control()).unwrap().system_id.get();
    let mut manifest = ManifestWriter::new(Vec::new(), 2, Some(id)).unwrap();
    for (name, content) in &all {
        std::fs::create_dir_all(data.join(name).parent().unwrap()).unwrap();
        std::fs::write(data.join(name), content).unwrap();
        let mut hasher = ChecksumAlgorithm::Crc32c.hasher();
        hasher.update(content);
        let (size, sum) = (content.len() as u64, Some(hasher.finish()));
        manifest.file(name.as_bytes(), size, 0, ChecksumAlgorithm::Crc32c, sum).unwrap();
    }
    std::fs::create_dir_all(data.join("pg_wal")).unwrap();
    std::fs::write(data.join("backup_manifest"), manifest.finish(&[]).unwrap()).unwrap();
    CombineSource::new(data)
}

fn options() -> CombineOptions {
    let mut options = CombineOptions::default();
    options.sync = SyncMethod::None;
    options
}

fn run(sources: &[CombineSource], target: &Path) -> Result<CombineReport, CombineError> {
    combine(sources, target, &options(), &Silent, &AtomicBool::new(false))
}

fn verified(root: &Path) {
    let (manifest, stop) = (root.join("backup_manifest"), AtomicBool::new(false));
    let report = verify(&manifest, root, &VerifyOptions::default(), &Silent, &stop).unwrap();
    assert!(report.is_ok(), "{:?}", report.problems);
    let label = std::fs::read_to_string(root.join("backup_label")).unwrap();
    assert!(!label.contains("INCREMENTAL") && label.contains("LABEL: x\n"));
    assert!(root.join("global/pg_control").exists());
}

/// What happens to a relation between two backups.
#[derive(Clone, Debug)]
enum Change {
    Write(u32, u8),
    Truncate(u32),
    Extend(u8),
    /// Blocks that a server appends without WAL.
    Zeros(u32),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        (0..12_u32, 1..=255_u8).prop_map(|(at, fill)| Change::Write(at, fill)),
        (0..12_u32).prop_map(Change::Truncate),
        (1..=255_u8).prop_map(Change::Extend),
        (1..3_u32).prop_map(Change::Zeros),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    /// L-B7, L-B19 to L-B22: chains of any length give what the server had, at once and step by step.
    #[test]
    fn l_b19_a_chain_gives_what_the_server_had(
        first in proptest::collection::vec(1..=255_u8, 0..10),
        steps in proptest::collection::vec(proptest::collection::vec(change(), 0..6), 1..5),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        let mut relation = first.clone();
        let mut sources = vec![backup(root, 0, &[(FILE, whole(&first))])];
        for (number, changes) in steps.iter().enumerate() {
            let mut logged = BTreeMap::new();
            let mut limit = None;
            for change in changes {
                match *change {
                    Change::Write(at, fill) => if let Some(place) = relation.get_mut(at as usize) {
                        *place = fill;
                        logged.insert(at, fill);
                    },
                    Change::Truncate(to) => if (to as usize) < relation.len() {
                        relation.truncate(to as usize);
                        logged.retain(|at, _| *at < to);
                        limit = Some(limit.map_or(to, |limit: u32| limit.min(to)));
                    },
                    Change::Extend(fill) => {
                        logged.insert(relation.len() as u32, fill);
                        relation.push(fill);
                    }
                    // After a truncation in the same interval the server itself sends too little.
                    Change::Zeros(count) => if limit.is_none() {
                        relation.extend((0..count).map(|_| 0));
                    },
                }
            }
            let truncation = (relation.len() as u32).max(limit.unwrap_or(0));
            // Blocks that a truncation took and nobody wrote again are not in the summary either.
            let files = [(PART, incremental(truncation, &logged))];
            sources.push(backup(root, number as u32 + 1, &files));
        }
        let target = root.join("out");
        let report = run(&sources, &target).unwrap();
        prop_assert_eq!(report.rebuilt, 1);
        let mut found = std::fs::read(target.join(FILE)).unwrap();
        // A relation that was only cut off keeps its old length in the backup, as with PostgreSQL: replay cuts it again.
        prop_assert!(found.len() >= relation.len() * BLOCK);
        found.truncate(relation.len() * BLOCK);
        prop_assert!(found == whole(&relation));
        verified(&target);

        let mut step = sources[0].clone();
        for (number, source) in sources.iter().enumerate().skip(1) {
            let next = root.join(format!("step{number}"));
            run(&[step, source.clone()], &next).unwrap();
            step = CombineSource::new(next);
        }
        prop_assert!(std::fs::read(step.data.join(FILE)).unwrap() == std::fs::read(target.join(FILE)).unwrap());
    }
}

fn pair(root: &Path) -> [CombineSource; 2] {
    let blocks = BTreeMap::from([(1, 9)]);
    [
        backup(root, 0, &[(FILE, whole(&[1, 2, 3])), ("base/5/1", whole(&[4])), ("base/5/dropped", vec![1])]),
        backup(
            root,
            1,
            &[(PART, incremental(3, &blocks)), ("base/5/INCREMENTAL.1", incremental(1, &BTreeMap::new()))],
        ),
    ]
}

#[test]
fn every_way_of_copying_gives_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    let sources = pair(root);
    for (method, verify) in [
        (CopyMethod::Auto, true),
        (CopyMethod::Copy, false),
        (CopyMethod::CopyFileRange, true),
        (CopyMethod::Link, false),
    ] {
        let target = root.join(format!("{method:?}"));
        let mut options = options();
        (options.method, options.verify) = (method, verify);
        options.manifest = Some(ChecksumAlgorithm::Sha256);
        options.sync = SyncMethod::Fsync;
        match combine(&sources, &target, &options, &Silent, &AtomicBool::new(false)) {
            // Not every file system has it.
            Err(CombineError::Method { .. }) if method == CopyMethod::CopyFileRange => continue,
            result => result.unwrap(),
        };
        assert!(std::fs::read(target.join(FILE)).unwrap() == whole(&[1, 9, 3]));
        assert!(std::fs::read(target.join("base/5/1")).unwrap() == whole(&[4]));
        assert!(!target.join("base/5/dropped").exists());
        verified(&target);
    }
    use std::os::unix::fs::MetadataExt;
    let links = |name: &str| std::fs::metadata(root.join("Link").join(name)).unwrap().nlink();
    assert_eq!((links("base/5/1"), links(FILE), links("global/pg_control")), (2, 1, 1));
}

#[test]
fn a_dry_run_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = options();
    options.dry_run = true;
    // What is listed and left out is not missing.
    options.excludes = vec!["/PG_VERSION".to_owned()];
    let target = dir.path().join("out");
    let report = combine(&pair(dir.path()), &target, &options, &Silent, &AtomicBool::new(false)).unwrap();
    assert_eq!(report.rebuilt, 2);
    assert!(!target.exists());
}

/// Whatever is wrong: an error that says so, and nothing a server would start on.
#[test]
fn what_is_wrong_is_found_and_leaves_nothing_to_start() {
    type Harm = fn(&Path);
    let harms: [(&str, Harm); 11] = [
        ("is not as its CRC32C checksum", |root| flip(&root.join("0").join(FILE))),
        ("is not as its CRC32C checksum", |root| flip(&root.join("1").join(PART))),
        ("is not as its CRC32C checksum", |root| flip(&root.join("1/PG_VERSION"))),
        ("is not as its CRC32C checksum", |root| append(&root.join("1/backup_label"), b"X: y\n")),
        ("lists file \"PG_VERSION\", which is missing", |root| {
            std::fs::remove_file(root.join("1/PG_VERSION")).unwrap();
        }),
        ("lists file \"base/5/INCREMENTAL.1\", which is missing", |root| {
            std::fs::remove_file(root.join("1/base/5/INCREMENTAL.1")).unwrap();
        }),
        ("no backup before", |root| std::fs::remove_file(root.join("0").join(FILE)).unwrap()),
        ("contains no entry for file \"extra\"", |root| append(&root.join("1/extra"), b"x")),
        ("too short: expected 16384", |root| {
            let file = std::fs::File::options().write(true).open(root.join("1").join(PART)).unwrap();
            file.set_len(16000).unwrap();
        }),
        ("bad incremental magic number", |root| std::fs::write(root.join("1").join(PART), [0; 12]).unwrap()),
        ("pg_control", |root| flip_at(&root.join("0/global/pg_control"), 100)),
    ];
    for (text, harm) in harms {
        let dir = tempfile::tempdir().unwrap();
        let sources = pair(dir.path());
        harm(dir.path());
        let target = dir.path().join("out");
        let error = run(&sources, &target).unwrap_err();
        assert!(error.to_string().contains(text), "{error}");
        assert!(!target.join("global/pg_control").exists() && !target.join("backup_manifest").exists());
    }
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("out");
    let stopped = combine(&pair(dir.path()), &target, &options(), &Silent, &AtomicBool::new(true));
    assert!(matches!(stopped, Err(CombineError::Stopped)));
    assert!(!target.join("global/pg_control").exists());
}

fn flip(path: &Path) {
    let length = std::fs::metadata(path).unwrap().len() as usize;
    flip_at(path, length - 1);
}

fn flip_at(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

fn append(path: &Path, text: &[u8]) {
    let mut bytes = std::fs::read(path).unwrap_or_default();
    bytes.extend_from_slice(text);
    std::fs::write(path, bytes).unwrap();
}

/// L-B4: what is no chain is no backup.
#[test]
fn l_b4_backups_that_are_no_chain_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let [full, first] = pair(dir.path());
    let second = backup(dir.path(), 2, &[(PART, incremental(3, &BTreeMap::new()))]);
    let target = dir.path().join("out");
    let refused = |sources: &[&CombineSource]| {
        let sources: Vec<CombineSource> = sources.iter().map(|source| (*source).clone()).collect();
        run(&sources, &target).unwrap_err()
    };
    assert!(matches!(refused(&[]), CombineError::NoBackups));
    assert!(matches!(refused(&[&first]), CombineError::NotFull { .. }));
    assert!(matches!(refused(&[&full, &second]), CombineError::StartPosition { .. }));
    assert!(matches!(refused(&[&full, &full]), CombineError::NotIncremental { .. }));
    assert!(matches!(refused(&[&full, &first, &first]), CombineError::StartPosition { .. }));
    std::fs::write(full.data.join(PART), incremental(1, &BTreeMap::new())).unwrap();
    assert!(matches!(refused(&[&full]), CombineError::UnexpectedIncremental { .. }));
    assert!(!target.join("global/pg_control").exists());
}

/// L-B34: the file of a server without the cap is taken for a whole segment, and told.
#[test]
fn l_b34_a_truncation_length_beyond_the_segment() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = options();
    options.verify = false;
    let sources = [
        backup(dir.path(), 0, &[("base/5/16384.1", whole(&[1, 2]))]),
        backup(dir.path(), 1, &[("base/5/INCREMENTAL.16384.1", incremental(131_073, &BTreeMap::new()))]),
    ];
    options.dry_run = true;
    let target = dir.path().join("out");
    let report = combine(&sources, &target, &options, &Silent, &AtomicBool::new(false)).unwrap();
    assert_eq!((report.oversized, report.rebuilt), (1, 1));
    let count = [MAGIC, 131_073, 0].iter().flat_map(|w| w.to_le_bytes()).collect::<Vec<u8>>();
    std::fs::write(sources[1].data.join("base/5/INCREMENTAL.16384.1"), count).unwrap();
    let error = combine(&sources, &target, &options, &Silent, &AtomicBool::new(false)).unwrap_err();
    assert!(matches!(error, CombineError::Header { source: HeaderError::BlockCount { .. }, .. }), "{error}");
}

/// Raises the stop flag at the file or piece of data that it is told.
struct StopAt<'a> {
    left: std::sync::atomic::AtomicI64,
    stop: &'a AtomicBool,
}

impl tapster_copy::CopyObserver for StopAt<'_> {
    fn bytes(&self, _: u64) {
        if self.left.fetch_sub(1, std::sync::atomic::Ordering::Relaxed) <= 0 {
            self.stop.store(true, std::sync::atomic::Ordering::Relaxed);
        }
    }
}

/// Wherever it ends, no server starts on what is there, and a second run over it does not take it for its own.
#[test]
fn stopped_anywhere_it_leaves_nothing_to_start() {
    let dir = tempfile::tempdir().unwrap();
    let sources = pair(dir.path());
    let mut stopped = 0;
    for left in 0.. {
        let target = dir.path().join(format!("out{left}"));
        let stop = AtomicBool::new(false);
        let observer = StopAt { left: left.into(), stop: &stop };
        match combine(&sources, &target, &options(), &observer, &stop) {
            Ok(_) => {
                verified(&target);
                break;
            }
            Err(CombineError::Stopped) => {
                stopped += 1;
                assert!(
                    !target.join("global/pg_control").exists() || target.join("backup_manifest.tmp").exists()
                );
                assert!(!target.join("backup_manifest").exists());
                assert!(run(&sources, &target).is_err(), "it is not empty");
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert!(stopped > 3, "{stopped}");
}
