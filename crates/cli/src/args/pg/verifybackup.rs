//! `tapster verifybackup`: the options of `pg_verifybackup`.

use std::ffi::OsString;
use std::path::PathBuf;

use super::super::tree::ReadError;
use super::{Tool, usage_error, value_error};

/// Verify a backup in a directory, with the options of pg_verifybackup.
#[derive(Clone, Debug, clap::Parser)]
#[command(disable_help_flag = true)]
pub(crate) struct VerifyBackupToolArgs {
    #[arg(short, long)]
    exit_on_error: bool,
    #[arg(short = 'F', long, allow_hyphen_values = true)]
    format: Option<String>,
    #[arg(short, long, allow_hyphen_values = true)]
    ignore: Vec<PathBuf>,
    #[arg(short, long, allow_hyphen_values = true)]
    manifest_path: Option<PathBuf>,
    #[arg(short, long)]
    no_parse_wal: bool,
    #[arg(short = 'P', long)]
    progress: bool,
    #[arg(short, long)]
    quiet: bool,
    #[arg(short, long)]
    skip_checksums: bool,
    #[arg(short, long, allow_hyphen_values = true)]
    wal_directory: Option<PathBuf>,
    #[arg(short = 'V', long, action = clap::ArgAction::Version)]
    version: Option<bool>,
    #[arg(short = '?', long, action = clap::ArgAction::Help)]
    help: Option<bool>,
    #[arg(hide = true)]
    operands: Vec<OsString>,
}

/// A checked `verifybackup` command line.
#[derive(Clone, Debug)]
pub(crate) struct VerifyBackupTool {
    /// The backup.
    pub(crate) directory: PathBuf,
    /// `-e`
    pub(crate) exit_on_error: bool,
    /// `-F`: whether it is `tar`.
    pub(crate) tar: Option<bool>,
    /// `-i`
    pub(crate) ignore: Vec<PathBuf>,
    /// `-m`
    pub(crate) manifest: Option<PathBuf>,
    /// `-n`
    pub(crate) no_parse_wal: bool,
    /// `-P`
    pub(crate) progress: bool,
    /// `-q`
    pub(crate) quiet: bool,
    /// `-s`
    pub(crate) skip_checksums: bool,
    /// `-w`
    pub(crate) wal_directory: Option<PathBuf>,
}

impl VerifyBackupToolArgs {
    /// In the order of the original.
    pub(crate) fn check(self) -> Result<VerifyBackupTool, ReadError> {
        let tar = match self.format.as_deref() {
            None => None,
            Some("p" | "plain") => Some(false),
            Some("t" | "tar") => Some(true),
            Some(other) => {
                return Err(value_error(format!(
                    "invalid backup format \"{other}\", must be \"plain\" or \"tar\""
                )));
            }
        };
        let mut operands = self.operands.into_iter();
        let Some(directory) = operands.next() else {
            return Err(usage_error("no backup directory specified"));
        };
        if let Some(second) = operands.next() {
            return Err(usage_error(format!(
                "too many command-line arguments (first is \"{}\")",
                second.to_string_lossy()
            )));
        }
        if self.progress && self.quiet {
            return Err(value_error("cannot specify both -P/--progress and -q/--quiet"));
        }
        Ok(VerifyBackupTool {
            directory: directory.into(),
            exit_on_error: self.exit_on_error,
            tar,
            ignore: self.ignore,
            manifest: self.manifest_path,
            no_parse_wal: self.no_parse_wal,
            progress: self.progress,
            quiet: self.quiet,
            skip_checksums: self.skip_checksums,
            wal_directory: self.wal_directory,
        })
    }
}

/// Help.
pub(crate) const TOOL: Tool = Tool {
    purpose: "compares a base backup with its manifest.",
    operands: "[OPTION]... BACKUPDIR",
    options: "
Options:
  -e, --exit-on-error    end with the first problem
  -F, --format=p|t       how the backup is stored: plain files or tar archives
                         (default: found out)
  -i, --ignore=RELATIVE_PATH
                         do not look at that path
  -m, --manifest-path=PATH
                         the manifest (default: backup_manifest in the backup)
  -n, --no-parse-wal     do not read the WAL
  -P, --progress         show how far it is
  -q, --quiet            print errors alone
  -s, --skip-checksums   compare names and sizes alone
  -w, --wal-directory=PATH
                         the WAL files (default: pg_wal in the backup)
",
    other: super::OTHER,
};
