//! `errors/`: what the archiver refused, why, and what can be done with it.
//!
//! The reason is not stored: Barman counts every file in that directory as an error, so a file beside it would be one more.
//! It is found anew from the content, which also explains what Barman moved there, and tells whether it still holds.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use thiserror::Error;
use walfile::WalName;
use walfile::codec::Compression;

use crate::durable::{self, Clobber, Disk, DurableError};
use crate::ingest::{IngestOptions, Invalid, check_encrypted, check_file, same_as_archived};
use crate::same_content::{decoded, read_up_to};
use crate::{ServerLayout, encryption};

/// The suffix Barman's `check` counts by.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum ErrorKind {
    /// `.duplicate`: the archive had the name with other content.
    Duplicate,
    /// `.unknown`: no WAL file, or not the one of its name.
    Unknown,
    /// Another name.
    Other,
}

/// What a refused file is, judged now.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Verdict {
    /// The archive holds the same WAL.
    SameAsArchived,
    /// The archive has a file of its name with other content.
    DiffersFromArchived {
        /// The first byte of the decompressed contents that differs; `None` when it was not asked for or a content cannot be
        /// read that far.
        at: Option<u64>,
    },
    /// It is the WAL file of its name, and the archive has none: it can be archived.
    NotArchived,
    /// It is not what its name says.
    Invalid(Invalid),
    /// It never had the name of a WAL file, or is no regular file.
    NoWal,
    /// It cannot be read.
    Unreadable(String),
}

/// An entry of `errors/`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ErrorFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its name before it was moved.
    pub original: String,
    /// When it was moved: `YYYYMMDDThhmmssZ`, as its name says.
    pub moved: Option<String>,
    /// Why it was moved, as its name says.
    pub kind: ErrorKind,
    /// Bytes as stored.
    pub size: u64,
    /// Modification time, seconds since 1970.
    pub modified: i64,
    /// What it is.
    pub verdict: Verdict,
}

impl ErrorFile {
    /// The WAL file it was, if any.
    pub fn wal(&self) -> Option<WalName> {
        self.original.parse().ok()
    }
}

/// A failure to look into `errors/` or to change it.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ErrorsDirError {
    /// The directory cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The storage failed.
    #[error(transparent)]
    Durable(#[from] DurableError),
}

