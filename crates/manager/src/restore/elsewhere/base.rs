//! The base backup to the other host.

use std::ffi::OsStr;
use std::fs::Permissions;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tapster_copy::extract::ControlFile;
use tapster_copy::live::Limiter;
use tapster_copy::remote::{RemoteError, RemoteOutlet, Transfer};
use tapster_copy::rsync::{Existing, PushOptions, PushTree, Rsync, RsyncError};
use tapster_copy::tree::{RESTORE_EXCLUDES, TreeError};
use tapster_copy::{ExtractOptions, sync};

use super::aside::not_archived;
use super::{Elsewhere, roots, shell};
use crate::backup::files::limits::bandwidth_limit;
use crate::event::Event;
use crate::restore::archives::{is_archived, targets};
use crate::restore::delta::version_prefix;
use crate::restore::destination::{Job, io_at};
use crate::restore::execute::Bytes;
use crate::restore::{RemoteOptions, RestoreError};
use crate::rsync::configured;

/// One tree of a backup as it lies here, and its tablespaces.
struct Stored {
    data: PathBuf,
    tablespaces: Vec<(String, PathBuf, PathBuf)>,
}

/// What a restore over something leaves there: besides its own mark the server's logs, as Barman does, and WAL that was put aside.
const KEPT: [&str; 6] = [
    "/.tapster-restore",
    "/lost+found",
    "/log/***",
    "/pg_log/***",
    "/pg_wal/lost+found",
    "/pg_wal/not-archived/***",
];

impl Elsewhere {
    pub(super) fn base(&self, job: Job<'_>) -> Result<ControlFile, RestoreError> {
        let Job { server, plan, .. } = job;
        self.begin(job, is_delta(job))?;
        let token = OsStr::new(&self.token);
        if is_delta(job) {
            // While a server can still start there: what cannot be looked at had better be found out now.
            let (host, context) = (&self.host, job.context);
            not_archived(server, host, &plan.record, &plan.destination, &context.stop)
                .map_err(RestoreError::Destination)?;
            // First: a server that started without the WAL that is put aside would take the hole for the end.
            let arguments: Vec<&OsStr> = std::iter::once(token).chain(roots(job)).collect();
            self.ask(job, "clearing the destination", shell::UNSEAL, &arguments, &[])?;
            self.keep_wal(job)?;
        }
        if plan.chain.len() > 1 {
            return self.combined(job);
        }
        if is_archived(&plan.record) {
            if is_delta(job) {
                // An archive is sent as a whole; nothing of what is there is of use.
                let own = own_directories(job);
                let arguments: Vec<&OsStr> =
                    [token, OsStr::new(&own)].into_iter().chain(roots(job)).collect();
                self.ask(job, "clearing the destination", shell::EMPTY, &arguments, &[])?;
            }
            return self.unpacked(job);
        }
        let layout = server.layout();
        let tablespace = |oid| layout.tablespace_dir(&plan.record.id, oid);
        let stored = Stored {
            data: layout.data_dir(&plan.record.id),
            tablespaces: (plan.tablespaces.iter())
                .map(|place| (place.name.clone(), tablespace(place.oid), place.location.clone()))
                .collect(),
        };
        self.push(job, &stored)?;
        server.stored_control(&plan.record)
    }

    /// A backup in archives, decrypted and decompressed here, unpacked there.
    fn unpacked(&self, job: Job<'_>) -> Result<ControlFile, RestoreError> {
        self.hold(job)?;
        let mut options = ExtractOptions::default();
        options.tablespaces = targets(job.plan);
        let outlet = RemoteOutlet { host: Arc::clone(&self.host), transfer: self.transfer(job) };
        let control = job.server.unpack(
            &job.plan.record,
            &job.plan.destination,
            options,
            Some(Box::new(outlet)),
            job.plan,
            job.context,
        )?;
        self.link(job, if control.mode & 0o040 == 0 { 0o700 } else { 0o750 })?;
        Ok(control)
    }

    /// An incremental backup, put together here and sent from there.
    fn combined(&self, job: Job<'_>) -> Result<ControlFile, RestoreError> {
        let Job { server, plan, context } = job;
        let place = plan.staging.clone().unwrap_or_else(std::env::temp_dir);
        sync::create_dir_all(&place, 0o700).map_err(TreeError::from)?;
        let mut staging = tempfile::Builder::new();
        staging.prefix("tapster-combine-").permissions(Permissions::from_mode(0o700));
        let staging = staging.tempdir_in(&place).map_err(io_at(&place))?;
        let mut here = plan.clone();
        here.delta = None;
        here.destination = staging.path().join("data");
        for place in &mut here.tablespaces {
            place.location = staging.path().join(place.oid.to_string());
        }
        let control = server.combine_base(&here, context)?;
        let stored = Stored {
            data: here.destination,
            tablespaces: (plan.tablespaces.iter().zip(here.tablespaces))
                .map(|(there, here)| (there.name.clone(), here.location, there.location.clone()))
                .collect(),
        };
        self.push(job, &stored)?;
        staging.close().map_err(io_at(&place))?;
        Ok(control)
    }

