//! Whose fault it is that a test restore did not get to its end: the backup's, or this host's. Only the first is held against the
//! backup. Of what keeps a restore from being planned or done, that is what is named here; of what the server that was started
//! says, all but what is known to come from this host: its resources, its libraries, its locales.

use std::error::Error;
use std::io::ErrorKind;
use std::path::Path;

use tapster_catalog::wal_index::WalIndexError;
use tapster_catalog::{CatalogError, WalStoreError};
use tapster_copy::ExtractError;
use tapster_copy::combine::CombineError;
use tapster_copy::sync::SyncError;
use tapster_copy::tree::TreeError;
use tapster_protocol::QueryError;

use super::VerifyRestoreError;
use crate::restore::{RestoreError, RestorePlanError, WalPlanError};

pub(super) fn verify(error: &VerifyRestoreError) -> bool {
    match error {
        VerifyRestoreError::Plan(error) => plan(error) && !is_host(error),
        VerifyRestoreError::Restore(error) => restore(error) && !is_host(error),
        VerifyRestoreError::NotStarted { log, .. } => !is_host_log(log.iter().map(String::as_str)),
        VerifyRestoreError::Server { .. } => true,
        _ => false,
    }
}

/// What came of a question to the restored server, whose log this is.
pub(super) fn answer(error: &QueryError, what: &str, log: &str) -> VerifyRestoreError {
    let reason = format!("{what}{error}");
    let is_about_backup = match error {
        // 53 are resources that this host lacks, 57 is somebody's intervention, 28 a role that is not there.
        QueryError::Server(error) => {
            !["28", "53", "57"].iter().any(|class| error.code.starts_with(class))
                // Not all of that has a code of its own.
                && !is_host_log([Some(&error.message), error.detail.as_ref()].into_iter().flatten().map(String::as_str))
        }
        // It may have crashed over what it read.
        QueryError::Connection(_) => !error.is_stopped() && !is_host_log(log.lines()),
        _ => false,
    };
    if is_about_backup {
        VerifyRestoreError::Server { reason }
    } else {
        VerifyRestoreError::Unasked { reason }
    }
}

fn plan(error: &RestorePlanError) -> bool {
    match error {
        RestorePlanError::Catalog(error) => catalog(error),
        RestorePlanError::Archive(error) => archive(error),
        RestorePlanError::Index(error) => matches!(error, WalIndexError::Read { .. }),
        RestorePlanError::Io { path, .. } => !is_scratch(path),
        RestorePlanError::Wal(error) => {
            matches!(error, WalPlanError::Inconsistent { .. } | WalPlanError::Unreachable { .. })
        }
        error => matches!(
            error,
            RestorePlanError::NoCandidate
                | RestorePlanError::Status { .. }
                | RestorePlanError::Incomplete { .. }
                | RestorePlanError::Files { .. }
                | RestorePlanError::TimeBeyondArchive { .. }
                | RestorePlanError::LsnBeyondArchive { .. }
                | RestorePlanError::Gap { .. }
                | RestorePlanError::Damaged { .. }
                | RestorePlanError::Foreign { .. }
                | RestorePlanError::History { .. }
                | RestorePlanError::Switch { .. }
                | RestorePlanError::Control { .. }
        ),
    }
}

fn restore(error: &RestoreError) -> bool {
    match error {
        RestoreError::Copy(TreeError::Io(error)) => sync(error),
        RestoreError::Copy(error) => matches!(error, TreeError::Kind { .. } | TreeError::Short { .. }),
        RestoreError::Combine { source, .. } | RestoreError::Sums { source } => combine(source),
        RestoreError::Extract(ExtractError::Io(error)) => sync(error),
        RestoreError::Archive(error) => archive(error),
        RestoreError::Catalog(error) => catalog(error),
        RestoreError::Io { path, .. } => !is_scratch(path),
        error => matches!(
            error,
            RestoreError::Extract(_)
                | RestoreError::Archives { .. }
                | RestoreError::WalSize { .. }
                | RestoreError::Control { .. }
        ),
    }
}

