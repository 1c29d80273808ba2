//! The command lines.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use walfile::{ControlFile, ControlFileError};

use super::process::{Ended, RsyncError, run};
use crate::live::rules::{EMPTY_ANYWHERE, EMPTY_AT_ROOT, NEVER, NEVER_AT_ROOT, NEVER_PREFIX};
use crate::live::{Reference, Reuse, Rules};

/// What ssh is told besides the configured command: nobody is there to answer its questions.
pub const SSH_OPTIONS: &str = "-o BatchMode=yes -o StrictHostKeyChecking=no";
/// The control file is read while the server may write it.
const CONTROL_ATTEMPTS: u32 = 20;

/// How `rsync` is called.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Rsync {
    /// The program; `rsync` is looked up in `PATH`.
    pub program: PathBuf,
    /// The whole ssh command with the host (`ssh_command`); `None` copies on this host.
    pub ssh_command: Option<String>,
    /// What is run on the other host, as words of a shell there (`--rsync-path`); `rsync` without it.
    pub remote_program: Option<OsString>,
    /// Compress on the way (`network_compression`).
    pub compress: bool,
    /// Processes at the same time (`parallel_jobs`).
    pub jobs: usize,
    /// How many of them may start within one period.
    pub batch_size: u32,
    /// The period.
    pub batch_period: Duration,
    /// Further attempts after one that failed; a copy goes on where it stopped.
    pub retry_times: u32,
    /// The pause before.
    pub retry_sleep: Duration,
    /// What becomes of files that the previous backup has.
    pub reuse: Reuse,
    /// A file that vanishes is a failure: the source is nothing that changes while it is copied.
    pub strict: bool,
    /// What is there from an earlier attempt may not be what was written, whatever its size and time: compare it by checksum.
    pub in_doubt: bool,
}

impl Default for Rsync {
    fn default() -> Self {
        Self {
            program: PathBuf::from("rsync"),
            ssh_command: None,
            remote_program: None,
            compress: false,
            jobs: 1,
            batch_size: 10,
            batch_period: Duration::from_secs(1),
            retry_times: 0,
            retry_sleep: Duration::from_secs(30),
            reuse: Reuse::Off,
            strict: false,
            in_doubt: false,
        }
    }
}

/// One tree on the other host.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RsyncTree {
    /// What it is called in the report and in messages.
    pub label: String,
    /// The directory there.
    pub source: String,
    /// Where it goes: a directory that is empty or not there yet.
    pub target: PathBuf,
    /// The same tree in the previous backup.
    pub reference: Option<Reference>,
    /// What is taken.
    pub rules: Rules,
    /// Tablespaces that lie in `pg_tblspc` itself; all else there is a link to a tablespace with a tree of its own.
    pub in_place: BTreeSet<u32>,
    /// Kilobytes per second at most, of each process.
    pub limit: Option<u32>,
}

impl RsyncTree {
    /// A tree with nothing to reuse and no limit.
    pub fn new(
        label: impl Into<String>,
        source: impl Into<String>,
        target: impl Into<PathBuf>,
        rules: Rules,
    ) -> Self {
        Self {
            label: label.into(),
            source: source.into(),
            target: target.into(),
            reference: None,
            rules,
            in_place: BTreeSet::new(),
            limit: None,
        }
    }
}

impl Rsync {
    /// The program with what every call has.
    pub(super) fn base(&self) -> Command {
        let mut command = Command::new(&self.program);
        // Times in the list are local ones, and messages are looked at.
        command.env("TZ", "UTC").env("LC_ALL", "C");
        if let Some(ssh) = &self.ssh_command {
            command.arg("-e").arg(format!("{ssh} {SSH_OPTIONS}"));
            if let Some(program) = &self.remote_program {
                let mut path = OsString::from("--rsync-path=");
                path.push(program);
                command.arg(path);
            }
        }
        if self.compress {
            command.arg("-z");
        }
        command
    }

    pub(super) fn place(&self, path: &str) -> String {
        if self.ssh_command.is_some() { format!(":{path}") } else { path.to_owned() }
    }

    /// Lists a tree; links are followed, as in the copy.
    pub(super) fn list(&self, tree: &RsyncTree) -> Command {
        let mut command = self.base();
        command.args(["--no-human-readable", "--list-only", "-rLs"]);
        command.args(filters(&tree.rules));
        command.arg(self.place(&format!("{}/", tree.source)));
        command
    }

