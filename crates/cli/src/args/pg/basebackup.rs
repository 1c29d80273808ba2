//! `tapster basebackup`: the options of `pg_basebackup`.

use std::ffi::OsString;
use std::path::PathBuf;

use super::super::tree::ReadError;
use super::compress::{self, Compress, Spec};
use super::connection::ConnectionArgs;
use super::tablespace::{self, Mapping};
use super::{Tool, no_operands, rate, status_interval, usage_error, value_error};

/// Take a base backup into a directory or tar files, with the options of pg_basebackup.
#[derive(Clone, Debug, clap::Parser)]
#[command(disable_help_flag = true)]
pub(crate) struct BaseBackupArgs {
    #[arg(short = 'D', long, allow_hyphen_values = true)]
    pgdata: Option<PathBuf>,
    #[arg(short = 'F', long, allow_hyphen_values = true)]
    format: Option<String>,
    #[arg(short, long, allow_hyphen_values = true)]
    incremental: Option<PathBuf>,
    #[arg(short = 'r', long, allow_hyphen_values = true)]
    max_rate: Option<String>,
    #[arg(short = 'R', long)]
    write_recovery_conf: bool,
    #[arg(short, long, allow_hyphen_values = true)]
    target: Option<String>,
    #[arg(short = 'T', long, allow_hyphen_values = true)]
    tablespace_mapping: Vec<String>,
    #[arg(long, allow_hyphen_values = true)]
    waldir: Option<PathBuf>,
    #[arg(short = 'X', long, allow_hyphen_values = true)]
    wal_method: Option<String>,
    #[arg(short = 'z', long)]
    gzip: bool,
    #[arg(short = 'Z', long, allow_hyphen_values = true, overrides_with = "gzip")]
    compress: Option<String>,
    #[arg(short, long, allow_hyphen_values = true)]
    checkpoint: Option<String>,
    #[arg(short = 'C', long)]
    create_slot: bool,
    #[arg(short, long, allow_hyphen_values = true, default_value = "pg_basebackup base backup")]
    label: String,
    #[arg(short, long)]
    no_clean: bool,
    #[arg(short = 'N', long)]
    no_sync: bool,
    #[arg(short = 'P', long)]
    progress: bool,
    #[arg(short = 'S', long, allow_hyphen_values = true)]
    slot: Option<String>,
    #[arg(long, value_parser = ["fsync", "syncfs"])]
    sync_method: Option<String>,
    #[arg(short, long)]
    verbose: bool,
    #[arg(long, allow_hyphen_values = true)]
    manifest_checksums: Option<String>,
    #[arg(long)]
    manifest_force_encode: bool,
    #[arg(long)]
    no_estimate_size: bool,
    #[arg(long)]
    no_manifest: bool,
    #[arg(long)]
    no_slot: bool,
    #[arg(long)]
    no_verify_checksums: bool,
    #[arg(short, long, allow_hyphen_values = true)]
    status_interval: Option<String>,
    #[command(flatten)]
    connection: ConnectionArgs,
    #[arg(short = 'V', long, action = clap::ArgAction::Version)]
    version: Option<bool>,
    #[arg(short = '?', long, action = clap::ArgAction::Help)]
    help: Option<bool>,
    #[arg(hide = true)]
    operands: Vec<OsString>,
}

/// `-F`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum BackupFormat {
    /// A data directory.
    #[default]
    Plain,
    /// One tar file per tablespace.
    Tar,
}

/// `-X`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum WalMethod {
    /// No WAL: the backup needs an archive to be usable.
    None,
    /// At the end, inside the backup stream.
    Fetch,
    /// Over a second connection while the backup runs.
    #[default]
    Stream,
}

