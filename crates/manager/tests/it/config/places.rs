//! Addresses of object stores in `basebackups_directory` and `wals_directory`.

use std::path::Path;

use tapster_manager::config::{BucketProvider, StoragePlace};

const SERVER: &str = "conninfo = host=x\nbackup_method = postgres\nstreaming_archiver = on\nslot_name = s\n";

#[test]
fn a_place_is_a_directory_or_a_bucket() {
    let dir = tempfile::tempdir().unwrap();
    let text = format!(
        "[barman]\nbarman_home = {{}}\ncloud_delete_batch_size = 9\ncloud_wal_archive_parallel = 4\n\
         [here]\n{SERVER}\n\
         [there]\n{SERVER}basebackups_directory = s3://bkt/a\nwals_directory = gs://other/b\n\
         cloud_upload_max_archive_size = 2Gi\ncloud_upload_min_chunk_size = 10M\n\
         [own_index]\n{SERVER}wals_directory = s3://bkt/a\nxlogdb_directory = {{}}/index\n\
         [wrong]\n{SERVER}wals_directory = ftp://bkt/a\n"
    );
    let config = super::load(dir.path(), &text).unwrap();
    let here = &config.servers["here"];
    assert_eq!(here.backups_place, StoragePlace::Directory(dir.path().join("here/base")));
    assert_eq!(here.cloud.upload_max_archive_size, 100 << 30);
    assert_eq!((here.cloud.delete_batch_size, here.cloud.wal_archive_parallel), (Some(9), 4));

    let there = &config.servers["there"];
    assert!(!there.disabled, "{:?}", there.problems);
    let address = there.backups_place.bucket().unwrap();
    assert_eq!((address.as_str(), address.provider()), ("s3://bkt/a", BucketProvider::S3));
    assert_eq!(there.wals_place.bucket().unwrap().provider(), BucketProvider::Google);
    assert_eq!(there.cloud.upload_max_archive_size, 2 << 30);
    assert_eq!(there.cloud.upload_min_chunk_size, Some(10_000_000));

    // On this host is what Barman has here, and no path is made of an address.
    let layout = there.layout();
    assert_eq!(layout.xlogdb_dir, dir.path().join("there/meta"));
    let root = dir.path().join("there");
    assert!(layout.base.starts_with(&root) && layout.wals.starts_with(&root) && layout.base != layout.wals);
    assert!(![&layout.base, &layout.wals].iter().any(|path| path.exists()));
    assert_eq!(config.servers["own_index"].layout().xlogdb_dir, dir.path().join("index"));
    // As Barman: the next level decides.
    let wrong = config.servers["wrong"].wals_place.directory().map(Path::to_path_buf);
    assert_eq!(wrong, Some(dir.path().join("wrong/wals")));
    assert_eq!(
        super::shown(&config),
        [
            "WARNING: Ignoring invalid configuration value 'ftp://bkt/a' for key wals_directory in [wrong] section: The URL \
             is not compatible with any of the supported cloud providers"
        ]
    );
}
