//! `rsync` as the configuration of a server has it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tapster_copy::rsync::Rsync;

use crate::config::ServerConfig;

/// Program, compression, processes, pace and retries; not yet through which ssh.
pub(crate) fn configured(config: &ServerConfig) -> Rsync {
    let mut rsync = Rsync::default();
    if let Some(program) = in_path_prefix(config.path_prefix.as_deref(), "rsync") {
        rsync.program = program;
    }
    rsync.compress = config.network_compression;
    rsync.jobs = usize::try_from(config.parallel_jobs).unwrap_or(1).max(1);
    rsync.batch_size = config.parallel_jobs_start_batch_size;
    rsync.batch_period = Duration::from_secs(config.parallel_jobs_start_batch_period.into());
    rsync.retry_times = config.basebackup_retry_times;
    rsync.retry_sleep = Duration::from_secs(config.basebackup_retry_sleep.into());
    rsync
}

/// `path_prefix` is looked through before `PATH`.
fn in_path_prefix(prefix: Option<&str>, program: &str) -> Option<PathBuf> {
    prefix?.split(':').map(|dir| Path::new(dir).join(program)).find(|path| path.is_file())
}
