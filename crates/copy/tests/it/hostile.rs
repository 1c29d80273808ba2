//! Streams that want to write where they must not (CVE-2026-6475 and its kin).

use std::path::{Path, PathBuf};

use tapster_copy::extract::TablespaceTarget;
use tapster_copy::tar::member_header;
use tapster_copy::{ExtractError, ExtractOptions, TarExtractor};

/// A header as any server could send it, its checksum right.
fn raw(name: &[u8], kind: u8, link: &[u8]) -> Vec<u8> {
    let mut block = member_header("x", 0, 0o600, 0).unwrap().to_vec();
    block[..100].fill(0);
    block[..name.len()].copy_from_slice(name);
    block[156] = kind;
    block[157..157 + link.len()].copy_from_slice(link);
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

fn extract(dir: &Path, stream: &[u8]) -> Result<(), ExtractError> {
    let mut options = ExtractOptions::default();
    options.tablespaces.insert(16384, TablespaceTarget::Directory(dir.join("ts")));
    let mut extractor = TarExtractor::create(&dir.join("data"), options)?;
    extractor.start_archive(None)?;
    extractor.feed(stream)?;
    extractor.finish().map(|_| ())
}

fn everything_below(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut pending = vec![dir.to_path_buf()];
    while let Some(dir) = pending.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                pending.push(entry.path());
            }
            found.push(entry.path());
        }
    }
    found
}

#[test]
fn nothing_leaves_the_tree() {
    let dirs = |names: &[&str]| -> Vec<u8> {
        names.iter().flat_map(|name| raw(name.as_bytes(), b'5', b"")).collect()
    };
    let streams: Vec<(&str, Vec<u8>)> = vec![
        ("absolute", raw(b"/tmp/evil", b'0', b"")),
        ("parent", raw(b"../evil", b'0', b"")),
        ("parent inside", raw(b"a/../../evil", b'5', b"")),
        ("empty", raw(b"", b'0', b"")),
        ("link", raw(b"evil", b'2', b"/etc")),
        ("relative link", raw(b"evil", b'2', b"..")),
        ("hard link", raw(b"evil", b'1', b"/etc/passwd")),
        ("character device", raw(b"evil", b'3', b"")),
        ("block device", raw(b"evil", b'4', b"")),
        ("pipe", raw(b"evil", b'6', b"")),
        ("sparse", raw(b"evil", b'S', b"")),
        ("unknown", raw(b"evil", b'Z', b"")),
        ("global extended", raw(b"evil", b'g', b"")),
        (
            "link under a name that is no oid",
            [dirs(&["pg_tblspc"]), raw(b"pg_tblspc/evil", b'2', b"/")].concat(),
        ),
        ("oid in disguise", [dirs(&["pg_tblspc"]), raw(b"pg_tblspc/016384", b'2', b"/")].concat()),
        ("unknown tablespace", [dirs(&["pg_tblspc"]), raw(b"pg_tblspc/1", b'2', b"/etc")].concat()),
        (
            "through a tablespace link",
            [
                dirs(&["pg_tblspc"]),
                raw(b"pg_tblspc/16384", b'2', b"/"),
                raw(b"pg_tblspc/16384/evil", b'0', b""),
            ]
            .concat(),
        ),
        ("pg_wal as a file", raw(b"pg_wal", b'0', b"")),
        ("the manifest", raw(b"backup_manifest", b'0', b"")),
        ("twice", [raw(b"evil", b'0', b""), raw(b"evil", b'0', b"")].concat()),
        ("file as directory", [raw(b"f", b'0', b""), raw(b"f/evil", b'0', b"")].concat()),
        ("no parent", raw(b"a/b/evil", b'0', b"")),
    ];
    for (what, stream) in streams {
        let dir = tempfile::tempdir().unwrap();
        assert!(extract(dir.path(), &stream).is_err(), "{what} was taken");
        let left = everything_below(dir.path());
        let inside =
            |path: &PathBuf| path.starts_with(dir.path().join("data")) || *path == dir.path().join("ts");
        assert!(left.iter().all(inside), "{what}: {left:?}");
        assert!(!left.iter().any(|path| path.is_symlink()), "{what}: {left:?}");
        assert!(!dir.path().join("data/global/pg_control").exists());
    }
}

#[test]
fn a_planted_link_is_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("data")).unwrap();
    std::fs::create_dir(dir.path().join("outside")).unwrap();
    std::os::unix::fs::symlink(dir.path().join("outside"), dir.path().join("data/base")).unwrap();
    let stream = raw(b"base/evil", b'0', b"");
    assert!(extract(dir.path(), &stream).is_err());
    assert_eq!(std::fs::read_dir(dir.path().join("outside")).unwrap().count(), 0);
}

#[test]
fn newlines_are_names_and_targets_are_ours() {
    let dir = tempfile::tempdir().unwrap();
    let stream = [
        raw(b"a\nb", b'0', b""),
        raw(b"pg_tblspc", b'5', b""),
        // As PostgreSQL writes it: with a slash behind the name of the link.
        raw(b"pg_tblspc/16384/", b'2', b"/etc"),
        raw(b"pg_wal", b'2', b"/etc"),
        raw(b"global", b'5', b""),
        raw(b"global/pg_control", b'0', b""),
    ]
    .concat();
    extract(dir.path(), &stream).unwrap();
    assert!(dir.path().join("data/a\nb").is_file());
    let link = std::fs::read_link(dir.path().join("data/pg_tblspc/16384")).unwrap();
    assert_eq!(link, dir.path().join("ts"));
    assert!(std::fs::symlink_metadata(dir.path().join("data/pg_wal")).unwrap().is_dir());
}
