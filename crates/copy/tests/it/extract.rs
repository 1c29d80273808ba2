//! Extraction of made-up streams: order, damage, full disks.

use std::path::Path;

use tapster_copy::extract::TablespaceTarget;
use tapster_copy::tar::{member_header, padding};
use tapster_copy::{
    ChecksumAlgorithm, ExtractError, ExtractOptions, ExtractReport, ManifestWriter, SyncMethod, TarExtractor,
};

type Files<'a> = &'a [(&'a str, Vec<u8>)];

fn stream(files: Files<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for name in ["global/", "base/"] {
        bytes.extend_from_slice(&member_header(name, 0, 0o700, 0).unwrap());
    }
    for (name, content) in files {
        let size = content.len() as u64;
        bytes.extend_from_slice(&member_header(name, size, 0o644, 0).unwrap());
        bytes.extend_from_slice(content);
        bytes.resize(bytes.len() + padding(size) as usize, 0);
    }
    bytes
}

fn manifest(files: Files<'_>, algorithm: ChecksumAlgorithm) -> Vec<u8> {
    let mut writer = ManifestWriter::new(Vec::new(), 1, None).unwrap();
    for (name, content) in files {
        let mut hasher = algorithm.hasher();
        hasher.update(content);
        let sum = Some(hasher.finish());
        writer.file(name.as_bytes(), content.len() as u64, 0, algorithm, sum).unwrap();
    }
    writer.finish(&[]).unwrap()
}

fn run(
    root: &Path,
    options: ExtractOptions,
    tar: &[u8],
    manifest: &[u8],
) -> Result<ExtractReport, ExtractError> {
    let mut extractor = TarExtractor::create(root, options)?;
    extractor.start_archive(None)?;
    tar.chunks(700).try_for_each(|piece| extractor.feed(piece))?;
    extractor.start_manifest()?;
    manifest.chunks(300).try_for_each(|piece| extractor.feed(piece))?;
    extractor.finish()
}

fn options(algorithm: ChecksumAlgorithm, sync: SyncMethod) -> ExtractOptions {
    let mut options = ExtractOptions::default();
    options.checksum = Some(algorithm);
    options.sync = sync;
    options
}

#[test]
fn without_the_manifest_that_was_asked_for_it_is_no_backup() {
    let dir = tempfile::tempdir().unwrap();
    let mut extractor =
        TarExtractor::create(dir.path(), options(ChecksumAlgorithm::Crc32c, SyncMethod::Fsync)).unwrap();
    extractor.start_archive(None).unwrap();
    extractor.feed(&stream(&[("global/pg_control", vec![1; 512])])).unwrap();
    assert!(matches!(extractor.finish(), Err(ExtractError::Sequence { .. })));
    assert!(!dir.path().join("global/pg_control").exists());
}

fn sample() -> Vec<(&'static str, Vec<u8>)> {
    let big = (0..3_000_000_u32).map(|n| (n / 7) as u8).collect();
    vec![
        ("backup_label", b"START WAL\n".to_vec()),
        ("base/empty", Vec::new()),
        ("base/big", big),
        ("base/odd", vec![9; 8191]),
        ("global/pg_control", vec![5; 8192]),
    ]
}

fn no_half_truth(root: &Path) {
    assert!(!root.join("global/pg_control").exists());
    assert!(!root.join("backup_manifest").exists());
}

#[test]
fn every_algorithm_and_sync_method() {
    use ChecksumAlgorithm::{Crc32c, None, Sha224, Sha256, Sha384, Sha512};
    for algorithm in [None, Crc32c, Sha224, Sha256, Sha384, Sha512] {
        for sync in [SyncMethod::None, SyncMethod::Fsync, SyncMethod::Syncfs] {
            let dir = tempfile::tempdir().unwrap();
            let root = dir.path().join("data");
            let (files, mut listed) = (sample(), sample());
            // The order of the manifest may differ.
            listed.reverse();
            let report =
                run(&root, options(algorithm, sync), &stream(&files), &manifest(&listed, algorithm)).unwrap();
            assert_eq!(report.files, 5);
            assert_eq!(report.manifest.unwrap().files, 5);
            for (name, content) in files {
                assert_eq!(std::fs::read(root.join(name)).unwrap(), content);
            }
            assert!(!root.join("backup_manifest.tmp").exists());
        }
    }
}

#[test]
fn modes_are_what_postgresql_demands() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let files = sample();
    let bytes = [member_header("pg_stat/", 0, 0o777, 0).unwrap().to_vec(), stream(&files)].concat();
    let crc = ChecksumAlgorithm::Crc32c;
    run(dir.path(), options(crc, SyncMethod::None), &bytes, &manifest(&files, crc)).unwrap();
    let mode = |name: &str| std::fs::metadata(dir.path().join(name)).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode("base/odd"), 0o640);
    assert_eq!(mode("global/pg_control"), 0o640);
    assert_eq!(mode("base"), 0o700);
    assert_eq!(mode("pg_stat"), 0o750);
}