/// A checked `basebackup` command line.
#[derive(Clone, Debug)]
pub(crate) struct BaseBackup {
    /// `-D`; `-` is stdout. `None` only with `target`.
    pub(crate) directory: Option<PathBuf>,
    /// `-F`
    pub(crate) format: BackupFormat,
    /// `-i`: the manifest of the backup this one builds on.
    pub(crate) incremental: Option<PathBuf>,
    /// `-r` in kB/s.
    pub(crate) max_rate: Option<u32>,
    /// `-R`
    pub(crate) write_recovery_conf: bool,
    /// `-t`: the server keeps or discards the backup.
    pub(crate) target: Option<String>,
    /// `-T`
    pub(crate) tablespaces: Vec<Mapping>,
    /// `--waldir`
    pub(crate) waldir: Option<PathBuf>,
    /// `-X`
    pub(crate) wal: WalMethod,
    /// `-z`, `-Z`
    pub(crate) compress: Compress,
    /// `-c fast`
    pub(crate) fast_checkpoint: bool,
    /// `-C`
    pub(crate) create_slot: bool,
    /// `-l`
    pub(crate) label: String,
    /// `-n`
    pub(crate) no_clean: bool,
    /// `-N`
    pub(crate) no_sync: bool,
    /// `-P`
    pub(crate) progress: bool,
    /// `-S`
    pub(crate) slot: Option<String>,
    /// `--sync-method syncfs`
    pub(crate) syncfs: bool,
    /// `-v`
    pub(crate) verbose: bool,
    /// `--manifest-checksums`, as the server spells it.
    pub(crate) manifest_checksums: Option<String>,
    /// `--manifest-force-encode`
    pub(crate) manifest_force_encode: bool,
    /// `--no-estimate-size`
    pub(crate) no_estimate_size: bool,
    /// `--no-manifest`
    pub(crate) no_manifest: bool,
    /// `--no-slot`
    pub(crate) no_slot: bool,
    /// `--no-verify-checksums`
    pub(crate) no_verify_checksums: bool,
    /// `-s` in seconds.
    pub(crate) status_interval: u32,
    /// `-d -h -p -U -w -W`
    pub(crate) connection: ConnectionArgs,
}

impl BaseBackupArgs {
    /// The values, then what goes together with what: in the order of the original, so that of several mistakes the
    /// same one is reported.
    pub(crate) fn check(self) -> Result<BaseBackup, ReadError> {
        let format = match self.format.as_deref() {
            None => BackupFormat::Plain,
            Some("p" | "plain") => BackupFormat::Plain,
            Some("t" | "tar") => BackupFormat::Tar,
            Some(other) => {
                return Err(value_error(format!(
                    "invalid output format \"{other}\", must be \"plain\" or \"tar\""
                )));
            }
        };
        let wal = match self.wal_method.as_deref() {
            None if self.target.is_some() => WalMethod::Fetch,
            None => WalMethod::Stream,
            Some("n" | "none") => WalMethod::None,
            Some("f" | "fetch") => WalMethod::Fetch,
            Some("s" | "stream") => WalMethod::Stream,
            Some(other) => {
                return Err(value_error(format!(
                    "invalid wal-method option \"{other}\", must be \"fetch\", \"stream\", or \"none\""
                )));
            }
        };
        let fast_checkpoint = match self.checkpoint.as_deref() {
            Some("fast") => true,
            None | Some("spread") => false,
            Some(other) => {
                return Err(value_error(format!(
                    "invalid checkpoint argument \"{other}\", must be \"fast\" or \"spread\""
                )));
            }
        };
        let max_rate = self.max_rate.as_deref().map(rate::parse).transpose()?;
        let tablespaces = self
            .tablespace_mapping
            .iter()
            .map(|text| tablespace::parse(text))
            .collect::<Result<Vec<_>, _>>()?;
        let status_interval = self.status_interval.as_deref().map(status_interval).transpose()?.unwrap_or(10);
        no_operands(&self.operands)?;
        let compress = match self.compress.as_deref() {
            Some(text) => compress::parse(text)?,
            None if self.gzip => compress::parse("gzip")?,
            None => Compress::Client(Spec::NONE),
        };
        let checked = BaseBackup {
            directory: self.pgdata,
            format,
            incremental: self.incremental,
            max_rate,
            write_recovery_conf: self.write_recovery_conf,
            target: self.target,
            tablespaces,
            waldir: self.waldir,
            wal,
            compress,
            fast_checkpoint,
            create_slot: self.create_slot,
            label: self.label,
            no_clean: self.no_clean,
            no_sync: self.no_sync,
            progress: self.progress,
            slot: self.slot,
            syncfs: self.sync_method.as_deref() == Some("syncfs"),
            verbose: self.verbose,
            manifest_checksums: self.manifest_checksums,
            manifest_force_encode: self.manifest_force_encode,
            no_estimate_size: self.no_estimate_size,
            no_manifest: self.no_manifest,
            no_slot: self.no_slot,
            no_verify_checksums: self.no_verify_checksums,
            status_interval,
            connection: self.connection,
        };
        match checked.contradiction(self.wal_method.is_some()) {
            Some(text) => Err(usage_error(text)),
            None => Ok(checked),
        }
    }
}

