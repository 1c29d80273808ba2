//! A server that archives into a bucket, and the cloud tools of both programs on it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tapster_cloud::testing::Google;
use tapster_protocol::testing::{Builder, Cluster};

use crate::lab::Lab;

/// Where WAL is that Barman's tool has fetched.
const FETCHED: &str = "fetched";

/// Whose program.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Whose {
    Ours,
    Barmans,
}

/// Where a store is, as tools are told it.
#[derive(Clone)]
pub struct Place {
    pub url: String,
    /// What both programs take.
    pub options: Vec<String>,
    pub variables: Vec<(&'static str, String)>,
    /// What Barman's tools use another interface of.
    google: Option<Arc<Google>>,
}

impl Place {
    /// A store that speaks like S3.
    pub fn s3(url: String, endpoint: String, variables: Vec<(&'static str, String)>) -> Self {
        Self { url, options: vec!["--endpoint-url".to_owned(), endpoint], variables, google: None }
    }

    /// One of another provider, which Barman's tools do not know by the URL.
    pub fn of(provider: &str, url: String, variables: Vec<(&'static str, String)>) -> Self {
        let options = vec!["--cloud-provider".to_owned(), provider.to_owned()];
        Self { url, options, variables, google: None }
    }

    /// Google Cloud Storage.
    pub fn google(google: &Arc<Google>, prefix: &str) -> Self {
        let place = Self::of("google-cloud-storage", google.url(prefix).to_string(), google.variables());
        Self { google: Some(Arc::clone(google)), ..place }
    }

    /// Runs a tool.
    pub fn output(&self, whose: Whose, command: &mut Command) -> Output {
        match &self.google {
            Some(google) if whose == Whose::Barmans => {
                google.with_json(|| command.envs(google.variables_of_json()).output().unwrap())
            }
            _ => command.output().unwrap(),
        }
    }
}

/// The server has what the tools need in its environment, as PostgreSQL's operators give it to them.
pub struct CloudLab {
    pub lab: Arc<Lab>,
    place: Place,
}

/// A tool of Barman's, where `scripts/setup cloud` installs it.
pub fn installed(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/barman/bin")).join(name)
}

impl CloudLab {
    /// Starts a server that archives nowhere yet. `None` where there is no PostgreSQL.
    pub fn new(place: Place) -> Option<Self> {
        Self::archiving(place, |builder| builder)
    }

    /// The same, of a server that is not as usual.
    pub fn archiving(place: Place, configure: impl FnOnce(Builder) -> Builder) -> Option<Self> {
        Self::with(place, |builder| {
            configure(builder).config("archive_mode = on").config("archive_command = ''")
        })
    }

    /// Starts a server as one configures it.
    pub fn with(place: Place, configure: impl FnOnce(Builder) -> Builder) -> Option<Self> {
        let lab = Lab::with(|mut builder| {
            for (name, value) in &place.variables {
                builder = builder.variable(name, value);
            }
            configure(builder)
        })?;
        Some(Self { lab: Arc::new(lab), place })
    }

    /// The same server with another place.
    pub fn at(&self, place: Place) -> Self {
        Self { lab: Arc::clone(&self.lab), place }
    }

    /// A tool of ours that runs until it is told to stop.
    pub fn start(&self, name: &str, options: &[&str]) -> Command {
        self.tool(Whose::Ours, name, options, &[])
    }

    /// A tool, to be run.
    pub fn tool(&self, whose: Whose, name: &str, options: &[&str], arguments: &[&str]) -> Command {
        let mut command = match whose {
            Whose::Ours => {
                let mut command = Command::new(assert_cmd::cargo::cargo_bin!("tapster"));
                command.args(["cloud", name]);
                command
            }
            Whose::Barmans => Command::new(installed(&format!("barman-cloud-{name}"))),
        };
        command.args(&self.place.options).args(options);
        command.args([self.place.url.as_str(), "main"]).args(arguments);
        let variables = self.place.variables.iter().map(|(name, value)| (name, value));
        command.envs(variables).stdin(Stdio::null());
        command
    }

    /// Runs a tool. Returns its exit code, what it printed, and what it logged.
    pub fn run(
        &self,
        whose: Whose,
        name: &str,
        options: &[&str],
        arguments: &[&str],
    ) -> (i32, String, String) {
        let output = self.place.output(whose, &mut self.tool(whose, name, options, arguments));
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
    }

    /// Runs it and demands success. Returns what it printed.
    pub fn ok(&self, whose: Whose, name: &str, options: &[&str], arguments: &[&str]) -> String {
        let (code, printed, said) = self.run(whose, name, options, arguments);
        assert_eq!(code, 0, "{whose:?} {name} {options:?} {arguments:?}: {said}");
        printed
    }

    pub fn backup(&self, whose: Whose, options: &[&str]) {
        self.backup_of(&self.lab.cluster, whose, options);
    }

    /// Of another server of the cluster.
    pub fn backup_of(&self, cluster: &Cluster, whose: Whose, options: &[&str]) {
        let conninfo = cluster.conninfo().to_conninfo_string();
        self.ok(whose, "backup", &[&["-d", &conninfo, "--immediate-checkpoint"], options].concat(), &[]);
    }

    /// What PostgreSQL runs for a tool. Only ours: its user may not be able to enter where Barman's Python is.
    fn command(&self, name: &str, options: &str, arguments: &str) -> String {
        let program = assert_cmd::cargo::cargo_bin!("tapster").display();
        format!(
            "{program} cloud {name} {} {options} {} main {arguments}",
            self.place.options.join(" "),
            self.place.url
        )
    }

    /// From now on the server archives with our program.
    pub fn archive(&self, options: &str) {
        let options = format!("--parallel 4 --spool-dir {} {options}", self.beside("archived"));
        self.archive_command(&self.command("wal-archive", &options, "%p"));
    }

    /// Archives what there is. Then nothing is archived any more: with a reload only, the archiver could still take the next file.
    pub fn archive_later(&self) {
        self.wait_until_archived();
        self.archive_command("");
        self.lab.cluster.restart();
    }

    fn archive_command(&self, command: &str) {
        self.lab.cluster.sql(&format!("ALTER SYSTEM SET archive_command = '{command}'"));
        self.lab.cluster.reload();
    }

    /// A path that the server can write to.
    fn beside(&self, name: &str) -> String {
        self.lab.cluster.directory().join(name).display().to_string()
    }

    /// Fills what the server writes to, and goes on with the next segment. Returns the name of the one before.
    pub fn switch(&self) -> String {
        self.lab.cluster.value("SELECT pg_walfile_name(pg_switch_wal())")
    }

    /// Goes on with the next segment, and waits until the server has been told that all before are archived.
    pub fn wait_until_archived(&self) {
        let last = self.switch();
        let patience = Instant::now() + Duration::from_secs(120);
        let archived =
            || self.lab.cluster.value("SELECT coalesce(last_archived_wal, '') FROM pg_stat_archiver");
        while archived() < last {
            assert!(Instant::now() < patience, "{last} is not archived: {}", self.lab.cluster.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// From now on the server archives into a directory, which is returned.
    pub fn archive_aside(&self) -> PathBuf {
        let directory = self.lab.destination("aside");
        self.archive_command(&format!("cp %p {}/%f", directory.display()));
        directory
    }

    /// Restores a backup, has a server replay to a named point what the bucket holds, and asks it.
    pub fn ask_restored(
        &self,
        backup: &str,
        restored_by: Whose,
        wal_by: Whose,
        point: &str,
        sql: &str,
    ) -> String {
        let target = format!("recovery_target_name = {point}\nrecovery_target_action = promote\n");
        self.ask_restored_at(backup, restored_by, wal_by, &target, sql)
    }

    /// The same with these settings for recovery.
    pub fn ask_restored_at(
        &self,
        backup: &str,
        restored_by: Whose,
        wal_by: Whose,
        target: &str,
        sql: &str,
    ) -> String {
        self.ask_restored_to(&[], backup, restored_by, wal_by, target, sql)
    }

    /// And with options of the restore.
    pub fn ask_restored_to(
        &self,
        options: &[&str],
        backup: &str,
        restored_by: Whose,
        wal_by: Whose,
        target: &str,
        sql: &str,
    ) -> String {
        let data = self.lab.destination(&format!("{backup}-by-{restored_by:?}-{wal_by:?}"));
        self.ok(restored_by, "restore", options, &[backup, data.to_str().unwrap()]);
        let restore = match wal_by {
            Whose::Ours => {
                let options = format!("--parallel 4 --spool-dir {}-ahead", data.display());
                self.command("wal-restore", &options, "%f %p")
            }
            Whose::Barmans => format!("cp {}/%f %p", self.beside(FETCHED)),
        };
        let settings = format!("archive_mode = off\nrestore_command = '{restore}'\n{target}");
        let auto = data.join("postgresql.auto.conf");
        std::fs::write(&auto, std::fs::read_to_string(&auto).unwrap() + &settings).unwrap();
        std::fs::write(data.join("recovery.signal"), "").unwrap();
        self.lab.ask_restored(&data, sql)
    }

    /// Has Barman's tool archive what waits for that.
    pub fn archive_by_barman(&self, options: &[&str]) -> Vec<String> {
        let wal = self.lab.cluster.wal_dir();
        let status = std::fs::read_dir(wal.join("archive_status")).unwrap();
        let names = status.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut ready: Vec<String> =
            names.filter_map(|name| name.strip_suffix(".ready").map(str::to_owned)).collect();
        ready.sort_unstable();
        for name in &ready {
            self.ok(Whose::Barmans, "wal-archive", options, &[wal.join(name).to_str().unwrap()]);
        }
        ready
    }

    /// Has Barman's tool fetch these, so that a server can replay them.
    pub fn fetch_by_barman<'a>(&self, names: impl Iterator<Item = &'a str>) {
        let fetched = self.lab.destination(FETCHED);
        std::thread::scope(|scope| {
            for name in names {
                let path = fetched.join(name);
                scope.spawn(move || {
                    self.ok(Whose::Barmans, "wal-restore", &[], &[name, path.to_str().unwrap()])
                });
            }
        });
        self.lab.give(&fetched);
    }
}
