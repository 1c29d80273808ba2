//! The stream of a base backup, the same for both protocols.
//!
//! Up to 14 the server opens one COPY for each tablespace and one for the manifest; from 15 on it opens one for all
//! and says within it what follows. Here both give the same events.

use walfile::{Lsn, Timeline};

use super::backup_error::BaseBackupError;
use super::backup_options::BaseBackupOptions;
use crate::connection::{Step, unexpected};
use crate::proto::{BackendMessage, BackupMessage, Rows, ServerError, archive_oid};
use crate::{Connection, ConnectionError, QueryError, ServerVersion};

const COMMAND: &str = "BASE_BACKUP";
/// More tablespaces than any cluster has.
const MAX_TABLESPACES: usize = 100_000;

/// What happens in a base backup.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum BackupEvent<'a> {
    /// An archive begins; data up to the next event of this kind belongs to it.
    Archive {
        /// The tablespace, `None` for the main data directory.
        oid: Option<u32>,
        /// The archive's file name, such as `base.tar` or `16384.tar.zst`; never a path.
        name: &'a str,
    },
    /// The manifest begins.
    Manifest,
    /// Bytes of the archive or manifest that began last; a tar archive from 14 or older lacks its two final blocks
    /// of zeros.
    Data(&'a [u8]),
    /// How many bytes the server has read, when progress was asked for (15+).
    Progress(u64),
}

/// A tablespace in a base backup.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Tablespace {
    /// `None` for the main data directory.
    pub oid: Option<u32>,
    /// Where it is on the server; `None` for the main data directory, relative for one in place.
    pub location: Option<String>,
    /// Its size in kilobytes, when progress was asked for.
    pub size_kb: Option<u64>,
}

/// The end of a base backup.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct BackupEnd {
    /// WAL is needed up to here.
    pub stop_lsn: Lsn,
    /// The timeline of that position.
    pub timeline: Timeline,
    /// The server found pages with wrong checksums; the copy is complete, and holds them.
    pub checksum_failures: bool,
    /// What the server said about them.
    pub server_error: Option<Box<ServerError>>,
}

/// A running BASE_BACKUP. Dropping it before its end makes the connection useless.
#[derive(Debug)]
pub struct BaseBackupStream<'c> {
    connection: &'c mut Connection,
    start_lsn: Lsn,
    timeline: Timeline,
    tablespaces: Vec<Tablespace>,
    /// One COPY per archive (up to 14).
    many_copies: bool,
    has_manifest: bool,
    /// COPYs begun so far.
    copies: usize,
    /// A COPY has begun and not ended.
    copying: bool,
    /// The name of what follows has come.
    in_archive: bool,
    /// Which of the tablespaces' archives have come.
    received: Vec<bool>,
    received_manifest: bool,
    name: String,
    end: Option<(Lsn, Timeline)>,
}

enum Kind {
    Data,
    Copy,
    CopyDone,
    Refused(Box<ServerError>),
    EndRows,
}

impl Connection {
    /// BASE_BACKUP. Returns when the server has done its checkpoint, which takes minutes unless
    /// [`BaseBackupOptions::fast_checkpoint`] is set.
    ///
    /// # Errors
    /// When the server refuses, or the options cannot be had from it.
    pub fn base_backup(
        &mut self,
        options: &BaseBackupOptions,
    ) -> Result<BaseBackupStream<'_>, BaseBackupError> {
        let version = self.server_version();
        self.command(&options.command(version)?)?;
        let start = self.backup_rows()?;
        let (start_lsn, timeline) = position(&start)?;
        let tablespaces = tablespaces(&self.backup_rows()?)?;
        Ok(BaseBackupStream {
            connection: self,
            start_lsn,
            timeline,
            received: vec![false; tablespaces.len()],
            tablespaces,
            many_copies: version < ServerVersion::V15,
            has_manifest: options.has_manifest(version),
            copies: 0,
            copying: false,
            in_archive: false,
            received_manifest: false,
            name: String::new(),
            end: None,
        })
    }

    fn backup_rows(&mut self) -> Result<Rows, BaseBackupError> {
        match self.step()? {
            Step::Rows(rows) => Ok(rows),
            Step::Refused(error) => Err(BaseBackupError::Server(self.refusal(error))),
            _ => Err(unexpected("another message", "a result set of BASE_BACKUP").into()),
        }
    }
}

