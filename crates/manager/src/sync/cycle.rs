//! One round of a passive node: ask the primary node, and say what is to be copied.

use std::io;
use std::path::PathBuf;

use tapster_catalog::durable::{Clobber, Publish};
use tapster_catalog::locks::{Lock, LockName};
use tapster_catalog::{BackupId, BackupStatus};

use super::decide::{Decision, is_half};
use super::guard::Guard;
use super::primary::PrimaryInfo;
use super::remote_command::{self, RemoteFailure};
use super::{SyncError, SyncStart};
use crate::event::Event;
use crate::{Context, Server};

/// What a round found to do.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct SyncWork {
    /// The oldest backup that is not whole here, unless it is being copied.
    pub backup: Option<BackupId>,
    /// Whether WAL is to be copied that is not being copied.
    pub wals: bool,
}

impl Server {
    /// Asks the primary node what it has (its `sync-info`) and keeps the answer as `primary.info`. When it knows nothing of `start`,
    /// everything is asked for.
    ///
    /// # Errors
    /// When it does not answer, or with something else. What was kept before stays then.
    pub fn fetch_primary_info(&self, start: &SyncStart, context: &Context<'_>) -> Result<(), SyncError> {
        let server = || self.name().to_owned();
        let Some(ssh) = self.config.primary_ssh_command.as_deref() else {
            return Err(SyncError::NotPassive { server: server() });
        };
        self.create_directories()?;
        let mut start = start.clone();
        loop {
            let failure = match self.ask(ssh, &self.question(&start), context) {
                Ok(()) => return Ok(()),
                Err(failure) => failure,
            };
            let reason = match failure {
                // Another code is not Barman's.
                RemoteFailure::Exit { status, .. }
                    if status.code() == Some(1) && start.last_wal.is_some() =>
                {
                    context.tell(Event::Warning(format!(
                        "sync-info is out of sync. Self-recovery procedure started: requesting full synchronisation from \
                         primary server {}",
                        self.name()
                    )));
                    start = SyncStart::default();
                    continue;
                }
                RemoteFailure::Stopped => return Err(SyncError::Stopped),
                RemoteFailure::Exit { status, complaints } if complaints.is_empty() => status.to_string(),
                RemoteFailure::Exit { complaints, .. } => complaints,
                RemoteFailure::Silent => "no answer for five minutes".to_owned(),
                RemoteFailure::Io(error) => error.to_string(),
            };
            return Err(SyncError::SyncInfo { server: server(), reason });
        }
    }

    /// In Barman's words, which forced commands may compare.
    fn question(&self, start: &SyncStart) -> String {
        let quoted =
            |text: &str| shlex::try_quote(text).map_or_else(|_| String::new(), |text| text.into_owned());
        let mut words = String::from("barman");
        if self.config.forward_config_path {
            words.push_str(&format!(" -c {}", quoted(&self.config_path.to_string_lossy())));
        }
        words.push_str(&format!(" sync-info {}", quoted(self.name())));
        if let Some(last_wal) = &start.last_wal {
            words.push_str(&format!(" {} ", quoted(last_wal)));
            // Barman refuses zero.
            if let Some(position) = start.last_position.filter(|position| *position > 0) {
                words.push_str(&format!(" {position} "));
            }
        }
        words
    }

    fn ask(&self, ssh: &str, words: &str, context: &Context<'_>) -> Result<(), RemoteFailure> {
        let bad = |error: tapster_catalog::DurableError| RemoteFailure::Io(io::Error::other(error));
        let path = self.primary_info_file();
        // Barman's answers hold connection strings as they are, passwords and all.
        let mut file = Publish::create(self.catalog.disk(), &path, Some(0o600)).map_err(bad)?;
        let mut take = |output: &mut dyn io::Read| io::copy(&mut Guard::new(output), &mut file).map(drop);
        remote_command::run(ssh, self.config.path_prefix.as_deref(), words, &context.stop, &mut take)?;
        // It is only kept when it can be read.
        let local = self.catalog.local_offset();
        PrimaryInfo::load(file.temp_path(), local, &mut |_| Ok(())).map_err(|error| {
            RemoteFailure::Io(io::Error::other(format!("its answer cannot be used: {error}")))
        })?;
        file.publish(Clobber::Replace).map_err(bad)
    }