/// Everything in `errors/`, by name. `options` says what the server's WAL looks like; with `compare`, contents that differ are
/// compared byte by byte.
///
/// # Errors
/// When the directory cannot be read. A missing one is empty.
pub fn list(
    layout: &ServerLayout,
    options: &IngestOptions,
    compare: bool,
) -> Result<Vec<ErrorFile>, ErrorsDirError> {
    let fail = |source| ErrorsDirError::Read { path: layout.errors.clone(), source };
    let mut files = Vec::new();
    match std::fs::read_dir(&layout.errors) {
        Ok(entries) => {
            for entry in entries {
                files.push(look(layout, options, &entry.map_err(fail)?.path(), compare));
            }
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(fail(e)),
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

/// Puts a file back into `incoming/` under its old name, durably; the next run of the file archiver takes or refuses it. Returns
/// its new place; `None` when there is one of this name already, or it never was a WAL file.
///
/// # Errors
/// When the storage fails.
pub fn retry(
    disk: &dyn Disk,
    layout: &ServerLayout,
    file: &ErrorFile,
) -> Result<Option<PathBuf>, ErrorsDirError> {
    let Some(name) = file.wal() else { return Ok(None) };
    durable::create_dir_all(disk, &layout.incoming, None)?;
    let target = layout.incoming.join(name.to_string());
    match durable::rename(disk, &file.path, &target, Clobber::Refuse) {
        Ok(()) => Ok(Some(target)),
        Err(DurableError::Exists { .. }) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// Removes a file, or a directory with what is in it, durably.
///
/// # Errors
/// When the storage fails.
pub fn discard(disk: &dyn Disk, file: &ErrorFile) -> Result<(), ErrorsDirError> {
    durable::remove_tree(disk, &file.path)?;
    Ok(())
}

fn look(layout: &ServerLayout, options: &IngestOptions, path: &Path, compare: bool) -> ErrorFile {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let (original, moved, kind) = take_apart(&name);
    let metadata = path.symlink_metadata();
    let verdict = match (&metadata, original.parse::<WalName>()) {
        (Err(e), _) => Verdict::Unreadable(e.to_string()),
        (Ok(metadata), Ok(wal)) if metadata.is_file() => judge(layout, options, path, wal, compare)
            .unwrap_or_else(|error| Verdict::Unreadable(error.to_string())),
        _ => Verdict::NoWal,
    };
    let metadata = metadata.ok();
    ErrorFile {
        path: path.to_owned(),
        original,
        moved,
        kind,
        size: metadata.as_ref().map_or(0, Metadata::len),
        modified: metadata.as_ref().map_or(0, |metadata| metadata.mtime()),
        verdict,
    }
}

fn judge(
    layout: &ServerLayout,
    options: &IngestOptions,
    path: &Path,
    name: WalName,
    compare: bool,
) -> io::Result<Verdict> {
    let mut first = [0; 16];
    let got = read_up_to(std::fs::File::open(path)?, &mut first)?;
    let first = first.get(..got).unwrap_or_default();
    let custom = options.custom.as_ref();
    let archived = layout.wal(name);
    if archived.try_exists()? && same_as_archived(name, &archived, path, options.undo())? {
        return Ok(Verdict::SameAsArchived);
    }
    let checked = if encryption::detect(first).is_some() {
        check_encrypted(path)?
    } else {
        let compressed = walfile::codec::detect(first) != Compression::None
            || custom.is_some_and(|filter| filter.magic.is_some() && filter.wrote(first));
        check_file(path, name, compressed, options)?
    };
    if let Err(reason) = checked {
        return Ok(Verdict::Invalid(reason));
    }
    if !archived.try_exists()? {
        return Ok(Verdict::NotArchived);
    }
    let at = if compare {
        decoded(&archived, options.undo())
            .and_then(|a| first_difference(a, decoded(path, options.undo())?))
            .ok()
            .flatten()
    } else {
        None
    };
    Ok(Verdict::DiffersFromArchived { at })
}

fn first_difference(mut a: impl io::Read, mut b: impl io::Read) -> io::Result<Option<u64>> {
    let (mut left, mut right) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    let mut at = 0;
    loop {
        let got = read_up_to(&mut a, &mut left)?;
        let other = read_up_to(&mut b, &mut right)?;
        let same = left.iter().take(got).zip(right.iter().take(other)).take_while(|(a, b)| a == b).count();
        at += same as u64;
        if same < got.max(other) {
            return Ok(Some(at));
        }
        if got == 0 {
            return Ok(None);
        }
    }
}

/// `NAME.STAMP[-N].duplicate` into its parts.
fn take_apart(name: &str) -> (String, Option<String>, ErrorKind) {
    let (stem, kind) = match name.rsplit_once('.') {
        Some((stem, "duplicate")) => (stem, ErrorKind::Duplicate),
        Some((stem, "unknown")) => (stem, ErrorKind::Unknown),
        _ => return (name.to_owned(), None, ErrorKind::Other),
    };
    match stem.rsplit_once('.') {
        Some((original, stamp)) if is_stamp(stamp) => {
            let moved = stamp.split('-').next().unwrap_or(stamp);
            (original.to_owned(), Some(moved.to_owned()), kind)
        }
        _ => (stem.to_owned(), None, kind),
    }
}

fn is_stamp(text: &str) -> bool {
    let stamp = text.split('-').next().unwrap_or_default().as_bytes();
    stamp.len() == 16
        && stamp.iter().enumerate().all(|(at, byte)| match at {
            8 => *byte == b'T',
            15 => *byte == b'Z',
            _ => byte.is_ascii_digit(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_apart() {
        let one = "000000010000000000000001";
        let moved = Some("20261121T030912Z".to_owned());
        for (name, expected) in [
            (
                format!("{one}.20261121T030912Z.duplicate"),
                (one.to_owned(), moved.clone(), ErrorKind::Duplicate),
            ),
            (
                format!("{one}.partial.20261121T030912Z-2.unknown"),
                (format!("{one}.partial"), moved, ErrorKind::Unknown),
            ),
            ("x.unknown".to_owned(), ("x".to_owned(), None, ErrorKind::Unknown)),
            ("x.error".to_owned(), ("x.error".to_owned(), None, ErrorKind::Other)),
        ] {
            assert_eq!(take_apart(&name), expected, "{name}");
        }
    }

    #[test]
    fn differences_are_found_where_they_are() {
        let a = vec![1; 200_000];
        for at in [0, 65_535, 65_536, 199_999] {
            let mut b = a.clone();
            b[at] = 2;
            assert_eq!(first_difference(&a[..], &b[..]).unwrap(), Some(at as u64));
        }
        assert_eq!(first_difference(&a[..], &a[..100]).unwrap(), Some(100));
        assert_eq!(first_difference(&a[..], &a[..]).unwrap(), None);
    }
}
