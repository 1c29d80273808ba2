//! `global/pg_control`, last of all.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use walfile::{ControlFile, ControlFileError};

use super::rules::CONTROL;
use crate::publish;
use crate::sync::at;
use crate::tree::TreeError;

/// The server writes the file in place now and then; nobody sees it whole at that moment.
const ATTEMPTS: u32 = 100;
const PAUSE: Duration = Duration::from_millis(10);

/// Copies the control file of the data directory `source` to `target`, durably, not without its checksum being right.
///
/// # Errors
/// When it cannot be read or written, or stays broken.
pub fn control_file(source: &Path, target: &Path) -> Result<ControlFile, TreeError> {
    let (bytes, mode, control) = read_control_file(source)?;
    publish::replace(&target.join(CONTROL), mode, &bytes)?;
    Ok(control)
}

/// Reads the control file of the data directory `source`, and its permission bits.
///
/// # Errors
/// When it cannot be read, or stays broken.
pub(super) fn read_control_file(source: &Path) -> Result<(Vec<u8>, u32, ControlFile), TreeError> {
    let from = source.join(CONTROL);
    let mut attempt = 0;
    loop {
        let bytes = std::fs::read(&from).map_err(at("read", &from))?;
        match ControlFile::parse(&bytes) {
            Ok(control) => {
                let mode = from.metadata().map_err(at("read", &from))?.mode() & 0o777;
                return Ok((bytes, mode, control));
            }
            Err(ControlFileError::Crc { .. } | ControlFileError::TooShort { .. }) if attempt < ATTEMPTS => {
                attempt += 1;
                std::thread::sleep(PAUSE);
            }
            Err(error) => {
                let source = std::io::Error::new(std::io::ErrorKind::InvalidData, error);
                return Err(at("read", &from)(source).into());
            }
        }
    }
}