    /// Copies the files of a list. With `scratch`, a directory of the target's file system, rsync writes there and replaces by
    /// a rename.
    pub(super) fn copy_list(
        &self,
        tree: &RsyncTree,
        list: &Path,
        checksum: bool,
        scratch: Option<&Path>,
    ) -> Command {
        let mut command = self.base();
        command.arg("-rLKpts");
        match scratch {
            None => command.arg("--inplace"),
            Some(scratch) => {
                let mut option = OsString::from("--temp-dir=");
                option.push(scratch);
                command.arg(option)
            }
        };
        if !self.strict {
            command.arg("--ignore-missing-args");
        }
        command.arg("--from0");
        if let Some(limit) = tree.limit {
            command.arg(format!("--bwlimit={limit}"));
        }
        let reference = tree.reference.as_ref().map(|reference| reference.root.as_os_str());
        let option = match self.reuse {
            Reuse::Off => None,
            Reuse::Link => Some("--link-dest="),
            Reuse::Copy => Some("--copy-dest="),
        };
        if let Some((option, root)) = option.zip(reference) {
            let mut option = OsString::from(option);
            option.push(root);
            command.arg(option);
        }
        if checksum {
            command.arg("--checksum");
        }
        let mut from = OsString::from("--files-from=");
        from.push(list);
        command.arg(from);
        command.arg(self.place(&format!("{}/", tree.source))).arg(&tree.target);
        command
    }

    /// Whether what is written may be a link to a file of the previous backup: never in place then.
    pub(super) fn links(&self, tree: &RsyncTree) -> bool {
        self.reuse == Reuse::Link && tree.reference.is_some()
    }

    /// Transfers the files of a list once more, whatever time and size say. None of them has another link.
    pub(super) fn copy_again(&self, tree: &RsyncTree, list: &Path) -> Command {
        let mut again = Self { reuse: Reuse::Off, ..self.clone() }.copy_list(tree, list, false, None);
        again.arg("--ignore-times");
        again
    }

    /// Copies one file to `target`, which is not there yet; says whether there was one.
    ///
    /// # Errors
    /// When rsync fails for another reason than that the file is not there.
    pub fn file(&self, source: &str, target: &Path, stop: &AtomicBool) -> Result<bool, RsyncError> {
        self.with_retries(stop, &mut |_, _| {}, || {
            let mut command = self.base();
            command.args(["-Lpts", "--inplace", "--ignore-missing-args"]).arg(self.place(source)).arg(target);
            silent(command, stop, &format!("copying {source}"))
        })?;
        Ok(target.exists())
    }

    /// Copies `global/pg_control` of the data directory `source`, once its checksum is right. It is not synced yet.
    ///
    /// # Errors
    /// When rsync fails, or the file stays broken.
    pub fn control_file(
        &self,
        source: &str,
        target: &Path,
        stop: &AtomicBool,
    ) -> Result<ControlFile, RsyncError> {
        let path = target.join(crate::live::rules::CONTROL);
        let mut attempt = 0;
        loop {
            attempt += 1;
            let from = format!("{source}/{}", crate::live::rules::CONTROL);
            if !self.file(&from, &path, stop)? {
                return Err(RsyncError::Missing { path: from });
            }
            let bytes = std::fs::read(&path).map_err(crate::sync::at("read", &path))?;
            match ControlFile::parse(&bytes) {
                Ok(control) => return Ok(control),
                Err(ControlFileError::Crc { .. } | ControlFileError::TooShort { .. })
                    if attempt < CONTROL_ATTEMPTS =>
                {
                    std::fs::remove_file(&path).map_err(crate::sync::at("remove", &path))?;
                }
                Err(source) => return Err(RsyncError::Control { path, source }),
            }
        }
    }

    /// Tries again as often as was said; rsync goes on where it stopped.
    pub(super) fn with_retries<T>(
        &self,
        stop: &AtomicBool,
        told: &mut dyn FnMut(u32, &RsyncError),
        mut attempt: impl FnMut() -> Result<T, RsyncError>,
    ) -> Result<T, RsyncError> {
        use std::sync::atomic::Ordering;
        let mut failed = 0;
        loop {
            match attempt() {
                Err(error @ (RsyncError::Failed { .. } | RsyncError::Read(_)))
                    if failed < self.retry_times && !stop.load(Ordering::Relaxed) =>
                {
                    told(failed, &error);
                    failed += 1;
                    let end = std::time::Instant::now() + self.retry_sleep;
                    while std::time::Instant::now() < end {
                        if stop.load(Ordering::Relaxed) {
                            return Err(RsyncError::Stopped);
                        }
                        std::thread::sleep(Duration::from_millis(50).min(self.retry_sleep));
                    }
                }
                result => return result,
            }
        }
    }
}

/// Tries the way to the other host: runs `true` there, with the words of the ssh command. Returns what came back on standard
/// output, the first line of it; whatever it is would be taken for an answer of rsync's.
///
/// # Errors
/// When ssh cannot be run, or does not get there.
pub fn try_ssh(words: &[String], stop: &AtomicBool) -> Result<Option<String>, RsyncError> {
    let Some((program, arguments)) = words.split_first() else { return Ok(None) };
    let mut command = Command::new(program);
    command.env("LC_ALL", "C").args(arguments).args(SSH_OPTIONS.split(' ')).arg("true");
    let mut said = None;
    let ended = run(command, stop, &mut |line| {
        said.get_or_insert_with(|| String::from_utf8_lossy(line).chars().take(200).collect());
        Ok(())
    })?;
    if ended.status.success() {
        return Ok(said);
    }
    Err(RsyncError::Ssh { status: ended.status, stderr: ended.stderr })
}

