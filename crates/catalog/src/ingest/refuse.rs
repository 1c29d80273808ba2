//! Files that do not go into the archive: moved to `errors/` under Barman's names.

use std::ffi::OsString;
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use time::{OffsetDateTime, UtcOffset};
use walfile::codec::{Compression, Level};

use crate::durable::{self, Clobber, Disk, DurableError, Publish, Step};
use crate::{ServerLayout, transcode};

/// Why, as the suffix of the name that `check` counts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Refusal {
    Duplicate,
    Unknown,
}

/// Moves `path` to `errors/<name>.<UTC stamp>.duplicate|unknown`, durably, and returns its new place; `None` when it
/// had vanished. A name that is taken gets a number before the suffix: nothing there is ever replaced.
pub(crate) fn refuse(
    disk: &dyn Disk,
    layout: &ServerLayout,
    path: &Path,
    why: Refusal,
    now: OffsetDateTime,
) -> Result<Option<PathBuf>, DurableError> {
    durable::create_dir_all(disk, &layout.errors, None)?;
    let stamp = stamp(now);
    for number in 0_u32.. {
        let target = layout.errors.join(name(path, &stamp, number, why));
        let moved = match durable::rename(disk, path, &target, Clobber::Refuse) {
            Err(e) if e.kind() == ErrorKind::CrossesDevices => copy_away(disk, path, &target),
            moved => moved,
        };
        match moved {
            Ok(()) => return Ok(Some(target)),
            Err(DurableError::Exists { .. }) => {}
            Err(e) if e.kind() == ErrorKind::NotFound && path.symlink_metadata().is_err() => return Ok(None),
            Err(e) => return Err(e),
        }
    }
    Ok(None)
}

fn copy_away(disk: &dyn Disk, path: &Path, target: &Path) -> Result<(), DurableError> {
    let read = |e| DurableError::io(Step::Read, path, e);
    let input = File::open(path).map_err(read)?;
    let metadata = input.metadata().map_err(read)?;
    let publish = Publish::create(disk, target, None)?;
    let mut publish = transcode::copy(input, publish, Compression::None, Level::Medium)
        .map_err(|e| DurableError::io(Step::Write, target, e))?;
    publish.copy_attributes(&metadata)?;
    publish.publish(Clobber::Refuse)?;
    durable::remove_file(disk, path).map(|_| ())
}

fn name(path: &Path, stamp: &str, number: u32, why: Refusal) -> OsString {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{stamp}"));
    if number > 0 {
        name.push(format!("-{number}"));
    }
    name.push(match why {
        Refusal::Duplicate => ".duplicate",
        Refusal::Unknown => ".unknown",
    });
    name
}

/// `%Y%m%dT%H%M%SZ` in UTC.
fn stamp(now: OffsetDateTime) -> String {
    let utc = now.to_offset(UtcOffset::UTC);
    format!(
        "{:04}{:02}{:02}T{:02}{:02}{:02}Z",
        utc.year(),
        u8::from(utc.month()),
        utc.day(),
        utc.hour(),
        utc.minute(),
        utc.second()
    )
}