    /// By rsync.
    fn push(&self, job: Job<'_>, stored: &Stored) -> Result<(), RestoreError> {
        let Job { server, plan, context } = job;
        let rsync = self.rsync(job);
        let mut excludes: Vec<String> =
            RESTORE_EXCLUDES.iter().map(|pattern| (*pattern).to_owned()).collect();
        excludes.extend(["/global/pg_control", "/recovery.signal", "/standby.signal"].map(str::to_owned));
        // The links are made there.
        excludes.extend(plan.tablespaces.iter().map(|place| format!("/pg_tblspc/{}", place.oid)));
        let limit = |tablespace: Option<&str>| {
            bandwidth_limit(&server.config, plan.options.bandwidth_limit, tablespace)
        };
        let mut tree = PushTree::new("pgdata", &stored.data, &plan.destination);
        (tree.excludes, tree.limit) = (excludes, limit(None));
        let mut trees = vec![tree];
        for (name, source, target) in &stored.tablespaces {
            let mut tree = PushTree::new(name, source, target);
            tree.limit = limit(Some(name));
            trees.push(tree);
        }
        let mut options = PushOptions::default();
        options.existing = if is_delta(job) { Existing::Compare } else { Existing::None };
        // Several are asked for where one connection does not carry enough.
        options.side_by_side = (rsync.jobs > 1).then(|| self.host.ssh_command(true));
        let inside = if is_delta(job) { self.inside(job)? } else { Vec::new() };
        let own = format!("/{}*/***", own_directories(job));
        for (index, tree) in trees.iter_mut().enumerate() {
            if index == 0 {
                tree.keep.extend(KEPT.map(str::to_owned).into_iter().chain(inside.iter().cloned()));
            } else {
                tree.deletable = Some(own.clone());
            }
        }
        self.hold(job)?;
        let total = plan.record.size.unwrap_or(0);
        let bytes = Bytes { context, done: AtomicU64::new(0), total };
        let retried = |attempt: u32, error: &RsyncError| {
            context.tell(Event::RsyncRetry {
                attempt,
                error: error.to_string(),
                retry_in: rsync.retry_sleep,
            });
        };
        rsync.push(&trees, &options, &bytes, &retried, &context.stop).map_err(|error| match error {
            _ if context.stopped() => job.stopped(),
            other => RestoreError::Rsync(other),
        })?;
        let mode = stored.data.metadata().map_err(io_at(&stored.data))?.mode();
        self.link(job, if mode & 0o050 == 0 { 0o700 } else { 0o750 })
    }

    /// What must stay in the data directory for the tablespaces that lie in it, by their names or behind links.
    fn inside(&self, job: Job<'_>) -> Result<Vec<String>, RestoreError> {
        let what = "looking at the destination";
        let named: Vec<PathBuf> = roots(job).map(PathBuf::from).collect();
        let said = self.ask(job, what, shell::REAL, &roots(job).collect::<Vec<_>>(), &[])?;
        let lines = said.strip_suffix(b"\n").unwrap_or_default().split(|byte| *byte == b'\n');
        let real: Vec<PathBuf> = lines.map(|line| PathBuf::from(OsStr::from_bytes(line))).collect();
        if real.len() != named.len() || !real.iter().all(|path| path.is_absolute()) {
            return Err(RemoteError::answer(what, &said).into());
        }
        Ok(inner(&named, &real))
    }

    /// The links to tablespaces, and the mode of the directories, which the copy made for itself alone.
    fn link(&self, job: Job<'_>, mode: u32) -> Result<(), RestoreError> {
        let plan = job.plan;
        let mode = format!("{mode:o}");
        let numbers: Vec<String> = plan.tablespaces.iter().map(|place| place.oid.to_string()).collect();
        let mut arguments: Vec<&OsStr> = vec![plan.destination.as_os_str(), mode.as_ref()];
        for (number, place) in numbers.iter().zip(&plan.tablespaces) {
            arguments.extend([OsStr::new(number), place.location.as_os_str()]);
        }
        self.ask(job, "linking the tablespaces", shell::LINK, &arguments, &[]).map(drop)
    }

    fn rsync(&self, job: Job<'_>) -> Rsync {
        let (config, options, remote) = (&job.server.config, &job.plan.options, remote(job));
        let mut rsync = configured(config);
        rsync.ssh_command = Some(self.host.ssh_command(false));
        rsync.remote_program = Some(self.guard.program("rsync"));
        rsync.jobs = options.jobs.map_or(rsync.jobs, |jobs| jobs.max(1));
        rsync.compress = remote.network_compression.unwrap_or(rsync.compress);
        rsync.batch_size = remote.jobs_start_batch_size.unwrap_or(rsync.batch_size);
        let period = remote.jobs_start_batch_period.map(|seconds| Duration::from_secs(seconds.into()));
        rsync.batch_period = period.unwrap_or(rsync.batch_period);
        rsync.retry_times = remote.retry_times.unwrap_or(rsync.retry_times);
        rsync.retry_sleep = remote.retry_sleep.unwrap_or(rsync.retry_sleep);
        rsync
    }