#[test]
fn differences_from_the_manifest_are_named() {
    let crc = ChecksumAlgorithm::Crc32c;
    let sent = sample();
    let mut corrupted = sample();
    corrupted[2].1[1_234_567] ^= 1;
    let mut longer = sample();
    longer[3].1.push(1);
    let mut missing = sample();
    missing.remove(0);
    let mut extra = sample();
    extra.insert(1, ("base/more", vec![1]));
    type Check = fn(&ExtractError) -> bool;
    let cases: [(_, Check); 4] = [
        (&corrupted, |error| matches!(error, ExtractError::Checksum { path, .. } if path == "base/big")),
        (
            &longer,
            |error| matches!(error, ExtractError::Size { path, expected: 8191, found: 8192 } if path == "base/odd"),
        ),
        (&missing, |error| matches!(error, ExtractError::Missing { path } if path == "backup_label")),
        (&extra, |error| matches!(error, ExtractError::Extra { path } if path == "base/more")),
    ];
    for (files, check) in cases {
        let dir = tempfile::tempdir().unwrap();
        let listed = manifest(&sent, crc);
        let error = run(dir.path(), options(crc, SyncMethod::Fsync), &stream(files), &listed).unwrap_err();
        assert!(check(&error), "{error}");
        no_half_truth(dir.path());
    }
    let dir = tempfile::tempdir().unwrap();
    let listed = manifest(&sent, ChecksumAlgorithm::Sha256);
    let error = run(dir.path(), options(crc, SyncMethod::None), &stream(&sent), &listed).unwrap_err();
    assert!(matches!(error, ExtractError::Algorithm { .. }), "{error}");
    // A manifest cut short, and one with a byte changed.
    for damage in [
        |bytes: &mut Vec<u8>| bytes.truncate(bytes.len() / 2),
        |bytes: &mut Vec<u8>| {
            let at = bytes.windows(4).position(|window| window == b"1970").unwrap();
            bytes[at] = b'2';
        },
    ] {
        let dir = tempfile::tempdir().unwrap();
        let mut listed = manifest(&sent, crc);
        damage(&mut listed);
        let error = run(dir.path(), options(crc, SyncMethod::None), &stream(&sent), &listed).unwrap_err();
        assert!(matches!(error, ExtractError::Manifest(_)), "{error}");
        no_half_truth(dir.path());
    }
}

#[test]
fn an_interrupted_backup_does_not_look_finished() {
    let (files, crc) = (sample(), ChecksumAlgorithm::Crc32c);
    let bytes = stream(&files);
    for cut in [100, 600, 5000, bytes.len() - 1] {
        let dir = tempfile::tempdir().unwrap();
        run(dir.path(), options(crc, SyncMethod::None), &bytes[..cut], &manifest(&files, crc)).unwrap_err();
        no_half_truth(dir.path());
    }
    let dir = tempfile::tempdir().unwrap();
    let without = &files[..4];
    let error = run(dir.path(), options(crc, SyncMethod::None), &stream(without), &manifest(without, crc))
        .unwrap_err();
    assert!(matches!(error, ExtractError::NoControlFile), "{error}");
}

