//! Servers of the configuration whose backups and WAL are in a bucket, beside real Barman on the same bucket and the same
//! `barman_home`.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use std::collections::BTreeSet;

use tapster_cloud::testing::Moto;

use crate::cloud_lab::installed;
use crate::lab::Lab;
use crate::program::Run;

/// A `barman_home`, a bucket, and both programs.
pub struct Shelf {
    pub moto: Moto,
    home: tempfile::TempDir,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Whose {
    Ours,
    Barmans,
}

impl Shelf {
    pub fn start() -> Option<Self> {
        if !installed("barman").is_file() {
            assert!(std::env::var_os("CI").is_none(), "Barman is not installed");
            return None;
        }
        Some(Self { moto: Moto::start()?, home: tempfile::tempdir().unwrap() })
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// The place in the bucket.
    pub fn url(&self) -> String {
        self.moto.url("place").to_string()
    }

    /// Writes a configuration with the one server `main`.
    pub fn configure(&self, file: &str, settings: &str) {
        let text = format!(
            "[barman]\nbarman_home = {home}/home\nbarman_user = {user}\nlog_file = {home}/log\n[main]\n{settings}\n",
            home = self.home.path().display(),
            user = crate::lab::user(),
        );
        std::fs::write(self.path(file), text).unwrap();
    }

    pub fn run(&self, whose: Whose, file: &str, args: &[&str]) -> Run {
        let program = match whose {
            Whose::Ours => assert_cmd::cargo::cargo_bin!("tapster").to_path_buf(),
            Whose::Barmans => installed("barman"),
        };
        let mut command = Command::new(program);
        if whose == Whose::Ours {
            std::os::unix::process::CommandExt::arg0(&mut command, "barman");
        }
        command.arg("-c").arg(self.path(file)).args(args).envs(self.moto.variables());
        command.env("AWS_ENDPOINT_URL", self.moto.endpoint()).stdin(Stdio::null());
        let output = command.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Run {
            stdout: text(output.stdout),
            stderr: text(output.stderr),
            code: output.status.code().unwrap_or(-1),
        }
    }

    /// Runs it and demands success.
    pub fn ok(&self, whose: Whose, file: &str, args: &[&str]) -> String {
        let run = self.run(whose, file, args);
        assert_eq!(run.code, 0, "{whose:?} {args:?}: {run:?}");
        run.stdout
    }

    /// Both say the same, which is returned.
    pub fn agreed(&self, file: &str, args: &[&str]) -> String {
        let [ours, theirs] = [Whose::Ours, Whose::Barmans].map(|whose| self.run(whose, file, args));
        assert_eq!(ours, theirs, "{args:?}");
        ours.stdout
    }

    /// The names of the objects of a backup.
    pub fn objects(&self, id: &str) -> BTreeSet<String> {
        let below = format!("main/base/{id}");
        let objects = self.moto.store("place").list(&below).map(|object| object.unwrap().key);
        objects.map(|key| key[below.len() + 1..].to_owned()).collect()
    }
}

/// The id of the newest backup.
fn newest(listed: &str) -> String {
    listed.split_whitespace().nth(1).unwrap().to_owned()
}

#[test]
fn backups_go_into_the_bucket_and_belong_to_both_programs() {
    let Some(shelf) = Shelf::start() else { return };
    let Some(lab) = Lab::new() else { return };
    let place = lab.destination("space");
    lab.cluster.sql(&format!("CREATE TABLESPACE space LOCATION '{}'", place.display()));
    lab.cluster.sql("CREATE TABLE t TABLESPACE space AS SELECT 'kept' AS v");
    // One configuration file lies elsewhere, as on Debian, and the one of initdb is there still.
    let hba = lab.cluster.create_dir("etc").join("pg_hba.conf");
    std::fs::copy(lab.cluster.data_dir().join("pg_hba.conf"), &hba).unwrap();
    lab.give(hba.parent().unwrap());
    lab.cluster.append("postgresql.conf", &format!("hba_file = '{}'\n", hba.display()));
    lab.cluster.append("pg_hba.conf", "# not in use\n");
    lab.cluster.restart();
    let conninfo = lab.cluster.conninfo().to_conninfo_string();
    let bucket = format!("basebackups_directory = {}\n", shelf.url());
    let conf = lab.configure("tapster.conf", &conninfo, &bucket).display().to_string();
    let local = format!("{bucket}backup_method = local-to-cloud\n");
    let local = lab.configure("local.conf", &conninfo, &local).display().to_string();
    let _receiver = lab.receive();

    // Each program by each method. What is there afterwards has the same names.
    let mut ids = Vec::new();
    for (whose, file) in
        [(Whose::Ours, &conf), (Whose::Barmans, &conf), (Whose::Ours, &local), (Whose::Barmans, &local)]
    {
        let said = shelf.ok(whose, file, &["backup", "--wait", "main"]);
        let id = newest(&shelf.ok(Whose::Ours, &conf, &["list-backups", "main"]));
        assert!(said.contains(&format!("place/main/base/{id}\n")), "{said}");
        let oid = lab.cluster.value("SELECT oid FROM pg_tablespace WHERE spcname = 'space'");
        let archive = format!("{oid}.tar");
        let expected = ["backup.info", "data.tar", archive.as_str()].map(str::to_owned);
        assert_eq!(shelf.objects(&id), expected.into(), "{whose:?} {file}");
        let manifest = lab.server_dir().join(format!("meta/{id}-backup_manifest"));
        assert_eq!(manifest.exists(), *file == conf, "{whose:?} {file}");
        // The record in the bucket is that of the catalog.
        let record = shelf.moto.store("place").read(&format!("main/base/{id}/backup.info"), 1 << 20).unwrap();
        let here = std::fs::read(lab.server_dir().join(format!("meta/{id}-backup.info"))).unwrap();
        assert_eq!(record, here, "{whose:?} {file}");
        ids.push(id);
    }
    let [streamed, theirs, copied, last] = ids.as_slice() else { panic!("{ids:?}") };

    let listed = shelf.agreed(&conf, &["list-backups", "main"]);
    assert_eq!(listed.lines().count(), 4, "{listed}");
    for id in [streamed, copied] {
        let shown = shelf.agreed(&conf, &["show-backup", "main", id]);
        assert!(shown.contains("  Status                 : DONE\n"), "{shown}");
    }
    shelf.agreed(&conf, &["list-files", "--target", "full", "main", copied]);
    assert_eq!(shelf.run(Whose::Ours, &conf, &["check-backup", "main", streamed]).code, 0);
    shelf.refuses_what_needs_directories(&conf, streamed);

    // Barman restores what it can know nothing of, and the server has what it had.
    let (data, space) = (lab.destination("restored"), lab.destination("new-space"));
    let moved = format!("space:{}", space.display());
    let args = ["restore", "--tablespace", &moved, "main", copied, data.to_str().unwrap()];
    shelf.ok(Whose::Barmans, &conf, &args);
    lab.give(&space);
    assert_eq!(lab.ask_restored(&data, "SELECT v FROM t"), "kept");

    // And this program what Barman has streamed: labels that come twice, directories behind their files.
    let (data, space) = (lab.destination("restored-here"), lab.destination("space-here"));
    let moved = format!("space:{}", space.display());
    let args = ["restore", "--tablespace", &moved, "main", theirs, data.to_str().unwrap()];
    let said = shelf.ok(Whose::Ours, &conf, &args);
    assert!(said.contains("Copying required WAL segments."), "{said}");
    assert!(data.join(format!("backup_manifest.{theirs}")).is_file());
    lab.give(&space);
    assert_eq!(lab.ask_restored(&data, "SELECT v FROM t"), "kept");
    let (data, space) = (lab.destination("copied-here"), lab.destination("copied-space"));
    let moved = format!("space:{}", space.display());
    shelf.ok(
        Whose::Ours,
        &conf,
        &["restore", "--tablespace", &moved, "main", copied, data.to_str().unwrap()],
    );
    assert_eq!(std::fs::read(data.join("pg_hba.conf")).unwrap(), std::fs::read(&hba).unwrap());
    shelf.restores_with_wal_from_the_bucket(&lab, streamed, &bucket);
    shelf.does_not_begin_without_an_archive(&lab, &conf, copied);

    // What one keeps the other does not delete.
    shelf.ok(Whose::Ours, &conf, &["keep", "--target", "full", "main", theirs]);
    assert!(shelf.objects(theirs).contains("annotations/keep"));
    assert_ne!(shelf.run(Whose::Barmans, &conf, &["delete", "main", theirs]).code, 0);
    // Nor one that knows of it by the bucket alone.
    shelf.configure(
        "other.conf",
        &format!("active = false\nbackup_method = postgres\nconninfo = {conninfo}\n{bucket}"),
    );
    let refused = shelf.run(Whose::Ours, "other.conf", &["delete", "main", theirs]);
    assert!(refused.code != 0 && shelf.objects(theirs).contains("data.tar"), "{refused:?}");
    shelf.ok(Whose::Barmans, &conf, &["keep", "--target", "standalone", "main", last]);
    assert_ne!(shelf.run(Whose::Ours, &conf, &["delete", "main", last]).code, 0);
    for id in [theirs, last] {
        shelf.ok(Whose::Ours, &conf, &["keep", "--release", "main", id]);
        assert!(!shelf.objects(id).contains("annotations/keep"));
    }
    for (whose, id) in
        [(Whose::Ours, theirs), (Whose::Barmans, streamed), (Whose::Ours, copied), (Whose::Ours, last)]
    {
        shelf.ok(whose, &conf, &["delete", "main", id]);
        assert_eq!(shelf.objects(id), BTreeSet::new(), "{whose:?}");
    }
    assert_eq!(shelf.agreed(&conf, &["list-backups", "main"]), "");
    let left = std::fs::read_dir(lab.server_dir().join("meta")).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(!left.iter().any(|name| name.starts_with("20")), "{left:?}");
    assert!(!lab.server_dir().join(".in-object-store").exists());
}

impl Shelf {
    /// With WAL in the bucket too, nothing of it is copied; the names that are there are looked at.
    fn restores_with_wal_from_the_bucket(&self, lab: &Lab, id: &str, bucket: &str) {
        lab.cluster.sql("CREATE TABLE later AS SELECT 'replayed' AS v");
        let last = lab.cluster.value("SELECT pg_walfile_name(pg_switch_wal())");
        let archived = lab.server_dir().join("wals").join(&last[..16]);
        crate::chaos::wait_for("the archive to have the last segment", || {
            lab.ok(&["archive-wal", "main"]);
            archived.join(&last).is_file()
        });
        let store = self.moto.store("place");
        for entry in std::fs::read_dir(&archived).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let bytes = std::fs::read(archived.join(&name)).unwrap();
            let key = format!("main/wals/{}/{name}.gz", &last[..16]);
            store.put(&key, bytes, &tapster_cloud::WriteOptions::default()).unwrap();
        }
        let conninfo = lab.cluster.conninfo().to_conninfo_string();
        let more = format!("{bucket}wals_directory = {}\n", self.url());
        let conf = lab.configure("both.conf", &conninfo, &more).display().to_string();
        let (data, space) = (lab.destination("from-bucket"), lab.destination("space-from-bucket"));
        let moved = format!("space:{}", space.display());
        let args = ["restore", "--tablespace", &moved, "main", id, data.to_str().unwrap()];
        let run = self.run(Whose::Ours, &conf, &args);
        assert_eq!(run.code, 0, "{run:?}");
        let why = "get-wal is required for servers with WALs stored in cloud storage. Automatically enabling --get-wal.";
        assert!(run.stderr.contains(why), "{run:?}");
        let mut wal = std::fs::read_dir(data.join("pg_wal")).unwrap();
        assert!(wal.all(|entry| entry.unwrap().file_type().unwrap().is_dir()));
        let auto = data.join("postgresql.auto.conf");
        let settings = std::fs::read_to_string(&auto).unwrap();
        assert!(settings.contains(" cloud-wal-restore main %f %p'\n"), "{settings}");
        // Here it is this program's own tool that PostgreSQL asks.
        let fetch = format!(
            "env {} {} cloud wal-restore --endpoint-url {} {} main %f %p",
            self.moto
                .variables()
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect::<Vec<_>>()
                .join(" "),
            assert_cmd::cargo::cargo_bin!("tapster").display(),
            self.moto.endpoint(),
            self.url(),
        );
        std::fs::write(&auto, format!("{settings}restore_command = '{fetch}'\n")).unwrap();
        lab.give(&space);
        assert_eq!(lab.ask_restored(&data, "SELECT later.v FROM later, t"), "replayed");

