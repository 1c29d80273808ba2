//! The tar stream of `barman-wal-archive`, read without ever holding a file in memory.

use std::fs::File;
use std::io::{self, Read};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tapster_catalog::durable;
use tapster_catalog::incoming::{self, AcceptError, Accepted, Received, Verify};
use tar::EntryType;
use walfile::WalName;

use super::sums::{self, Algorithm};
use super::validate::{self, Strictness};
use super::{PutWal, PutWalError};
use crate::wal_client::Hasher;
use crate::{Context, Server};

/// Each takes an open file until all are checked. Barman's client sends one.
const MAX_FILES: usize = 64;
/// A pax header of ours or Python's is some 30 bytes.
const MAX_PAX: u64 = 64 * 1024;

/// A file received.
struct Pending<'d> {
    name: WalName,
    received: Received<'d>,
    content: File,
    sha256: String,
    checked: bool,
}

/// Which sum is wanted is said after the file. Nearly always it is this one; for the other the file is read again.
struct Sha256(Hasher);

impl Verify for Sha256 {
    fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn verify(&mut self) -> Result<(), String> {
        Ok(())
    }
}

impl Server {
    /// Takes the files of a tar stream into `incoming/`, all or, before the first is stored, none.
    ///
    /// # Errors
    /// When the stream is broken, a checksum is missing or wrong, a file is another cluster's or differs from what is here under its
    /// name, or the storage fails. What was stored before a failure of storage stays; the sender offers it again.
    pub fn put_wal(&self, mut input: impl Read, context: &Context<'_>) -> Result<PutWal, PutWalError> {
        drop(durable::remove_stale(self.catalog.disk(), &self.layout().incoming));
        let pending = self.read_stream(&mut input)?;
        // A sender that cannot finish its padding would fail, although all is well.
        drop(io::copy(&mut input, &mut io::sink()));
        if pending.is_empty() {
            return Err(PutWalError::Empty);
        }
        let system_id = self.system_id()?;
        let mut checked = Vec::with_capacity(pending.len());
        for mut file in pending {
            let name = file.name;
            if !file.checked {
                return Err(PutWalError::NoChecksum { name });
            }
            validate::check(&mut file.content, name, system_id, Strictness::Provable)
                .map_err(|source| AcceptError::Receive { name, source })?
                .map_err(|problem| PutWalError::Invalid { name: name.to_string(), problem })?;
            checked.push(file);
        }
        let mut files = Vec::with_capacity(checked.len());
        for file in checked {
            files.push((file.name, self.commit(file, context)?));
        }
        Ok(PutWal { files })
    }

    fn commit(&self, file: Pending<'_>, context: &Context<'_>) -> Result<Accepted, PutWalError> {
        let Pending { name, received, mut content, .. } = file;
        received.with_custom_filter(self.custom.as_ref()).with_gpg(Some(&self.gpg)).commit().or_else(
            |error| match error {
                AcceptError::Undecided { path, source } => {
                    // The temporary file is gone by now, its content is not while it is open.
                    io::Seek::rewind(&mut content).map_err(|source| AcceptError::Receive { name, source })?;
                    self.set_aside(name, content, (&path, &source), context)
                }
                AcceptError::Different { path } => {
                    let rewound = io::Seek::rewind(&mut content).is_ok();
                    let moved = rewound
                        .then(|| self.keep_duplicate(name, content, context.now()).ok())
                        .flatten()
                        .flatten();
                    Err(PutWalError::Different { name, server: self.name().to_owned(), path, moved })
                }
                error => Err(error.into()),
            },
        )
    }

