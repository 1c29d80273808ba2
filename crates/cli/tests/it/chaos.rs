//! What the `chaos_*` tests share: programs that are killed, servers under load, and the comparison of everything that
//! was stored with what the server wrote.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tapster_catalog::{ServerLayout, WalStore};
use tapster_protocol::testing::{Builder, Cluster};
use walfile::{Lsn, SegmentName, SegmentSize, Timeline, WalName};

use crate::lab::Lab;
use crate::program::Run;

/// A server with segments of 1 MiB that keeps them all, so that what was stored can be compared with them.
pub fn lab(configure: impl FnOnce(Builder) -> Builder) -> Option<Lab> {
    Lab::with(|builder| {
        let builder = builder.wal_segment_mb(1).config("wal_keep_size = 2GB").config("max_wal_size = 2GB");
        configure(builder.config("checkpoint_timeout = 1h"))
    })
}

/// A running `tapster`; killed when dropped.
pub struct Running(Child);

impl Running {
    pub fn start(lab: &Lab, args: &[&str]) -> Self {
        Self::start_with(lab, "tapster.conf", args)
    }

    pub fn start_with(lab: &Lab, config: &str, args: &[&str]) -> Self {
        let child = Command::new(assert_cmd::cargo::cargo_bin!("tapster"))
            .arg("-c")
            .arg(lab.path(config))
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        Self(child.unwrap())
    }

    /// Any program.
    pub fn of(mut command: Command) -> Self {
        Self(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap())
    }

    /// `kill -9`. Returns what it had said.
    pub fn kill(mut self) -> String {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
        self.said()
    }

    pub fn is_running(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }

    /// Asks it to stop.
    pub fn stop(self) -> Run {
        assert!(Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status().unwrap().success());
        self.end()
    }

    /// Waits until it ends by itself.
    pub fn end(mut self) -> Run {
        wait_for("the end of the program", || !self.is_running());
        let code = self.0.wait().unwrap().code().unwrap();
        Run { stdout: String::new(), stderr: self.said(), code }
    }

    fn said(&mut self) -> String {
        let mut text = String::new();
        self.0.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        text
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let patience = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < patience, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Some segments of WAL.
pub fn write_wal(cluster: &Cluster, rows: u32) {
    cluster.sql("CREATE TABLE IF NOT EXISTS load (text text)");
    cluster.sql(&format!("INSERT INTO load SELECT md5(i::text) FROM generate_series(1, {rows}) AS i"));
}

/// Does `work` while the server writes WAL without a pause.
pub fn under_load<T>(cluster: &Cluster, work: impl FnOnce() -> T) -> T {
    struct Stop<'a>(&'a AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    write_wal(cluster, 1);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _stop = Stop(&stop);
        scope.spawn(|| {
            let mut connection = cluster.connect();
            let insert = "INSERT INTO load SELECT md5(i::text) FROM generate_series(1, 1000) AS i";
            while !stop.load(Ordering::Relaxed) {
                connection.query(insert).unwrap();
            }
        });
        work()
    })
}

pub fn lsn(text: &str) -> Lsn {
    text.parse().unwrap()
}

pub fn flushed(cluster: &Cluster) -> Lsn {
    lsn(&cluster.value("SELECT pg_current_wal_flush_lsn()"))
}

/// Closes the segment in hand, which a receiver then reports at once; returns where the next one begins.
pub fn finish_segment(cluster: &Cluster) -> Lsn {
    let size =
        cluster.value("SELECT setting FROM pg_settings WHERE name = 'wal_segment_size'").parse::<u64>();
    let end = lsn(&cluster.value("SELECT pg_switch_wal()")).get();
    Lsn::new(end.next_multiple_of(size.unwrap()))
}

/// What the server believes to be safe with us; only once nobody is connected is it the last word.
pub fn acknowledged(cluster: &Cluster) -> Lsn {
    wait_for("the end of the old connection", || {
        cluster.sql("SELECT 1 FROM pg_replication_slots WHERE active").is_empty()
    });
    lsn(&cluster.value("SELECT restart_lsn FROM pg_replication_slots"))
}

/// Waits until the receiver has said that all WAL up to `position` is durable.
pub fn wait_until_received(cluster: &Cluster, position: Lsn) {
    wait_for("the receiver", || {
        lsn(&cluster.value("SELECT restart_lsn FROM pg_replication_slots")) >= position
    });
}

/// One server's catalog beside the server itself.
pub struct Stored {
    pub layout: ServerLayout,
    server: PathBuf,
    size: SegmentSize,
}

