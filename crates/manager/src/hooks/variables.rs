//! The environment of hook scripts.

use std::path::Path;

use tapster_catalog::record::repr_f64;
use tapster_catalog::{BackupRecord, XlogEntry};

use super::Variables;
use crate::Server;
use crate::config::{HookEvent, HookPhase};

/// What scripts written for it look at.
pub(crate) const BARMAN_VERSION: &str = "3.19.1";

fn kind(event: &str, retry: bool) -> String {
    format!("{event}{}_script", if retry { "_retry" } else { "" })
}

/// Such as `pre_backup_retry_script`.
pub(super) fn hook_name(phase: HookPhase, event: HookEvent, retry: bool) -> String {
    let (phase, event) = (phase.as_str(), event.as_str());
    format!("{phase}_{}", kind(event, retry))
}

/// What every script gets.
pub(super) fn common(server: &Server, phase: HookPhase, event: HookEvent, retry: bool) -> Variables {
    let (phase, event) = (phase.as_str(), event.as_str());
    vec![
        ("BARMAN_VERSION", BARMAN_VERSION.to_owned()),
        ("BARMAN_SERVER", server.name().to_owned()),
        ("BARMAN_CONFIGURATION", text(&server.config_path)),
        ("BARMAN_HOOK", kind(event, retry)),
        ("BARMAN_RETRY", u8::from(retry).to_string()),
        ("BARMAN_PHASE", phase.to_owned()),
        ("BARMAN_ERROR", String::new()),
    ]
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

impl Server {
    /// What scripts around something done with a backup get: `backup`, `delete`, and among more `recovery`.
    pub(crate) fn backup_variables(&self, record: &BackupRecord) -> Variables {
        // A catalog that cannot be read is told by the operation itself.
        let others: Vec<BackupRecord> = self.catalog.records().unwrap_or_default();
        let ids = || others.iter().filter(|other| other.status.is_copied()).map(|other| other.id);
        let before = ids().filter(|id| *id < record.id).max();
        let after = ids().filter(|id| *id > record.id).min();
        let id = |id: Option<tapster_catalog::BackupId>| id.map(|id| id.to_string()).unwrap_or_default();
        vec![
            ("BARMAN_BACKUP_DIR", text(&self.catalog().place_of(&record.id))),
            ("BARMAN_BACKUP_INFO_PATH", text(&self.layout().record(&record.id))),
            ("BARMAN_BACKUP_ID", record.id.to_string()),
            ("BARMAN_PREVIOUS_ID", id(before)),
            ("BARMAN_NEXT_ID", id(after)),
            ("BARMAN_STATUS", record.status.to_string()),
            ("BARMAN_ERROR", record.error.clone().unwrap_or_default()),
        ]
    }
}

/// What scripts around an archived file, or one that is to be archived, get.
pub(crate) fn wal_variables(entry: &XlogEntry, path: &Path, error: &str) -> Variables {
    vec![
        ("BARMAN_SEGMENT", entry.name.to_string()),
        ("BARMAN_FILE", text(path)),
        ("BARMAN_SIZE", entry.size.to_string()),
        ("BARMAN_TIMESTAMP", repr_f64(entry.mtime)),
        ("BARMAN_COMPRESSION", entry.compression.clone().unwrap_or_default()),
        ("BARMAN_ERROR", error.to_owned()),
    ]
}
