//! Whether the backups are one chain of one cluster.

use std::io::Read;
use std::path::Path;

use walfile::{BackupLabel, ControlFile};

use super::CombineError;
use super::index::Index;
use super::options::CombineSource;
use crate::sync::at;

const LABEL: &str = "backup_label";
const CONTROL: &str = "global/pg_control";
/// Of either; real ones are shorter.
const LIMIT: u64 = 64 * 1024;

/// What all backups have in common, and what the newest one begins with.
pub(super) struct Checked {
    pub(super) control: ControlFile,
    pub(super) mixed_checksums: bool,
    /// The newest label as it is,
    pub(super) newest_label: Vec<u8>,
    /// and without the lines that keep a server from starting.
    pub(super) label: Vec<u8>,
}

pub(super) fn check(sources: &[CombineSource]) -> Result<Checked, CombineError> {
    let (newest, older) = sources.split_last().ok_or(CombineError::NoBackups)?;
    let control = control_file(newest)?;
    let mut mixed_checksums = false;
    for source in older {
        let other = control_file(source)?;
        let (expected, found) = (control.system_id.get(), other.system_id.get());
        if expected != found {
            let path = source.data.join(CONTROL);
            return Err(CombineError::SystemIdentifier { path, expected, found });
        }
        mixed_checksums |= other.has_data_checksums() != control.has_data_checksums();
    }
    let text = read(&newest.data.join(LABEL))?;
    let mut expected = None;
    for (index, source) in sources.iter().enumerate().rev() {
        let path = || source.data.clone();
        let file = source.data.join(LABEL);
        let label = BackupLabel::parse(&read(&file)?)
            .map_err(|error| CombineError::Label { path: file, reason: error.to_string() })?;
        if let Some((position, timeline)) = expected {
            let (found, found_timeline) = (label.start_lsn, label.start_timeline());
            if found_timeline != timeline {
                let (expected, found) = (timeline, found_timeline);
                return Err(CombineError::StartTimeline { path: path(), expected, found });
            }
            if found != position {
                return Err(CombineError::StartPosition { path: path(), expected: position, found });
            }
        }
        expected = label.incremental_from;
        match (index, expected) {
            (0, Some(_)) => return Err(CombineError::NotFull { path: path() }),
            (1.., None) => return Err(CombineError::NotIncremental { path: path() }),
            _ => {}
        }
    }
    Ok(Checked { control, mixed_checksums, label: without_parent(&text), newest_label: text })
}

/// A manifest belongs to the cluster, too.
pub(super) fn check_manifest(index: &Index, control: &ControlFile) -> Result<(), CombineError> {
    let expected = control.system_id.get();
    match index.summary.system_identifier {
        Some(found) if found != expected => {
            Err(CombineError::ManifestSystem { path: index.path.clone(), expected, found })
        }
        _ => Ok(()),
    }
}

fn control_file(source: &CombineSource) -> Result<ControlFile, CombineError> {
    let path = source.data.join(CONTROL);
    let bytes = read(&path)?;
    ControlFile::parse(&bytes).map_err(|error| CombineError::ControlFile { path, reason: error.to_string() })
}

fn read(path: &Path) -> Result<Vec<u8>, CombineError> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(at("open", path))?;
    file.take(LIMIT).read_to_end(&mut bytes).map_err(at("read", path))?;
    Ok(bytes)
}

/// A server does not start on a label that says `INCREMENTAL FROM`.
fn without_parent(label: &[u8]) -> Vec<u8> {
    label
        .split_inclusive(|byte| *byte == b'\n')
        .filter(|line| {
            !line.starts_with(b"INCREMENTAL FROM LSN: ") && !line.starts_with(b"INCREMENTAL FROM TLI: ")
        })
        .flatten()
        .copied()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_lines_about_the_parent_go() {
        let label =
            b"START WAL LOCATION: 0/3\nLABEL: INCREMENTAL FROM LSN: 0/1\nINCREMENTAL FROM LSN: 0/3000028\n\
                      INCREMENTAL FROM TLI: 1\n";
        assert_eq!(
            without_parent(label),
            b"START WAL LOCATION: 0/3\nLABEL: INCREMENTAL FROM LSN: 0/1\n".as_slice()
        );
    }
}