        // Without a segment that the backup needs there is no plan.
        let shown = self.ok(Whose::Ours, &conf, &["show-backup", "main", id]);
        let needed = shown.lines().find_map(|line| line.trim().strip_prefix("End WAL")).unwrap();
        let needed = needed.rsplit(' ').next().unwrap();
        store.delete(&[format!("main/wals/{}/{needed}.gz", &needed[..16])]).unwrap();
        let never = lab.cluster.directory().join("never");
        let run = self.run(Whose::Ours, &conf, &["restore", "main", id, never.to_str().unwrap()]);
        assert_ne!(run.code, 0, "{run:?}");
        assert!(!never.exists(), "{run:?}");
    }

    fn does_not_begin_without_an_archive(&self, lab: &Lab, conf: &str, id: &str) {
        let store = self.moto.store("place");
        let key = format!("main/base/{id}/data.tar");
        let bytes = store.read(&key, 1 << 30).unwrap();
        store.delete(std::slice::from_ref(&key)).unwrap();
        let never = lab.cluster.directory().join("never");
        let moved = format!("space:{}", lab.destination("never-space").display());
        let args = ["restore", "--tablespace", &moved, "main", id, never.to_str().unwrap()];
        let run = self.run(Whose::Ours, conf, &args);
        assert!(run.code != 0 && run.stderr.contains("data"), "{run:?}");
        assert!(!never.exists(), "{run:?}");
        store.put(&key, bytes, &tapster_cloud::WriteOptions::default()).unwrap();
    }