    fn read_stream(&self, input: &mut dyn Read) -> Result<Vec<Pending<'_>>, PutWalError> {
        let mut archive = tar::Archive::new(input);
        let mut pending: Vec<Pending<'_>> = Vec::new();
        let mut modified = None;
        // Raw: extension headers are read here, with a limit.
        for entry in archive.entries().map_err(PutWalError::Stream)?.raw(true) {
            let entry = entry.map_err(PutWalError::Stream)?;
            let name = String::from_utf8_lossy(&entry.path_bytes()).chars().take(64).collect::<String>();
            let refuse =
                |problem: &str| PutWalError::Member { name: name.clone(), problem: problem.to_owned() };
            match entry.header().entry_type() {
                EntryType::Regular | EntryType::Continuous => {}
                EntryType::XHeader => {
                    modified = pax_mtime(entry).map_err(|problem| refuse(&problem))?;
                    continue;
                }
                EntryType::XGlobalHeader => continue,
                _ => return Err(refuse("not a regular file")),
            }
            let member = std::mem::take(&mut modified);
            if let Some(algorithm) = Algorithm::of_member(&name) {
                check_sums(&name, algorithm, sums::read(&name, algorithm, entry)?, &mut pending)?;
                continue;
            }
            let wal: WalName = name.parse().map_err(|_| refuse("not the name of a WAL file"))?;
            if pending.iter().any(|file| file.name == wal) {
                return Err(refuse("it is there twice"));
            }
            if pending.len() == MAX_FILES {
                return Err(refuse("too many files"));
            }
            let seconds = entry.header().mtime().ok().map(Duration::from_secs);
            let modified = member.or(seconds).and_then(|since| UNIX_EPOCH.checked_add(since));
            pending.push(self.receive(wal, modified, entry)?);
        }
        Ok(pending)
    }

    fn receive(
        &self,
        name: WalName,
        modified: Option<SystemTime>,
        mut entry: impl Read,
    ) -> Result<Pending<'_>, PutWalError> {
        let mut sum = Sha256(Hasher::sha256());
        let received = incoming::receive(
            self.catalog.disk(),
            self.layout(),
            self.wal_home(),
            name,
            modified,
            &mut entry,
            &mut sum,
        )?;
        let content = File::open(received.temp_path())
            .map_err(|source| PutWalError::Read { path: received.temp_path().to_owned(), source })?;
        Ok(Pending { name, received, content, sha256: sum.0.finish(), checked: false })
    }
}

fn check_sums(
    member: &str,
    algorithm: Algorithm,
    sums: Vec<(String, String)>,
    pending: &mut [Pending<'_>],
) -> Result<(), PutWalError> {
    for (expected, name) in sums {
        let Some(file) = pending.iter_mut().find(|file| file.name.to_string() == name) else {
            return Err(PutWalError::Member {
                name: member.to_owned(),
                problem: format!("no file '{name}'"),
            });
        };
        let found = match algorithm {
            Algorithm::Sha256 => file.sha256.clone(),
            Algorithm::Md5 => md5_of(&mut file.content)
                .map_err(|source| AcceptError::Receive { name: file.name, source })?,
        };
        if found != expected {
            return Err(PutWalError::Checksum { name, expected, found });
        }
        file.checked = true;
    }
    Ok(())
}

fn md5_of(file: &mut File) -> io::Result<String> {
    io::Seek::rewind(file)?;
    let mut hash = Hasher::md5();
    let mut buffer = vec![0; 128 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hash.finish()),
            got => hash.update(buffer.get(..got).unwrap_or_default()),
        }
    }
}

/// The modification time in a pax extended header. A name or a size there would make the member another one than its own header
/// says, which no WAL file needs.
fn pax_mtime(mut entry: impl Read) -> Result<Option<Duration>, String> {
    let mut bytes = Vec::new();
    (&mut entry).take(MAX_PAX + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > MAX_PAX {
        return Err("an extended header that is too long".to_owned());
    }
    let mut modified = None;
    for extension in tar::PaxExtensions::new(&bytes) {
        let extension = extension.map_err(|error| error.to_string())?;
        match extension.key_bytes() {
            b"path" | b"size" | b"linkpath" => return Err("an extended header for name or size".to_owned()),
            b"mtime" => {
                modified = extension.value().ok().and_then(seconds);
            }
            _ => {}
        }
    }
    Ok(modified)
}

/// `1795232976.195391` to the nanosecond, which a floating-point number would miss.
fn seconds(text: &str) -> Option<Duration> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return None;
    }
    let nanoseconds: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    Some(Duration::new(whole.parse().ok()?, nanoseconds.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_exactly() {
        assert_eq!(seconds("1795232976.195"), Some(Duration::new(1_795_232_976, 195_000_000)));
        assert_eq!(seconds("5"), Some(Duration::from_secs(5)));
        assert_eq!(seconds("5.1234567891"), Some(Duration::new(5, 123_456_789)));
        for text in ["", "-1", "1e5", "1.-2", "99999999999999999999"] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }
}