impl BaseBackup {
    fn contradiction(&self, wal_named: bool) -> Option<&'static str> {
        let plain = self.format == BackupFormat::Plain;
        let streamed = self.wal == WalMethod::Stream;
        let stdout = self.directory.as_deref().is_some_and(|directory| directory.as_os_str() == "-");
        let client_compression = matches!(&self.compress, Compress::Client(spec) if *spec != Spec::NONE);
        let rules: [(bool, &'static str); 17] = [
            (
                self.directory.is_none() && self.target.is_none(),
                "must specify output directory or backup target",
            ),
            (
                self.directory.is_some() && self.target.is_some(),
                "cannot specify both output directory and backup target",
            ),
            (
                self.target.is_some() && client_compression,
                "client-side compression is not possible when a backup target is specified",
            ),
            (
                self.target.is_some() && streamed && wal_named,
                "WAL cannot be streamed when a backup target is specified",
            ),
            (plain && client_compression, "only tar mode backups can be compressed"),
            (stdout && !plain && streamed, "cannot stream write-ahead logs in tar mode to stdout"),
            (self.slot.is_some() && !streamed, "replication slots can only be used with WAL streaming"),
            (self.no_slot && self.slot.is_some(), "--no-slot cannot be used with slot name"),
            (
                self.create_slot && self.slot.is_none(),
                "--create-slot needs a slot to be specified using --slot",
            ),
            (self.create_slot && self.no_slot, "--create-slot and --no-slot are incompatible options"),
            (
                self.waldir.is_some() && self.target.is_some(),
                "WAL directory location cannot be specified along with a backup target",
            ),
            (self.waldir.is_some() && !plain, "WAL directory location can only be specified in plain mode"),
            (
                self.waldir.as_deref().is_some_and(|directory| !directory.is_absolute()),
                "WAL directory location must be an absolute path",
            ),
            (
                self.progress && self.no_estimate_size,
                "--progress and --no-estimate-size are incompatible options",
            ),
            (
                self.no_manifest && self.manifest_checksums.is_some(),
                "--no-manifest and --manifest-checksums are incompatible options",
            ),
            (
                self.no_manifest && self.manifest_force_encode,
                "--no-manifest and --manifest-force-encode are incompatible options",
            ),
            (stdout && plain, "cannot write a plain backup to stdout"),
        ];
        rules.into_iter().find_map(|(broken, text)| broken.then_some(text))
    }
}

/// Help.
pub(crate) const TOOL: Tool = Tool {
    purpose: "takes a base backup of a running PostgreSQL server.",
    operands: "[OPTION]...",
    options: "
Options controlling the output:
  -D, --pgdata=DIRECTORY write the backup into this directory
  -F, --format=p|t       a data directory (plain, default) or tar files
  -i, --incremental=OLDMANIFEST
                         take an incremental backup on top of that manifest's
  -r, --max-rate=RATE    at most RATE kB/s (or with suffix \"k\" or \"M\")
  -R, --write-recovery-conf
                         write the settings of a standby
  -t, --target=TARGET[:DETAIL]
                         keep the backup on the server
  -T, --tablespace-mapping=OLDDIR=NEWDIR
                         put the tablespace in OLDDIR into NEWDIR
      --waldir=WALDIR    put the write-ahead log elsewhere
  -X, --wal-method=none|fetch|stream
                         how the needed WAL is included (default: stream)
  -z, --gzip             compress tar output with gzip
  -Z, --compress=[{client|server}-]METHOD[:DETAIL]
                         compress here or on the server
  -Z, --compress=none    do not compress

General options:
  -c, --checkpoint=fast|spread
                         how the first checkpoint is done (default: spread)
  -C, --create-slot      create the replication slot
  -l, --label=LABEL      label of the backup
  -n, --no-clean         keep what is there after an error
  -N, --no-sync          do not wait until everything is on disk
  -P, --progress         show progress
  -S, --slot=SLOTNAME    replication slot to use
  -v, --verbose          say more
      --manifest-checksums=SHA{224,256,384,512}|CRC32C|NONE
                         algorithm of the manifest's checksums
      --manifest-force-encode
                         write all file names of the manifest in hexadecimal
      --no-estimate-size do not ask the server for the backup's size
      --no-manifest      make no manifest
      --no-slot          use no temporary replication slot
      --no-verify-checksums
                         do not verify data checksums
      --sync-method=fsync|syncfs
                         how everything gets to disk
  -s, --status-interval=INTERVAL
                         seconds between status messages to the server
",
    other: super::connection::HELP,
};
