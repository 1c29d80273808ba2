//! `list-files`.

use tapster_manager::list_files::FilesTarget;

/// List the files of a backup, and the WAL that goes with it.
#[derive(Clone, Debug, clap::Parser)]
pub(crate) struct ListFilesArgs {
    /// data: the backup's own files; standalone: these and the WAL that makes it consistent; wal: WAL from its beginning up to the
    /// next backup; full: data and wal. Default: standalone
    #[arg(long, value_enum, default_value = "standalone", hide_default_value = true)]
    pub(crate) target: Target,
    /// name empty directories, too
    #[arg(long)]
    pub(crate) list_empty_directories: bool,
    /// the server
    #[arg(value_name = "server_name")]
    pub(crate) server: String,
    /// an id, a name, or a word such as 'latest'
    #[arg(value_name = "backup_id")]
    pub(crate) backup: String,
}

/// `--target`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub(crate) enum Target {
    /// The backup's own files and the WAL that makes it consistent.
    Standalone,
    /// The backup's own files.
    Data,
    /// WAL up to the next backup.
    Wal,
    /// Data and WAL.
    Full,
}

impl From<Target> for FilesTarget {
    fn from(target: Target) -> Self {
        match target {
            Target::Standalone => Self::Standalone,
            Target::Data => Self::Data,
            Target::Wal => Self::Wal,
            Target::Full => Self::Full,
        }
    }
}
