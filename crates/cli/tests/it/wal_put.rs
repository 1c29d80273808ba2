//! `put-wal` alone: what is taken, what is refused, and that a transfer that breaks off leaves nothing.

use std::fs;
use std::io::Write as _;
use std::process::Command;
use std::time::Duration;

use sha2::Digest as _;

use crate::sshd::{Hub, SYSTEM, Which, segment, told};

const NAME: &str = "0000000100000000000000F0";

pub fn sum(name: &str, bytes: &[u8]) -> Vec<u8> {
    let hash = sha2::Sha256::digest(bytes);
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{hex} *{name}\n").into_bytes()
}

fn header(name: &str, length: usize, kind: tar::EntryType) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
    header.set_size(length as u64);
    header.set_mode(0o600);
    header.set_mtime(1_795_232_976);
    header.set_entry_type(kind);
    header.set_cksum();
    header
}

pub fn tar_of(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, bytes) in members {
        tar.append(&header(name, bytes.len(), tar::EntryType::Regular), *bytes).unwrap();
    }
    tar.into_inner().unwrap()
}

#[test]
fn several_files_come_in_together_or_not_at_all() {
    let hub = Hub::new();
    let (one, two) = (segment(NAME, SYSTEM, 1), segment("0000000100000000000000F1", SYSTEM, 2));
    let second = "0000000100000000000000F1";
    let sums = [sum(NAME, &one), sum(second, &two)].concat();
    let wrong = [sum(NAME, &one), sum(second, &one)].concat();
    let run = |sums: &[u8]| {
        let tar = tar_of(&[(NAME, &one), (second, &two), ("SHA256SUMS", sums)]);
        told(&hub.put_wal(Which::Ours, &tar).unwrap())
    };
    let (code, _, stderr) = run(&wrong);
    assert!(code == 1 && stderr.starts_with("ERROR: Bad file checksum '"), "{stderr}");
    assert!(hub.names("incoming").is_empty());
    let (code, _, stderr) = run(&sum(NAME, &one));
    assert!(code == 1 && stderr.contains(&format!("Missing checksum for file {second}")), "{stderr}");
    assert!(hub.names("incoming").is_empty());
    assert_eq!(run(&sums), (0, String::new(), String::new()));
    assert_eq!(hub.names("incoming"), [NAME, second]);
    assert!(fs::read(hub.main("incoming").join(second)).unwrap() == two);
}

/// What the original refuses, we refuse; nothing stays, not even a hidden file.
#[test]
fn what_is_no_transfer_is_refused_and_leaves_nothing() {
    let hub = Hub::new();
    let good = segment(NAME, SYSTEM, 1);
    let sums = sum(NAME, &good);
    let whole = tar_of(&[(NAME, &good), ("SHA256SUMS", &sums)]);
    let link = {
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = header(NAME, 0, tar::EntryType::Symlink);
        header.set_link_name("/etc/passwd").unwrap();
        header.set_cksum();
        tar.append(&header, &[][..]).unwrap();
        tar.into_inner().unwrap()
    };
    let path = format!("../{NAME}");
    let cases: [(&str, Vec<u8>); 12] = [
        ("nothing", Vec::new()),
        ("zeros", vec![0; 10_240]),
        ("garbage", b"hello, this is no tar archive".repeat(500)),
        ("cut in the file", whole[..whole.len() / 2].to_vec()),
        ("cut before the sums", whole[..512 + good.len()].to_vec()),
        ("cut in the sums", whole[..512 + good.len() + 512 + 20].to_vec()),
        ("no sums", tar_of(&[(NAME, &good)])),
        ("sums of another", tar_of(&[(NAME, &good), ("SHA256SUMS", &sum("x", &good))])),
        ("bad sums", tar_of(&[(NAME, &good), ("SHA256SUMS", b"hello\n")])),
        ("a path", tar_of(&[(&path, &good), ("SHA256SUMS", &sum(&path, &good))])),
        ("a link", link),
        ("twice", tar_of(&[(NAME, &good), (NAME, &good), ("SHA256SUMS", &sums)])),
    ];
    for (what, stream) in cases {
        let (code, stdout, stderr) = told(&hub.put_wal(Which::Ours, &stream).unwrap());
        assert_eq!((code, stdout.as_str()), (1, ""), "{what}: {stderr}");
        assert!(stderr.starts_with("ERROR: ") && stderr.lines().count() == 1, "{what}: {stderr}");
        assert!(hub.names("incoming").is_empty(), "{what}");
        assert!(hub.names("errors").is_empty(), "{what}");
    }
}

