//! BASE_BACKUP: what to ask for, in the grammar of the server at hand.

use super::backup_error::BaseBackupError;
use crate::quote::replication_literal;
use crate::{Connection, ServerVersion};

/// Whether and how the server writes a manifest (13+).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum ManifestMode {
    /// No manifest.
    No,
    /// A manifest, if the server is 13 or later.
    #[default]
    Yes,
    /// A manifest with every name hex-encoded, for tests of readers.
    ForceEncode,
}

/// Compression by the server (15+).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ServerCompression {
    /// `gzip`, `lz4` or `zstd`.
    pub algorithm: String,
    /// Such as `level=3,workers=2`.
    pub detail: Option<String>,
}

/// Options of BASE_BACKUP. The default is a spread checkpoint, no waiting for archiving, and a manifest.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BaseBackupOptions {
    /// The label, written into `backup_label`.
    pub label: String,
    /// Ask for sizes and progress reports (costs the server a walk over its files).
    pub progress: bool,
    /// Checkpoint at once instead of within minutes.
    pub fast_checkpoint: bool,
    /// Include the WAL needed.
    pub wal: bool,
    /// Have the server wait until the last WAL is archived.
    pub wait: bool,
    /// Kilobytes per second, 32 to 1048576.
    pub max_rate: Option<u32>,
    /// Include `tablespace_map` instead of symbolic links.
    pub tablespace_map: bool,
    /// Have the server verify page checksums (11+).
    pub verify_checksums: bool,
    /// The manifest.
    pub manifest: ManifestMode,
    /// `NONE`, `CRC32C`, `SHA224`, `SHA256`, `SHA384` or `SHA512`; the server's default is CRC32C.
    pub manifest_checksums: Option<String>,
    /// Compression by the server (15+).
    pub compression: Option<ServerCompression>,
    /// Only what changed since the manifest uploaded before (17+).
    pub incremental: bool,
}

impl Default for BaseBackupOptions {
    fn default() -> Self {
        Self {
            label: String::from("base backup"),
            progress: false,
            fast_checkpoint: false,
            wal: false,
            wait: false,
            max_rate: None,
            tablespace_map: false,
            verify_checksums: true,
            manifest: ManifestMode::Yes,
            manifest_checksums: None,
            compression: None,
            incremental: false,
        }
    }
}

impl BaseBackupOptions {
    /// The default options with this label.
    pub fn with_label(label: impl Into<String>) -> Self {
        Self { label: label.into(), ..Self::default() }
    }

    /// The options as BASE_BACKUP in the grammar of `version`.
    pub(super) fn command(&self, version: ServerVersion) -> Result<String, BaseBackupError> {
        self.check(version)?;
        let options = self.list(version);
        if version >= ServerVersion::V15 {
            return Ok(format!("BASE_BACKUP ({})", options.join(", ")));
        }
        Ok(format!("BASE_BACKUP {}", options.join(" ")).trim_end().to_owned())
    }

    fn list(&self, version: ServerVersion) -> Vec<String> {
        let modern = version >= ServerVersion::V15;
        let mut list = vec![format!("LABEL {}", replication_literal(&self.label))];
        let mut add = |wanted: bool, new: &str, old: &str| {
            if wanted {
                list.push(String::from(if modern { new } else { old }));
            }
        };
        add(self.progress, "PROGRESS", "PROGRESS");
        add(self.fast_checkpoint, "CHECKPOINT 'fast'", "FAST");
        add(self.wal, "WAL", "WAL");
        add(!self.wait, "WAIT false", "NOWAIT");
        add(self.tablespace_map, "TABLESPACE_MAP", "TABLESPACE_MAP");
        add(!self.verify_checksums && version.major() >= 11, "VERIFY_CHECKSUMS false", "NOVERIFY_CHECKSUMS");
        if let Some(rate) = self.max_rate {
            list.push(format!("MAX_RATE {rate}"));
        }
        if version.major() >= 13 {
            match self.manifest {
                ManifestMode::Yes => list.push(String::from("MANIFEST 'yes'")),
                ManifestMode::ForceEncode => list.push(String::from("MANIFEST 'force-encode'")),
                ManifestMode::No => {}
            }
            if let (Some(algorithm), true) = (&self.manifest_checksums, self.manifest != ManifestMode::No) {
                list.push(format!("MANIFEST_CHECKSUMS {}", replication_literal(algorithm)));
            }
        }
        if let Some(compression) = &self.compression {
            list.push(format!("COMPRESSION {}", replication_literal(&compression.algorithm)));
            if let Some(detail) = &compression.detail {
                list.push(format!("COMPRESSION_DETAIL {}", replication_literal(detail)));
            }
        }
        if self.incremental {
            list.push(String::from("INCREMENTAL"));
        }
        list
    }

