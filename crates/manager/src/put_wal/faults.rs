//! The taking side of `archive_command`, `put-wal` and `tapster wal-archive`, with every operation on the disk failing, and cut
//! after every one: once it was acknowledged the WAL is there, what was there before stays, and the next attempt succeeds.
#![allow(clippy::disallowed_methods, clippy::string_slice, reason = "the test lays out what is there before")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::Digest as _;
use tapster_catalog::durable::RealDisk;
use tapster_catalog::durable::testing::RecordingDisk;
use tapster_catalog::{Catalog, ServerLayout, WalStore};
use tapster_protocol::Environment;
use walfile::WalName;

use super::{PutWal, PutWalError};
use crate::config::{Config, ConfigSources};
use crate::{Context, Server, Silent};

const NAME: &str = "000000010000000000000005";

fn segment(seed: u8) -> Vec<u8> {
    let mut bytes = vec![seed; 1 << 20];
    let parts: [&[u8]; 8] = [
        &0xD110_u16.to_le_bytes(),
        &2_u16.to_le_bytes(),
        &1_u32.to_le_bytes(),
        &(5_u64 << 20).to_le_bytes(),
        &[0; 8],
        &7_u64.to_le_bytes(),
        &(1_u32 << 20).to_le_bytes(),
        &8192_u32.to_le_bytes(),
    ];
    let header = parts.concat();
    bytes[..header.len()].copy_from_slice(&header);
    // A record that is not valid, so that the contents differ where it counts: at the beginning.
    bytes[header.len()..8192].fill(seed);
    bytes
}

/// A server whose directories are below `home`.
fn server(home: &Path) -> Server {
    let conf = home.with_extension("conf");
    let text = format!(
        "[barman]\nbarman_home = {}\n[main]\nconninfo = host=none\nstreaming_conninfo = host=none\n\
         backup_method = postgres\narchiver = on\n",
        home.display()
    );
    fs::write(&conf, text).unwrap();
    let server =
        Server::open(&Config::load(&ConfigSources::file(conf)).unwrap(), "main", Environment::default());
    let server = server.unwrap();
    server.create_directories().unwrap();
    server
}

fn on(server: &mut Server, disk: Arc<RecordingDisk>) {
    let layout = server.layout().clone();
    server.catalog = Catalog::with_disk(layout, time::UtcOffset::UTC, disk);
}

/// What stands under the name before.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Before {
    Nothing,
    Leftover,
    SameIncoming,
    SameArchived,
    OtherIncoming,
    OtherArchived,
}

impl Before {
    const ALL: [Self; 6] = [
        Self::Nothing,
        Self::Leftover,
        Self::SameIncoming,
        Self::SameArchived,
        Self::OtherIncoming,
        Self::OtherArchived,
    ];

    fn lay(self, layout: &ServerLayout) {
        let archived = layout.wal(NAME.parse().unwrap());
        fs::create_dir_all(archived.parent().unwrap()).unwrap();
        let incoming = layout.incoming.join(NAME);
        match self {
            Self::Nothing => {}
            Self::Leftover => {
                let name = format!(".{NAME}.tapster-2147483632-0123456789abcdef-0.tmp");
                fs::write(layout.incoming.join(name), &segment(1)[..100_000]).unwrap();
            }
            Self::SameIncoming => fs::write(incoming, segment(1)).unwrap(),
            Self::SameArchived => fs::write(archived, segment(1)).unwrap(),
            Self::OtherIncoming => fs::write(incoming, segment(2)).unwrap(),
            Self::OtherArchived => fs::write(archived, segment(2)).unwrap(),
        }
    }

    const fn is_other(self) -> bool {
        matches!(self, Self::OtherIncoming | Self::OtherArchived)
    }
}

/// Over ssh, or on the same host.
#[derive(Clone, Copy, Debug)]
enum Way {
    Stream,
    Local,
}

fn send(way: Way, server: &Server, source: &Path) -> Result<PutWal, PutWalError> {
    let context = Context::new(&Silent);
    match way {
        Way::Local => server.archive_local_wal(source, &context),
        Way::Stream => {
            let bytes = fs::read(source).unwrap();
            let hex: String = sha2::Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
            let mut tar = tar::Builder::new(Vec::new());
            for (name, bytes) in [(NAME, &bytes[..]), ("SHA256SUMS", format!("{hex} *{NAME}\n").as_bytes())] {
                let mut header = tar::Header::new_ustar();
                header.set_size(bytes.len() as u64);
                header.set_mode(0o600);
                tar.append_data(&mut header, name, bytes).unwrap();
            }
            server.put_wal(&tar.into_inner().unwrap()[..], &context)
        }
    }
}

fn read(layout: &ServerLayout) -> Option<Vec<u8>> {
    let name: WalName = NAME.parse().unwrap();
    let mut reader = WalStore::new(layout).open(name, false).ok()?;
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut reader, &mut bytes).unwrap();
    Some(bytes)
}

