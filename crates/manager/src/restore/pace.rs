//! `--bwlimit` of a restore to this host.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use tapster_copy::CopyObserver;
use tapster_copy::live::Limiter;

use super::RestorePlan;
use crate::Server;
use crate::backup::files::limits::bandwidth_limit;

/// Passes on what is told, and holds up whoever tells it until the bytes are paid for.
pub(super) struct Paced<'a> {
    pub(super) inner: &'a dyn CopyObserver,
    pub(super) limiter: Option<Limiter>,
    pub(super) stop: &'a AtomicBool,
}

impl CopyObserver for Paced<'_> {
    fn bytes(&self, n: u64) {
        self.inner.bytes(n);
        if let Some(limiter) = &self.limiter {
            limiter.take(n, self.stop);
        }
    }

    fn file(&self, path: &Path) {
        self.inner.file(path);
    }
}

/// What bounds the copy of a tablespace, or of the data directory. On the way to another host the connection does.
pub(super) fn limiter(server: &Server, plan: &RestorePlan, tablespace: Option<&str>) -> Option<Limiter> {
    if plan.options.remote.is_some() {
        return None;
    }
    let kilobytes = bandwidth_limit(&server.config, plan.options.bandwidth_limit, tablespace)?;
    Some(Limiter::new(u64::from(kilobytes) * 1024))
}
