//! Configuration files that lie outside the data directory.

use std::io;
use std::path::{Path, PathBuf};

use tapster_catalog::BackupRecord;

use crate::backup::method::Job;
use crate::event::Event;

/// A file to copy into the root of the data directory, under its own name.
pub(in crate::backup) struct ConfigFile {
    pub(in crate::backup) path: PathBuf,
    /// PostgreSQL does without it.
    pub(super) optional: bool,
}

/// `config_file`, `hba_file` and `ident_file`, where they are not in the data directory.
pub(in crate::backup) fn config_files(record: &BackupRecord) -> Vec<ConfigFile> {
    let files = [(&record.config_file, false), (&record.hba_file, false), (&record.ident_file, true)];
    files
        .into_iter()
        .filter_map(|(path, optional)| Some((PathBuf::from(path.as_ref()?), optional)))
        .filter(|(path, _)| is_outside(path, record))
        .map(|(path, optional)| ConfigFile { path, optional })
        .collect()
}

fn is_outside(path: &Path, record: &BackupRecord) -> bool {
    path.is_absolute() && record.pgdata.as_ref().is_some_and(|pgdata| !path.starts_with(pgdata))
}

/// Files that `include` brings in from elsewhere have no place in a backup: a person must save them.
pub(in crate::backup) fn warn_of_included(record: &BackupRecord, job: &Job<'_>) {
    let outside: Vec<&str> = record
        .included_files
        .iter()
        .flatten()
        .filter(|path| is_outside(Path::new(path), record))
        .map(String::as_str)
        .collect();
    if !outside.is_empty() && !job.server.config.backup_options.external_configuration {
        job.context.tell(Event::Warning(format!(
            "The usage of include directives is not supported for files that reside outside PGDATA.\n\
             Please manually backup the following files:\n\t{}",
            outside.join("\n\t")
        )));
    }
}

/// The stream brings nothing from outside the data directory: what lies there a person must save.
pub(in crate::backup) fn warn_of_external(record: &BackupRecord, job: &Job<'_>) {
    let own = config_files(record).into_iter().map(|file| file.path.display().to_string());
    let included = record.included_files.iter().flatten().filter(|path| is_outside(Path::new(path), record));
    let outside: Vec<String> = own.chain(included.cloned()).collect();
    if !outside.is_empty() && !job.server.config.backup_options.external_configuration {
        job.context.tell(Event::Warning(format!(
            "pg_basebackup does not copy the PostgreSQL configuration files that reside outside PGDATA. Please manually \
             backup the following files:\n\t{}\n",
            outside.join("\n\t")
        )));
    }
}

/// Whether a file that is not there may be missing.
pub(in crate::backup) fn may_be_missing(file: &ConfigFile, error: &io::Error) -> bool {
    file.optional && error.kind() == io::ErrorKind::NotFound
}
