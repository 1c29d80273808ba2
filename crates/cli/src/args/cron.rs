//! `cron`.

/// Do everything that is due: archive WAL, keep receivers running, enforce retention.
#[derive(Clone, Debug, clap::Parser)]
pub(crate) struct CronArgs {
    /// started processes keep this one's stdout and stderr
    #[arg(long)]
    pub(crate) keep_descriptors: bool,
}