fn combine(error: &CombineError) -> bool {
    match error {
        CombineError::Io(error) => sync(error),
        CombineError::WriteManifest(_) | CombineError::Stopped => false,
        _ => true,
    }
}

const fn catalog(error: &CatalogError) -> bool {
    matches!(error, CatalogError::List { .. } | CatalogError::Record(_))
}

/// Not one that is not mounted, or whose key we do not have.
const fn archive(error: &WalStoreError) -> bool {
    matches!(
        error,
        WalStoreError::NotFound { .. }
            | WalStoreError::Read { .. }
            | WalStoreError::Length { .. }
            | WalStoreError::History { .. }
    )
}

fn sync(error: &SyncError) -> bool {
    !is_scratch(&error.path)
}

/// Below a directory that test restores make.
fn is_scratch(path: &Path) -> bool {
    path.iter().filter_map(|name| name.to_str()).any(|name| {
        name.strip_prefix("verify-restore-")
            .and_then(|rest| rest.rsplit_once('-'))
            .is_some_and(|(_, time)| !time.is_empty() && time.bytes().all(|byte| byte.is_ascii_digit()))
    })
}

/// Whether there is an error of the operating system behind it that no backup causes.
fn is_host(error: &(dyn Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| (*error).source()).any(|error| {
        let kind = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        matches!(
            kind,
            Some(
                ErrorKind::StorageFull
                    | ErrorKind::QuotaExceeded
                    | ErrorKind::FileTooLarge
                    | ErrorKind::ReadOnlyFilesystem
                    | ErrorKind::PermissionDenied
                    | ErrorKind::OutOfMemory
                    | ErrorKind::ResourceBusy
                    | ErrorKind::WouldBlock
                    | ErrorKind::Interrupted
            )
        ) || error
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::raw_os_error)
            .is_some_and(|code| [MFILE, NFILE].contains(&code))
    })
}

/// No more files can be opened, by this process or by this host.
const MFILE: i32 = rustix::io::Errno::MFILE.raw_os_error();
const NFILE: i32 = rustix::io::Errno::NFILE.raw_os_error();

/// Whether a server says that it ended for lack of something here. The words are PostgreSQL's and the dynamic loader's.
fn is_host_log<'a>(mut log: impl Iterator<Item = &'a str>) -> bool {
    const WORDS: [&str; 23] = [
        "No space left on device",
        "Disk quota exceeded",
        "Cannot allocate memory",
        "out of memory",
        "could not create shared memory segment",
        "could not create semaphores",
        "could not create any Unix-domain sockets",
        "Too many open files",
        "Read-only file system",
        "was terminated by signal 9",
        // Memory that was promised and is not there: huge pages, a full /dev/shm.
        "was terminated by signal 7",
        "could not map anonymous shared memory",
        "huge pages",
        // Of the loader, before there is a server.
        "error while loading shared libraries",
        "symbol lookup error",
        "not found (required by",
        // Of an extension that is not installed here, or another build of it; files of a cluster are "opened".
        "could not access file \"",
        "could not load library",
        "incompatible library",
        // A server built otherwise.
        "but the server was compiled with",
        // No locale of this name here.
        "database locale is incompatible with operating system",
        "could not create locale",
        "could not open collator",
    ];
    log.any(|line| WORDS.iter().any(|words| line.contains(words)))
}

#[cfg(test)]
mod tests {
    use tapster_protocol::proto::ServerError;

    use super::*;

