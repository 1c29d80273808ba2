//! `keep`.

use tapster_catalog::KeepTarget;

/// Keep a backup whatever the retention policy says.
#[derive(Clone, Debug, clap::Parser)]
pub(crate) struct KeepArgs {
    /// let go of a backup that is kept
    #[arg(long, short)]
    pub(crate) release: bool,
    /// say whether the backup is kept, and how
    #[arg(long, short)]
    pub(crate) status: bool,
    /// keep it with all WAL that follows, or only with what makes it consistent
    #[arg(long, value_enum)]
    pub(crate) target: Option<Target>,
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
    /// With all WAL that follows.
    Full,
    /// With the WAL that makes it consistent.
    Standalone,
}

impl From<Target> for KeepTarget {
    fn from(target: Target) -> Self {
        match target {
            Target::Full => Self::Full,
            Target::Standalone => Self::Standalone,
        }
    }
}
