//! The record types of each resource manager (the `*_identify` functions of `src/backend/access/rmgrdesc`).

use crate::rmgr::Rmgr;

/// The name of a record's type, as `pg_waldump` begins its description, such as `INSERT_LEAF` or `INSERT+INIT`.
///
/// `None` when this major has no such record, and for custom resource managers; `pg_waldump` says `UNKNOWN` then.
///
/// ```
/// use walfile::rmgr::{Rmgr, type_name};
/// assert_eq!(type_name(Rmgr::HEAP2, 0x10, 13), Some("CLEAN"));
/// assert_eq!(type_name(Rmgr::HEAP2, 0x10, 14), Some("PRUNE"));
/// assert_eq!(type_name(Rmgr::HEAP2, 0x10, 17), Some("PRUNE_ON_ACCESS"));
/// ```
pub fn type_name(rmgr: Rmgr, info: u8, major: u16) -> Option<&'static str> {
    let kind = info & 0xF0;
    // Rows: the code, the first and the last major that write it, the name.
    let rows: &[(u8, u16, u16, &'static str)] = match rmgr {
        Rmgr::XLOG => XLOG,
        // The highest bit says that more fields follow, not what the record is.
        Rmgr::TRANSACTION => return find(TRANSACTION, kind & 0x70, major),
        Rmgr::STORAGE => &[(0x10, 0, ANY, "CREATE"), (0x20, 0, ANY, "TRUNCATE")],
        Rmgr::CLOG => &[(0x00, 0, ANY, "ZEROPAGE"), (0x10, 0, ANY, "TRUNCATE")],
        Rmgr::DATABASE => DATABASE,
        Rmgr::TABLESPACE => &[(0x00, 0, ANY, "CREATE"), (0x10, 0, ANY, "DROP")],
        Rmgr::MULTIXACT => MULTIXACT,
        Rmgr::RELMAP => &[(0x00, 0, ANY, "UPDATE")],
        Rmgr::STANDBY => STANDBY,
        Rmgr::HEAP2 => HEAP2,
        Rmgr::HEAP => HEAP,
        Rmgr::BTREE => BTREE,
        Rmgr::HASH => HASH,
        Rmgr::GIN => GIN,
        Rmgr::GIST => GIST,
        Rmgr::SEQUENCE => &[(0x00, 0, ANY, "LOG")],
        Rmgr::SPGIST => SPGIST,
        Rmgr::BRIN => BRIN,
        Rmgr::COMMIT_TS => COMMIT_TS,
        Rmgr::REPLICATION_ORIGIN => &[(0x00, 0, ANY, "SET"), (0x10, 0, ANY, "DROP")],
        // Generic records have no types; whatever the code, this is their name.
        Rmgr::GENERIC => return Some("Generic"),
        Rmgr::LOGICAL_MESSAGE => &[(0x00, 0, ANY, "MESSAGE")],
        _ => return None,
    };
    find(rows, kind, major)
}

