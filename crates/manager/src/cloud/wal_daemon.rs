//! A process that archives for others: connections, TLS and credentials stay, and what is ready goes out before it is asked for.
//!
//! It listens on a socket beside the record of what is archived, in a directory that only its user can enter. A request names a file
//! and the settings; the process takes it from its own `pg_wal`. It can be killed or stopped at any moment: who asked does the work
//! itself then.

use std::collections::BTreeSet;
use std::fs::{self, File, Permissions};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, mpsc};
use std::time::Duration;

use rustix::net::sockopt::socket_peercred;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with};
use sha2::{Digest as _, Sha256};
use tapster_catalog::durable;
use tapster_cloud::{StoreIdentity, StoreOptions};
use walfile::WalName;

use super::wal_archive::{Batch, CloudArchiveReport, MOST_AT_ONCE, Record, beside, wal_name};
use super::{CloudArchiveOptions, CloudArchived, CloudServer, CloudWalError};

const SOCKET: &str = "archive.sock";
const LOCK: &str = "daemon.lock";
/// Longest line in either direction.
const LINE: u64 = 4096;
/// PostgreSQL asks for one file at a time; anybody else can wait.
const MOST_CLIENTS: usize = 16;
/// How soon the stop flag is seen.
const TICK: Duration = Duration::from_millis(50);
/// A request is one short line.
const PATIENCE: Duration = Duration::from_secs(5);
/// What a client gets while its file is on its way.
const WORKING: &str = "working\n";
/// How often it does.
const SIGN: Duration = Duration::from_secs(3);
/// A process that gives no sign for so long is stopped or has lost its machine's attention; uploading twice does no harm.
const SILENCE: Duration = Duration::from_secs(15);

/// What must be the same for another process to do the work: everything that decides about the object, and as whom it is written, so
/// that new credentials are not answered by who has the old ones.
fn settings(place: &StoreIdentity, store: &StoreOptions, options: &CloudArchiveOptions) -> String {
    let CloudArchiveOptions { compression, level, tags, history_tags, .. } = options;
    let text = format!("{} {store:?} {compression:?} {level:?} {tags:?} {history_tags:?}", place.access());
    Sha256::digest(text.as_bytes()).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// What another process has to say about a file.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum DaemonAnswer {
    /// It is archived.
    Archived(CloudArchived),
    /// That process could not, and this is why. Archive it here: what keeps it from it may be only its own.
    Failed(String),
}

/// Has the process that [`CloudServer::serve_wal_archive`] runs for this place and `pg_wal` archive `path`. `None` when there is none, it
/// was made with other settings, ended meanwhile or gives no sign of life: then archive it here.
pub fn archive_by_daemon(
    store: &StoreIdentity,
    server: &str,
    path: &Path,
    how: &StoreOptions,
    options: &CloudArchiveOptions,
) -> Option<DaemonAnswer> {
    let name = wal_name(path).ok()?;
    if options.take_over {
        return None;
    }
    let record = Record::locate(&options.spool_dir, store, server, durable::parent(path));
    let stream = connect(&record)?;
    ask(&stream, &format!("{} {name}\n", settings(store, how, options)), SILENCE)
}

/// To the process that listens there. `None` when there is none, or it stands still and has a queue of others.
fn connect(record: &Record) -> Option<UnixStream> {
    // Whoever could put a socket there could say of anything that it is archived.
    if !record.is_ours() {
        return None;
    }
    let socket = socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )
    .ok()?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(record.dir().join(SOCKET)).ok()?).ok()?;
    // The directory may have been another one a moment ago.
    if socket_peercred(&socket).ok()?.uid != rustix::process::geteuid() {
        return None;
    }
    let stream = UnixStream::from(socket);
    stream.set_nonblocking(false).ok()?;
    Some(stream)
}

/// Sends a request, and waits for as long as there is a sign of work within each `silence`.
fn ask(mut stream: &UnixStream, request: &str, silence: Duration) -> Option<DaemonAnswer> {
    stream.set_read_timeout(Some(silence)).ok()?;
    stream.set_write_timeout(Some(silence)).ok()?;
    stream.write_all(request.as_bytes()).ok()?;
    let mut lines = BufReader::new(stream);
    loop {
        let mut line = String::new();
        (&mut lines).take(LINE).read_line(&mut line).ok()?;
        if line == WORKING {
            continue;
        }
        return match line.strip_suffix('\n')?.split_once(' ')? {
            ("ok", "uploaded") => Some(DaemonAnswer::Archived(CloudArchived::Uploaded)),
            ("ok", "identical") => Some(DaemonAnswer::Archived(CloudArchived::Identical)),
            ("ok", "ahead") => Some(DaemonAnswer::Archived(CloudArchived::Ahead)),
            ("failed", why) => Some(DaemonAnswer::Failed(why.to_owned())),
            _ => None,
        };
    }
}