    fn check(&self, found: ServerVersion) -> Result<(), BaseBackupError> {
        let needs = |option, needs| Err(BaseBackupError::Unsupported { option, needs, found });
        if self.compression.is_some() && found < ServerVersion::V15 {
            return needs("server compression", "15 or later");
        }
        if self.incremental && found.major() < 17 {
            return needs("an incremental backup", "17 or later");
        }
        if let Some(rate) = self.max_rate
            && !(32..=1_048_576).contains(&rate)
        {
            return Err(BaseBackupError::Option {
                option: "the rate limit",
                value: format!("{rate} kB/s"),
                expected: "32 kB/s to 1048576 kB/s",
            });
        }
        if self.label.len() > 1023 || self.label.contains(['\n', '\r', '\0']) {
            return Err(BaseBackupError::Option {
                option: "the label",
                value: self.label.chars().take(40).collect::<String>().escape_debug().to_string(),
                expected: "one line of at most 1023 bytes",
            });
        }
        Ok(())
    }

    /// Whether a server of `version` sends a manifest for these options.
    pub(super) fn has_manifest(&self, version: ServerVersion) -> bool {
        self.manifest != ManifestMode::No && version.major() >= 13
    }
}

impl Connection {
    /// Sends the manifest of an earlier backup, so that an incremental one can follow on this connection (17+).
    ///
    /// # Errors
    /// When the manifest cannot be read, or the server does not accept it.
    pub fn upload_manifest(&mut self, manifest: &mut dyn std::io::Read) -> Result<(), BaseBackupError> {
        super::upload::upload_manifest(self, manifest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_grammars() {
        let options = BaseBackupOptions {
            label: String::from("it's"),
            progress: true,
            fast_checkpoint: true,
            max_rate: Some(32),
            tablespace_map: true,
            verify_checksums: false,
            manifest_checksums: Some(String::from("SHA256")),
            ..BaseBackupOptions::default()
        };
        assert_eq!(
            options.command(ServerVersion(150_004)).unwrap(),
            "BASE_BACKUP (LABEL 'it''s', PROGRESS, CHECKPOINT 'fast', WAIT false, TABLESPACE_MAP, \
             VERIFY_CHECKSUMS false, MAX_RATE 32, MANIFEST 'yes', MANIFEST_CHECKSUMS 'SHA256')"
        );
        assert_eq!(
            options.command(ServerVersion(140_010)).unwrap(),
            "BASE_BACKUP LABEL 'it''s' PROGRESS FAST NOWAIT TABLESPACE_MAP NOVERIFY_CHECKSUMS MAX_RATE 32 \
             MANIFEST 'yes' MANIFEST_CHECKSUMS 'SHA256'"
        );
        assert_eq!(
            options.command(ServerVersion(100_000)).unwrap(),
            "BASE_BACKUP LABEL 'it''s' PROGRESS FAST NOWAIT TABLESPACE_MAP MAX_RATE 32"
        );
    }

    #[test]
    fn refuses_what_the_server_would() {
        let incremental = BaseBackupOptions { incremental: true, ..BaseBackupOptions::default() };
        assert!(incremental.command(ServerVersion(160_000)).is_err());
        assert!(incremental.command(ServerVersion(170_000)).unwrap().ends_with("INCREMENTAL)"));
        let slow = BaseBackupOptions { max_rate: Some(31), ..BaseBackupOptions::default() };
        assert!(slow.command(ServerVersion(160_000)).is_err());
        assert!(BaseBackupOptions::with_label("a\nb").command(ServerVersion(160_000)).is_err());
    }
}
