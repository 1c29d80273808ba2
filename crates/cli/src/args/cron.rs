//! `cron` and `lock-directory-cleanup`.

/// Do for all servers what is to be done every minute.
///
/// Starts the receivers that are not running, archives what has arrived, completes backups and enforces retention policies. It
/// comes back at once: the work goes on in processes of its own. 'run' does the same in one process that stays.
#[derive(Clone, Debug, clap::Parser)]
pub(crate) struct CronArgs {
    /// let the processes it starts write to this one's output
    #[arg(long)]
    pub(crate) keep_descriptors: bool,
}

/// Remove lock files nobody holds.
#[derive(Clone, Copy, Debug, clap::Parser)]
pub(crate) struct LockDirectoryCleanupArgs {}
