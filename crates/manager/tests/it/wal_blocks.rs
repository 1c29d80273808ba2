//! Changed blocks against PostgreSQL's own summaries, and against the pages themselves.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use tapster_manager::wal_blocks::{WalBlocks, WalBlocksError, WalBlocksOptions, changed_blocks_in};
use tapster_manager::{Context, Silent};
use tapster_protocol::testing::{Builder, Cluster, StopMode, servers};
use walfile::changed_blocks::{ChangedBlocks, Changes, ForkId, SummaryName};
use walfile::record::{Fork, Oid, RelFile};
use walfile::{ControlFile, Lsn, SegmentName, SegmentSize};

const PAGE: usize = 8192;

fn builder() -> Builder {
    ["max_prepared_transactions = 10", "max_wal_size = 4GB", "bgwriter_lru_maxpages = 0"]
        .into_iter()
        .fold(Cluster::builder().wal_segment_mb(1), |builder, line| builder.config(line))
}

fn run(cluster: &Cluster, statements: &[&str]) {
    let mut connection = cluster.connect();
    for sql in statements {
        connection.query(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
}

/// What is there before.
const BEFORE: &[&str] = &[
    // One row per page: enough for a bitmap.
    "CREATE TABLE big (n int, filler char(1000)) WITH (fillfactor = 10)",
    "INSERT INTO big SELECT n, 'x' FROM generate_series(1, 4200) n",
    "CREATE TABLE t (id int PRIMARY KEY, v int, doc text)",
    "INSERT INTO t SELECT n, 0, repeat('a', 100) FROM generate_series(1, 5000) n",
    "CREATE INDEX ON t USING hash (v)",
    "CREATE INDEX ON t USING gin (string_to_array(doc, 'a'))",
    "CREATE INDEX ON t USING brin (id)",
    "CREATE TABLE dropped (n int)",
    "CREATE TABLE emptied (n int)",
    "INSERT INTO emptied SELECT generate_series(1, 3000)",
    "CREATE TABLE sub_dropped (n int)",
    "CREATE TABLE prepared (n int)",
    "CREATE UNLOGGED TABLE unlogged (n int PRIMARY KEY)",
    "CREATE SEQUENCE s",
    "CREATE DATABASE old",
    "VACUUM",
];

/// What changes.
const LOAD: &[&str] = &[
    "UPDATE big SET filler = 'y' WHERE n % 2 = 0",
    "CHECKPOINT",
    "UPDATE t SET v = id % 10 WHERE id % 7 = 0",
    "DO $$ BEGIN FOR i IN 1..300 LOOP UPDATE t SET v = v + 1 WHERE id = i * 13 % 5000; PERFORM nextval('s'); END LOOP; END $$",
    "DELETE FROM big WHERE n > 500",
    "VACUUM big",
    "CHECKPOINT",
    "INSERT INTO big SELECT n, 'z' FROM generate_series(501, 600) n",
    "DROP TABLE dropped",
    "TRUNCATE emptied",
    "INSERT INTO emptied VALUES (1)",
    "BEGIN",
    "CREATE TABLE never (n int)",
    "INSERT INTO never SELECT generate_series(1, 1000)",
    "ROLLBACK",
    "BEGIN",
    "SAVEPOINT a",
    "CREATE TABLE sub_never (n int)",
    "INSERT INTO sub_never VALUES (1)",
    "ROLLBACK TO a",
    "SAVEPOINT b",
    "DROP TABLE sub_dropped",
    "RELEASE b",
    "COMMIT",
    "CHECKPOINT",
    "BEGIN",
    "DROP TABLE prepared",
    "CREATE TABLE made_in_two (n int)",
    "INSERT INTO made_in_two SELECT generate_series(1, 500)",
    "PREPARE TRANSACTION 'kept'",
    "BEGIN",
    "CREATE TABLE never_in_two (n int)",
    "INSERT INTO never_in_two SELECT generate_series(1, 500)",
    "PREPARE TRANSACTION 'given up'",
    "CHECKPOINT",
    "COMMIT PREPARED 'kept'",
    "ROLLBACK PREPARED 'given up'",
    "CREATE UNLOGGED TABLE unlogged_too (n int PRIMARY KEY)",
    "INSERT INTO unlogged SELECT generate_series(1, 1000)",
    "DROP TABLE unlogged",
    "CREATE INDEX ON t (v, id)",
    "REINDEX TABLE t",
    "VACUUM FREEZE t",
    "VACUUM FULL emptied",
    "DROP DATABASE old",
    "CHECKPOINT",
];

fn load(cluster: &Cluster) {
    run(cluster, LOAD);
    if cluster.major() >= 15 {
        run(
            cluster,
            &[
                "CREATE DATABASE copied STRATEGY file_copy",
                "CREATE DATABASE logged STRATEGY wal_log",
                "SET allow_in_place_tablespaces = on",
                "CREATE TABLESPACE place LOCATION ''",
                "ALTER DATABASE copied SET TABLESPACE place",
                "CHECKPOINT",
            ],
        );
    } else {
        run(cluster, &["CREATE DATABASE copied"]);
    }
}

fn changed(wal: &Path, start: Lsn, end: Lsn) -> Result<WalBlocks, WalBlocksError> {
    let mut options = WalBlocksOptions::default();
    (options.start, options.end) = (start, end);
    changed_blocks_in(wal, &options, &Context::new(&Silent))
}

/// Rows of `pg_wal_summary_contents()`, ordered.
fn rows(blocks: &ChangedBlocks) -> Vec<String> {
    let mut rows = Vec::new();
    for (id, changes) in blocks.forks() {
        let RelFile { tablespace, database, number } = id.relation;
        let key = format!("{tablespace} {database} {number} {}", id.fork as u32);
        rows.extend(changes.limit().map(|limit| format!("{key} {limit} t")));
        rows.extend(changes.blocks().map(|block| format!("{key} {block} f")));
    }
    rows
}

#[test]
fn as_the_servers_own_summaries() {
    for binaries in servers().iter().filter(|binaries| binaries.major >= 17) {
        let builder = builder().binaries(binaries).config("summarize_wal = on").config("wal_keep_size = 2GB");
        let Some(cluster) = builder.start() else { return };
        run(&cluster, BEFORE);
        run(&cluster, &["CHECKPOINT"]);
        load(&cluster);
        cluster.restart();
        run(&cluster, &["INSERT INTO t SELECT n, 1 FROM generate_series(6000, 6100) n", "CHECKPOINT"]);
        let done = "SELECT summarized_lsn >= (SELECT redo_lsn FROM pg_control_checkpoint())
            FROM pg_get_wal_summarizer_state()";
        // The summarizer sleeps for up to 30 seconds when nothing happens.
        for _ in 0..600 {
            if cluster.value(done) == "t" {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        assert_eq!(cluster.value(done), "t", "no summary");
        let wal = cluster.wal_dir();
        let (mut compared, mut blocks) = (0, 0);
        for row in cluster.sql(
            "SELECT tli::text, start_lsn::text, end_lsn::text FROM pg_available_wal_summaries() ORDER BY 2",
        ) {
            let [timeline, start, end]: [String; 3] = row.try_into().unwrap();
            let (from, to): (Lsn, Lsn) = (start.parse().unwrap(), end.parse().unwrap());
            let name = SummaryName {
                timeline: walfile::Timeline::new(timeline.parse().unwrap()).unwrap(),
                start: from,
                end: to,
            };
            let first = SegmentName::containing(name.timeline, from, SegmentSize::MIN);
            if !wal.join(first.to_string()).exists() {
                continue;
            }
            let found = changed(&wal, from, to).unwrap();
            let contents = cluster.sql(&format!(
                "SELECT concat_ws(' ', reltablespace, reldatabase, relfilenode, relforknumber, relblocknumber,
                    CASE WHEN is_limit_block THEN 't' ELSE 'f' END)
                FROM pg_wal_summary_contents({timeline}, '{start}', '{end}')
                ORDER BY reltablespace, reldatabase, relfilenode, relforknumber, is_limit_block DESC, relblocknumber"
            ));
            let contents: Vec<String> = contents.into_iter().flatten().collect();
            assert_eq!(rows(&found.blocks), contents, "{name}");
            let mut ours = Vec::new();
            found.blocks.write_summary(&mut ours).unwrap();
            assert!(ours == fs::read(wal.join("summaries").join(name.to_string())).unwrap(), "{name}");
            compared += 1;
            blocks += contents.len();
        }
        assert!(compared >= 10 && blocks > 5000, "{compared} summaries, {blocks} rows");
    }
}

/// The files of relations below a data directory.
fn relation_files(data: &Path) -> BTreeMap<(ForkId, u32), Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut directories = vec![(data.join("global"), 1664, 0)];
    for entry in fs::read_dir(data.join("base")).unwrap().flatten() {
        if let Ok(database) = entry.file_name().to_string_lossy().parse() {
            directories.push((entry.path(), 1663, database));
        }
    }
    for (directory, tablespace, database) in directories {
        for entry in fs::read_dir(directory).unwrap().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let (stem, segment) = name.split_once('.').unwrap_or((&name, "0"));
            let (number, fork) = stem.split_once('_').unwrap_or((stem, "main"));
            let fork = [Fork::Main, Fork::Visibility, Fork::Init].into_iter().find(|f| f.name() == fork);
            let (Ok(number), Ok(segment), Some(fork)) = (number.parse(), segment.parse(), fork) else {
                continue;
            };
            let (tablespace, database) = (Oid::new(tablespace), Oid::new(database));
            let relation = RelFile { tablespace, database, number };
            files.insert((ForkId { relation, fork }, segment), fs::read(entry.path()).unwrap());
        }
    }
    files
}

fn redo(data: &Path) -> Lsn {
    ControlFile::parse(&fs::read(data.join("global/pg_control")).unwrap()).unwrap().redo
}

/// Of every major (10 has no small segments): a page that is not as it was is known to be changed. With checksums every change of a page is logged.
#[test]
fn no_page_changes_unnoticed() {
    for binaries in servers().iter().filter(|binaries| binaries.major > 10) {
        let keep = if binaries.major >= 13 { "wal_keep_size = 2GB" } else { "wal_keep_segments = 2000" };
        let Some(cluster) = builder().binaries(binaries).checksums(true).config(keep).start() else { return };
        run(&cluster, BEFORE);
        cluster.stop(StopMode::Fast);
        let (start, before) = (redo(&cluster.data_dir()), relation_files(&cluster.data_dir()));
        cluster.start();
        load(&cluster);
        let unlogged: Vec<u32> = cluster
            .sql("SELECT pg_relation_filenode(oid) FROM pg_class WHERE relpersistence = 'u' AND relkind IN ('r', 'i')")
            .into_iter()
            .flatten()
            .map(|number| number.parse().unwrap())
            .collect();
        cluster.stop(StopMode::Fast);
        let (end, after) = (redo(&cluster.data_dir()), relation_files(&cluster.data_dir()));
        let found = changed(&cluster.wal_dir(), start, end).unwrap().blocks;
        let (mut same, mut new, mut unchanged) = (0, 0, 0);
        for ((id, segment), content) in &after {
            if unlogged.contains(&id.relation.number) && id.fork == Fork::Main {
                continue;
            }
            let old = before.get(&(*id, *segment));
            for (at, page) in content.chunks(PAGE).enumerate() {
                let old = old.and_then(|old| old.get(at * PAGE..(at + 1) * PAGE));
                let block = segment * 131_072 + u32::try_from(at).unwrap();
                let known = match found.changes(*id) {
                    Changes::Whole => true,
                    Changes::Blocks(changes) => changes.is_changed(block),
                    _ => false,
                };
                // A file may be longer than what was written into it.
                let differs = old.map_or(page.iter().any(|byte| *byte != 0), |old| old != page);
                assert!(known || !differs, "{}: block {block} of {id}", binaries.major);
                match (differs, known) {
                    (true, _) => new += 1,
                    (false, true) => same += 1,
                    (false, false) => unchanged += 1,
                }
            }
        }
        // And not by saying that everything did.
        assert!(new > 500 && unchanged > 2000, "{}: {new} {same} {unchanged}", binaries.major);

        // A part of a record is not a range, nor is what is not there.
        let inside = Lsn::new(start.get() + 8);
        assert!(matches!(changed(&cluster.wal_dir(), inside, end), Err(WalBlocksError::NotARecord { .. })));
        let beyond = Lsn::new(end.get() + (1 << 30));
        assert!(matches!(changed(&cluster.wal_dir(), start, beyond), Err(WalBlocksError::Incomplete { .. })));
    }
}
