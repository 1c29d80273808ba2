//! Copies over what is there already: nothing stale survives, nothing right is written again.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::SystemTime;

use tapster_copy::delta::{Prune, PruneOptions, Sums, disarm};
use tapster_copy::manifest::{self, ManifestWriter};
use tapster_copy::tar::member_header;
use tapster_copy::tree::{OverTree, Plan, TreeOptions, TreeReport};
use tapster_copy::{ChecksumAlgorithm, ExtractOptions, Silent, TarExtractor};

const FILES: [(&str, usize); 7] = [
    ("PG_VERSION", 3),
    ("base/1/1259", 1_000_000),
    ("base/1/1260", 300_000),
    ("base/1/1261", 8192),
    ("base/1/empty", 0),
    ("base/5/1", 8192),
    ("global/pg_control", 8192),
];

fn content(name: &str, size: usize) -> Vec<u8> {
    let seed = name.bytes().fold(7_usize, |seed, byte| seed * 31 % 251 + usize::from(byte));
    (0..size).map(|n| ((n / 5 + seed) % 251) as u8).collect()
}

fn cluster(root: &Path) {
    for (name, size) in FILES {
        let path = root.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content(name, size)).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    std::fs::create_dir_all(root.join("pg_wal/archive_status")).unwrap();
}

fn manifest(root: &Path) {
    let mut writer = ManifestWriter::new(Vec::new(), 2, Some(1)).unwrap();
    for (name, size) in FILES {
        let mut hasher = ChecksumAlgorithm::Crc32c.hasher();
        hasher.update(&content(name, size));
        let sum = Some(hasher.finish());
        writer.file(name.as_bytes(), size as u64, 0, ChecksumAlgorithm::Crc32c, sum).unwrap();
    }
    std::fs::write(root.join(manifest::FILE_NAME), writer.finish(&[]).unwrap()).unwrap();
}

/// Every name below `root` but the manifest, with what it is.
fn listed(root: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut pending = vec![root.to_owned()];
    while let Some(dir) = pending.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            let kind = std::fs::symlink_metadata(&path).unwrap();
            let is = if kind.is_symlink() {
                format!("link to {:?}", std::fs::read_link(&path).unwrap())
            } else if kind.is_dir() {
                pending.push(path);
                "directory".to_owned()
            } else {
                format!("{:o} {:?}", kind.mode(), manifest_free(&path))
            };
            if name != manifest::FILE_NAME {
                found.push((name, is));
            }
        }
    }
    found.sort();
    found
}

fn manifest_free(path: &Path) -> u32 {
    let mut hasher = ChecksumAlgorithm::Crc32c.hasher();
    hasher.update(&std::fs::read(path).unwrap());
    let sum = hasher.finish();
    u32::from_le_bytes(sum.as_bytes().try_into().unwrap())
}

/// All that a directory can have that it should not.
fn spoil(root: &Path, outside: &Path) {
    let at = |name: &str| root.join(name);
    // The same size, the same times.
    let times = std::fs::metadata(at("base/1/1259")).unwrap().modified().unwrap();
    let mut bytes = std::fs::read(at("base/1/1259")).unwrap();
    bytes[500_000] ^= 1;
    std::fs::write(at("base/1/1259"), bytes).unwrap();
    std::fs::File::options().write(true).open(at("base/1/1259")).unwrap().set_modified(times).unwrap();
    // A link where a file is to be; its content is right.
    std::fs::copy(at("base/1/1260"), outside.join("1260")).unwrap();
    std::fs::remove_file(at("base/1/1260")).unwrap();
    symlink(outside.join("1260"), at("base/1/1260")).unwrap();
    // A second name, whose content is not to change.
    std::fs::write(at("base/1/1261"), b"another").unwrap();
    std::fs::hard_link(at("base/1/1261"), outside.join("1261")).unwrap();
    std::fs::write(at("base/1/empty"), b"no more").unwrap();
    // A file where a directory is to be, a directory where a file is to be.
    std::fs::remove_dir_all(at("base/5")).unwrap();
    std::fs::write(at("base/5"), b"x").unwrap();
    std::fs::remove_file(at("PG_VERSION")).unwrap();
    std::fs::create_dir_all(at("PG_VERSION/deep")).unwrap();
    // What is not to be there at all.
    std::fs::create_dir_all(at("base/16384")).unwrap();
    for name in ["base/16384/1", "standby.signal", "backup_label.old", "pg_wal/000000010000000000000009"] {
        std::fs::write(at(name), b"stale").unwrap();
    }
    symlink(outside, at("pg_tblspc")).unwrap();
}

fn over(from: &Path, to: &Path, sums: Option<Sums>) -> TreeReport {
    let mut options = TreeOptions::default();
    let mut over = OverTree::default();
    over.sums = sums;
    options.over = Some(over);
    let plan = Plan::new(from, options).unwrap();
    disarm(to).unwrap();
    Prune::plan(to, &plan.inventory(), &PruneOptions::default())
        .unwrap()
        .execute(&AtomicBool::new(false))
        .unwrap();
    plan.execute(to, &Silent, &AtomicBool::new(false)).unwrap()
}

