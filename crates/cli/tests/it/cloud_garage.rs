//! A cluster kept in a real distributed store, of whose three nodes one is always away.

use tapster_cloud::CloudError;
use tapster_cloud::testing::Garage;

use crate::cloud_lab::{CloudLab, Place, Whose};

/// What a listing names can be read to its end. Only what was removed while a node was away may still be named, until that has caught up.
fn everything_listed_is_whole(garage: &Garage, node: usize) {
    let store = garage.store(node, "shop");
    for object in store.list("") {
        let object = object.unwrap();
        let mut reader = match store.get(&object.key, None) {
            Err(CloudError::NotFound { .. }) => continue,
            found => found.unwrap(),
        };
        let length = std::io::copy(&mut reader, &mut std::io::sink()).unwrap();
        assert_eq!(length, object.size, "{}", object.key);
    }
}

#[test]
fn with_a_node_away_backups_are_taken_kept_deleted_and_brought_back_to_a_point_in_time() {
    let Some(mut garage) = Garage::start() else { return };
    let place = Place::s3(garage.url("shop").to_string(), garage.endpoint(0), garage.variables());
    let Some(cloud) = CloudLab::new(place) else { return };
    let cluster = &cloud.lab.cluster;
    let ok =
        |name: &str, options: &[&str], arguments: &[&str]| cloud.ok(Whose::Ours, name, options, arguments);
    let only_tuesday = || {
        let listed = ok("backup-list", &[], &[]);
        assert!(listed.contains("tuesday") && !listed.contains("monday"), "{listed}");
    };
    cluster.sql("CREATE TABLE t AS SELECT 'first' AS v");
    cloud.archive("--zstd");
    cloud.backup(Whose::Ours, &["--gzip", "-n", "monday"]);
    ok("backup-keep", &["--target", "standalone"], &["monday"]);
    cloud.wait_until_archived();

    // A machine breaks down, and everything goes on.
    garage.kill(2);
    cluster.sql("INSERT INTO t VALUES ('second')");
    cloud.backup(Whose::Ours, &["-n", "tuesday"]);
    cluster.sql("INSERT INTO t VALUES ('wanted')");
    cloud.wait_until_archived();
    let (code, _, said) = cloud.run(Whose::Ours, "backup-delete", &["-b", "monday"], &[]);
    assert!(code != 0 && said.contains("keep"), "{code} {said}");
    ok("backup-keep", &["--release"], &["monday"]);
    ok("backup-delete", &["-b", "monday"], &[]);
    only_tuesday();
    everything_listed_is_whole(&garage, 1);

    // It comes back, and of another one nothing comes any more.
    garage.restart(2);
    garage.cut_off(1);
    cluster.sql("INSERT INTO t VALUES ('wanted, too')");
    cluster.sql("SELECT pg_create_restore_point('here')");
    cluster.sql("INSERT INTO t VALUES ('unwanted')");
    cloud.wait_until_archived();
    let failed = cluster.value("SELECT failed_count FROM pg_stat_archiver");
    assert_eq!(failed, "0", "{}", cluster.log());

    // Then that one is gone for good. While it was only silent, Garage waited for it with each request.
    garage.reconnect(1);
    garage.kill(1);
    let sql = "SELECT string_agg(v, '; ' ORDER BY v) FROM t";
    let answer = cloud.ask_restored("tuesday", Whose::Ours, Whose::Ours, "here", sql);
    assert_eq!(answer, "first; second; wanted; wanted, too");
    only_tuesday();
    everything_listed_is_whole(&garage, 2);
}
