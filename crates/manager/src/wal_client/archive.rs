//! `barman-wal-archive`: one WAL file to the backup host, as `archive_command` wants it.

use std::fs::{File, Metadata};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::UNIX_EPOCH;

use thiserror::Error;
use walfile::codec::{Compression, Level};

use super::ssh::{RemoteBarman, SshError};
use super::transfer::{Counted, Exactly, Hasher, compress};

/// How a WAL file is sent.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct SendOptions {
    /// `MD5SUMS` instead of `SHA256SUMS`, for a Barman before 2.6.
    pub md5: bool,
    /// Compressed before it is sent, and stored so on the other side until it is archived.
    pub compression: Compression,
    /// How hard.
    pub level: Level,
    /// Where the compressed file waits, without a name; its length must be known before its first byte is sent.
    pub temp_dir: PathBuf,
}

/// The file was not sent, or nobody said that it arrived. `archive_command` must report failure.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SendWalError {
    /// What is to be sent is a directory.
    #[error("WAL_PATH cannot be a directory: {}", path.display())]
    IsDirectory {
        /// It.
        path: PathBuf,
    },
    /// It cannot be read, or changed its length meanwhile.
    #[error("Cannot read '{}' (WAL_PATH): {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It cannot be compressed, or there is no room for that.
    #[error("Cannot compress '{}' with {compression}: {source}", path.display())]
    Compress {
        /// The file.
        path: PathBuf,
        /// The format.
        compression: Compression,
        /// Why not.
        source: io::Error,
    },
    /// The remote command ended well, but before it had everything.
    #[error("Remote 'barman put-wal' command did not read the whole file: {source}")]
    Unread {
        /// What writing to it said.
        source: io::Error,
    },
    /// ssh or the remote command failed.
    #[error(transparent)]
    Ssh(#[from] SshError),
}

/// Sends the file at `path`, and returns once the other side has stored it.
///
/// # Errors
/// In all other cases.
pub fn send_wal(
    remote: &RemoteBarman,
    path: &Path,
    options: &SendOptions,
    stop: &Arc<AtomicBool>,
) -> Result<(), SendWalError> {
    let read = |source| SendWalError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(read)?;
    let metadata = file.metadata().map_err(read)?;
    if metadata.is_dir() {
        return Err(SendWalError::IsDirectory { path: path.to_owned() });
    }
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| read(io::Error::other("it has no file name")))?;

    let (content, length) = if options.compression == Compression::None {
        (file, metadata.len())
    } else {
        compressed(file, path, options, stop)?
    };
    let mut running =
        remote.start(remote.put_wal(false), "put-wal", Stdio::piped(), Stdio::inherit(), stop)?;
    let Some(stdin) = running.stdin.take() else {
        return Err(SshError::Start(io::ErrorKind::BrokenPipe.into()).into());
    };
    let moved = Arc::clone(&running.moved);
    let output = BufWriter::with_capacity(64 * 1024, Counted { inner: stdin, moved: &moved });
    match write_tar(output, name, content, length, &metadata, options.md5) {
        Ok(()) => Ok(running.finish()?),
        // The other side must not see a proper end of the stream: dropping `running` kills ssh.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(read(error)),
        // ssh went away. It says why better than the broken pipe does; but even if it claims success, it lies.
        Err(source) => {
            running.finish()?;
            Err(SendWalError::Unread { source })
        }
    }
}

/// Asks whether the other side would take WAL. Returns what it printed and its exit code.
///
/// # Errors
/// ssh cannot be started, or the program is to stop.
pub fn test_put_wal(remote: &RemoteBarman, stop: &Arc<AtomicBool>) -> Result<(Vec<u8>, i32), SshError> {
    remote.output(remote.put_wal(true), "put-wal", stop)
}

fn compressed(
    file: File,
    path: &Path,
    options: &SendOptions,
    stop: &Arc<AtomicBool>,
) -> Result<(File, u64), SendWalError> {
    let compression = options.compression;
    let fail = |source| SendWalError::Compress { path: path.to_owned(), compression, source };
    let mut into = tempfile::tempfile_in(&options.temp_dir).map_err(fail)?;
    let stopped = || stop.load(Ordering::Relaxed);
    let length = compress(file, &mut into, compression, options.level, stopped)
        .map_err(|error| if stopped() { SshError::Stopped.into() } else { fail(error) })?;
    Ok((into, length))
}

/// The archive Barman's own client sends: the file, then its checksum, in a pax archive (the header carries the fraction of
/// the modification time, which Barman's index keeps).
fn write_tar<W: Write>(
    output: BufWriter<W>,
    name: &str,
    content: File,
    length: u64,
    metadata: &Metadata,
    md5: bool,
) -> io::Result<()> {
    let mut tar = tar::Builder::new(output);
    let modified =
        metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    let mtime = format!("{}.{:06}", modified.as_secs(), modified.subsec_micros());
    tar.append_pax_extensions([("mtime", mtime.as_bytes())])?;
    let mut header = header(name, length)?;
    header.set_mtime(modified.as_secs());
    header.set_cksum();
    let mut hash = if md5 { Hasher::md5() } else { Hasher::sha256() };
    tar.append(&header, Exactly { inner: content, left: length, hash: &mut hash })?;

    let line = format!("{} *{name}\n", hash.finish());
    let mut header = self::header(if md5 { "MD5SUMS" } else { "SHA256SUMS" }, line.len() as u64)?;
    header.set_cksum();
    tar.append(&header, line.as_bytes())?;
    tar.into_inner()?.into_inner().map_err(io::IntoInnerError::into_error).map(drop)
}

fn header(name: &str, length: u64) -> io::Result<tar::Header> {
    let mut header = tar::Header::new_ustar();
    header.set_path(name)?;
    header.set_size(length);
    header.set_mode(0o600);
    header.set_uid(0);
    header.set_gid(0);
    header.set_entry_type(tar::EntryType::Regular);
    Ok(header)
}