impl Stored {
    pub fn new(lab: &Lab) -> Self {
        let size: u64 = lab
            .cluster
            .value("SELECT setting FROM pg_settings WHERE name = 'wal_segment_size'")
            .parse()
            .unwrap();
        Self {
            layout: ServerLayout::standard(&lab.path("home"), "main".parse().unwrap()),
            server: lab.cluster.wal_dir(),
            size: SegmentSize::new(size).unwrap(),
        }
    }

    /// The names of the segments that hold `from..to`.
    pub fn names(&self, from: Lsn, to: Lsn) -> Vec<SegmentName> {
        let (mut names, mut at) = (Vec::new(), from.segment_start(self.size));
        while at < to {
            names.push(SegmentName::containing(Timeline::FIRST, at, self.size));
            at = at.saturating_add(self.size.bytes());
        }
        names
    }

    fn read(&self, name: SegmentName) -> Vec<u8> {
        let mut bytes = Vec::new();
        let store = WalStore::new(&self.layout).with_segment_size(self.size);
        let mut reader = store.open(name.into(), true).unwrap_or_else(|error| panic!("{name}: {error}"));
        reader.read_to_end(&mut bytes).unwrap();
        bytes
    }

    /// Every byte of `from..to` lies in the archive or in `streaming/` and is the server's.
    pub fn hold_all(&self, from: Lsn, to: Lsn) {
        for (index, name) in self.names(from, to).into_iter().enumerate() {
            let start = from.segment_start(self.size).get() + index as u64 * self.size.bytes();
            let length = (to.get() - start).min(self.size.bytes()) as usize;
            let (ours, theirs) =
                (self.read(name), std::fs::read(self.server.join(name.to_string())).unwrap());
            let differs = ours.iter().zip(&theirs).take(length).position(|(a, b)| a != b);
            assert!(
                ours.len() >= length && differs.is_none(),
                "{name}: {} of {length} bytes, differs at {differs:?}",
                ours.len()
            );
        }
    }

    /// `pg_waldump` reads what is stored from `from` to `to`; `from` is where a record begins.
    pub fn hold_records(&self, lab: &Lab, from: Lsn, to: Lsn) {
        let dir = tempfile::tempdir().unwrap();
        for name in self.names(from, to) {
            std::fs::write(dir.path().join(name.to_string()), self.read(name)).unwrap();
        }
        let dump = Command::new(lab.cluster.binaries().program("pg_waldump"))
            .args(["-q", "-s", &from.to_string(), "-e", &to.to_string(), "-p"])
            .arg(dir.path())
            .output()
            .unwrap();
        assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
    }

    /// The archived files, hidden ones too, with the index line each must have.
    pub fn archived(&self) -> Vec<(String, String)> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.layout.wals).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                found.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            } else if path != self.layout.xlogdb() {
                found.push(path);
            }
        }
        let mut lines: Vec<_> = found.iter().map(|path| (name(path), line(path))).collect();
        lines.sort();
        lines
    }

    /// The index has each archived file once, with its size and time, and nothing else.
    pub fn hold_index(&self) {
        let index = std::fs::read_to_string(self.layout.xlogdb()).unwrap();
        let mut lines: Vec<&str> = index.lines().collect();
        lines.sort_unstable();
        let expected = self.archived();
        assert_eq!(lines, expected.iter().map(|(_, line)| line.as_str()).collect::<Vec<_>>());
        assert!(expected.iter().all(|(name, _)| name.parse::<WalName>().is_ok()), "{expected:?}");
    }

    /// No file of the catalog is one that only a crash can leave.
    pub fn hold_no_leftovers(&self) {
        for dir in [&self.layout.streaming, &self.layout.incoming, &self.layout.errors] {
            for entry in std::fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                let known = name(&path).parse::<WalName>().is_ok() && dir != &self.layout.errors;
                assert!(known, "{}", path.display());
            }
        }
    }
}

pub fn name(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

fn line(path: &Path) -> String {
    use std::os::unix::fs::MetadataExt as _;
    let metadata = path.metadata().unwrap();
    let mut first = [0; 2];
    std::fs::File::open(path).unwrap().read_exact(&mut first).unwrap();
    let compression = if first == [0x1f, 0x8b] { "gzip" } else { "None" };
    // As Python prints the time of a file: the shortest text of the nearest double.
    let time = metadata.mtime() as f64 + metadata.mtime_nsec() as f64 * 1e-9;
    format!("{}\t{}\t{time:?}\t{compression}\tNone", name(path), metadata.len())
}

/// The names in a directory; none when it is not there.
pub fn names(dir: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}
