//! A standby of a test server, made with this crate's own base backup.

use std::io::Write;
use std::process::{Child, Stdio};

use super::account::Account;
use super::builder::Builder;
use super::cluster::Cluster;
use crate::{BackupEvent, BaseBackupOptions, ManifestMode};

impl Builder {
    /// Makes a standby of `primary` and starts it, streaming with this slot if one is given.
    ///
    /// # Panics
    /// When anything fails.
    pub fn standby_of(self, primary: &Cluster, slot: Option<&str>) -> Cluster {
        let cluster = self.copy_of(primary);
        let slot = slot.map(|slot| format!("primary_slot_name = '{slot}'\n")).unwrap_or_default();
        let from = primary.conninfo().to_conninfo_string().replace('\'', "''");
        cluster.append("postgresql.conf", &format!("primary_conninfo = '{from}'\n{slot}"));
        cluster.replace("standby.signal", "");
        cluster.start();
        cluster
    }

    /// Makes a standby of `primary` that has no connection to it, and does not start it: it is to replay what its
    /// `restore_command` brings.
    ///
    /// # Panics
    /// When anything fails.
    pub fn archive_standby_of(self, primary: &Cluster) -> Cluster {
        let cluster = self.copy_of(primary);
        cluster.replace("standby.signal", "");
        cluster
    }

    fn copy_of(&self, primary: &Cluster) -> Cluster {
        let (binaries, variables) = (primary.binaries().clone(), self.variables.clone());
        let cluster = Cluster::empty(binaries, primary.account(), self.port(), variables);
        let data = cluster.create_dir("data");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(&data, mode).expect("chmod the data directory");
        copy(primary, &cluster);
        self.configure(&cluster);
        cluster
    }
}

fn copy(primary: &Cluster, cluster: &Cluster) {
    let mut options = BaseBackupOptions::with_label("standby");
    options.fast_checkpoint = true;
    options.wal = true;
    options.manifest = ManifestMode::No;
    let mut connection = primary.replication();
    let mut stream = connection.base_backup(&options).expect("start a base backup");
    let mut tar: Option<Child> = None;
    while let Some(event) = stream.next().expect("read a base backup") {
        match event {
            BackupEvent::Archive { oid, .. } => {
                assert!(oid.is_none(), "no tablespaces in a test standby");
                let child = Account::command(cluster.account(), "tar")
                    .args(["-x", "-f", "-", "-C"])
                    .arg(cluster.data_dir())
                    .stdin(Stdio::piped())
                    .spawn();
                tar = Some(child.expect("run tar"));
            }
            BackupEvent::Data(bytes) => {
                let input = tar.as_mut().and_then(|tar| tar.stdin.as_mut()).expect("tar's input");
                input.write_all(bytes).expect("write to tar");
            }
            _ => {}
        }
    }
    stream.finish().expect("end a base backup");
    let mut tar = tar.expect("an archive");
    drop(tar.stdin.take());
    assert!(tar.wait().expect("wait for tar").success(), "tar failed");
}
