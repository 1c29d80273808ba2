//! `wal blocks`: the lines of `pg_walsummary`.

use std::fmt::Write as _;

use serde_json::{Value, json};
use tapster_manager::wal_blocks::{WalBlocks, WalBlocksOptions};
use walfile::changed_blocks::{ForkChanges, ForkId};

use super::Output;

/// Prints what changed; in JSON under the name of the server or the directory.
pub(crate) fn show(output: &Output, key: &str, options: &WalBlocksOptions, found: &WalBlocks) {
    if output.is_json() {
        let forks: Vec<Value> = found.blocks.forks().map(|(id, changes)| value(id, changes)).collect();
        let range = json!({
            "start_lsn": options.start.to_string(),
            "end_lsn": options.end.to_string(),
            "timeline": found.timeline.get(),
            "records": found.records,
            "forks": forks,
        });
        output.json_insert(key, range);
        return;
    }
    for (id, changes) in found.blocks.forks() {
        let lines = lines(id, changes);
        if !lines.is_empty() {
            output.line(lines);
        }
    }
}

/// `TS 1663, DB 5, REL 16384, FORK main: blocks 0..10` and the like, without the last line break.
fn lines(id: &ForkId, changes: &ForkChanges) -> String {
    let mut text = String::new();
    let mut line = |what: std::fmt::Arguments<'_>| {
        let separator = if text.is_empty() { "" } else { "\n" };
        let _ = write!(text, "{separator}{id}: {what}");
    };
    if let Some(limit) = changes.limit() {
        line(format_args!("limit {limit}"));
    }
    for range in changes.ranges() {
        let (first, last) = range.into_inner();
        if first == last {
            line(format_args!("block {first}"));
        } else {
            line(format_args!("blocks {first}..{last}"));
        }
    }
    text
}

fn value(id: &ForkId, changes: &ForkChanges) -> Value {
    json!({
        "rel": id.relation.to_string(),
        "fork": id.fork.name(),
        "limit": changes.limit(),
        "blocks": changes.ranges().map(|range| [*range.start(), *range.end()]).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use walfile::record::{Fork, Oid, RelFile};

    #[test]
    fn as_pg_walsummary() {
        let relation = RelFile { tablespace: Oid::new(1663), database: Oid::new(5), number: 16384 };
        let id = ForkId { relation, fork: Fork::Visibility };
        let mut changes = ForkChanges::new();
        assert_eq!(lines(&id, &changes), "");
        changes.set_limit(7);
        [0, 1, 2, 9, u32::MAX].into_iter().for_each(|block| changes.mark(block));
        assert_eq!(
            lines(&id, &changes),
            "TS 1663, DB 5, REL 16384, FORK vm: limit 7\n\
             TS 1663, DB 5, REL 16384, FORK vm: blocks 0..2\n\
             TS 1663, DB 5, REL 16384, FORK vm: block 9\n\
             TS 1663, DB 5, REL 16384, FORK vm: block 4294967295"
        );
        let expected = json!({
            "rel": "1663/5/16384", "fork": "vm", "limit": 7, "blocks": [[0, 2], [9, 9], [4_294_967_295_u32, 4_294_967_295_u32]],
        });
        assert_eq!(value(&id, &changes), expected);
    }
}