    /// What the primary node answered last, as it came.
    pub fn primary_info_file(&self) -> PathBuf {
        self.layout().root.join("primary.info")
    }

    /// Where to ask on from: what was copied last, or nothing when all is to be looked at again.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub fn sync_start(&self, context: &Context<'_>) -> Result<SyncStart, SyncError> {
        let records = self.catalog.records()?;
        let due =
            self.needed_wal(&records).is_none_or(|needed| self.full_sync_is_due(&needed, context.now()));
        Ok(if due { SyncStart::default() } else { self.sync_position() })
    }

    pub(super) fn load_primary_info(&self) -> Result<PrimaryInfo, SyncError> {
        PrimaryInfo::load(&self.primary_info_file(), self.catalog.local_offset(), &mut |_| Ok(()))
            .map_err(|source| self.bad_primary_info(source))
    }

    /// Whether the primary node had backups when it was asked, or what it said cannot be read.
    pub(crate) fn primary_may_have_backups(&self) -> bool {
        self.load_primary_info().map_or(true, |info| !info.backups.is_empty() || !info.unusable.is_empty())
    }

    pub(super) fn bad_primary_info(&self, source: io::Error) -> SyncError {
        SyncError::PrimaryInfo { server: self.name().to_owned(), path: self.primary_info_file(), source }
    }

    /// Asks the primary node, carries over what is small, and says what is to be copied.
    ///
    /// # Errors
    /// As [`Self::fetch_primary_info`], or when the catalog cannot be read.
    pub fn sync_work(&self, context: &Context<'_>) -> Result<SyncWork, SyncError> {
        self.fetch_primary_info(&self.sync_start(context)?, context)?;
        let info = self.load_primary_info()?;
        match self.carry(&info, context) {
            Err(SyncError::Stopped) => return Err(SyncError::Stopped),
            // Somebody may allow no more than what Barman does.
            Err(error) => {
                tracing::warn!(server = self.name(), "identity and annotations are not carried over: {error}")
            }
            Ok(()) => {}
        }
        if info.backups.is_empty() {
            context.tell(Event::NoBackupsToSync { server: self.name().to_owned() });
        }
        let mut work = SyncWork { backup: self.next_backup(&info, context)?, wals: false };
        if !info.has_wals {
            context.tell(Event::NoWalToSync { server: self.name().to_owned() });
        } else if Lock::holder(&self.layout().lock(&LockName::SyncWal))?.is_some() {
            context.tell(Event::WalSyncBusy { server: self.name().to_owned() });
        } else {
            work.wals = true;
        }
        Ok(work)
    }

    /// The oldest backup that is to be copied, by what the primary node answered last.
    pub(crate) fn backup_to_sync(&self, context: &Context<'_>) -> Result<Option<BackupId>, SyncError> {
        if !self.primary_info_file().exists() {
            return Ok(None);
        }
        self.next_backup(&self.load_primary_info()?, context)
    }

    fn next_backup(&self, info: &PrimaryInfo, context: &Context<'_>) -> Result<Option<BackupId>, SyncError> {
        let records = self.catalog.records()?;
        let done = |id: &BackupId| records.iter().any(|r| r.id == *id && r.status == BackupStatus::Done);
        // What was begun here and is gone there is to go; Barman leaves it.
        let halves =
            records.iter().filter(|record| is_half(record) && !info.backups.contains_key(&record.id));
        let mut ids: Vec<BackupId> = info.backups.keys().copied().filter(|id| !done(id)).collect();
        ids.extend(halves.map(|record| record.id));
        ids.sort_unstable();
        for id in ids {
            match self.decide_sync(&id, info, context) {
                Ok(Decision::Copy(_) | Decision::Purge(_)) => {}
                Ok(Decision::Synced | Decision::LocalOnly | Decision::Obsolete) => continue,
                Err(error @ (SyncError::Unusable { .. } | SyncError::NoParent { .. })) => {
                    tracing::warn!("{error}");
                    continue;
                }
                Err(error) => return Err(error),
            }
            if Lock::holder(&self.layout().lock(&LockName::SyncBackup(id)))?.is_some() {
                context.tell(Event::BackupSyncBusy { server: self.name().to_owned(), backup: id });
                return Ok(None);
            }
            return Ok(Some(id));
        }
        Ok(None)
    }
}
