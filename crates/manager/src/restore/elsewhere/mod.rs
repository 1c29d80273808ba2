//! A restore to another host, over ssh.
//!
//! A backup that is kept as a directory goes there by `rsync`; one in archives is decrypted and decompressed here and sent as
//! one tar stream for each tablespace, compared with its manifest on the way; so is WAL, decompressed on all cores. An
//! incremental backup is put together in a staging directory here. Nothing else is staged on either side.
//!
//! The other host needs a POSIX shell with its usual programs, and `rsync` or `tar`. What is on its disk in the end is what its
//! `sync` promises: with GNU's or busybox's, all of the file systems written to, write errors included; with others, what
//! `sync(2)` does there.

mod aside;
mod base;
mod cksum;
mod ground;
mod look;
mod over;
mod shell;
mod wals;

use std::ffi::OsStr;
use std::hash::{BuildHasher as _, RandomState};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use tapster_copy::extract::ControlFile;
use tapster_copy::remote::{Guard, Host, RemoteArchive, RemoteError, Script, Sending};
use tapster_copy::tar::NewMember as Member;

pub(super) use ground::There;
pub(super) use wals::MOST_STREAMS;

use super::RestoreError;
use super::destination::{Destination, Job, NewFile, WalFiles};

/// The data directory on another host.
///
/// A script there goes on when the connection is cut, so marks alone do not say whether a restore still writes. All its processes
/// have its token in their environment, look at the mark before they begin, and are looked for by a restore that would take
/// over; one of them is there as long as the connection is.
pub(super) struct Elsewhere {
    host: Arc<Host>,
    /// What the marks of this restore say, and those of no other.
    token: String,
    guard: Arc<Guard>,
    stays: Mutex<Option<Sending>>,
}

impl Destination for Elsewhere {
    fn copy_base(&self, job: Job<'_>) -> Result<ControlFile, RestoreError> {
        self.base(job)
    }

    fn copy_wals(&self, job: Job<'_>, wals: &WalFiles<'_>) -> Result<(), RestoreError> {
        self.wals(job, wals)
    }

    fn read(&self, job: Job<'_>, names: &[String]) -> Result<Vec<Option<Vec<u8>>>, RestoreError> {
        let what = "reading the configuration files";
        let mut arguments = vec![job.plan.destination.as_os_str()];
        arguments.extend(names.iter().map(OsStr::new));
        let mut script = Script::new(what, shell::READ, &arguments);
        script.limit = shell::MOST_READ;
        let said = self.host.run(&script, &job.context.stop)?;
        let files = shell::parse_files(&said, names.len());
        Ok(files.ok_or_else(|| RemoteError::answer(what, &said))?)
    }

    fn write(&self, job: Job<'_>, files: Vec<NewFile>) -> Result<(), RestoreError> {
        self.hold(job)?;
        let mut archive = RemoteArchive::open(&self.host, &job.plan.destination, &self.transfer(job))?;
        for file in &files {
            let mut member = Member::file(Path::new(&file.name), file.content.len() as u64);
            member.mode = file.mode;
            member.mtime = (u64::try_from(job.context.now().unix_timestamp()).unwrap_or(0), 0);
            archive.start(&member)?;
            archive.data(&file.content)?;
        }
        Ok(archive.finish()?)
    }

    fn missing(&self, job: Job<'_>, names: &[&str]) -> Result<Vec<String>, RestoreError> {
        let mut arguments = vec![job.plan.destination.as_os_str()];
        arguments.extend(names.iter().map(OsStr::new));
        let said = self.ask(job, "looking for configuration files", shell::MISSING, &arguments, &[])?;
        let said = String::from_utf8_lossy(&said);
        let missing = names.iter().filter(|name| said.lines().any(|line| line == **name));
        Ok(missing.map(|name| (*name).to_owned()).collect())
    }

