//! Buckets of servers of other versions and of a standby, and of one program alone, which the other brings back to a time.

use tapster_cloud::testing::Moto;
use tapster_protocol::testing::{Cluster, servers};

use crate::cloud_cycle::both_bring_back;
use crate::cloud_lab::{CloudLab, Place, Whose, installed};

fn place(moto: &Moto, prefix: &str) -> Place {
    Place::s3(moto.url(prefix).to_string(), moto.endpoint(), moto.variables())
}

/// The newest version there is has its own test; there are others with `scripts/test --all-versions`.
#[test]
fn servers_of_other_versions_are_brought_back_by_both_programs() {
    for binaries in servers().into_iter().skip(1) {
        let Some(moto) = Moto::start() else { return };
        let prefix = format!("version{}", binaries.major);
        both_bring_back(place(&moto, &prefix), &moto.store(&prefix), |builder| builder.binaries(&binaries));
    }
}

#[test]
fn a_standby_is_backed_up_into_the_bucket_of_its_primary() {
    let Some(moto) = Moto::start() else { return };
    let Some(cloud) = CloudLab::new(place(&moto, "standby")) else { return };
    let primary = &cloud.lab.cluster;
    primary.sql("CREATE TABLE t AS SELECT 'before' AS v");
    cloud.archive("--zstd");
    let standby = Cluster::builder().standby_of(primary, None);
    cloud.backup_of(&standby, Whose::Ours, &["-n", "standbys", "--lz4"]);
    primary.sql("INSERT INTO t VALUES ('after')");
    primary.sql("SELECT pg_create_restore_point('here')");
    primary.sql("INSERT INTO t VALUES ('unwanted')");
    cloud.wait_until_archived();
    let sql = "SELECT string_agg(v, '; ' ORDER BY v) || ' ' || pg_is_in_recovery() FROM t";
    let answer = cloud.ask_restored("standbys", Whose::Ours, Whose::Ours, "here", sql);
    assert_eq!(answer, "after; before false");
}

#[test]
fn what_one_program_alone_has_stored_the_other_brings_back_to_a_time() {
    let Some(moto) = Moto::start() else { return };
    let Some(ours) = CloudLab::new(place(&moto, "ours")) else { return };
    if !installed("barman-cloud-backup").exists() {
        assert!(std::env::var_os("CI").is_none(), "Barman's cloud tools are not installed");
        return;
    }
    let theirs = ours.at(place(&moto, "theirs"));
    let alone = [(&ours, Whose::Ours, Whose::Barmans), (&theirs, Whose::Barmans, Whose::Ours)];
    let cluster = &ours.lab.cluster;
    let aside = ours.archive_aside();
    cluster.sql("CREATE TABLE t AS SELECT 'before' AS v");
    let backups = |name: &str| {
        for (place, owner, _) in alone {
            place.backup(owner, &["--gzip", "-n", name]);
        }
    };
    backups("early");
    cluster.sql("INSERT INTO t VALUES ('wanted')");
    let time = cluster.value("SELECT clock_timestamp()");
    cluster.sql("INSERT INTO t VALUES ('unwanted')");
    // What ends after the time is not what is restored.
    backups("late");
    ours.wait_until_archived();
    let files = std::fs::read_dir(&aside).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = files.map(|name| name.into_string().unwrap()).collect();
    names.sort_unstable();
    for (place, owner, _) in alone {
        for name in &names {
            place.ok(owner, "wal-archive", &["--gzip"], &[aside.join(name).to_str().unwrap()]);
        }
    }
    // Barman's tool knows labels of backups when it archives, not when it restores.
    ours.fetch_by_barman(names.iter().map(String::as_str).filter(|name| name.len() == 24));
    let target = format!("recovery_target_time = '{time}'\nrecovery_target_action = promote\n");
    std::thread::scope(|scope| {
        for (place, owner, other) in alone {
            let (target, time) = (&target, &time);
            scope.spawn(move || {
                let options = ["--target-time", time.as_str()];
                let sql = "SELECT string_agg(v, '; ' ORDER BY v) FROM t";
                let answer = place.ask_restored_to(&options, "auto", other, other, target, sql);
                assert_eq!(answer, "before; wanted", "of {owner:?} alone");
            });
        }
    });
}