#[test]
fn another_clusters_wal_and_cut_off_wal_is_refused() {
    let hub = Hub::new();
    hub.identity(SYSTEM);
    let send = |bytes: &[u8]| {
        let tar = tar_of(&[(NAME, bytes), ("SHA256SUMS", &sum(NAME, bytes))]);
        told(&hub.put_wal(Which::Ours, &tar).unwrap())
    };
    let foreign = segment(NAME, SYSTEM + 1, 1);
    let mut compressed = Vec::new();
    let level = walfile::codec::Level::Medium;
    let mut encoder =
        walfile::codec::encoder(&mut compressed, walfile::codec::Compression::Gzip, level).unwrap();
    encoder.write_all(&foreign).unwrap();
    encoder.finish().unwrap();
    let good = segment(NAME, SYSTEM, 1);
    for (bytes, why) in [
        (&foreign[..], "of system"),
        (&compressed, "of system"),
        (&good[..1 << 23], "bytes long"),
        (&[], "empty"),
    ] {
        let (code, _, stderr) = send(bytes);
        assert!(code == 1 && stderr.contains(why), "{stderr}");
        assert!(hub.names("incoming").is_empty());
    }
    assert_eq!(send(&good).0, 0);
}

/// A hub that only has the public key: PostgreSQL must not wait for ever, nor may anything be lost.
#[test]
fn what_cannot_be_compared_for_want_of_the_key_is_kept_aside() {
    let hub = Hub::new();
    let bin = hub.dir.path().join("bin");
    // By another process: a file that a thread of this one is just forking with cannot be executed.
    let script =
        "mkdir $0; printf '#!/bin/sh\\necho gpg: No secret key >&2; exit 2\\n' > $0/gpg; chmod 755 $0/gpg";
    assert!(Command::new("/bin/sh").args(["-c", script]).arg(&bin).status().unwrap().success());
    let text = fs::read_to_string(hub.config()).unwrap();
    fs::write(hub.config(), text.replace("[main]\n", &format!("[main]\npath_prefix = {}\n", bin.display())))
        .unwrap();
    let archived = [0x85, 0, 3, 3, 1, 2, 0xD2, 3, 1, 2, 3];
    hub.archive(NAME, &archived);
    let contents = [segment(NAME, SYSTEM, 1), segment(NAME, SYSTEM, 2)];
    for (number, kept, is_new) in [(0, 1, true), (0, 1, false), (1, 2, true), (1, 2, false), (0, 2, false)] {
        let bytes = &contents[number];
        let tar = tar_of(&[(NAME, bytes), ("SHA256SUMS", &sum(NAME, bytes))]);
        let (code, stdout, stderr) = told(&hub.put_wal(Which::Ours, &tar).unwrap());
        assert_eq!((code, stdout.as_str()), (0, ""), "{stderr}");
        assert_eq!(
            stderr.starts_with("WARNING: ") && stderr.contains("gpg: No secret key"),
            is_new,
            "{stderr}"
        );
        let names = hub.names("errors");
        assert_eq!(names.len(), kept, "{names:?}");
        assert!(names.iter().all(|name| name.ends_with(".duplicate")), "{names:?}");
        assert!(names.iter().any(|name| fs::read(hub.main("errors").join(name)).unwrap() == *bytes));
        assert!(hub.names("incoming").is_empty());
    }
    assert_eq!(fs::read(hub.main("wals").join(&NAME[..16]).join(NAME)).unwrap(), archived);
}

/// The sender dies, put-wal is asked to stop, or is killed.
#[test]
fn a_transfer_that_breaks_off_leaves_nothing() {
    let hub = Hub::new();
    let good = segment(NAME, SYSTEM, 1);
    let whole = tar_of(&[(NAME, &good), ("SHA256SUMS", &sum(NAME, &good))]);
    let half = &whole[..whole.len() / 2];
    for signal in [None, Some("-TERM"), Some("-KILL")] {
        let mut child = hub.spawn_put_wal(Which::Ours).unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(half).unwrap();
        while hub.names("incoming").is_empty() {
            std::thread::sleep(Duration::from_millis(10));
        }
        if let Some(signal) = signal {
            assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
        } else {
            drop(stdin);
        }
        let code = told(&child.wait_with_output().unwrap()).0;
        if signal == Some("-KILL") {
            // Nobody could clean up: a hidden file that no program takes for WAL, gone with the next transfer.
            assert_eq!(code, -9);
            assert!(hub.names("incoming").iter().all(|name| name.starts_with('.')));
            assert_eq!(told(&hub.put_wal(Which::Ours, &whole).unwrap()).0, 0);
            assert_eq!(hub.names("incoming"), [NAME]);
        } else {
            assert_eq!(code, 1);
            assert!(hub.names("incoming").is_empty());
        }
    }
}
