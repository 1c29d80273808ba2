//! Properties of `tapster-copy`.

use tapster_copy::tar::{Event, Parser};
use tapster_copy::{ManifestReader, ManifestWriter, manifest::ManifestFile};

/// Whatever the bytes, one piece and many small ones give the same events, the data is what was in the
/// input, and no name leaves the archive.
pub fn tar(data: &[u8]) {
    let Some((size, stream)) = data.split_first() else { return };
    let whole = events(stream, stream.len().max(1));
    let pieces = events(stream, usize::from(*size).max(1));
    assert_eq!(whole, pieces, "pieces change the meaning");
}

fn events(stream: &[u8], size: usize) -> (Vec<String>, u64, bool) {
    let mut parser = Parser::new();
    let (mut seen, mut bytes) = (Vec::new(), 0);
    for mut input in stream.chunks(size) {
        loop {
            match parser.next(&mut input) {
                Ok(Some(Event::Data(piece))) => bytes += piece.len() as u64,
                Ok(Some(Event::Member(member))) => {
                    let normal = |part| matches!(part, std::path::Component::Normal(_));
                    assert!(member.path.components().all(normal), "{member:?}");
                    seen.push(format!("{member:?}"));
                }
                Ok(Some(Event::End)) => seen.push("end".to_owned()),
                Ok(Some(_)) => seen.push("end of archive".to_owned()),
                Ok(None) => break,
                Err(_) => return (seen, bytes, false),
            }
        }
    }
    (seen, bytes, parser.finish().is_ok())
}

/// Whatever the bytes, the header of an incremental file is refused or is one: blocks in order and inside the segment, and
/// nothing allocated for more.
pub fn incremental_header(data: &[u8]) {
    const SEGMENT: u32 = 1024;
    let mut rest = data;
    let Ok(header) = tapster_copy::combine::IncrementalHeader::read(&mut rest, 8192, SEGMENT) else { return };
    assert!(header.blocks.is_sorted() && header.blocks.len() <= SEGMENT as usize);
    assert!(header.length() <= SEGMENT && header.truncation_block_length <= header.length());
    assert!(header.file_length(8192) >= header.data_offset);
    assert!(rest.is_empty() || header.data_offset == (data.len() - rest.len()) as u64);
}

/// Whatever the bytes, reading ends; what it accepts, writing and reading again gives the same files.
pub fn manifest(data: &[u8]) {
    let Some(files) = files(data) else { return };
    let written = (|| {
        let mut writer = ManifestWriter::new(Vec::new(), 1, None).ok()?;
        for file in &files {
            writer.file(&file.path, file.size, 0, file.algorithm, Some(file.checksum)).ok()?;
        }
        writer.finish(&[]).ok()
    })();
    let again = written.as_deref().and_then(self::files).unwrap_or_default();
    let same = files.iter().zip(&again).all(|(a, b)| {
        (&a.path, a.size, a.algorithm, a.checksum) == (&b.path, b.size, b.algorithm, b.checksum)
    });
    assert!(same && files.len() == again.len(), "{files:?} became {again:?}");
}

/// The files, when the manifest can be read up to its own checksum (which a fuzzer does not get right).
fn files(data: &[u8]) -> Option<Vec<ManifestFile>> {
    let mut reader = ManifestReader::new(data).ok()?;
    let (mut files, mut file) = (Vec::new(), ManifestFile::default());
    while reader.next_file(&mut file).ok()? {
        files.push(file.clone());
    }
    Some(files)
}