    /// In Barman's words, but for the names that Barman shows as Python's lists.
    fn refuses_what_needs_directories(&self, file: &str, id: &str) {
        for args in [
            &["verify-backup", "main", id][..],
            &["generate-manifest", "main", id],
            &["export-backup", "main", id, "/tmp"],
        ] {
            let [ours, theirs] = [Whose::Ours, Whose::Barmans].map(|whose| self.run(whose, file, args));
            let error = |run: &Run| {
                let line = run.stderr.lines().find(|line| line.starts_with("ERROR: ")).map(str::to_owned);
                line.unwrap_or_else(|| panic!("{args:?} {run:?}")).replace("'['main']'", "'main'")
            };
            assert_eq!(error(&ours), error(&theirs), "{args:?}");
            assert_eq!(ours.code, theirs.code, "{args:?}");
        }
        // Barman looks into the file before it says so.
        let run = self.run(Whose::Ours, file, &["import-backup", "main", file]);
        assert!(run.stderr.contains("ERROR: Backup import is not supported for cloud storage"), "{run:?}");
        assert_eq!(run.code, 1);
    }
}

#[test]
fn settings_of_object_stores_are_read_and_judged_as_barman_does() {
    let Some(shelf) = Shelf::start() else { return };
    let line = |run: &Run| run.stdout.lines().find(|line| line.contains("cloud storage")).map(str::to_owned);
    let url = shelf.url();
    let both = format!("basebackups_directory = {url}\nwals_directory = {url}\n");
    let cases = [
        ("plain", format!("backup_method = postgres\n{both}")),
        ("local", format!("backup_method = local-to-cloud\n{both}")),
        ("none", format!("backup_method = postgres\nbackup_compression = none\n{both}")),
        ("gzip", format!("backup_method = postgres\nbackup_compression = gzip\n{both}")),
        ("gpg", format!("backup_method = postgres\nencryption = gpg\nencryption_key_id = x\n{both}")),
        ("rsync", format!("backup_method = rsync\nssh_command = false\n{both}")),
        ("worm", format!("backup_method = postgres\nworm_mode = on\nwals_directory = {url}\n")),
        ("base", format!("backup_method = postgres\nbasebackups_directory = {url}\n")),
        ("here", "backup_method = postgres\n".to_owned()),
    ];
    let server = "conninfo = host=/none user=u dbname=d\nstreaming_conninfo = host=/none user=u\n\
                  streaming_archiver = on\nslot_name = x\nlast_backup_maximum_age = 1 DAY\n\
                  cloud_upload_max_archive_size = 1Gi\ncloud_delete_batch_size = 7\naws_region = eu-west-3\n\
                  retention_policy = REDUNDANCY 2\n";
    for (name, settings) in &cases {
        shelf.configure(&format!("{name}.conf"), &format!("{server}{settings}"));
    }
    std::thread::scope(|scope| {
        for (name, _) in &cases {
            let (shelf, file) = (&shelf, format!("{name}.conf"));
            scope.spawn(move || {
                let [ours, theirs] =
                    [Whose::Ours, Whose::Barmans].map(|whose| shelf.run(whose, &file, &["check", "main"]));
                assert_eq!(line(&ours), line(&theirs), "{name}: {theirs:?}");
                assert_eq!(line(&ours).is_some(), *name != "here", "{name}");
                assert_eq!(ours.code, theirs.code, "{name}");
            });
        }
    });
    for file in ["plain.conf", "local.conf"] {
        let [ours, theirs] =
            [Whose::Ours, Whose::Barmans].map(|whose| shelf.run(whose, file, &["show-servers", "main"]));
        // There is no server, of which each says what its client does.
        let lines = |run: &Run| {
            let lines = run.stdout.lines().filter(|line| !line.starts_with("\tconnection_error: "));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(lines(&ours), lines(&theirs), "{file}");
        assert!(ours.stdout.contains(&format!("\twals_directory: {url}\n")), "{}", ours.stdout);
    }
    // Nothing is made of an address, and nothing beside it.
    let made = std::fs::read_dir(shelf.path("home/main")).unwrap();
    let mut made: Vec<_> = made.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    made.sort_unstable();
    assert_eq!(made, ["base", "errors", "incoming", "meta", "streaming", "wals"]);
}

#[test]
fn a_bucket_that_is_not_there_or_does_not_answer_fails_the_check() {
    let Some(shelf) = Shelf::start() else { return };
    let server = "conninfo = host=/none user=u\nstreaming_conninfo = host=/none user=u\nstreaming_archiver = on\n\
                  slot_name = x\nbackup_method = postgres\n";
    shelf.configure("gone.conf", &format!("{server}wals_directory = s3://nosuchbucket/place\n"));
    let run = shelf.run(Whose::Ours, "gone.conf", &["check", "main"]);
    assert!(
        run.stdout.contains(
            "\tcloud storage configuration: FAILED (Could not connect to the cloud provider for WAL storage. Check your \
             credentials and configuration: there is no bucket nosuchbucket)\n"
        ),
        "{}",
        run.stdout
    );
    let key = "aws_sse_kms_key_id = k\n";
    shelf.configure("kms.conf", &format!("{server}{key}basebackups_directory = {}\n", shelf.url()));
    let run = shelf.run(Whose::Ours, "kms.conf", &["check", "main"]);
    let why = "aws_encryption must be \"aws:kms\" if aws_sse_kms_key_id is specified";
    assert!(run.stdout.contains(why), "{}", run.stdout);
}
