//! Which program this process is: the name it was called by decides, as with `busybox`.

use std::ffi::OsStr;
use std::path::Path;

/// The programs inside the one binary.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub(crate) enum Program {
    /// Everything `barman` does, plus this project's own commands.
    Tapster,
    /// Barman 3.19's `barman`.
    Barman,
    /// The `archive_command` of a database host.
    BarmanWalArchive,
    /// The `restore_command` of a database host.
    BarmanWalRestore,
    /// A backup into an object store.
    BarmanCloudBackup,
    /// Deleting backups in an object store.
    BarmanCloudBackupDelete,
    /// Keeping one.
    BarmanCloudBackupKeep,
    /// The backups in an object store.
    BarmanCloudBackupList,
    /// One of them.
    BarmanCloudBackupShow,
    /// Whether a new cluster may archive to an object store.
    BarmanCloudCheckWalArchive,
    /// The `archive_command` of a cluster whose WAL goes to an object store.
    BarmanCloudWalArchive,
    /// Its `restore_command`.
    BarmanCloudWalRestore,
    /// A backup out of an object store.
    BarmanCloudRestore,
}

impl Program {
    /// All of them.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 13] = [
        Self::Tapster,
        Self::Barman,
        Self::BarmanWalArchive,
        Self::BarmanWalRestore,
        Self::BarmanCloudBackup,
        Self::BarmanCloudBackupDelete,
        Self::BarmanCloudBackupKeep,
        Self::BarmanCloudBackupList,
        Self::BarmanCloudBackupShow,
        Self::BarmanCloudCheckWalArchive,
        Self::BarmanCloudWalArchive,
        Self::BarmanCloudWalRestore,
        Self::BarmanCloudRestore,
    ];

    /// Barman's cloud tools that are built in.
    const CLOUD: &[Self] = if cfg!(feature = "cloud") {
        &[
            Self::BarmanCloudBackup,
            Self::BarmanCloudBackupDelete,
            Self::BarmanCloudBackupKeep,
            Self::BarmanCloudBackupList,
            Self::BarmanCloudBackupShow,
            Self::BarmanCloudCheckWalArchive,
            Self::BarmanCloudWalArchive,
            Self::BarmanCloudWalRestore,
            Self::BarmanCloudRestore,
        ]
    } else {
        &[]
    };

    /// The program behind `argv[0]`. A name nobody knows (a versioned link, a test's copy) is `tapster`.
    pub(crate) fn from_argv0(argv0: Option<&OsStr>) -> Self {
        match argv0.and_then(|name| Path::new(name).file_name()).and_then(OsStr::to_str) {
            Some("barman") => Self::Barman,
            Some("barman-wal-archive") => Self::BarmanWalArchive,
            Some("barman-wal-restore") => Self::BarmanWalRestore,
            Some(name) => {
                Self::CLOUD.iter().copied().find(|program| program.name() == name).unwrap_or(Self::Tapster)
            }
            None => Self::Tapster,
        }
    }

    /// The name in usage texts and error messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tapster => "tapster",
            Self::Barman => "barman",
            Self::BarmanWalArchive => "barman-wal-archive",
            Self::BarmanWalRestore => "barman-wal-restore",
            Self::BarmanCloudBackup => "barman-cloud-backup",
            Self::BarmanCloudRestore => "barman-cloud-restore",
            Self::BarmanCloudBackupDelete => "barman-cloud-backup-delete",
            Self::BarmanCloudBackupKeep => "barman-cloud-backup-keep",
            Self::BarmanCloudBackupList => "barman-cloud-backup-list",
            Self::BarmanCloudBackupShow => "barman-cloud-backup-show",
            Self::BarmanCloudCheckWalArchive => "barman-cloud-check-wal-archive",
            Self::BarmanCloudWalArchive => "barman-cloud-wal-archive",
            Self::BarmanCloudWalRestore => "barman-cloud-wal-restore",
        }
    }

    /// The command of the group `cloud` that this program is: `backup-list`.
    pub(crate) fn cloud_command(self) -> Option<&'static str> {
        self.name().strip_prefix("barman-cloud-")
    }

    /// What `--version` prints. Under Barman's names the first word is the Barman version whose behaviour is
    /// implemented, because scripts compare it.
    pub(crate) fn version(self) -> String {
        let own = env!("CARGO_PKG_VERSION");
        match self {
            Self::Tapster => format!("{own} Tapster (compatible with Barman {BARMAN_VERSION})"),
            Self::Barman => format!("{BARMAN_VERSION} Barman (Tapster {own})"),
            _ => format!("{} {BARMAN_VERSION}", self.name()),
        }
    }
}

/// The Barman release followed.
pub(crate) const BARMAN_VERSION: &str = "3.19.1";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_name_of_argv0_decides() {
        let program = |name: &str| Program::from_argv0(Some(OsStr::new(name)));
        assert_eq!(program("/usr/bin/barman"), Program::Barman);
        assert_eq!(program("barman-wal-restore"), Program::BarmanWalRestore);
        assert_eq!(program("./barman-wal-archive"), Program::BarmanWalArchive);
        assert_eq!(program("tapster"), Program::Tapster);
        assert_eq!(program("barman-cloud-nosuch"), Program::Tapster);
        for cloud in Program::CLOUD {
            assert_eq!(program(cloud.name()), *cloud);
            assert!(Program::ALL.contains(cloud) && cloud.cloud_command().is_some());
        }
        assert_eq!(program("barman3"), Program::Tapster);
        assert_eq!(Program::from_argv0(None), Program::Tapster);
    }
}