    /// What goes as a tar stream.
    pub(super) fn transfer(&self, job: Job<'_>) -> Transfer {
        let (config, remote) = (&job.server.config, remote(job));
        let mut transfer = Transfer::default();
        transfer.compress = remote.network_compression.unwrap_or(config.network_compression);
        let limit = bandwidth_limit(config, job.plan.options.bandwidth_limit, None);
        transfer.limit = limit.map(|kilobytes| Arc::new(Limiter::new(u64::from(kilobytes) * 1024)));
        transfer.stop = Arc::clone(&job.context.stop);
        transfer.guard = Some(Arc::clone(&self.guard));
        transfer
    }
}

/// Patterns for what is below the first directory of the others, by their names and as they are without links. Where the two
/// differ, links on the way to one stay, too.
fn inner(named: &[PathBuf], real: &[PathBuf]) -> Vec<String> {
    let below = |paths: &[PathBuf], at: usize| {
        let inside = paths.get(at)?.strip_prefix(paths.first()?).ok()?;
        Some(inside.to_owned()).filter(|inside| !inside.as_os_str().is_empty())
    };
    let mut patterns = Vec::new();
    for at in 1..named.len() {
        let (by_name, as_is) = (below(named, at), below(real, at));
        if let Some(way) = by_name.as_ref().filter(|_| by_name != as_is) {
            patterns.extend(way.ancestors().skip(1).filter_map(|part| pattern(part, "")));
        }
        let both = [by_name, as_is].into_iter().flatten();
        patterns.extend(both.filter_map(|inside| pattern(&inside, "/***")));
    }
    patterns.dedup();
    patterns
}

/// A path below the top of a tree as a pattern of rsync's that means nothing else; what is no text in it may be anything. A backslash
/// is only one before a wildcard if there is any in the pattern.
fn pattern(path: &Path, suffix: &str) -> Option<String> {
    let text = path.to_string_lossy();
    let is_wild = |c: char| matches!(c, '*' | '?' | '[' | char::REPLACEMENT_CHARACTER);
    if text.is_empty() {
        return None;
    }
    let is_pattern = !suffix.is_empty() || text.contains(is_wild);
    let mut pattern = String::from("/");
    for c in text.chars() {
        if is_pattern && matches!(c, '*' | '?' | '[' | '\\') {
            pattern.push('\\');
        }
        pattern.push(if c == char::REPLACEMENT_CHARACTER { '*' } else { c });
    }
    Some(pattern + suffix)
}

/// How the directories in tablespaces begin that a restore over them may delete; those of other releases stay.
fn own_directories(job: Job<'_>) -> String {
    job.plan.record.version.map_or_else(|| "PG_".to_owned(), version_prefix)
}

fn is_delta(job: Job<'_>) -> bool {
    job.plan.options.delta.unwrap_or(job.server.config.recovery_options.delta_restore)
}

fn remote(job: Job<'_>) -> RemoteOptions {
    job.plan.options.remote.clone().unwrap_or_default()
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test's own files")]
mod tests {
    use std::sync::atomic::AtomicBool;

    use tapster_copy::{CopyObserver, Silent};

    use super::*;

    /// By rsync itself: what is in the data directory in any way stays, with whatever characters, and nothing else does.
    #[test]
    fn tablespaces_in_the_data_directory_stay() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let (from, to, link) = (root.join("from"), root.join("to"), root.join("link"));
        std::os::unix::fs::symlink(&to, &link).unwrap();
        let names = ["plain", "t[1]*s?", r"back\slash", r"bo\th*", "deep/er"];
        std::fs::create_dir_all(&from).unwrap();
        for name in names.iter().copied().chain(["t1s1", "back", "deep/other", "away", "stale"]) {
            std::fs::create_dir_all(to.join(name)).unwrap();
            std::fs::write(to.join(name).join("PG_14"), "x").unwrap();
        }
        // Behind a link in the data directory, to somewhere else.
        let away = root.join("away");
        std::fs::create_dir_all(away.join("space")).unwrap();
        std::os::unix::fs::symlink(&away, to.join("way")).unwrap();
        let mut named = vec![link];
        named.extend(names.iter().map(|name| to.join(name)));
        named.push(named[0].join("way/space"));
        let real: Vec<PathBuf> = named.iter().map(|path| path.canonicalize().unwrap()).collect();
        let mut tree = PushTree::new("pgdata", &from, &to);
        tree.keep = inner(&named, &real);
        let mut options = PushOptions::default();
        options.existing = Existing::Compare;
        let observer: &dyn CopyObserver = &Silent;
        Rsync::default().push(&[tree], &options, observer, &|_, _| {}, &AtomicBool::new(false)).unwrap();
        for name in names {
            assert!(to.join(name).join("PG_14").exists(), "{name}");
        }
        assert!(to.join("way/space").is_dir());
        for name in ["t1s1", "back", "deep/other", "away", "stale"] {
            assert!(!to.join(name).exists(), "{name}");
        }
    }
}