/// Tells a client every few seconds that `work` is going on, until it is done.
fn with_signs<T>(mut client: &UnixStream, every: Duration, work: impl FnOnce() -> T) -> T {
    let (done, is_done) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            while is_done.recv_timeout(every) == Err(mpsc::RecvTimeoutError::Timeout) {
                if client.write_all(WORKING.as_bytes()).is_err() {
                    break;
                }
            }
        });
        let result = work();
        drop(done);
        result
    })
}

/// The process's state.
struct Daemon<'d> {
    server: &'d CloudServer,
    wal_dir: &'d Path,
    record: &'d Record,
    options: &'d CloudArchiveOptions,
    settings: String,
    stop: &'d AtomicBool,
    clients: AtomicUsize,
    /// What is being uploaded, and whether there may be more that is ready.
    work: Mutex<(BTreeSet<WalName>, bool)>,
    changed: Condvar,
}

impl CloudServer {
    /// Archives what [`CloudPlace::archive_wal`](super::CloudPlace::archive_wal) asks for from `wal_dir` until `stop` is set. `started` is called when it listens.
    ///
    /// # Errors
    /// [`CloudWalError::Spool`] when it cannot listen, or another process does.
    pub fn serve_wal_archive(
        &self,
        wal_dir: &Path,
        options: &CloudArchiveOptions,
        stop: &AtomicBool,
        started: impl FnOnce(),
    ) -> Result<(), CloudWalError> {
        let place = self.store().identity();
        let record = Record::locate(&options.spool_dir, place, self.layout().server(), wal_dir);
        let failed = |source| CloudWalError::Spool { path: record.dir().to_owned(), source };
        if !record.create().map_err(failed)? {
            return Err(failed(io::Error::other("it belongs to another user")));
        }
        let lock = File::create(record.dir().join(LOCK)).map_err(failed)?;
        lock.try_lock().map_err(|_| failed(io::Error::other("another process serves it")))?;
        let socket: PathBuf = record.dir().join(SOCKET);
        match fs::remove_file(&socket) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        // Only we can enter the directory, so nobody is quicker than the permissions.
        let listener = UnixListener::bind(&socket).map_err(failed)?;
        fs::set_permissions(&socket, Permissions::from_mode(0o600)).map_err(failed)?;
        let mut options = options.clone();
        options.parallel = options.parallel.clamp(2, MOST_AT_ONCE);
        let daemon = Daemon {
            server: self,
            wal_dir,
            record: &record,
            settings: settings(place, self.store().options(), &options),
            options: &options,
            stop,
            clients: AtomicUsize::new(0),
            work: Mutex::default(),
            changed: Condvar::new(),
        };
        started();
        std::thread::scope(|scope| {
            scope.spawn(|| daemon.run_ahead());
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    std::thread::sleep(TICK);
                }
                // Wakes who waits below.
                drop(UnixStream::connect(&socket));
            });
            for client in listener.incoming() {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let Ok(client) = client else {
                    // Too many open files, say.
                    std::thread::sleep(TICK);
                    continue;
                };
                if daemon.clients.fetch_add(1, Ordering::Relaxed) >= MOST_CLIENTS {
                    daemon.clients.fetch_sub(1, Ordering::Relaxed);
                    continue;
                }
                let daemon = &daemon;
                scope.spawn(move || {
                    // Who went away has its answer.
                    drop(daemon.serve(client));
                    daemon.clients.fetch_sub(1, Ordering::Relaxed);
                });
            }
        });
        drop(fs::remove_file(&socket));
        Ok(())
    }
}

