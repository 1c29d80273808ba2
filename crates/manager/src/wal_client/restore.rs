//! `barman-wal-restore`: one WAL file from the backup host, as `restore_command` wants it.
//!
//! The destination is complete or untouched: PostgreSQL takes a short or empty file for the end of WAL, or for a reason to stop.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tapster_catalog::durable::{self, Clobber, DurableError, RealDisk};
use thiserror::Error;
use walfile::{SegmentName, SegmentSize, WalName};

use super::ahead::{self, Reader};
use super::download::download;
use super::spool::{Spool, claim};
use super::ssh::{RemoteBarman, SshError};
use super::transfer::Counted;

/// How `get-wal` is to send the file.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum TransferCompression {
    /// Decompressed.
    #[default]
    Off,
    /// `--gzip`.
    Gzip,
    /// `--bzip2`.
    Bzip2,
    /// `--keep-compression`: as it is stored.
    AsStored,
}

/// How a WAL file is fetched.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct FetchOptions {
    /// The beginning of a segment will do when that is all there is.
    pub partial: bool,
    /// How it travels. What arrives compressed is decompressed in any case.
    pub compression: TransferCompression,
    /// With how many files, counting the one asked for, to be ahead; 0 and 1 for none.
    pub parallel: u64,
    /// Where those wait.
    pub spool_dir: PathBuf,
    /// When the remote command fails, ask it once more whether the file is there: [`FetchWalError::Missing`] is then certain, and
    /// every other error is one of the infrastructure.
    pub ask_whether_missing: bool,
}

/// How the file came.
#[derive(Debug)]
#[non_exhaustive]
pub struct Fetched {
    /// It waited in the spool.
    pub spooled: bool,
    /// Few of those that follow wait in the spool: call [`fetch_ahead`](super::fetch_ahead) now, beside the replay of this one.
    pub fetch_ahead: bool,
    /// Why the spool was not used; no harm.
    pub warnings: Vec<String>,
}

