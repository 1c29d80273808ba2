//! Streams of a real PostgreSQL, judged by its own `pg_verifybackup`.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicBool;

use tapster_copy::extract::TablespaceTarget;
use tapster_copy::manifest::{ManifestFile, ManifestReader, ManifestWriter, Problem, VerifyOptions, verify};
use tapster_copy::{ChecksumAlgorithm, ExtractError, ExtractOptions, Silent, SyncMethod, TarExtractor};

pub(crate) struct Cluster {
    bin: PathBuf,
    dir: tempfile::TempDir,
}

impl Cluster {
    pub(crate) fn start() -> Option<Self> {
        let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
        let bin = versions
            .map(|entry| entry.unwrap().path().join("bin"))
            .find(|bin| bin.join("initdb").exists())?;
        let dir = tempfile::tempdir().unwrap();
        let cluster = Self { bin, dir };
        for name in ["", "ts"] {
            let path = cluster.path(name);
            std::fs::create_dir_all(&path).unwrap();
            assert!(!root() || Command::new("chown").arg("postgres").arg(&path).status().unwrap().success());
        }
        std::fs::set_permissions(cluster.path(""), std::fs::Permissions::from_mode(0o755)).unwrap();
        let data = cluster.text("data");
        cluster.run("initdb", &["-D", &data, "-A", "trust", "-U", "postgres", "-k", "-N"]);
        let settings = format!("-k {} -c listen_addresses= -c fsync=off", cluster.text(""));
        cluster.run("pg_ctl", &["-D", &data, "-l", &cluster.text("log"), "-o", &settings, "-w", "start"]);
        Some(cluster)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    pub(crate) fn command(&self, program: &str, arguments: &[&str]) -> std::process::Output {
        let program = self.bin.join(program);
        let mut command = if root() {
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command.args(arguments).current_dir(self.dir.path()).output().unwrap()
    }

    pub(crate) fn run(&self, program: &str, arguments: &[&str]) {
        let output = self.command(program, arguments);
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn verified(&self, root: &Path) -> Result<(), String> {
        let output = Command::new(self.bin.join("pg_verifybackup")).arg("-n").arg(root).output().unwrap();
        output
            .status
            .success()
            .then_some(())
            .ok_or_else(|| String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.command("pg_ctl", &["-D", &self.text("data"), "-m", "immediate", "stop"]);
    }
}

fn root() -> bool {
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}

#[test]
fn a_real_backup_is_accepted_by_pg_verifybackup() {
    let Some(cluster) = Cluster::start() else {
        eprintln!("skipped: no PostgreSQL found");
        return;
    };
    let (host, table) =
        (cluster.text(""), "create table t tablespace ts as select g from generate_series(1, 50000) g");
    let space = format!("create tablespace ts location '{}'", cluster.text("ts"));
    cluster.run("psql", &["-h", &host, "-U", "postgres", "-qc", &space, "-c", table]);
    for (algorithm, sync) in [
        (ChecksumAlgorithm::Crc32c, SyncMethod::Fsync),
        (ChecksumAlgorithm::Sha512, SyncMethod::Syncfs),
        (ChecksumAlgorithm::None, SyncMethod::None),
    ] {
        let tars = cluster.text(&format!("tar-{algorithm}"));
        let sums = format!("--manifest-checksums={algorithm}");
        cluster.run(
            "pg_basebackup",
            &["-h", &host, "-U", "postgres", "-D", &tars, "-Ft", "-X", "none", "-c", "fast", &sums],
        );
        one_backup(&cluster, Path::new(&tars), algorithm, sync);
    }
}

fn one_backup(cluster: &Cluster, tars: &Path, algorithm: ChecksumAlgorithm, sync: SyncMethod) {
    let oid = std::fs::read_dir(tars)
        .unwrap()
        .find_map(|entry| entry.unwrap().path().file_stem()?.to_str()?.parse::<u32>().ok())
        .unwrap();
    let read = |name: &str| std::fs::read(tars.join(name)).unwrap();
    let (base, space, manifest) = (read("base.tar"), read(&format!("{oid}.tar")), read("backup_manifest"));
    let extract = |name: &str, base: &[u8], cut_end: usize| {
        let target = cluster.path(&format!("{name}-{algorithm}"));
        let mut options = ExtractOptions::default();
        options.sync = sync;
        options.checksum = Some(algorithm);
        options.tablespaces.insert(oid, TablespaceTarget::Directory(target.join("ts")));
        let mut extractor = TarExtractor::create(&target.join("data"), options).unwrap();
        let feed = |extractor: &mut TarExtractor, bytes: &[u8]| {
            bytes[..bytes.len() - cut_end].chunks(32_768).for_each(|piece| extractor.feed(piece).unwrap());
        };
        extractor.start_archive(Some(oid)).unwrap();
        feed(&mut extractor, &space);
        extractor.start_archive(None).unwrap();
        feed(&mut extractor, base);
        extractor.start_manifest().unwrap();
        manifest.chunks(1000).for_each(|piece| extractor.feed(piece).unwrap());
        (target.join("data"), extractor.finish())
    };
    // As servers up to PostgreSQL 14 send it: without the end.
    let (data, report) = extract("whole", &base, 1024);
    let report = report.unwrap();
    assert_eq!(report.manifest.as_ref().unwrap().files, report.files);
    cluster.verified(&data).unwrap();
    let listed = data.join("backup_manifest");
    let own =
        |options: &VerifyOptions| verify(&listed, &data, options, &Silent, &AtomicBool::new(false)).unwrap();
    let found = own(&VerifyOptions::default());
    assert!(found.is_ok(), "{:?}", found.problems);
    // postgresql.auto.conf is listed but may change.
    assert_eq!(found.files + 1, report.files);

    rewritten_byte_for_byte(&manifest);

    if algorithm != ChecksumAlgorithm::None {
        let mut damaged = base.clone();
        let at = damaged.windows(8).position(|window| window == b"START WA").unwrap();
        damaged[at] ^= 1;
        let (data, result) = extract("damaged", &damaged, 0);
        assert!(
            matches!(&result, Err(ExtractError::Checksum { path, .. }) if path == "backup_label"),
            "{result:?}"
        );
        assert!(!data.join("global/pg_control").exists() && !data.join("backup_manifest").exists());
        // On disk, too, both programs find one changed byte, in a file of the tablespace.
        let mut label =
            std::fs::read(data.join("../../").join(format!("whole-{algorithm}/data/PG_VERSION"))).unwrap();
        label[0] ^= 1;
        std::fs::write(cluster.path(&format!("whole-{algorithm}/data/PG_VERSION")), label).unwrap();
        let whole = cluster.path(&format!("whole-{algorithm}/data"));
        assert!(cluster.verified(&whole).unwrap_err().contains("PG_VERSION"));
        let found = own(&VerifyOptions::default());
        assert!(
            matches!(&found.problems[..], [Problem::Checksum { path, .. }] if path == Path::new("PG_VERSION"))
        );
    }
}

/// Seconds since 1970, by `date`; a cluster's files have few different ones.
fn seconds(date: &str) -> u64 {
    thread_local!(static KNOWN: std::cell::RefCell<std::collections::HashMap<String, u64>> = Default::default());
    KNOWN.with_borrow_mut(|known| {
        *known.entry(date.to_owned()).or_insert_with(|| {
            let output = Command::new("date").args(["-u", "+%s", "-d", date]).output().unwrap();
            String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
        })
    })
}

/// The writer makes of what the reader found the bytes that PostgreSQL made.
fn rewritten_byte_for_byte(manifest: &[u8]) {
    let mut reader = ManifestReader::new(manifest).unwrap();
    let mut writer = ManifestWriter::new(Vec::new(), 1, None).unwrap();
    let mut file = ManifestFile::default();
    while reader.next_file(&mut file).unwrap() {
        let mtime = seconds(&file.last_modified);
        writer.file(&file.path, file.size, mtime, file.algorithm, Some(file.checksum)).unwrap();
    }
    let again = writer.finish(&reader.finish().unwrap().wal_ranges).unwrap();
    assert!(again == manifest, "the manifest differs from PostgreSQL's");
}