impl Daemon<'_> {
    fn serve(&self, client: UnixStream) -> io::Result<()> {
        client.set_read_timeout(Some(PATIENCE))?;
        client.set_write_timeout(Some(PATIENCE))?;
        let mut line = String::new();
        BufReader::new((&client).take(LINE)).read_line(&mut line)?;
        let request = line.strip_suffix('\n').and_then(|line| line.split_once(' '));
        let Some((settings, name)) = request else { return Ok(()) };
        let Ok(name) = name.parse::<WalName>() else { return Ok(()) };
        let answer = if settings == self.settings {
            match with_signs(&client, SIGN, || self.archive(name)) {
                Ok(report) => format!("ok {}\n", word(report.archived)),
                Err(error) => {
                    let why: String = error
                        .to_string()
                        .chars()
                        .map(|c| if c.is_control() { ' ' } else { c })
                        .take(900)
                        .collect();
                    format!("failed {why}\n")
                }
            }
        } else {
            "other settings\n".to_owned()
        };
        (&client).write_all(answer.as_bytes())
    }

    fn archive(&self, name: WalName) -> Result<CloudArchiveReport, CloudWalError> {
        // What is on its way is waited for instead of sent twice.
        if let Ok(mut work) = self.work.lock() {
            while work.0.contains(&name) && !self.stop.load(Ordering::Relaxed) {
                work = match self.changed.wait_timeout(work, TICK) {
                    Ok((work, _)) => work,
                    Err(_) => break,
                };
            }
        }
        let report =
            self.server.archive_alone(&self.wal_dir.join(name.to_string()), self.record, self.options)?;
        if let Ok(mut work) = self.work.lock() {
            work.1 = true;
        }
        self.changed.notify_all();
        Ok(report)
    }

    /// After each file, those that are ready go out too.
    fn run_ahead(&self) {
        while !self.stop.load(Ordering::Relaxed) {
            let Ok(mut work) = self.work.lock() else { return };
            if !work.1 {
                drop(self.changed.wait_timeout(work, TICK));
                continue;
            }
            self.record.forget_told(self.wal_dir);
            // Any name will do for a file beside them.
            let mut names = beside(&self.wal_dir.join("none"), None, MOST_AT_ONCE * 4);
            names.retain(|name| !self.record.has(*name, &self.wal_dir.join(name.to_string())));
            names.truncate(self.options.parallel * 2);
            work.1 = !names.is_empty();
            work.0 = names.iter().copied().collect();
            drop(work);
            if !names.is_empty() && !self.upload(names) {
                // Until somebody asks again; that is not for ever, as PostgreSQL does.
                if let Ok(mut work) = self.work.lock() {
                    work.1 = false;
                }
            }
            if let Ok(mut work) = self.work.lock() {
                work.0.clear();
            }
            self.changed.notify_all();
        }
    }

    /// Whether all of them went.
    fn upload(&self, names: Vec<WalName>) -> bool {
        let count = names.len();
        let Some(first) = names.first() else { return true };
        let owned = self.server.confirm_owner(*first, self.record);
        let there = match owned.and_then(|()| Ok(self.server.archived_of(names.iter().copied())?)) {
            Ok(there) => there,
            Err(error) => {
                tracing::warn!(%error, "cannot archive ahead");
                return false;
            }
        };
        let batch =
            Batch::new(self.server, self.wal_dir, Some(self.record), self.options, names, &there, self.stop);
        std::thread::scope(|scope| {
            for _ in 0..self.options.parallel.min(count) {
                scope.spawn(|| batch.work());
            }
        });
        let (archived, warnings) = batch.finish();
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        archived.len() == count
    }
}

const fn word(archived: CloudArchived) -> &'static str {
    match archived {
        CloudArchived::Uploaded => "uploaded",
        CloudArchived::Identical => "identical",
        CloudArchived::Ahead => "ahead",
    }
}

#[cfg(test)]
mod tests {
    use tapster_cloud::Environment;

    use super::*;

    const SHORT: Duration = Duration::from_millis(200);

    #[test]
    fn who_gives_no_sign_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let place =
            StoreIdentity::of(&"s3://b".parse().unwrap(), &StoreOptions::default(), &Environment::default());
        let record = Record::locate(dir.path(), &place, "main", dir.path());
        assert!(connect(&record).is_none() && !record.dir().exists());
        assert!(record.create().unwrap());
        let listener = UnixListener::bind(record.dir().join(SOCKET)).unwrap();
        // Where others can put a socket, it is not asked.
        fs::set_permissions(record.dir(), Permissions::from_mode(0o777)).unwrap();
        assert!(connect(&record).is_none());
        fs::set_permissions(record.dir(), Permissions::from_mode(0o700)).unwrap();
        // Nobody accepts, as when the process is stopped; neither request nor queue make the client wait for ever.
        let stream = connect(&record).unwrap();
        assert_eq!(ask(&stream, "settings name\n", SHORT), None);
        rustix::net::listen(&listener, 0).unwrap();
        let mut waiting = vec![stream];
        while let Some(stream) = connect(&record) {
            waiting.push(stream);
            assert!(waiting.len() < 10, "the queue never was full");
        }
    }

    #[test]
    fn who_works_is_waited_for() {
        let (client, server) = UnixStream::pair().unwrap();
        std::thread::scope(|scope| {
            let asked = scope.spawn(|| ask(&client, "settings name\n", Duration::from_secs(60)));
            let mut request = String::new();
            BufReader::new(&server).read_line(&mut request).unwrap();
            assert_eq!(request, "settings name\n");
            let (second, first) = mpsc::channel::<()>();
            let waited = with_signs(&server, Duration::from_millis(1), || first.recv_timeout(SHORT));
            assert_eq!(waited, Err(mpsc::RecvTimeoutError::Timeout));
            drop(second);
            (&server).write_all(b"ok uploaded\n").unwrap();
            assert_eq!(asked.join().unwrap(), Some(DaemonAnswer::Archived(CloudArchived::Uploaded)));
        });
    }

    #[test]
    fn signs_end_before_the_answer() {
        let (client, server) = UnixStream::pair().unwrap();
        let mut lines = BufReader::new(&client);
        let mut line = String::new();
        with_signs(&server, Duration::from_millis(1), || lines.read_line(&mut line).unwrap());
        assert_eq!(line, WORKING);
        (&server).write_all(b"end\n").unwrap();
        drop(server);
        let rest: Vec<String> = lines.lines().map(Result::unwrap).collect();
        assert_eq!(rest.iter().position(|line| line == "end"), Some(rest.len() - 1));
    }
}
