//! Archives kept as tar files.

use std::io::Read;
use std::path::Path;

use tapster_copy::archive::{ArchiveCompression, ArchiveError, ArchiveOptions, ArchiveWriter, Injection};
use tapster_copy::tar::{member_header, padding};

fn member(name: &str, content: &[u8]) -> Vec<u8> {
    let mut bytes = member_header(name, content.len() as u64, 0o600, 0).unwrap().to_vec();
    bytes.extend_from_slice(content);
    bytes.resize(bytes.len() + padding(content.len() as u64) as usize, 0);
    bytes
}

fn write(dir: &Path, options: ArchiveOptions, stream: &[u8]) -> Result<(), ArchiveError> {
    let mut writer = ArchiveWriter::create(dir, options)?;
    writer.start_archive(Some(16384))?;
    writer.feed(stream)?;
    writer.start_archive(None)?;
    stream.chunks(333).try_for_each(|piece| writer.feed(piece))?;
    writer.start_manifest()?;
    writer.feed(b"manifest")?;
    assert!(!dir.join("backup_manifest").exists());
    writer.finish().map(|_| ())
}

fn decompressed(path: &Path) -> Vec<u8> {
    let file = std::fs::File::open(path).unwrap();
    let mut bytes = Vec::new();
    let mut reader: Box<dyn Read> = match path.extension().unwrap().to_str().unwrap() {
        "gz" => Box::new(flate2::read::GzDecoder::new(file)),
        "lz4" => Box::new(lz4_flex::frame::FrameDecoder::new(file)),
        "zst" => Box::new(zstd::Decoder::new(file).unwrap()),
        _ => Box::new(file),
    };
    reader.read_to_end(&mut bytes).unwrap();
    bytes
}

fn members(bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut archive = tar::Archive::new(bytes);
    let read = |entry: std::io::Result<tar::Entry<'_, &[u8]>>| {
        let mut entry = entry.unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        (entry.path().unwrap().to_str().unwrap().to_owned(), content)
    };
    archive.entries().unwrap().map(read).collect()
}

#[test]
fn every_compression_holds_the_stream_and_its_end() {
    let big: Vec<u8> = (0..2_000_000_u32).map(|n| (n.wrapping_mul(n) >> 8) as u8).collect();
    let open = [member("PG_VERSION", b"15\n"), member("base", &big)].concat();
    let ended = [open.clone(), vec![0; 1024]].concat();
    let zstd = ArchiveCompression::Zstd { level: 3, workers: 2 };
    for compression in [ArchiveCompression::None, ArchiveCompression::Gzip(6), ArchiveCompression::Lz4, zstd]
    {
        for stream in [&open, &ended] {
            let dir = tempfile::tempdir().unwrap();
            let mut options = ArchiveOptions::default();
            options.compression = compression;
            write(dir.path(), options, stream).unwrap();
            for stem in ["base", "16384"] {
                let path = dir.path().join(format!("{stem}.tar{}", compression.suffix()));
                assert_eq!(decompressed(&path), ended, "{}", path.display());
            }
            assert_eq!(std::fs::read(dir.path().join("backup_manifest")).unwrap(), b"manifest");
        }
    }
}

#[test]
fn recovery_settings_are_injected_into_the_base_archive_alone() {
    let auto = member("postgresql.auto.conf", b"a = 1\n");
    for (stream, expected) in [
        (
            [member("x", b"1"), auto, member("y", b"2")].concat(),
            vec!["x", "postgresql.auto.conf", "y", "standby.signal"],
        ),
        (member("x", b"1"), vec!["x", "postgresql.auto.conf", "standby.signal"]),
    ] {
        for end in [0, 1024] {
            let dir = tempfile::tempdir().unwrap();
            let stream = [stream.clone(), vec![0; end]].concat();
            let mut options = ArchiveOptions::default();
            let name = "postgresql.auto.conf".to_owned();
            options.injections.push(Injection::Append { name, content: b"b = 2\n".to_vec() });
            let name = "standby.signal".to_owned();
            options.injections.push(Injection::Replace { name, content: Vec::new() });
            write(dir.path(), options, &stream).unwrap();
            let base = decompressed(&dir.path().join("base.tar"));
            assert!(base.ends_with(&[0; 1024]));
            let found = members(&base);
            assert_eq!(found.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), expected);
            let conf = &found.iter().find(|(name, _)| name == "postgresql.auto.conf").unwrap().1;
            let wanted = if expected.len() == 4 { &b"a = 1\nb = 2\n"[..] } else { b"b = 2\n" };
            assert_eq!(conf, wanted);
            assert!(
                !members(&decompressed(&dir.path().join("16384.tar")))
                    .iter()
                    .any(|(name, _)| name == "standby.signal")
            );
        }
    }
}

#[test]
fn refusals() {
    let dir = tempfile::tempdir().unwrap();
    let hostile = member("x", b"");
    let mut options = ArchiveOptions::default();
    options.compression = ArchiveCompression::Gzip(10);
    assert!(matches!(ArchiveWriter::create(dir.path(), options), Err(ArchiveError::Compression(_))));
    let error = write(dir.path(), ArchiveOptions::default(), &hostile[..300]).unwrap_err();
    assert!(matches!(error, ArchiveError::Tar(_)), "{error}");
    assert!(!dir.path().join("backup_manifest").exists());
    // Nothing is overwritten.
    assert!(matches!(write(dir.path(), ArchiveOptions::default(), &hostile), Err(ArchiveError::Io(_))));
}