type Row = (u8, u16, u16, &'static str);
const ANY: u16 = u16::MAX;

fn find(rows: &'static [Row], kind: u8, major: u16) -> Option<&'static str> {
    rows.iter()
        .find(|(code, first, last, _)| *code == kind && (*first..=*last).contains(&major))
        .map(|(.., name)| *name)
}

const XLOG: &[Row] = &[
    (0x00, 0, ANY, "CHECKPOINT_SHUTDOWN"),
    (0x10, 0, ANY, "CHECKPOINT_ONLINE"),
    (0x20, 0, ANY, "NOOP"),
    (0x30, 0, ANY, "NEXTOID"),
    (0x40, 0, ANY, "SWITCH"),
    (0x50, 0, ANY, "BACKUP_END"),
    (0x60, 0, ANY, "PARAMETER_CHANGE"),
    (0x70, 0, ANY, "RESTORE_POINT"),
    (0x80, 0, ANY, "FPW_CHANGE"),
    (0x90, 0, ANY, "END_OF_RECOVERY"),
    (0xA0, 0, ANY, "FPI_FOR_HINT"),
    (0xB0, 0, ANY, "FPI"),
    (0xC0, 0, 11, "FPI_MULTI"),
    (0xD0, 0, ANY, "OVERWRITE_CONTRECORD"),
    (0xE0, 17, ANY, "CHECKPOINT_REDO"),
];

const TRANSACTION: &[Row] = &[
    (0x00, 0, ANY, "COMMIT"),
    (0x10, 0, ANY, "PREPARE"),
    (0x20, 0, ANY, "ABORT"),
    (0x30, 0, ANY, "COMMIT_PREPARED"),
    (0x40, 0, ANY, "ABORT_PREPARED"),
    (0x50, 0, ANY, "ASSIGNMENT"),
    (0x60, 14, ANY, "INVALIDATION"),
];

const DATABASE: &[Row] = &[
    (0x00, 0, 14, "CREATE"),
    (0x10, 0, 14, "DROP"),
    (0x00, 15, ANY, "CREATE_FILE_COPY"),
    (0x10, 15, ANY, "CREATE_WAL_LOG"),
    (0x20, 15, ANY, "DROP"),
];

const MULTIXACT: &[Row] = &[
    (0x00, 0, ANY, "ZERO_OFF_PAGE"),
    (0x10, 0, ANY, "ZERO_MEM_PAGE"),
    (0x20, 0, ANY, "CREATE_ID"),
    (0x30, 0, ANY, "TRUNCATE_ID"),
];

const STANDBY: &[Row] =
    &[(0x00, 0, ANY, "LOCK"), (0x10, 0, ANY, "RUNNING_XACTS"), (0x20, 0, ANY, "INVALIDATIONS")];

const HEAP2: &[Row] = &[
    (0x00, 0, ANY, "REWRITE"),
    (0x10, 0, 13, "CLEAN"),
    (0x20, 0, 13, "FREEZE_PAGE"),
    (0x30, 0, 13, "CLEANUP_INFO"),
    (0x10, 14, 16, "PRUNE"),
    (0x20, 14, 16, "VACUUM"),
    (0x30, 14, 16, "FREEZE_PAGE"),
    (0x10, 17, ANY, "PRUNE_ON_ACCESS"),
    (0x20, 17, ANY, "PRUNE_VACUUM_SCAN"),
    (0x30, 17, ANY, "PRUNE_VACUUM_CLEANUP"),
    (0x40, 0, ANY, "VISIBLE"),
    (0x50, 0, ANY, "MULTI_INSERT"),
    (0xD0, 0, ANY, "MULTI_INSERT+INIT"),
    (0x60, 0, ANY, "LOCK_UPDATED"),
    (0x70, 0, ANY, "NEW_CID"),
];

const HEAP: &[Row] = &[
    (0x00, 0, ANY, "INSERT"),
    (0x80, 0, ANY, "INSERT+INIT"),
    (0x10, 0, ANY, "DELETE"),
    (0x20, 0, ANY, "UPDATE"),
    (0xA0, 0, ANY, "UPDATE+INIT"),
    (0x30, 11, ANY, "TRUNCATE"),
    (0x40, 0, ANY, "HOT_UPDATE"),
    (0xC0, 0, ANY, "HOT_UPDATE+INIT"),
    (0x50, 0, ANY, "HEAP_CONFIRM"),
    (0x60, 0, ANY, "LOCK"),
    (0x70, 0, ANY, "INPLACE"),
];

const BTREE: &[Row] = &[
    (0x00, 0, ANY, "INSERT_LEAF"),
    (0x10, 0, ANY, "INSERT_UPPER"),
    (0x20, 0, ANY, "INSERT_META"),
    (0x30, 0, ANY, "SPLIT_L"),
    (0x40, 0, ANY, "SPLIT_R"),
    (0x50, 0, 10, "SPLIT_L_ROOT"),
    (0x60, 0, 10, "SPLIT_R_ROOT"),
    (0x50, 11, 11, "SPLIT_L_HIGHKEY"),
    (0x60, 11, 11, "SPLIT_R_HIGHKEY"),
    (0x50, 13, ANY, "INSERT_POST"),
    (0x60, 13, ANY, "DEDUP"),
    (0x70, 0, ANY, "DELETE"),
    (0x80, 0, ANY, "UNLINK_PAGE"),
    (0x90, 0, ANY, "UNLINK_PAGE_META"),
    (0xA0, 0, ANY, "NEWROOT"),
    (0xB0, 0, ANY, "MARK_PAGE_HALFDEAD"),
    (0xC0, 0, ANY, "VACUUM"),
    (0xD0, 0, ANY, "REUSE_PAGE"),
    (0xE0, 11, ANY, "META_CLEANUP"),
];

const HASH: &[Row] = &[
    (0x00, 0, ANY, "INIT_META_PAGE"),
    (0x10, 0, ANY, "INIT_BITMAP_PAGE"),
    (0x20, 0, ANY, "INSERT"),
    (0x30, 0, ANY, "ADD_OVFL_PAGE"),
    (0x40, 0, ANY, "SPLIT_ALLOCATE_PAGE"),
    (0x50, 0, ANY, "SPLIT_PAGE"),
    (0x60, 0, ANY, "SPLIT_COMPLETE"),
    (0x70, 0, ANY, "MOVE_PAGE_CONTENTS"),
    (0x80, 0, ANY, "SQUEEZE_PAGE"),
    (0x90, 0, ANY, "DELETE"),
    (0xA0, 0, ANY, "SPLIT_CLEANUP"),
    (0xB0, 0, ANY, "UPDATE_META_PAGE"),
    (0xC0, 0, ANY, "VACUUM_ONE_PAGE"),
];

const GIN: &[Row] = &[
    (0x00, 0, 11, "CREATE_INDEX"),
    (0x10, 0, ANY, "CREATE_PTREE"),
    (0x20, 0, ANY, "INSERT"),
    (0x30, 0, ANY, "SPLIT"),
    (0x40, 0, ANY, "VACUUM_PAGE"),
    (0x50, 0, ANY, "DELETE_PAGE"),
    (0x60, 0, ANY, "UPDATE_META_PAGE"),
    (0x70, 0, ANY, "INSERT_LISTPAGE"),
    (0x80, 0, ANY, "DELETE_LISTPAGE"),
    (0x90, 0, ANY, "VACUUM_DATA_LEAF_PAGE"),
];

const GIST: &[Row] = &[
    (0x00, 0, ANY, "PAGE_UPDATE"),
    (0x10, 12, ANY, "DELETE"),
    (0x20, 12, ANY, "PAGE_REUSE"),
    (0x30, 0, ANY, "PAGE_SPLIT"),
    (0x50, 0, 11, "CREATE_INDEX"),
    (0x60, 12, ANY, "PAGE_DELETE"),
    (0x70, 13, ANY, "ASSIGN_LSN"),
];

const SPGIST: &[Row] = &[
    (0x00, 0, 11, "CREATE_INDEX"),
    (0x10, 0, ANY, "ADD_LEAF"),
    (0x20, 0, ANY, "MOVE_LEAFS"),
    (0x30, 0, ANY, "ADD_NODE"),
    (0x40, 0, ANY, "SPLIT_TUPLE"),
    (0x50, 0, ANY, "PICKSPLIT"),
    (0x60, 0, ANY, "VACUUM_LEAF"),
    (0x70, 0, ANY, "VACUUM_ROOT"),
    (0x80, 0, ANY, "VACUUM_REDIRECT"),
];

const BRIN: &[Row] = &[
    (0x00, 0, ANY, "CREATE_INDEX"),
    (0x10, 0, ANY, "INSERT"),
    (0x90, 0, ANY, "INSERT+INIT"),
    (0x20, 0, ANY, "UPDATE"),
    (0xA0, 0, ANY, "UPDATE+INIT"),
    (0x30, 0, ANY, "SAMEPAGE_UPDATE"),
    (0x40, 0, ANY, "REVMAP_EXTEND"),
    (0x50, 0, ANY, "DESUMMARIZE"),
];

const COMMIT_TS: &[Row] = &[(0x00, 0, ANY, "ZEROPAGE"), (0x10, 0, ANY, "TRUNCATE"), (0x20, 0, 13, "SETTS")];
