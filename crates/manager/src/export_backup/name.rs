//! The name of an exported backup's file.

use tapster_catalog::BackupId;
use tapster_copy::compress::StreamCodec;
use time::{OffsetDateTime, PrimitiveDateTime};

/// `backup-export-<server>-<backup id>-<time>-<first eight digits of the SHA-256>.tar[.gz|.bz2|.xz]`.
///
/// ```
/// use tapster_manager::export_backup::ExportName;
/// let name = ExportName::parse("backup-export-main-20261121T000542-20261122T101500-0a1b2c3d.tar.gz", "main")?;
/// assert_eq!(name.backup.as_str(), "20261121T000542");
/// assert!(ExportName::parse("backup-export-main-20261121T000542-20261122T101500-0a1b2c3d.zip", "main").is_err());
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ExportName {
    /// The backup.
    pub backup: BackupId,
    /// When it was exported, in UTC, `YYYYMMDDTHHMMSS`.
    pub exported: BackupId,
    /// The beginning of the checksum, eight lower-case hexadecimal digits.
    pub checksum: String,
    /// How it is compressed.
    pub codec: Option<StreamCodec>,
}

impl ExportName {
    /// What stands before the checksum.
    pub fn stem(server: &str, backup: BackupId, exported: OffsetDateTime) -> String {
        let exported = BackupId::from_local(exported.to_offset(time::UtcOffset::UTC));
        format!("backup-export-{server}-{backup}-{exported}")
    }

    /// Reads the name of a file of `server`.
    ///
    /// # Errors
    /// What is wrong with it, in Barman's words.
    pub fn parse(file_name: &str, server: &str) -> Result<Self, String> {
        let wrong = |problem: String| {
            Err(format!(
                "Tarball filename does not match the expected export format \
                 'backup-export-SERVER_NAME-BACKUP_ID-TIMESTAMP-CHECKSUM.tar': '{file_name}'. {problem}"
            ))
        };
        let codecs = [Some(StreamCodec::Gzip), Some(StreamCodec::Bzip2), Some(StreamCodec::Xz), None];
        let found = codecs.into_iter().find_map(|codec| {
            let suffix = format!(".tar{}", codec.map_or("", StreamCodec::suffix));
            Some((codec, file_name.strip_suffix(suffix.as_str())?))
        });
        let Some((codec, stem)) = found else {
            return wrong("Expected a .tar, .tar.gz, .tar.bz2, or .tar.xz file extension.".to_owned());
        };
        let prefix = format!("backup-export-{server}-");
        let Some(rest) = stem.strip_prefix(prefix.as_str()) else {
            return wrong(format!("Expected filename to start with '{prefix}'."));
        };
        let [backup, exported, checksum] = rest.split('-').collect::<Vec<_>>()[..] else {
            return wrong(
                "Expected filename to contain the backup ID, timestamp, and checksum after the server name."
                    .to_owned(),
            );
        };
        let mut ids = Vec::new();
        for (label, text) in [("BACKUP_ID", backup), ("TIMESTAMP", exported)] {
            match text.parse().ok().filter(is_time) {
                Some(id) => ids.push(id),
                None => {
                    return wrong(format!(
                        "Expected {label} to be in the format 'YYYYMMDDTHHMMSS', got '{text}'."
                    ));
                }
            }
        }
        let [backup, exported] = ids[..] else { return wrong(String::new()) };
        Ok(Self { backup, exported, checksum: checksum.to_owned(), codec })
    }
}

/// Whether it is a time there can be.
fn is_time(id: &BackupId) -> bool {
    let format = time::macros::format_description!("[year][month][day]T[hour][minute][second]");
    PrimitiveDateTime::parse(id.as_str(), format).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let id: BackupId = "20261121T000542".parse().unwrap();
        let at = time::macros::datetime!(2026-11-22 11:15:00 +1);
        let stem = ExportName::stem("a-b", id, at);
        assert_eq!(stem, "backup-export-a-b-20261121T000542-20261122T101500");
        let name = ExportName::parse(&format!("{stem}-0a1b2c3d.tar.xz"), "a-b").unwrap();
        assert_eq!((name.backup, name.codec), (id, Some(StreamCodec::Xz)));
        for (wrong, problem) in [
            ("x.tgz", "file extension"),
            (
                "backup-export-b-20261121T000542-20261122T101500-0a1b2c3d.tar",
                "to start with 'backup-export-a-b-'",
            ),
            ("backup-export-a-b-20261121T000542-0a1b2c3d.tar", "to contain the backup ID"),
            ("backup-export-a-b-20261321T000542-20261122T101500-0a1b2c3d.tar", "Expected BACKUP_ID"),
            ("backup-export-a-b-20261121T000542-latest-0a1b2c3d.tar.gz", "Expected TIMESTAMP"),
        ] {
            let error = ExportName::parse(wrong, "a-b").unwrap_err();
            assert!(error.contains(problem), "{error}");
        }
    }
}