/// What the list leaves out already; [`Rules`] has the last word.
pub(super) fn filters(rules: &Rules) -> Vec<String> {
    let mut filters = Vec::new();
    let mut exclude = |pattern: String| filters.push(format!("--exclude={pattern}"));
    if let Rules::Stored { elsewhere } = rules {
        elsewhere
            .iter()
            .filter_map(|path| path.to_str())
            .for_each(|path| exclude(format!("/{}", literal(path))));
        return filters;
    }
    NEVER.iter().for_each(|name| exclude((*name).to_owned()));
    NEVER_PREFIX.iter().for_each(|name| exclude(format!("{name}*")));
    EMPTY_ANYWHERE.iter().for_each(|name| exclude(format!("{name}/*")));
    match rules {
        Rules::Data { elsewhere } => {
            EMPTY_AT_ROOT.iter().for_each(|name| exclude(format!("/{name}/*")));
            NEVER_AT_ROOT.iter().for_each(|name| exclude(format!("/{name}")));
            elsewhere
                .iter()
                .filter_map(|path| path.to_str())
                .for_each(|path| exclude(format!("/{}", literal(path))));
        }
        Rules::Tablespace { major } => {
            filters.push(format!("--include=/PG_{major}_*"));
            filters.push("--exclude=/*".to_owned());
        }
        Rules::Stored { .. } => {}
    }
    filters
}

/// A path as a pattern that matches it alone. Without a wildcard in it a pattern is compared as it is.
fn literal(path: &str) -> String {
    if !path.contains(['*', '?', '[']) {
        return path.to_owned();
    }
    path.chars()
        .flat_map(|letter| {
            matches!(letter, '*' | '?' | '[' | '\\').then_some('\\').into_iter().chain([letter])
        })
        .collect()
}

/// A command whose output says nothing.
pub(super) fn silent(command: Command, stop: &AtomicBool, what: &str) -> Result<Ended, RsyncError> {
    run(command, stop, &mut |_| Ok(()))?.check(what)
}

impl Ended {
    /// As [`Ended::check`], for a source that does not change as well.
    pub(super) fn check_as(self, strict: bool, what: &str) -> Result<(), RsyncError> {
        if strict { self.complete(what) } else { self.check(what).map(drop) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(command: &Command) -> Vec<String> {
        std::iter::once(command.get_program())
            .chain(command.get_args())
            .map(|word| word.to_str().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn command_lines_are_barmans() {
        let rsync = Rsync {
            ssh_command: Some("ssh postgres@db".to_owned()),
            compress: true,
            reuse: Reuse::Link,
            ..Rsync::default()
        };
        let mut tree = RsyncTree::new("tbs", "/srv/a b", "/home/16385", Rules::Tablespace { major: 15 });
        tree.reference = Some(Reference::new("/home/old/16385", 0));
        tree.limit = Some(500);
        let ssh = "ssh postgres@db -o BatchMode=yes -o StrictHostKeyChecking=no";
        let list = words(&rsync.list(&tree));
        assert_eq!(list[..7], ["rsync", "-e", ssh, "-z", "--no-human-readable", "--list-only", "-rLs"]);
        assert_eq!(list[list.len() - 3..], ["--include=/PG_15_*", "--exclude=/*", ":/srv/a b/"]);
        assert_eq!(
            words(&rsync.copy_list(&tree, Path::new("/tmp/list"), true, Some(Path::new("/home/16385/tmp")))),
            [
                "rsync",
                "-e",
                ssh,
                "-z",
                "-rLKpts",
                "--temp-dir=/home/16385/tmp",
                "--ignore-missing-args",
                "--from0",
                "--bwlimit=500",
                "--link-dest=/home/old/16385",
                "--checksum",
                "--files-from=/tmp/list",
                ":/srv/a b/",
                "/home/16385",
            ]
        );
        assert!(rsync.links(&tree));
        let plain = words(&rsync.copy_list(&tree, Path::new("/tmp/list"), false, None));
        assert_eq!(plain[4..6], ["-rLKpts", "--inplace"]);
        let data = Rules::Data { elsewhere: [PathBuf::from("ts[1]")].into() };
        let filters = filters(&data);
        for pattern in
            ["/pg_wal/*", "pg_replslot/*", "postmaster.pid", "/backup_label", "pgsql_tmp*", "/ts\\[1]"]
        {
            assert!(filters.contains(&format!("--exclude={pattern}")), "{pattern}: {filters:?}");
        }
    }
}
