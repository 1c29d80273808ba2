//! A directory of another host, written as a tar archive that is unpacked while it arrives.

use std::ffi::OsStr;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::error::RemoteError;
use super::guard::Guard;
use super::host::{Host, Script};
use super::process::Sending;
use crate::extract::{Outlet, TreeSink};
use crate::live::Limiter;
use crate::tar::{NewMember, Writer};

const PIECE: usize = 256 * 1024;
/// Of the network, not of the disk: what gzip does cheaply.
const LEVEL: u32 = 1;
/// `-p`: the modes of the archive; `-o`: files belong to who unpacks them, who may be root.
const UNPACK: &str = "tar -xpof - -C \"$1\"";

/// How archives are sent.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Transfer {
    /// Compress on the way; the other host needs `gzip` for that.
    pub compress: bool,
    /// Bytes per second at most, of all archives of this value together.
    pub limit: Option<Arc<Limiter>>,
    /// Ends what is under way.
    pub stop: Arc<AtomicBool>,
    /// What goes before the command that unpacks.
    pub guard: Option<Arc<Guard>>,
}

/// A directory of another host that is being written. What was written is there when [`RemoteArchive::finish`] has returned, but
/// not yet on its disk. Existing files are replaced. Dropped, it is broken off.
#[derive(Debug)]
pub struct RemoteArchive {
    writer: Writer<Pipe>,
    what: String,
}

/// Opens directories of another host.
#[derive(Clone, Debug)]
pub struct RemoteOutlet {
    /// The host.
    pub host: Arc<Host>,
    /// How.
    pub transfer: Transfer,
}

impl Outlet for RemoteOutlet {
    fn open(&self, directory: &Path) -> io::Result<Box<dyn TreeSink>> {
        let archive = RemoteArchive::open(&self.host, directory, &self.transfer);
        Ok(Box::new(archive.map_err(io::Error::other)?))
    }
}

impl RemoteArchive {
    /// Starts `tar` in a directory that is there.
    ///
    /// # Errors
    /// When ssh cannot be run.
    pub fn open(host: &Host, directory: &Path, transfer: &Transfer) -> Result<Self, RemoteError> {
        let what = format!("writing into {}", directory.display());
        let script = if transfer.compress { format!("gzip -dc | {UNPACK}") } else { UNPACK.to_owned() };
        let arguments: [&OsStr; 1] = [directory.as_os_str()];
        let mut script = Script::new(&what, &script, &arguments);
        script.guard = transfer.guard.as_deref();
        let sending = host.start(&script, &transfer.stop)?;
        let limited = Limited { sending, limit: transfer.limit.clone(), stop: Arc::clone(&transfer.stop) };
        let buffered = BufWriter::with_capacity(PIECE, limited);
        let pipe = if transfer.compress {
            Pipe::Gzip(Box::new(GzEncoder::new(buffered, Compression::new(LEVEL))))
        } else {
            Pipe::Plain(buffered)
        };
        Ok(Self { writer: Writer::new(pipe), what })
    }

    /// Begins a member.
    ///
    /// # Errors
    /// What the other host says to what it has been sent.
    pub fn start(&mut self, member: &NewMember<'_>) -> Result<(), RemoteError> {
        self.writer.start(member).map_err(|error| reason(&self.what, error))
    }

    /// The next bytes of the member begun last.
    ///
    /// # Errors
    /// As [`RemoteArchive::start`].
    pub fn data(&mut self, bytes: &[u8]) -> Result<(), RemoteError> {
        self.writer.write_all(bytes).map_err(|error| reason(&self.what, error))
    }

    /// Ends the archive, and waits until everything is unpacked.
    ///
    /// # Errors
    /// When a member is not complete, or unpacking failed.
    pub fn finish(self) -> Result<(), RemoteError> {
        let Self { writer, what } = self;
        let failed = |error| reason(&what, error);
        let buffered = match writer.finish().map_err(failed)? {
            Pipe::Plain(buffered) => buffered,
            Pipe::Gzip(encoder) => encoder.finish().map_err(failed)?,
        };
        let limited = buffered.into_inner().map_err(|error| failed(error.into_error()))?;
        limited.sending.finish().map(drop)
    }
}

/// What the other host said is in the error itself.
fn reason(what: &str, error: io::Error) -> RemoteError {
    error.downcast::<RemoteError>().unwrap_or_else(|source| RemoteError::Io { what: what.to_owned(), source })
}

impl TreeSink for RemoteArchive {
    fn start(&mut self, member: &NewMember<'_>) -> io::Result<()> {
        Self::start(self, member).map_err(io::Error::other)
    }

    fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        Self::data(self, bytes).map_err(io::Error::other)
    }

    fn finish(self: Box<Self>) -> io::Result<()> {
        Self::finish(*self).map_err(io::Error::other)
    }
}

#[derive(Debug)]
enum Pipe {
    Plain(BufWriter<Limited>),
    Gzip(Box<GzEncoder<BufWriter<Limited>>>),
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(buffered) => buffered.write(bytes),
            Self::Gzip(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(buffered) => buffered.flush(),
            Self::Gzip(encoder) => encoder.flush(),
        }
    }
}

/// No faster than allowed.
#[derive(Debug)]
struct Limited {
    sending: Sending,
    limit: Option<Arc<Limiter>>,
    stop: Arc<AtomicBool>,
}

impl Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = match self.sending.write(bytes) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
            result => result.map_err(|error| io::Error::other(self.sending.reason(error)))?,
        };
        if let Some(limit) = &self.limit {
            limit.take(written as u64, &self.stop);
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
