//! What a plan wants to know of the other host.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tapster_catalog::BackupRecord;
use tapster_copy::remote::{Host, RemoteError, Script};

use super::look::{Place, State, parse};
use super::shell;
use crate::Server;
use crate::restore::archives::is_archived;
use crate::restore::{RestoreOptions, RestorePlanError, TablespacePlace};

/// For an answer that takes no work. A connection that died is noticed earlier.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);
pub(super) const LOOKING: &str = "looking at the destination";
/// What is looked for, and told when it is missing.
const PROGRAMS: [&str; 5] = ["rsync", "tar", "gzip", "od", "cksum"];
/// What is mounted where, on Linux.
const MOUNTINFO: &str = "/proc/self/mountinfo";

/// The other host, as far as it was looked at.
#[derive(Debug)]
pub(in crate::restore) struct There {
    host: Arc<Host>,
    stop: Arc<AtomicBool>,
    /// Where a relative path is meant from.
    home: PathBuf,
    programs: Vec<&'static str>,
    seen: Mutex<BTreeMap<PathBuf, Place>>,
}

impl There {
    /// Connects and looks around.
    pub(in crate::restore) fn connect(
        command: &str,
        stop: &Arc<AtomicBool>,
    ) -> Result<Self, RestorePlanError> {
        let words = shlex::split(command).unwrap_or_default();
        let host = Host::connect(command, words, stop)?;
        let arguments = PROGRAMS.map(OsStr::new);
        let mut script = Script::new(LOOKING, shell::WELCOME, &arguments);
        script.patience = Some(PATIENCE);
        let said = host.run(&script, stop)?;
        let text = String::from_utf8_lossy(&said);
        let mut lines = text.lines();
        let home = lines.next().map(PathBuf::from).filter(|home| home.is_absolute());
        let home = home.ok_or_else(|| RemoteError::answer(LOOKING, &said))?;
        let found: Vec<&str> = lines.collect();
        let programs = PROGRAMS.into_iter().filter(|program| found.contains(program)).collect();
        Ok(Self { host: Arc::new(host), stop: Arc::clone(stop), home, programs, seen: Mutex::default() })
    }

    /// That a program is there without which the restore cannot be done.
    pub(in crate::restore) fn needs(&self, program: &'static str) -> Result<(), RestorePlanError> {
        if self.programs.contains(&program) {
            return Ok(());
        }
        Err(RestorePlanError::Program { program, command: self.host.command().to_owned() })
    }

    /// The connection, for the restore itself.
    pub(in crate::restore) fn into_host(self) -> Arc<Host> {
        self.host
    }

    pub(super) fn host(&self) -> &Arc<Host> {
        &self.host
    }

    pub(super) const fn stop(&self) -> &Arc<AtomicBool> {
        &self.stop
    }