#[test]
fn a_full_disk_leaves_no_half_truth() {
    let dir = tempfile::tempdir().unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
        .arg(dir.path())
        .status()
        .is_ok_and(|status| status.success());
    if !mounted {
        eprintln!("skipped: a small tmpfs cannot be mounted");
        return;
    }
    let (files, crc) = (sample(), ChecksumAlgorithm::Crc32c);
    let root = dir.path().join("data");
    let result = run(&root, options(crc, SyncMethod::Fsync), &stream(&files), &manifest(&files, crc));
    let half_truth = root.join("global/pg_control").exists() || root.join("backup_manifest").exists();
    assert!(std::process::Command::new("umount").arg(dir.path()).status().unwrap().success());
    let error = result.unwrap_err().to_string();
    assert!(error.contains("cannot write") && error.contains("base/big"), "{error}");
    assert!(!half_truth);
}

/// The same bytes are stored once; whatever else is the same, other bytes are not taken for them.
#[test]
fn what_an_earlier_backup_has_is_shared_and_nothing_else() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (dir.path().join("first"), dir.path().join("second"));
    let page = |fill: u8| vec![fill; 700_000];
    let mut changed = page(3);
    let old: Vec<(&str, Vec<u8>)> = vec![
        ("backup_label", b"START".to_vec()),
        ("base/same", page(1)),
        ("base/empty", Vec::new()),
        ("base/grown", page(2)),
        ("base/changed", changed.clone()),
        ("base/open", page(4)),
        ("base/rotten", page(5)),
        ("base/link", page(6)),
        ("base/gone", page(7)),
        ("global/pg_control", vec![8; 8192]),
    ];
    let algorithm = ChecksumAlgorithm::Crc32c;
    run(&first, options(algorithm, SyncMethod::Fsync), &stream(&old), &manifest(&old, algorithm)).unwrap();

    // Bits change on the disk without anybody's doing; the sizes and the manifest say nothing of it.
    let mut rotten = page(5);
    rotten[500_000] ^= 1;
    std::fs::write(first.join("base/rotten"), rotten).unwrap();
    std::fs::set_permissions(first.join("base/open"), std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::remove_file(first.join("base/link")).unwrap();
    std::os::unix::fs::symlink("rotten", first.join("base/link")).unwrap();
    std::fs::remove_file(first.join("base/gone")).unwrap();

    let mut new = old.clone();
    changed[650_000] = 9;
    new[3].1.extend_from_slice(&[2; 8192]);
    new[4].1.clone_from(&changed);
    let mut with_earlier = options(algorithm, SyncMethod::Fsync);
    with_earlier.earlier = Some(tapster_copy::extract::Earlier::new(&first));
    let report = run(&second, with_earlier, &stream(&new), &manifest(&new, algorithm)).unwrap();
    assert_eq!((report.reused, report.reused_bytes), (2, 700_000));
    for (name, content) in &new {
        assert!(std::fs::read(second.join(name)).unwrap() == *content, "{name}");
        let shared = ["base/same", "base/empty"].contains(name);
        assert_eq!(second.join(name).metadata().unwrap().nlink() == 2, shared, "{name}");
    }
    assert_eq!(std::fs::read(first.join("base/changed")).unwrap(), page(3));
}