impl BaseBackupStream<'_> {
    /// Where WAL is needed from.
    pub const fn start_lsn(&self) -> Lsn {
        self.start_lsn
    }

    /// The timeline of that position.
    pub const fn timeline(&self) -> Timeline {
        self.timeline
    }

    /// The tablespaces, the main data directory last.
    pub fn tablespaces(&self) -> &[Tablespace] {
        &self.tablespaces
    }

    /// The next event; `None` when all has come and [`BaseBackupStream::finish`] is due.
    ///
    /// # Errors
    /// When the server gives up or the stream is not what the protocol says.
    #[expect(clippy::should_implement_trait, reason = "an iterator cannot lend")]
    pub fn next(&mut self) -> Result<Option<BackupEvent<'_>>, BaseBackupError> {
        loop {
            if self.end.is_some() {
                return Ok(None);
            }
            let frame = self.connection.receive(None, true)?;
            let kind = match self.connection.message(&frame)? {
                BackendMessage::CopyData(_) => Kind::Data,
                BackendMessage::CopyOut => Kind::Copy,
                BackendMessage::CopyDone => Kind::CopyDone,
                BackendMessage::Error(error) => Kind::Refused(error),
                BackendMessage::RowDescription(_) => Kind::EndRows,
                other => return Err(ConnectionError::unexpected(&other, "base backup data").into()),
            };
            match kind {
                Kind::Copy if self.copying => {
                    return Err(BaseBackupError::Order("an archive begins before the one before ended"));
                }
                Kind::Copy => {
                    self.copies += 1;
                    self.copying = true;
                    if self.many_copies {
                        return self.begin_copy().map(Some);
                    }
                }
                Kind::CopyDone => self.copying = false,
                Kind::Refused(error) => {
                    return Err(BaseBackupError::Server(self.connection.refusal(error)));
                }
                Kind::EndRows => {
                    self.check_complete()?;
                    let body = self.connection.body(&frame);
                    let rows = Rows::describe(body).map_err(QueryError::from)?;
                    self.end = Some(position(&self.connection.rest_of_rows(rows)?)?);
                }
                Kind::Data if !self.copying => {
                    return Err(BaseBackupError::Order("data outside of a COPY"));
                }
                Kind::Data if self.many_copies => {
                    return Ok(Some(BackupEvent::Data(self.connection.body(&frame))));
                }
                Kind::Data => {
                    let payload = self.connection.body(&frame);
                    let Some(message) = BackupMessage::parse(payload).map_err(ConnectionError::from)? else {
                        continue;
                    };
                    match message {
                        // The borrow checker cannot see that a returned borrow ends the loop, hence the detour.
                        BackupMessage::Data(_) if !self.in_archive => {
                            return Err(BaseBackupError::Order("data before the name of an archive"));
                        }
                        BackupMessage::Data(_) => {
                            let data = self.connection.body(&frame).get(1..).unwrap_or_default();
                            return Ok(Some(BackupEvent::Data(data)));
                        }
                        BackupMessage::Progress(bytes) => return Ok(Some(BackupEvent::Progress(bytes))),
                        BackupMessage::Manifest if !self.has_manifest || self.received_manifest => {
                            return Err(BaseBackupError::Order("a manifest that was not asked for"));
                        }
                        BackupMessage::Manifest => {
                            self.in_archive = true;
                            self.received_manifest = true;
                            return Ok(Some(BackupEvent::Manifest));
                        }
                        BackupMessage::Archive { name, .. } => {
                            let oid = archive_oid(name)?;
                            self.name = name.to_owned();
                            let place = self.tablespaces.iter().position(|tablespace| tablespace.oid == oid);
                            match place.and_then(|place| self.received.get_mut(place)) {
                                None => {
                                    return Err(BaseBackupError::Order(
                                        "archive of a tablespace that was not announced",
                                    ));
                                }
                                Some(true) => return Err(BaseBackupError::Order("the same archive twice")),
                                Some(received) => *received = true,
                            }
                            self.in_archive = true;
                            return Ok(Some(BackupEvent::Archive { oid, name: &self.name }));
                        }
                    }
                }
            }
        }
    }

    /// Up to 14: which archive a CopyOutResponse begins is told by its place in the row.
    fn begin_copy(&mut self) -> Result<BackupEvent<'_>, BaseBackupError> {
        self.in_archive = true;
        let place = self.copies.saturating_sub(1);
        match self.tablespaces.get(place) {
            Some(Tablespace { oid, .. }) => {
                if let Some(received) = self.received.get_mut(place) {
                    *received = true;
                }
                self.name = oid.map_or_else(|| String::from("base.tar"), |oid| format!("{oid}.tar"));
                Ok(BackupEvent::Archive { oid: *oid, name: &self.name })
            }
            None if self.has_manifest && place == self.tablespaces.len() => {
                self.received_manifest = true;
                Ok(BackupEvent::Manifest)
            }
            None => Err(BaseBackupError::Order("more archives than tablespaces")),
        }
    }

    /// An end position alone proves nothing: every archive announced must have come, and come to its end.
    fn check_complete(&self) -> Result<(), BaseBackupError> {
        if self.copying {
            return Err(BaseBackupError::Order("the end of the backup before the end of an archive"));
        }
        if self.tablespaces.is_empty() || self.received.contains(&false) {
            return Err(BaseBackupError::Order("the end of the backup before all its archives"));
        }
        if self.has_manifest && !self.received_manifest {
            return Err(BaseBackupError::Order("the end of the backup before its manifest"));
        }
        Ok(())
    }

    /// Reads the end. What has not been taken with [`BaseBackupStream::next`] is dropped.
    ///
    /// Wrong page checksums come as an error **after** everything else; they are reported in
    /// [`BackupEnd::checksum_failures`] and are no failure here.
    ///
    /// # Errors
    /// When the backup did not come to its end.
    pub fn finish(mut self) -> Result<BackupEnd, BaseBackupError> {
        while self.next()?.is_some() {}
        let Some((stop_lsn, timeline)) = self.end else {
            return Err(BaseBackupError::Order("no end position"));
        };
        let server_error = self.connection.settle()?;
        // Data corrupted; anything else at this point means the server could not end the backup.
        if let Some(error) = &server_error
            && !error.is("XX001")
        {
            return Err(BaseBackupError::Server(error.clone()));
        }
        Ok(BackupEnd { stop_lsn, timeline, checksum_failures: server_error.is_some(), server_error })
    }
}