    /// Whether neither the data directory nor a tablespace holds anything.
    pub(super) fn is_empty(
        &self,
        destination: &Path,
        tablespaces: &[TablespacePlace],
    ) -> Result<bool, RestorePlanError> {
        for path in
            std::iter::once(destination).chain(tablespaces.iter().map(|place| place.location.as_path()))
        {
            if self.place(path)?.state == State::Full {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn place(&self, path: &Path) -> Result<Place, RestorePlanError> {
        if let Some(place) = self.seen.lock().unwrap_or_else(PoisonError::into_inner).get(path) {
            return Ok(place.clone());
        }
        self.look(std::slice::from_ref(&path))?;
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.get(path).cloned().ok_or_else(|| RemoteError::answer(LOOKING, b"").into())
    }
}

impl Server {
    /// Whether the other host has the programs and the room that a restore needs, and where on this one an incremental backup is
    /// put together.
    pub(in crate::restore) fn plan_remote(
        &self,
        there: &There,
        chain: &[BackupRecord],
        options: &RestoreOptions,
        destination: &Path,
        over: bool,
        wals: Option<(&Path, u64)>,
    ) -> Result<Option<PathBuf>, RestorePlanError> {
        let Some(record) = chain.last() else { return Ok(None) };
        let is_combined = chain.len() > 1;
        there.needs("tar")?;
        if is_combined || !is_archived(record) {
            there.needs("rsync")?;
        }
        let remote = options.remote.as_ref();
        if remote.and_then(|remote| remote.network_compression).unwrap_or(self.config.network_compression) {
            there.needs("gzip")?;
        }
        let is_less = is_combined || is_archived(record);
        let size = if is_less { record.cluster_size } else { record.size }.unwrap_or(0);
        let base = if record.tablespaces.is_empty() { size } else { 0 };
        let (wal_place, wal_bytes) = wals.unwrap_or((destination, 0));
        if over {
            // What is there already needs no room.
        } else if wal_place.starts_with(destination) {
            there.check_room(destination, base.saturating_add(wal_bytes))?;
        } else {
            there.check_room(destination, base)?;
            there.check_room(wal_place, wal_bytes)?;
        }
        if !is_combined {
            return Ok(None);
        }
        let configured = self.config.staging_path.clone();
        let configured = configured.filter(|_| self.config.text("staging_location") != Some("remote"));
        let staging = options.staging_path.clone().or(configured);
        let staging = staging.unwrap_or_else(std::env::temp_dir);
        let existing = staging.ancestors().find(|dir| dir.is_dir()).unwrap_or(&staging);
        if let Ok(stat) = rustix::fs::statvfs(existing) {
            let free = stat.f_bavail.saturating_mul(stat.f_frsize);
            let needed = size.saturating_add(self.staged_bytes(chain));
            if free < needed {
                return Err(RestorePlanError::Space { path: staging, free, needed });
            }
        }
        Ok(Some(staging))
    }
}

impl There {
    /// A path as it is meant there.
    pub(in crate::restore) fn absolute(&self, path: &Path) -> Result<PathBuf, RestorePlanError> {
        let refuse = |problem: &str| {
            let source = std::io::Error::new(std::io::ErrorKind::InvalidInput, problem.to_owned());
            Err(RestorePlanError::Io { path: path.to_owned(), source })
        };
        if path.as_os_str().as_encoded_bytes().iter().any(u8::is_ascii_control) {
            return refuse("control characters in a path of the target host are refused");
        }
        if path.components().any(|part| part == Component::ParentDir) {
            return refuse("'..' in the destination is refused");
        }
        Ok(self.home.join(path).components().collect())
    }

    /// Everything is empty or absent and can be written to, and nothing lies where another thing goes. With `over`, what is there
    /// is gone over.
    pub(in crate::restore) fn check(
        &self,
        destination: &Path,
        tablespaces: &[TablespacePlace],
        over: bool,
    ) -> Result<(), RestorePlanError> {
        let paths: Vec<&Path> = std::iter::once(destination)
            .chain(tablespaces.iter().map(|place| place.location.as_path()))
            .collect();
        for path in &paths {
            self.absolute(path)?;
        }
        self.look(&paths)?;
        if self.place(destination)?.state == State::Bare {
            return Err(RestorePlanError::MountPoint { path: destination.to_owned() });
        }
        if !self.is_free(destination)? && !over {
            let path = destination.to_owned();
            return Err(match self.begun(destination)? {
                Some(unfinished) => RestorePlanError::Unfinished { path, unfinished },
                None => RestorePlanError::DestinationNotEmpty { path },
            });
        }
        let real_destination = self.resolved(destination)?;
        for (index, place) in tablespaces.iter().enumerate() {
            let is_free =
                self.place(&place.location)?.state == State::Bare || self.is_free(&place.location)?;
            if !is_free && !over {
                let path = place.location.clone();
                return Err(RestorePlanError::TablespaceNotEmpty { name: place.name.clone(), path });
            }
            let overlap = |second: &Path| {
                Err(RestorePlanError::Overlap { first: place.location.clone(), second: second.to_owned() })
            };
            let real = self.resolved(&place.location)?;
            if real_destination.starts_with(&real) {
                return overlap(destination);
            }
            for other in tablespaces.iter().skip(index + 1) {
                let other_real = self.resolved(&other.location)?;
                if other_real.starts_with(&real) || real.starts_with(&other_real) {
                    return overlap(&other.location);
                }
            }
        }
        if over { self.check_over(destination, tablespaces) } else { Ok(()) }
    }

    /// That what is gone over is a cluster in which no server runs, or what a restore left that broke off; and that tablespaces
    /// are its own.
    fn check_over(
        &self,
        destination: &Path,
        tablespaces: &[TablespacePlace],
    ) -> Result<(), RestorePlanError> {
        let numbers: Vec<String> = tablespaces.iter().map(|place| place.oid.to_string()).collect();
        let mut arguments = vec![destination.as_os_str()];
        for (number, place) in numbers.iter().zip(tablespaces) {
            arguments.extend([OsStr::new(number), place.location.as_os_str()]);
        }
        let mut script = Script::new(LOOKING, shell::OVER, &arguments);
        script.patience = Some(PATIENCE);
        let said = self.host.run(&script, &self.stop)?;
        let text = String::from_utf8_lossy(&said);
        let mut lines = text.lines();
        let refuse = |path: &Path, problem: &str| {
            Err(RestorePlanError::Over { path: path.to_owned(), problem: problem.to_owned() })
        };
        match lines.next() {
            Some("nothing" | "cluster") => {}
            Some(line) if line.starts_with("busy ") => {
                return Err(self.busy(destination, line.trim_start_matches("busy ")));
            }
            Some("running") => {
                return refuse(destination, "a server runs there, or its postmaster.pid says so");
            }
            Some("other") => return refuse(destination, "it is not empty, and no PostgreSQL cluster"),
            _ => return Err(RemoteError::answer(LOOKING, &said).into()),
        }
        if let Some(line) = lines.next() {
            let (oid, name) = line.split_once(' ').map_or((line, None), |(oid, name)| (oid, Some(name)));
            let Some(place) = tablespaces.iter().find(|place| place.oid.to_string() == oid) else {
                return Err(RemoteError::answer(LOOKING, &said).into());
            };
            let problem = name.map_or_else(
                || "it is not empty, and may belong to another cluster".to_owned(),
                |name| format!("it holds '{name}', which is of no tablespace"),
            );
            return refuse(&place.location, &problem);
        }
        let roots = tablespaces.iter().map(|place| place.location.as_os_str());
        let arguments: Vec<&OsStr> =
            [OsStr::new(MOUNTINFO), destination.as_os_str()].into_iter().chain(roots).collect();
        let said = self.host.run(&Script::new(LOOKING, shell::MOUNTS, &arguments), &self.stop)?;
        if let Some(mounted) = String::from_utf8_lossy(&said).lines().next() {
            return refuse(
                Path::new(mounted),
                "a file system of its own is mounted there, and would be emptied",
            );
        }
        Ok(())
    }

    /// Where WAL is copied to instead of the data directory. Recovery removes it at its end with all that is in it, so it holds
    /// nothing else, and is no part of the cluster.
    pub(in crate::restore) fn wal_directory(
        &self,
        dir: &Path,
        destination: &Path,
        tablespaces: &[TablespacePlace],
    ) -> Result<PathBuf, RestorePlanError> {
        let dir = self.absolute(dir)?;
        let refuse = |problem| Err(RestorePlanError::WalDirectory { path: dir.clone(), problem });
        if !self.is_free(&dir)? {
            return refuse("it is not empty");
        }
        let (real, real_destination) = (self.resolved(&dir)?, self.resolved(destination)?);
        if real_destination.starts_with(&real) {
            return refuse("the cluster would lie in it");
        }
        for place in tablespaces {
            if self.resolved(&place.location)?.starts_with(&real) {
                return refuse("the cluster would lie in it");
            }
        }
        let first = real.strip_prefix(&real_destination).ok().and_then(|inside| inside.components().next());
        let is_part = first.is_some_and(|first| {
            let name = first.as_os_str().to_string_lossy();
            name.starts_with("pg_") || ["base", "global", "log"].contains(&name.as_ref())
        });
        if is_part { refuse("it is a part of the cluster") } else { Ok(dir) }
    }

    /// Refuses what is clearly too little room. What lies there already and what goes to a tablespace is not counted.
    pub(in crate::restore) fn check_room(&self, path: &Path, needed: u64) -> Result<(), RestorePlanError> {
        let place = self.place(path)?;
        match place.free {
            Some(free) if free < needed => {
                Err(RestorePlanError::Space { path: place.existing, free, needed })
            }
            _ => Ok(()),
        }
    }

    fn look(&self, paths: &[&Path]) -> Result<(), RestorePlanError> {
        let arguments: Vec<&OsStr> = paths.iter().map(|path| path.as_os_str()).collect();
        let mut script = Script::new(LOOKING, shell::LOOK, &arguments);
        (script.limit, script.patience) = (16 * 1024 * paths.len().max(1), Some(PATIENCE));
        let said = self.host.run(&script, &self.stop)?;
        let places = parse(&said, paths.len()).ok_or_else(|| RemoteError::answer(LOOKING, &said))?;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.extend(paths.iter().map(|path| path.to_path_buf()).zip(places));
        Ok(())
    }

    /// Whether nothing is there yet, and something can be made.
    fn is_free(&self, dir: &Path) -> Result<bool, RestorePlanError> {
        let place = self.place(dir)?;
        let io = |kind: std::io::ErrorKind, path: &Path| {
            Err(RestorePlanError::Io { path: path.to_owned(), source: kind.into() })
        };
        match place.state {
            State::Other => io(std::io::ErrorKind::NotADirectory, dir),
            State::Full | State::Bare => Ok(false),
            State::Absent | State::Empty if !place.is_writable => {
                io(std::io::ErrorKind::PermissionDenied, &place.existing)
            }
            State::Absent | State::Empty => Ok(true),
        }
    }

    pub(super) fn resolved(&self, path: &Path) -> Result<PathBuf, RestorePlanError> {
        let place = self.place(path)?;
        let rest = path.strip_prefix(&place.existing).unwrap_or(Path::new(""));
        Ok(place.real.join(rest).components().collect())
    }
}
