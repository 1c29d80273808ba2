//! An exported backup into the catalog (Barman's `import-backup`).
//!
//! The archive is read once: what comes is written to a staging directory, summed up on the way, and nothing of it is believed
//! before the sum in the file's name was found to be right, which system it is of, and that its WAL is complete and agrees
//! with the archive. Then [`tapster_catalog::import`] publishes it in one step.

mod error;
mod input;
mod unpack;

pub use error::ImportBackupError;

use std::fs::File;
use std::io;
use std::path::Path;

use tapster_catalog::import::{Import, ImportPlan, Imported};
use tapster_catalog::{BackupId, BackupRecord, BackupStatus, Identity, UtcOffset, XlogEntry};
use tapster_copy::compress::all_cores;

use crate::event::Event;
use crate::export_backup::ExportName;
use crate::{Context, Server};
use input::Input;
use unpack::{Texts, unpack};

/// A finished import.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ImportReport {
    /// The backup's record, as it was saved.
    pub record: BackupRecord,
    /// WAL files that went into the archive.
    pub wals: usize,
    /// WAL files that the archive had already.
    pub already_archived: usize,
}

impl Server {
    /// Makes an exported backup of this cluster a backup of the catalog, kept `standalone`.
    ///
    /// # Errors
    /// When the file is damaged or of another cluster or server, holds what no exported backup holds, does not fit, is there
    /// already, or contradicts the WAL archive. The catalog is then as it was.
    pub fn import_backup(
        &self,
        tarball: &Path,
        context: &Context<'_>,
    ) -> Result<ImportReport, ImportBackupError> {
        if self.has_backups_in_bucket() || self.has_wals_in_bucket() {
            return Err(ImportBackupError::InObjectStore);
        }
        let file = open(tarball)?;
        let file_name = tarball.file_name().unwrap_or_default().to_string_lossy();
        let name = ExportName::parse(&file_name, self.name())
            .map_err(|problem| ImportBackupError::Name { problem })?;
        let local = Identity::load(&self.layout().identity())?
            .ok_or_else(|| ImportBackupError::NoIdentity { server: self.name().to_owned() })?;
        self.create_directories()?;
        self.tidy();
        let mut import = Import::begin(&self.catalog, name.backup)?;
        let read = |source: io::Error| ImportBackupError::Read { path: tarball.to_owned(), source };
        let mut input = Input::open(file).map_err(read)?;
        let mut warning = None;
        let texts = unpack(
            &mut input,
            tarball,
            &mut import,
            &mut |text| {
                warning = check_identity(text, &local)?;
                Ok(())
            },
            context,
        )?;
        let found = input.sum().map_err(read)?;
        if !found.starts_with(&name.checksum) || name.checksum.len() != 8 {
            let found = found.chars().take(8).collect();
            return Err(ImportBackupError::Checksum { expected: name.checksum, found });
        }
        let plan = self.plan_import(&texts, name.backup, &local)?;
        if let Some(warning) = warning {
            context.tell(Event::Warning(warning));
        }
        let Imported { wals, already_archived, unsettled, .. } = import.publish(&plan, &context.stop)?;
        if let Some(problem) = unsettled {
            context.tell(Event::Warning(format!(
                "The backup was imported, but its record could not be moved to its place: {problem}"
            )));
        }
        Ok(ImportReport { record: plan.record, wals, already_archived })
    }

    fn plan_import(
        &self,
        texts: &Texts,
        id: BackupId,
        local: &Identity,
    ) -> Result<ImportPlan, ImportBackupError> {
        let lacks = |what| ImportBackupError::Lacks { what };
        texts.identity.as_ref().ok_or_else(|| lacks("identity.json"))?;
        if !texts.has_backup {
            return Err(lacks("a 'backup/' directory"));
        }
        let record = texts.record.as_ref().ok_or_else(|| lacks("a 'backup.info' file"))?;
        let index = texts.index.as_ref().ok_or_else(|| lacks("a 'xlog.db' file"))?;
        let offset = UtcOffset::current_local_offset().unwrap_or(UtcOffset::UTC);
        let mut record = BackupRecord::parse(id, record, offset).map_err(ImportBackupError::Record)?;
        let server = self.name().to_owned();
        if record.parent_backup_id.is_some() {
            return Err(ImportBackupError::Incremental { id, server });
        }
        if record.status != BackupStatus::Done {
            return Err(ImportBackupError::NotDone { id, server, status: record.status });
        }
        if let Some(found) = record.systemid.as_ref().filter(|found| **found != local.system_id) {
            let (expected, found) = (local.system_id.clone(), found.clone());
            return Err(ImportBackupError::OtherSystem { expected, found });
        }
        // Its incrementals did not come with it.
        record.children_backup_ids.retain(|child| self.catalog.load(child).is_ok());
        let mut plan = ImportPlan::new(record, wals(index)?);
        plan.histories.clone_from(&texts.histories);
        plan.custom.clone_from(&self.custom);
        plan.gpg = Some(self.gpg.clone());
        plan.workers = all_cores();
        Ok(plan)
    }
}

fn open(tarball: &Path) -> Result<File, ImportBackupError> {
    let path = || tarball.to_owned();
    match tarball.metadata() {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Err(ImportBackupError::NotReadable { path: path() })
        }
        Err(_) => Err(ImportBackupError::NotFound { path: path() }),
        Ok(metadata) if !metadata.is_file() => Err(ImportBackupError::NotAFile { path: path() }),
        Ok(_) => File::open(tarball).map_err(|_| ImportBackupError::NotReadable { path: path() }),
    }
}

/// A warning when only the version differs.
fn check_identity(text: &[u8], local: &Identity) -> Result<Option<String>, ImportBackupError> {
    let exported: Identity = serde_json::from_slice(text)
        .map_err(|e| ImportBackupError::Text { what: "identity.json", problem: e.to_string() })?;
    if exported.system_id != local.system_id {
        return Err(ImportBackupError::OtherSystem {
            expected: local.system_id.clone(),
            found: exported.system_id.chars().take(40).collect(),
        });
    }
    Ok((exported.version != local.version).then(|| {
        format!(
            "PostgreSQL version mismatch: exported backup has version '{}' but target server has version '{}'",
            exported.version, local.version
        )
    }))
}

fn wals(index: &[u8]) -> Result<Vec<XlogEntry>, ImportBackupError> {
    let fail = |line: usize, problem: String| ImportBackupError::Text {
        what: "xlog.db",
        problem: format!("Malformed tarball's xlog.db entry at line {line}: {problem}"),
    };
    let mut entries = Vec::new();
    for (number, line) in index.split(|byte| *byte == b'\n').enumerate() {
        let line = str::from_utf8(line).map_err(|e| fail(number + 1, e.to_string()))?.trim();
        if !line.is_empty() {
            entries.push(line.parse().map_err(|e| fail(number + 1, format!("{e}")))?);
        }
    }
    Ok(entries)
}