    fn seal(&self, job: Job<'_>, control: &ControlFile) -> Result<(), RestoreError> {
        let plan = job.plan;
        let id = plan.record.id.to_string();
        let (size, mode) = (control.content.len().to_string(), format!("{:o}", control.mode));
        let mut arguments: Vec<&OsStr> = vec![plan.destination.as_os_str()];
        arguments.extend([&id, &size, &mode, &self.token].map(OsStr::new));
        arguments.push(plan.wal_directory.as_ref().map_or(OsStr::new(""), |dir| dir.as_os_str()));
        arguments.extend(roots(job));
        let said = self.ask(job, "bringing everything to disk", shell::SEAL, &arguments, &control.content)?;
        // Whatever else may end the script early, it has not said this.
        if said != b"sealed\n" {
            return Err(RemoteError::answer("bringing everything to disk", &said).into());
        }
        Ok(())
    }
}

fn guard(token: &str, destination: &Path, condition: &str) -> Guard {
    let variables = [("TAPSTER_RESTORE", OsStr::new(token)), ("TAPSTER_RESTORE_IN", destination.as_os_str())];
    Guard::new(&variables, condition)
}

/// The data directory and its tablespaces.
fn roots(job: Job<'_>) -> impl Iterator<Item = &OsStr> {
    let places = job.plan.tablespaces.iter().map(|place| place.location.as_os_str());
    std::iter::once(job.plan.destination.as_os_str()).chain(places)
}

impl Elsewhere {
    pub(super) fn new(host: Arc<Host>, destination: &Path) -> Self {
        // Each is made of other random keys.
        let [first, second] = [RandomState::new(), RandomState::new()].map(|state| state.hash_one(0));
        let token = format!("{}-{first:016x}{second:016x}", std::process::id());
        let guard = Arc::new(guard(&token, destination, shell::GUARD));
        Self { host, token, guard, stays: Mutex::default() }
    }

    /// Makes the directories there and marks them as ours, unless another restore is at them.
    fn begin(&self, job: Job<'_>, over: bool) -> Result<(), RestoreError> {
        let plan = job.plan;
        let (what, id) = ("making the destination", plan.record.id.to_string());
        let how = if over { "over" } else { "new" };
        let words = [how, &self.token, job.server.name(), &id];
        let arguments: Vec<&OsStr> = words.iter().map(OsStr::new).chain(roots(job)).collect();
        let first = guard(&self.token, &plan.destination, ":");
        let mut script = Script::new(what, shell::MAKE, &arguments);
        script.guard = Some(&first);
        let said = self.host.run(&script, &job.context.stop)?;
        let said = String::from_utf8_lossy(&said);
        if let Some(pid) = said.strip_prefix("busy ") {
            let (path, command) = (plan.destination.clone(), self.host.command().to_owned());
            let pid = pid.trim().parse().unwrap_or_default();
            return Err(RestoreError::RunningThere { path, pid, command });
        }
        if said != "made\n" {
            return Err(RemoteError::answer(what, said.as_bytes()).into());
        }
        let mut script = Script::new("holding the destination", shell::STAY, &[]);
        script.guard = Some(&self.guard);
        let stays = self.host.start(&script, &job.context.stop)?;
        *self.stays.lock().unwrap_or_else(PoisonError::into_inner) = Some(stays);
        Ok(())
    }

    /// That no other restore has begun there in the meantime.
    fn hold(&self, job: Job<'_>) -> Result<(), RestoreError> {
        let arguments: Vec<&OsStr> = std::iter::once(OsStr::new(&self.token)).chain(roots(job)).collect();
        self.ask(job, "looking whether the destination is still this restore's", shell::HOLD, &arguments, &[])
            .map(drop)
    }

    /// Runs a script that says little.
    fn ask(
        &self,
        job: Job<'_>,
        what: &str,
        script: &str,
        arguments: &[&OsStr],
        input: &[u8],
    ) -> Result<Vec<u8>, RestoreError> {
        let mut script = Script::new(what, script, arguments);
        (script.input, script.guard) = (input, Some(self.guard.as_ref()));
        Ok(self.host.run(&script, &job.context.stop)?)
    }
}