#[test]
fn a_tree_becomes_as_its_source_whatever_was_there() {
    for with_manifest in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let (from, to, outside) =
            (dir.path().join("from"), dir.path().join("to"), dir.path().join("outside"));
        cluster(&from);
        std::fs::create_dir(&outside).unwrap();
        if with_manifest {
            manifest(&from);
        }
        let sums = || Sums::read(&from).unwrap();
        assert_eq!(sums().is_some(), with_manifest);
        Plan::new(&from, TreeOptions::default())
            .unwrap()
            .execute(&to, &Silent, &AtomicBool::new(false))
            .unwrap();
        // Times say nothing: neither that a file is another one, nor that it is the same.
        let times: Vec<_> = FILES.iter().map(|(name, _)| to.join(name)).collect();
        for path in &times {
            std::fs::File::options()
                .write(true)
                .open(path)
                .unwrap()
                .set_modified(SystemTime::UNIX_EPOCH)
                .unwrap();
        }
        let inode = |name: &str| std::fs::metadata(to.join(name)).unwrap().ino();
        let before = inode("base/1/1259");
        let report = over(&from, &to, sums());
        // But the control file, which was taken away.
        assert_eq!(report.kept, FILES.len() as u64 - 1 + u64::from(with_manifest));
        assert_eq!(listed(&to), listed(&from));
        spoil(&to, &outside);
        let report = over(&from, &to, sums());
        assert_eq!(listed(&to), listed(&from));
        assert_eq!(report.kept, u64::from(with_manifest), "the manifest itself");
        // In place, as long as nothing else has the file.
        assert_eq!(inode("base/1/1259"), before);
        assert_eq!(std::fs::read(outside.join("1261")).unwrap(), b"another");
        assert_eq!(std::fs::read(outside.join("1260")).unwrap(), content("base/1/1260", 300_000));
    }
}

/// What the checksum says is right is not read from the backup at all.
#[test]
fn a_file_the_manifest_finds_right_outlives_a_damaged_backup() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    cluster(&from);
    manifest(&from);
    Plan::new(&from, TreeOptions::default()).unwrap().execute(&to, &Silent, &AtomicBool::new(false)).unwrap();
    let mut damaged = content("base/1/1259", 1_000_000);
    damaged[3] ^= 1;
    std::fs::write(from.join("base/1/1259"), damaged).unwrap();
    over(&from, &to, Sums::read(&from).unwrap());
    assert_eq!(std::fs::read(to.join("base/1/1259")).unwrap(), content("base/1/1259", 1_000_000));
    // Without checksums a manifest proves nothing.
    let mut writer = ManifestWriter::new(Vec::new(), 2, Some(1)).unwrap();
    writer.file(b"PG_VERSION", 3, 0, ChecksumAlgorithm::None, None).unwrap();
    std::fs::write(from.join(manifest::FILE_NAME), writer.finish(&[]).unwrap()).unwrap();
    assert!(Sums::read(&from).unwrap().is_none());
}

#[test]
fn archives_go_over_what_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to, outside) = (dir.path().join("from"), dir.path().join("to"), dir.path().join("outside"));
    cluster(&from);
    std::fs::create_dir(&outside).unwrap();
    let mut archive = Vec::new();
    let mut directories: Vec<&str> =
        vec!["base/", "base/1/", "base/5/", "global/", "pg_wal/", "pg_wal/archive_status/"];
    directories.sort_unstable();
    for name in directories {
        archive.extend_from_slice(&member_header(name, 0, 0o700, 0).unwrap());
    }
    for (name, size) in FILES {
        archive.extend_from_slice(&member_header(name, size as u64, 0o600, 0).unwrap());
        archive.extend_from_slice(&content(name, size));
        archive.resize(archive.len().next_multiple_of(512), 0);
    }
    archive.resize(archive.len() + 1024, 0);
    let extract = |over: bool| {
        let mut options = ExtractOptions::default();
        options.over = over;
        let mut extractor = TarExtractor::create(&to, options).unwrap();
        extractor.start_archive(None).unwrap();
        for piece in archive.chunks(70_001) {
            extractor.feed(piece)?;
        }
        extractor.finish()
    };
    assert_eq!(extract(false).unwrap().kept, 0);
    assert!(extract(false).is_err(), "nothing is overwritten unless told");
    spoil(&to, &outside);
    disarm(&to).unwrap();
    let plan = Plan::new(&from, TreeOptions::default()).unwrap();
    Prune::plan(&to, &plan.inventory(), &PruneOptions::default())
        .unwrap()
        .execute(&AtomicBool::new(false))
        .unwrap();
    assert_eq!(extract(true).unwrap().kept, 0);
    assert_eq!(listed(&to), listed(&from));
    disarm(&to).unwrap();
    let report = extract(true).unwrap();
    assert_eq!((report.kept, report.files), (FILES.len() as u64 - 1, FILES.len() as u64));
    assert_eq!(listed(&to), listed(&from));
    assert_eq!(std::fs::read(outside.join("1261")).unwrap(), b"another");
}