    #[test]
    fn what_a_server_says_of_this_host_is_not_held_against_the_backup() {
        // As releases 15 and 18 say it.
        let of_host = [
            "database locale is incompatible with operating system",
            "could not load library \"/usr/lib/postgresql/15/lib/postgis-3.so\": libgeos_c.so.1: cannot open shared object file: \
             No such file or directory",
            "could not access file \"$libdir/pg_stat_statements\": No such file or directory",
            "could not map anonymous shared memory: Cannot allocate memory",
            "could not create locale \"de_DE.utf8\": No such file or directory",
        ];
        let of_backup = [
            "could not open file \"base/5/1259\": No such file or directory",
            "invalid page in block 0 of relation base/5/1259",
            "could not access status of transaction 4711",
            "cache lookup failed for relation 1259",
        ];
        for (texts, is_about_backup) in [(&of_host[..], false), (&of_backup[..], true)] {
            for text in texts {
                let mut error = ServerError::default();
                (error.severity, error.code, error.message) =
                    ("FATAL".to_owned(), "XX000".to_owned(), (*text).to_owned());
                let found = answer(&QueryError::Server(Box::new(error)), "", "");
                assert_eq!(verify(&found), is_about_backup, "{text}");
                let log = vec!["LOG:  starting PostgreSQL".to_owned(), format!("x [1] FATAL:  {text}")];
                let found = VerifyRestoreError::NotStarted { reason: String::new(), log };
                assert_eq!(verify(&found), is_about_backup, "{text}");
            }
        }
        let loader = "/opt/pg/bin/postgres: error while loading shared libraries: libicuuc.so.70: cannot open shared object \
                      file: No such file or directory";
        let log = vec![loader.to_owned()];
        assert!(!verify(&VerifyRestoreError::NotStarted { reason: loader.to_owned(), log }));
    }

    fn io(code: rustix::io::Errno) -> std::io::Error {
        code.into()
    }

    #[test]
    fn trouble_of_this_host_is_not_held_against_the_backup() {
        let scratch = "/var/lib/barman/main/verify-restore-main-1763000000/data/base/1/2";
        let copy = |path: &str, code| {
            let mut error = tapster_copy::sync::file(Path::new("/nowhere")).unwrap_err();
            (error.path, error.source) = (path.into(), io(code));
            VerifyRestoreError::Restore(TreeError::Io(error).into())
        };
        let full = rustix::io::Errno::NOSPC;
        for error in [
            RestorePlanError::Stopped.into(),
            RestorePlanError::Space { path: "/".into(), free: 1, needed: 2 }.into(),
            RestorePlanError::NotWritable { path: "/".into() }.into(),
            RestorePlanError::Io { path: "/backup".into(), source: io(rustix::io::Errno::ACCESS) }.into(),
            RestoreError::Stopped { destination: "/".into() }.into(),
            RestoreError::Running { path: "/".into(), pid: None }.into(),
            RestoreError::Copy(TreeError::Stopped).into(),
            copy(scratch, rustix::io::Errno::IO),
            copy("/backup", full),
            VerifyRestoreError::Timeout { after: std::time::Duration::ZERO, replayed: None, log: Vec::new() },
            VerifyRestoreError::Unasked { reason: String::new() },
            VerifyRestoreError::NotStarted {
                reason: String::new(),
                log: vec![
                    "x FATAL:  could not write to file \"pg_wal/1\": No space left on device".to_owned(),
                ],
            },
            VerifyRestoreError::Stopped,
        ] {
            assert!(!verify(&error), "{error:?}");
        }
        for error in [
            RestorePlanError::Files { id: "20261121T000000".parse().unwrap(), problem: String::new() }.into(),
            RestoreError::Archives { problem: String::new() }.into(),
            copy("/backup/base/1/2", rustix::io::Errno::IO),
            copy("/backup/base/1/2", rustix::io::Errno::NOENT),
            VerifyRestoreError::Server { reason: String::new() },
            VerifyRestoreError::NotStarted {
                reason: "invalid checkpoint record".to_owned(),
                log: Vec::new(),
            },
        ] {
            assert!(verify(&error), "{error:?}");
        }
    }
}
