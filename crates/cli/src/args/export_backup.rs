//! `export-backup` and `import-backup`.

use std::path::PathBuf;

use super::values::non_negative;

/// `--compression`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub(crate) enum ExportCompression {
    /// gzip.
    Gzip,
    /// bzip2.
    Bzip2,
    /// xz.
    Xz,
}

/// Write a backup and the WAL it needs into one file.
#[derive(Clone, Debug, clap::Parser)]
pub(crate) struct ExportBackupArgs {
    /// compress the file on all cores
    #[arg(long, value_enum)]
    pub(crate) compression: Option<ExportCompression>,
    /// 1 to 9 for gzip and bzip2, 0 to 9 for xz
    #[arg(long, value_parser = non_negative, allow_negative_numbers = true)]
    pub(crate) compression_level: Option<u64>,
    /// the server
    #[arg(value_name = "server_name")]
    pub(crate) server: String,
    /// an id, a name, or a word such as 'latest'
    #[arg(value_name = "backup_id")]
    pub(crate) backup: String,
    /// where the file goes
    #[arg(value_name = "output_directory")]
    pub(crate) directory: PathBuf,
}

/// Make an exported backup a backup of this catalog.
#[derive(Clone, Debug, clap::Parser)]
pub(crate) struct ImportBackupArgs {
    /// the server
    #[arg(value_name = "server_name")]
    pub(crate) server: String,
    /// the file that export-backup wrote
    #[arg(value_name = "input_tarball")]
    pub(crate) tarball: PathBuf,
}