/// PostgreSQL 15 sends tablespaces in place with the data directory; a link nobody announced was made since the backup began.
#[test]
fn tablespaces_that_were_not_announced() {
    let dir = tempfile::tempdir().unwrap();
    let directory = |name: &str| member_header(name, 0, 0o700, 0).unwrap().to_vec();
    let mut link = directory("pg_tblspc/16385");
    link[156] = b'2';
    link[157..161].copy_from_slice(b"/etc");
    link[148..156].fill(b' ');
    let sum: u32 = link.iter().map(|byte| u32::from(*byte)).sum();
    link[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let directories = ["pg_tblspc/", "pg_tblspc/16384/", "pg_tblspc/16384/PG_15_1/"].map(directory).concat();
    let files: Files<'_> =
        &[("pg_tblspc/16384/PG_15_1/7", vec![7; 8192]), ("global/pg_control", vec![5; 8192])];
    let bytes = [directories, link, stream(files)].concat();
    let crc = ChecksumAlgorithm::Crc32c;
    run(dir.path(), options(crc, SyncMethod::None), &bytes, &manifest(files, crc)).unwrap();
    assert_eq!(std::fs::read(dir.path().join(files[0].0)).unwrap(), files[0].1);
    assert!(dir.path().join("pg_tblspc/16385").symlink_metadata().is_err());
}

/// Three archives at the same time; the manifest has its own order.
#[test]
fn tablespaces_are_written_beside_the_data_directory() {
    let algorithm = ChecksumAlgorithm::Crc32c;
    let (few, inside) = ([("PG_15_1/5/1", vec![1; 9000])], [("PG_15_1/5/2", vec![2; 100])]);
    let names: Vec<String> = (0..10).map(|number| format!("base/{number}")).collect();
    let mut files: Vec<(&str, Vec<u8>)> = names.iter().map(|name| (name.as_str(), Vec::new())).collect();
    files.push(("global/pg_control", vec![5; 8192]));
    let mut listed = vec![("pg_tblspc/17/PG_15_1/5/1", few[0].1.clone())];
    listed.extend(files.iter().cloned());
    listed.push(("pg_tblspc/16/PG_15_1/5/2", inside[0].1.clone()));
    let tablespace = |files: Files<'_>| {
        let mut bytes = Vec::new();
        for name in ["PG_15_1/", "PG_15_1/5/"] {
            bytes.extend_from_slice(&member_header(name, 0, 0o700, 0).unwrap());
        }
        bytes.extend_from_slice(&stream(files)[1024..]);
        bytes
    };
    let (few, inside) = (tablespace(&few), tablespace(&inside));
    let archive = stream(&files);
    let run = |few: &[u8], listed: Files<'_>| {
        let dir = tempfile::tempdir().unwrap();
        let (root, space) = (dir.path().join("data"), dir.path().join("space"));
        let mut options = options(algorithm, SyncMethod::Syncfs);
        options.tablespaces.insert(16, TablespaceTarget::InPlace);
        options.tablespaces.insert(17, TablespaceTarget::Directory(space.clone()));
        let mut whole = TarExtractor::create(&root, options).unwrap();
        let mut parts: Vec<_> = [(17, few), (16, &inside[..])]
            .into_iter()
            .map(|(oid, archive)| (oid, archive, whole.beside(oid).unwrap().unwrap()))
            .collect();
        assert!(matches!(whole.beside(18), Err(ExtractError::UnknownTablespace { oid: 18 })));
        std::thread::scope(|scope| {
            for (oid, archive, part) in &mut parts {
                scope.spawn(|| {
                    part.start_archive(Some(*oid)).unwrap();
                    archive.chunks(700).for_each(|piece| part.feed(piece).unwrap());
                });
            }
            whole.start_archive(None).unwrap();
            archive.chunks(100_000).for_each(|piece| whole.feed(piece).unwrap());
        });
        parts.into_iter().rev().try_for_each(|(_, _, part)| whole.join(part))?;
        whole.start_manifest()?;
        whole.feed(&manifest(listed, algorithm))?;
        let (report, control) = whole.finish_without_control()?;
        assert_eq!((report.files, control.content.len()), (13, 8192));
        assert_eq!(std::fs::read(space.join("PG_15_1/5/1")).unwrap(), vec![1; 9000]);
        assert_eq!(std::fs::read_link(root.join("pg_tblspc/17")).unwrap(), space);
        assert_eq!(std::fs::read(root.join("pg_tblspc/16/PG_15_1/5/2")).unwrap(), vec![2; 100]);
        Ok::<_, ExtractError>(())
    };
    run(&few, &listed).unwrap();
    let cut = run(&few[..few.len() - 512], &listed);
    assert!(matches!(cut, Err(ExtractError::Tar(_))), "{cut:?}");
    let extra = run(&few, &listed[1..]);
    assert!(matches!(&extra, Err(ExtractError::Extra { path }) if path.contains("/17/")), "{extra:?}");
    listed[0].1[8999] = 7;
    assert!(matches!(run(&few, &listed), Err(ExtractError::Checksum { .. })));
}