/// A row of a position and a timeline.
fn position(rows: &Rows) -> Result<(Lsn, Timeline), QueryError> {
    let lsn = rows.value(0, 0).and_then(|text| text.parse().ok());
    let timeline = rows.value(0, 1).and_then(|text| text.parse().ok());
    lsn.zip(timeline).ok_or_else(|| QueryError::answer(COMMAND, "no position and timeline"))
}

fn tablespaces(rows: &Rows) -> Result<Vec<Tablespace>, QueryError> {
    if rows.len() > MAX_TABLESPACES {
        return Err(QueryError::answer(COMMAND, format!("{} tablespaces", rows.len())));
    }
    (0..rows.len())
        .map(|row| {
            let oid = match rows.value(row, 0).map(str::parse) {
                None => None,
                Some(Ok(oid)) => Some(oid),
                Some(Err(_)) => return Err(QueryError::answer(COMMAND, "a tablespace without a number")),
            };
            // Names on disk need no encoding, but a place to restore to is text here; no place at all means another thing.
            if rows.raw(row, 1).is_some() && rows.value(row, 1).is_none() {
                return Err(QueryError::answer(COMMAND, "a tablespace whose location is not UTF-8"));
            }
            Ok(Tablespace {
                oid,
                location: rows.value(row, 1).map(str::to_owned),
                size_kb: rows.value(row, 2).and_then(|text| text.parse().ok()),
            })
        })
        .collect()
}
