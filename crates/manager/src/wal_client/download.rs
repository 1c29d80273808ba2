//! One `get-wal`: from ssh's output, decompressed on the way, into a temporary file that is complete or nothing.

use std::io::{self, Read};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tapster_catalog::durable::{Publish, RealDisk};
use walfile::codec::{self, DETECT_LEN};
use walfile::{SegmentSize, WalName};

use super::restore::FetchWalError;
use super::ssh::{RemoteBarman, SshError};
use super::transfer::Counted;

/// Labels and history files are a few hundred bytes; whatever else there is under a name, a segment is the most.
const LIMIT: u64 = SegmentSize::MAX.bytes();

/// A received file under its temporary name, complete and of a possible length.
pub(super) struct Downloaded {
    pub(super) file: Publish<'static>,
    pub(super) length: u64,
}

/// Fetches `name` next to `target`. Dropped without being published, it leaves nothing.
pub(super) fn download(
    remote: &RemoteBarman,
    options: &[String],
    name: &str,
    target: &Path,
    stop: &Arc<AtomicBool>,
) -> Result<Downloaded, FetchWalError> {
    // Before the connection: a destination that cannot be written is the other kind of failure.
    let file = Publish::create(&RealDisk, target, Some(0o600))
        .map_err(|error| FetchWalError::Open { path: target.to_owned(), source: error.into() })?;
    let mut running =
        remote.start(remote.get_wal(options, name), "get-wal", Stdio::null(), Stdio::piped(), stop)?;
    let moved = Arc::clone(&running.moved);
    let Some(stdout) = running.stdout.take() else {
        return Err(SshError::Start(io::ErrorKind::BrokenPipe.into()).into());
    };
    let mut input = Counted { inner: stdout, moved: &moved };
    let mut into = file;
    let copied = copy_decoded(&mut input, &mut into);
    let length = match copied {
        Ok(length) => length,
        // Writing failed here: nobody listens any more, so ssh is ended by the drop.
        Err(Copy::Write(source)) => {
            return Err(FetchWalError::Write { path: target.to_owned(), source });
        }
        Err(Copy::Read(problem)) => {
            // What the remote command said about itself comes first: a broken stream has its reason there.
            drop(io::copy(&mut (&mut input).take(LIMIT), &mut io::sink()));
            drop(input);
            running.finish()?;
            return Err(FetchWalError::Content { name: name.to_owned(), problem });
        }
    };
    running.finish()?;
    check_length(name, length)?;
    Ok(Downloaded { file: into, length })
}

enum Copy {
    Read(String),
    Write(io::Error),
}

fn copy_decoded(input: &mut dyn Read, into: &mut Publish<'_>) -> Result<u64, Copy> {
    let read = |error: io::Error| Copy::Read(error.to_string());
    let mut start = Vec::with_capacity(DETECT_LEN);
    (&mut *input).take(DETECT_LEN as u64).read_to_end(&mut start).map_err(read)?;
    let compression = codec::detect(&start);
    let whole = io::Cursor::new(start).chain(&mut *input);
    let mut decoder = codec::decoder(whole, compression).map_err(|e| read(e.into()))?.take(LIMIT + 1);
    let mut buffer = vec![0; 128 * 1024];
    let mut length = 0;
    loop {
        let got = match decoder.read(&mut buffer) {
            Ok(0) => break,
            Ok(got) => got,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(read(e)),
        };
        length += got as u64;
        if length > LIMIT {
            return Err(Copy::Read(format!("more than {LIMIT} bytes")));
        }
        into.write_all(buffer.get(..got).unwrap_or_default()).map_err(|e| Copy::Write(e.into()))?;
    }
    drop(decoder);
    // A decoder may stop at the end of its stream; ssh waits for a reader.
    match io::copy(input, &mut io::sink()).map_err(read)? {
        0 => Ok(length),
        more => Err(Copy::Read(format!("{more} bytes after the end of the compressed file"))),
    }
}

/// PostgreSQL stops with an error at a segment of another size, and reads an empty history file as one.
pub(super) fn check_length(name: &str, length: u64) -> Result<(), FetchWalError> {
    let problem = match name.parse() {
        Ok(WalName::Segment(_) | WalName::Partial(_)) if SegmentSize::new(length).is_err() => {
            format!("{length} bytes, which is no segment size")
        }
        _ if length == 0 => "it is empty".to_owned(),
        _ => return Ok(()),
    };
    Err(FetchWalError::Content { name: name.to_owned(), problem })
}
