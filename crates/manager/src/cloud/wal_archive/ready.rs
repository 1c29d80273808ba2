//! What PostgreSQL will ask to archive next: `archive_status/<name>.ready` beside the file it asks for now (`pgarch.c`).

use std::fs;
use std::path::Path;

use tapster_catalog::durable::parent;
use walfile::WalName;

/// A `pg_wal` with more is in a trouble that this cannot cure.
const MOST: usize = 100_000;

/// Everything that is ready in this `pg_wal`; `None` when there is no `archive_status`.
pub(super) fn names(wal_dir: &Path) -> Option<Vec<WalName>> {
    let entries = fs::read_dir(wal_dir.join("archive_status")).ok()?;
    let names = entries.take(MOST).filter_map(|entry| {
        let name = entry.ok()?.file_name();
        name.to_str()?.strip_suffix(".ready")?.parse().ok()
    });
    Some(names.collect())
}

/// At most `count` of them without `asked`, in the order in which PostgreSQL asks: history files first, then by name.
pub(in super::super) fn beside(asked_path: &Path, asked: Option<WalName>, count: usize) -> Vec<WalName> {
    let mut names = names(parent(asked_path)).unwrap_or_default();
    names.retain(|name| Some(*name) != asked);
    names.sort_unstable_by_key(|name| (!matches!(name, WalName::History(_)), name.to_string()));
    names.truncate(count);
    names
}