/// Whole files under names that others look at, and nothing that is only half there.
fn hold_directories(layout: &ServerLayout, when: &str) {
    for dir in [&layout.incoming, &layout.errors, &layout.wals.join(&NAME[..16])] {
        for entry in fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            if !entry.file_name().as_encoded_bytes().starts_with(b".") {
                let bytes = fs::read(entry.path()).unwrap();
                assert!(bytes == segment(1) || bytes == segment(2), "{:?}: {when}", entry.path());
            }
        }
    }
}

/// The next attempt, as after a restart.
fn hold_next(way: Way, before: Before, server: &Server, source: &Path, when: &str) {
    let layout = server.layout();
    let again = send(way, server, source);
    if before.is_other() {
        assert!(matches!(again, Err(PutWalError::Different { .. })), "{again:?}: {when}");
        assert!(read(layout).unwrap() == segment(2), "{when}");
        let kept =
            fs::read_dir(&layout.errors).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap());
        assert!(kept.eq([segment(1)]), "{when}");
    } else {
        assert!(again.is_ok(), "{again:?}: {when}");
        assert!(read(layout).unwrap() == segment(1), "{when}");
        assert_eq!(fs::read_dir(&layout.errors).unwrap().count(), 0, "{when}");
    }
    let hidden = |entry: std::io::Result<fs::DirEntry>| {
        entry.unwrap().file_name().as_encoded_bytes().starts_with(b".")
    };
    assert!(!fs::read_dir(&layout.incoming).unwrap().any(hidden), "{when}");
}

fn source(dir: &Path) -> PathBuf {
    let source = dir.join(NAME);
    fs::write(&source, segment(1)).unwrap();
    source
}

/// L-A1, L-A2, L-A11, L-A13: ENOSPC and EIO at every operation.
#[test]
fn l_a1_l_a11_any_failing_operation_acknowledges_nothing_that_is_not_there() {
    let mut failures = 0;
    for (count, before) in Before::ALL.into_iter().enumerate() {
        // Both come to the same place; each way with half of what may be there.
        for (way, errno) in [[(Way::Stream, 28)], [(Way::Local, 5)]][count % 2] {
            for call in 0.. {
                let dir = tempfile::tempdir().unwrap();
                let home = dir.path().join("home");
                let mut server = server(&home);
                let source = source(dir.path());
                before.lay(server.layout());
                let disk = Arc::new(RecordingDisk::new(&home).unwrap());
                disk.fail_at(call, errno);
                on(&mut server, Arc::clone(&disk));
                let done = send(way, &server, &source);
                let when = format!("{before:?}, {way:?}, error {errno} at call {call}: {done:?}");
                failures += usize::from(done.is_err());
                assert!(!(before.is_other() && done.is_ok()), "{when}");
                if done.is_ok() {
                    assert!(read(server.layout()).unwrap() == segment(1), "{when}");
                }
                hold_directories(server.layout(), &when);
                server.catalog =
                    Catalog::with_disk(server.layout().clone(), time::UtcOffset::UTC, Arc::new(RealDisk));
                hold_next(way, before, &server, &source, &when);
                if call > disk.calls() {
                    break;
                }
            }
        }
    }
    assert!(failures > 20, "{failures}");
}

/// L-A2, L-A13, L-A26: killed, or the power cut, after every operation.
#[test]
fn l_a26_l_a2_what_was_acknowledged_is_there_after_any_crash() {
    let mut states = 0;
    for (count, before) in Before::ALL.into_iter().enumerate() {
        for way in [[Way::Local], [Way::Stream]][count % 2] {
            let dir = tempfile::tempdir().unwrap();
            let home = dir.path().join("home");
            let mut recorded = server(&home);
            let source = source(dir.path());
            before.lay(recorded.layout());
            let disk = Arc::new(RecordingDisk::new(&home).unwrap());
            on(&mut recorded, Arc::clone(&disk));
            if send(way, &recorded, &source).is_ok() {
                disk.mark("acknowledged");
            }
            disk.for_each_crash(|crash| {
                states += 1;
                // Laying out a state and going on from it waits for a real disk: some are enough, more of those that matter most.
                if states % (if crash.marks.is_empty() { 9 } else { 4 }) != 0 {
                    return Ok(());
                }
                let after = dir.path().join("after");
                fs::create_dir(&after)?;
                crash.materialise(&after)?;
                let server = server(&after);
                let when = format!("{before:?}, {way:?}, {crash}");
                if !crash.marks.is_empty() {
                    assert!(read(server.layout()).unwrap() == segment(1), "{when}");
                }
                hold_directories(server.layout(), &when);
                hold_next(way, before, &server, &source, &when);
                fs::remove_dir_all(&after)
            })
            .unwrap();
        }
    }
    assert!(states > 50, "{states}");
}