/// The file was not fetched. The destination is as it was.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FetchWalError {
    /// The destination is a directory.
    #[error("WAL_DEST cannot be a directory: {}", path.display())]
    IsDirectory {
        /// It.
        path: PathBuf,
    },
    /// Nothing can be written there.
    #[error("Cannot open '{}' (WAL_DEST) for writing: {source}", path.display())]
    Open {
        /// The destination.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Writing failed on the way.
    #[error("Cannot write '{}' (WAL_DEST): {source}", path.display())]
    Write {
        /// The destination.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The other side has no such file, as it said when it was asked.
    #[error("The required file is not available: {name}")]
    Missing {
        /// The file.
        name: String,
        /// The exit code of the remote command that did not send it, if that was asked for.
        code: Option<i32>,
    },
    /// The other side claims success, but what it sent is no such file.
    #[error("Barman sent something that is not {name}: {problem}")]
    Content {
        /// The file.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The spool cannot be used.
    #[error("Cannot use the spool directory {}: {source}", path.display())]
    Spool {
        /// The directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// ssh or the remote command failed.
    #[error(transparent)]
    Ssh(#[from] SshError),
}

/// Fetches `name` to `destination`. When this returns, the file is complete there, and its content durable.
///
/// # Errors
/// In all other cases; the destination is then as it was.
pub fn fetch_wal(
    remote: &RemoteBarman,
    name: &str,
    destination: &Path,
    options: &FetchOptions,
    stop: &Arc<AtomicBool>,
) -> Result<Fetched, FetchWalError> {
    if destination.is_dir() {
        return Err(FetchWalError::IsDirectory { path: destination.to_owned() });
    }
    // A run that was killed may have left its temporary file beside the destination.
    drop(durable::remove_stale(&RealDisk, durable::parent(destination)));
    if options.parallel == 0 {
        one(remote, name, destination, options, stop)?;
        return Ok(Fetched { spooled: false, fetch_ahead: false, warnings: Vec::new() });
    }
    let alone = |warnings| {
        one(remote, name, destination, options, stop).map(|_| Fetched {
            spooled: false,
            fetch_ahead: false,
            warnings,
        })
    };
    let claimed = claim(&options.spool_dir)
        .map_err(|source| FetchWalError::Spool { path: options.spool_dir.clone(), source })?;
    if !claimed {
        let dir = options.spool_dir.display();
        return alone(vec![format!("{dir} is not used because it belongs to another user")]);
    }
    let fetch = |remote: &RemoteBarman| match name.parse() {
        Ok(WalName::Segment(segment)) => spooled(remote, segment, destination, options, stop),
        _ => one(remote, name, destination, options, stop).map(|_| Fetched {
            spooled: false,
            fetch_ahead: false,
            warnings: Vec::new(),
        }),
    };
    let shared = ahead::shared(remote, &options.spool_dir);
    let connected = shared.control.as_ref().is_some_and(|control| control.exists());
    let fetched = fetch(&shared);
    match (&fetched, &shared.control) {
        (Err(FetchWalError::Ssh(SshError::Connection | SshError::Stalled { .. })), Some(control)) => {
            // Whoever holds the connection is of no use any more; that of the next command is a new one.
            drop(std::fs::remove_file(control));
            if connected { fetch(remote) } else { fetched }
        }
        _ => fetched,
    }
}

/// Whether the server that waits for `destination` (`pg_wal/RECOVERYXLOG` in its data directory) opens for writing when it is told that
/// there is no more WAL: one in recovery that is no standby. A standby only tries again, so it can be told of a failed connection by the
/// same exit code; this one would lose what it did not get.
#[must_use]
pub fn ends_recovery(destination: &Path) -> bool {
    let absolute = std::path::absolute(destination).unwrap_or_else(|_| destination.to_owned());
    let Some(data) = absolute.parent().and_then(Path::parent) else { return false };
    if data.join("recovery.signal").exists() {
        return !data.join("standby.signal").exists();
    }
    // Up to PostgreSQL 11; no longer there once recovery has ended.
    let mut text = String::new();
    let read =
        File::open(data.join("recovery.conf")).and_then(|file| file.take(1 << 20).read_to_string(&mut text));
    read.is_ok() && !is_standby(&text)
}

/// Whether this `recovery.conf` makes a standby; the last line counts.
fn is_standby(recovery_conf: &str) -> bool {
    let mut values = recovery_conf.lines().filter_map(|line| {
        let (key, value) = line.trim().split_once(|c: char| c == '=' || c.is_whitespace())?;
        let value = value.trim_start_matches(|c: char| c == '=' || c.is_whitespace());
        let value = value.split(|c: char| c == '#' || c.is_whitespace()).next().unwrap_or_default();
        key.eq_ignore_ascii_case("standby_mode").then(|| value.trim_matches('\'').to_ascii_lowercase())
    });
    values.next_back().is_some_and(|value| matches!(value.as_str(), "on" | "true" | "yes" | "1" | "t" | "y"))
}

/// Asks whether the other side would give WAL. Returns what it printed and its exit code.
///
/// # Errors
/// ssh cannot be started, or the program is to stop.
pub fn test_get_wal(remote: &RemoteBarman, stop: &Arc<AtomicBool>) -> Result<(Vec<u8>, i32), SshError> {
    remote.output(remote.get_wal(&["--test".to_owned()], "dummy_wal_name"), "get-wal", stop)
}

pub(super) fn words(options: &FetchOptions) -> Vec<String> {
    let compression = match options.compression {
        TransferCompression::Off => None,
        TransferCompression::Gzip => Some("--gzip"),
        TransferCompression::Bzip2 => Some("--bzip2"),
        TransferCompression::AsStored => Some("--keep-compression"),
    };
    let partial = options.partial.then_some("--partial");
    compression.into_iter().chain(partial).map(str::to_owned).collect()
}

pub(super) fn one(
    remote: &RemoteBarman,
    name: &str,
    destination: &Path,
    options: &FetchOptions,
    stop: &Arc<AtomicBool>,
) -> Result<u64, FetchWalError> {
    let done = download(remote, &words(options), name, destination, stop).map_err(|error| match error {
        FetchWalError::Ssh(SshError::Remote { code, .. })
            if options.ask_whether_missing
                && peek(remote, name, 1, options, stop).is_ok_and(|n| n.is_empty()) =>
        {
            FetchWalError::Missing { name: name.to_owned(), code: Some(code) }
        }
        error => error,
    })?;
    let write =
        |error: DurableError| FetchWalError::Write { path: destination.to_owned(), source: error.into() };
    done.file.publish(Clobber::Replace).map_err(write)?;
    Ok(done.length)
}

/// With a spool: from there if it is there or on its way, else from the archive.
fn spooled(
    remote: &RemoteBarman,
    wanted: SegmentName,
    destination: &Path,
    options: &FetchOptions,
    stop: &Arc<AtomicBool>,
) -> Result<Fetched, FetchWalError> {
    let spool_error = |source| FetchWalError::Spool { path: options.spool_dir.clone(), source };
    let reader = Reader::new(remote, destination);
    let open = || Spool::open(&options.spool_dir, &reader.owner).map_err(spool_error);
    let write =
        |error: DurableError| FetchWalError::Write { path: destination.to_owned(), source: error.into() };
    let mut waited = false;
    let (spool, taken) = loop {
        let Some(spool) = open()? else {
            one(remote, &wanted.to_string(), destination, options, stop)?;
            let warning = format!("{} is in use by another process", options.spool_dir.display());
            return Ok(Fetched { spooled: false, fetch_ahead: false, warnings: vec![warning] });
        };
        spool.set_position(wanted).map_err(spool_error)?;
        let taken = spool.take(wanted, destination, reader.system_id).map_err(write)?;
        if taken.is_some() || waited {
            break (spool, taken);
        }
        drop(spool);
        ahead::wait_for(wanted, &options.spool_dir, stop);
        if stop.load(Ordering::Relaxed) {
            return Err(SshError::Stopped.into());
        }
        waited = true;
    };
    let was_spooled = taken.is_some();
    let length = match taken {
        Some(length) => length,
        None => {
            let names = peek(remote, &wanted.to_string(), 1, options, stop)?;
            // There may be a partial one, which peeking does not show.
            if names.first() != Some(&wanted.to_string()) && !options.partial {
                return Err(FetchWalError::Missing { name: wanted.to_string(), code: None });
            }
            one(remote, &wanted.to_string(), destination, options, stop)?
        }
    };
    // A partial segment has no successors yet.
    let size = SegmentSize::new(length).ok();
    let ahead = options.parallel - 1;
    spool.keep_after(wanted, size, ahead).map_err(spool_error)?;
    // With half of them used up the others come while those are replayed.
    let fetch_ahead = size.is_some_and(|size| spool.waiting(wanted, size, ahead) < ahead.div_ceil(2));
    Ok(Fetched { spooled: was_spooled, fetch_ahead, warnings: Vec::new() })
}

/// The names from `name` on that the other side has, at most `count`.
pub(super) fn peek(
    remote: &RemoteBarman,
    name: &str,
    count: u64,
    options: &FetchOptions,
    stop: &Arc<AtomicBool>,
) -> Result<Vec<String>, SshError> {
    let mut words = words(options);
    words.insert(0, format!("--peek '{count}'"));
    let mut running =
        remote.start(remote.get_wal(&words, name), "get-wal", Stdio::null(), Stdio::piped(), stop)?;
    let mut text = String::new();
    if let Some(stdout) = running.stdout.take() {
        let moved = Arc::clone(&running.moved);
        let mut input = Counted { inner: stdout, moved: &moved }.take(1024 * 1024);
        // Text that is no UTF-8 holds no names.
        drop(input.read_to_string(&mut text));
    }
    running.finish()?;
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    Ok(text.lines().map(str::trim).filter(|line| !line.is_empty()).take(count).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::is_standby;

    #[test]
    fn the_recovery_file_of_older_servers_says_whether_it_is_a_standby() {
        for text in [
            "standby_mode = 'on'",
            "standby_mode=on # yes",
            "standby_mode off\nSTANDBY_MODE 'true'",
            "standby_mode = 1",
        ] {
            assert!(is_standby(text), "{text}");
        }
        for text in [
            "",
            "#standby_mode = on",
            "standby_mode = 'off'",
            "standby_mode = on\nstandby_mode = off",
            "restore_command = 'standby_mode = on'",
        ] {
            assert!(!is_standby(text), "{text}");
        }
    }
}
