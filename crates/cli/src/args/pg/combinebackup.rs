//! `tapster combinebackup`: the options of `pg_combinebackup`.

use std::ffi::OsString;
use std::path::PathBuf;

use tapster_copy::ChecksumAlgorithm;

use super::super::tree::ReadError;
use super::tablespace::{self, Mapping};
use super::{Tool, usage_error, value_error};

/// Make one full backup of a chain of backups, with the options of pg_combinebackup.
#[derive(Clone, Debug, clap::Parser)]
#[command(disable_help_flag = true)]
pub(crate) struct CombineBackupArgs {
    #[arg(short, long)]
    debug: bool,
    #[arg(short = 'k', long)]
    link: bool,
    #[arg(short = 'n', long)]
    dry_run: bool,
    #[arg(short = 'N', long)]
    no_sync: bool,
    #[arg(short, long, allow_hyphen_values = true)]
    output: Option<PathBuf>,
    #[arg(short = 'T', long, allow_hyphen_values = true)]
    tablespace_mapping: Vec<String>,
    #[arg(long)]
    clone: bool,
    #[arg(long)]
    copy: bool,
    #[arg(long)]
    copy_file_range: bool,
    #[arg(long, allow_hyphen_values = true)]
    manifest_checksums: Option<String>,
    #[arg(long)]
    no_manifest: bool,
    #[arg(long)]
    no_verify: bool,
    #[arg(long, allow_hyphen_values = true)]
    sync_method: Option<String>,
    #[arg(short = 'V', long, action = clap::ArgAction::Version)]
    version: Option<bool>,
    #[arg(short = '?', long, action = clap::ArgAction::Help)]
    help: Option<bool>,
    #[arg(hide = true)]
    operands: Vec<OsString>,
}

/// The way of copying that was asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Way {
    /// None: sharing where possible.
    Any,
    /// `--copy`
    Copy,
    /// `--clone`
    Clone,
    /// `--copy-file-range`
    CopyFileRange,
    /// `-k`
    Link,
}

/// A checked `combinebackup` command line.
#[derive(Clone, Debug)]
pub(crate) struct CombineBackup {
    /// The oldest first.
    pub(crate) backups: Vec<PathBuf>,
    /// `-o`
    pub(crate) output: PathBuf,
    /// `-d`
    pub(crate) debug: bool,
    /// `-n`
    pub(crate) dry_run: bool,
    /// `-N`
    pub(crate) no_sync: bool,
    /// `--sync-method syncfs`
    pub(crate) syncfs: bool,
    /// `-T`
    pub(crate) tablespaces: Vec<Mapping>,
    /// How to copy.
    pub(crate) way: Way,
    /// The checksums of the manifest; `None` without one.
    pub(crate) manifest: Option<ChecksumAlgorithm>,
    /// `--no-verify`
    pub(crate) no_verify: bool,
}

impl CombineBackupArgs {
    /// In the order of the original.
    pub(crate) fn check(self) -> Result<CombineBackup, ReadError> {
        let tablespaces = self.tablespace_mapping.iter().map(|text| tablespace::parse(text));
        let tablespaces = tablespaces.collect::<Result<Vec<_>, _>>()?;
        let algorithm = match &self.manifest_checksums {
            None => ChecksumAlgorithm::Crc32c,
            Some(text) => text
                .parse()
                .map_err(|_| value_error(format!("unrecognized checksum algorithm: \"{text}\"")))?,
        };
        let syncfs = match self.sync_method.as_deref() {
            None | Some("fsync") => false,
            Some("syncfs") => true,
            Some(other) => return Err(value_error(format!("unrecognized sync method: {other}"))),
        };
        if self.operands.is_empty() {
            return Err(usage_error("no input directories specified"));
        }
        let Some(output) = self.output else { return Err(value_error("no output directory specified")) };
        // The original takes the last of them; a reader of the command line should not have to know that.
        let ways: Vec<Way> = [
            (self.copy, Way::Copy),
            (self.clone, Way::Clone),
            (self.copy_file_range, Way::CopyFileRange),
            (self.link, Way::Link),
        ]
        .into_iter()
        .filter_map(|(given, way)| given.then_some(way))
        .collect();
        let way = match ways.as_slice() {
            [] => Way::Any,
            [way] => *way,
            _ => {
                return Err(usage_error(
                    "only one of --clone, --copy, --copy-file-range and --link can be used",
                ));
            }
        };
        Ok(CombineBackup {
            backups: self.operands.into_iter().map(PathBuf::from).collect(),
            output,
            debug: self.debug,
            dry_run: self.dry_run,
            no_sync: self.no_sync,
            syncfs,
            tablespaces,
            way,
            manifest: (!self.no_manifest).then_some(algorithm),
            no_verify: self.no_verify,
        })
    }
}

/// Help.
pub(crate) const TOOL: Tool = Tool {
    purpose: "makes one full backup of a full one and the incremental ones on top of it.",
    operands: "[OPTION]... DIRECTORY...",
    options: "
Options:
  -d, --debug            say more
  -k, --link             make hard links to unchanged files instead of copying them
  -n, --dry-run          write nothing
  -N, --no-sync          do not wait until everything is on disk
  -o, --output=DIRECTORY where the result goes
  -T, --tablespace-mapping=OLDDIR=NEWDIR
                         put the tablespace in OLDDIR into NEWDIR
      --clone            share unchanged files with the backups (reflink)
      --copy             copy unchanged files (default: share where possible)
      --copy-file-range  copy unchanged files with copy_file_range
      --manifest-checksums=SHA{224,256,384,512}|CRC32C|NONE
                         checksums of the new manifest
      --no-manifest      write no manifest
      --no-verify        do not compare what is read with the manifests of the
                         backups
      --sync-method=fsync|syncfs
                         how everything gets to disk
",
    other: super::OTHER,
};