/// Barman's archives of a base backup stream: files as they are complete, the label once more, directories last.
#[test]
fn directories_may_come_behind_their_files_and_the_label_twice() {
    let label = b"START WAL\n".to_vec();
    let files =
        [("backup_label", label.clone()), ("base/1/2", vec![3; 700]), ("global/pg_control", vec![5; 8192])];
    let listed = manifest(&files, ChecksumAlgorithm::Crc32c);
    let archive = |again: &[u8]| {
        let mut bytes = Vec::new();
        let mut member = |name: &str, content: &[u8], mode: u32| {
            let size = content.len() as u64;
            bytes.extend_from_slice(&member_header(name, size, mode, 0).unwrap());
            bytes.extend_from_slice(content);
            bytes.resize(bytes.len() + padding(size) as usize, 0);
        };
        for (name, content) in &files {
            member(name, content, 0o640);
        }
        member("./backup_label", again, 0o640);
        for name in ["base/", "base/1/", "base/empty/", "global/"] {
            member(name, b"", 0o750);
        }
        bytes
    };
    let extract = |again: &[u8], sync| {
        let dir = tempfile::tempdir().unwrap();
        let result = run(dir.path(), options(ChecksumAlgorithm::Crc32c, sync), &archive(again), &listed);
        (dir, result)
    };
    for sync in [SyncMethod::Fsync, SyncMethod::Syncfs] {
        let (dir, result) = extract(&label, sync);
        assert_eq!(result.unwrap().files, 3);
        for (name, content) in &files {
            assert_eq!(std::fs::read(dir.path().join(name)).unwrap(), *content, "{name}");
        }
        for name in ["base", "base/1", "base/empty", "global"] {
            let mode = std::fs::metadata(dir.path().join(name)).unwrap();
            let mode = std::os::unix::fs::PermissionsExt::mode(&mode.permissions());
            assert_eq!(mode & 0o777, 0o750, "{name}");
        }
    }
    // A longer one, a shorter one, another one.
    for other in [&b"START WAL\nx"[..], b"START", b"START WAX\n"] {
        let (dir, result) = extract(other, SyncMethod::Fsync);
        assert!(matches!(result, Err(ExtractError::Sequence { .. })), "{result:?}");
        assert!(!dir.path().join("global/pg_control").exists());
    }
}

/// So does the manifest, where it is a member.
#[test]
fn a_manifest_inside_may_come_twice_when_it_is_the_same() {
    let files = [("backup_label", b"x".to_vec()), ("global/pg_control", vec![5; 8192])];
    let listed = manifest(&files, ChecksumAlgorithm::Crc32c);
    let extract = |again: &[u8]| {
        let dir = tempfile::tempdir().unwrap();
        let mut options = options(ChecksumAlgorithm::Crc32c, SyncMethod::Fsync);
        options.manifest_inside = true;
        let mut all = files.to_vec();
        all.insert(1, ("backup_manifest", listed.clone()));
        all.push(("./backup_manifest", again.to_vec()));
        let mut extractor = TarExtractor::create(dir.path(), options).unwrap();
        extractor.start_archive(None).unwrap();
        let fed = stream(&all).chunks(600).try_for_each(|piece| extractor.feed(piece));
        let result = fed.and_then(|()| extractor.finish());
        (result.is_ok_and(|report| report.manifest.is_some()), dir)
    };
    let (is_good, dir) = extract(&listed);
    assert!(is_good && dir.path().join("global/pg_control").exists());
    let mut other = listed.clone();
    *other.last_mut().unwrap() ^= 1;
    for other in [&other[..], &listed[1..], &listed[..listed.len() - 1], &[&listed[..], b"\n"].concat()] {
        let (is_good, dir) = extract(other);
        assert!(!is_good && !dir.path().join("global/pg_control").exists());
    }
}
