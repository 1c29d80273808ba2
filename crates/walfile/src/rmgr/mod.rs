//! What records mean: resource managers, the names of their record types, and the payloads that recovery and
//! backup need.

mod describe;
mod id;
mod payload;
mod set;
mod types;

pub use describe::{Description, LocalTime, TimeZone, Utc};
pub use id::Rmgr;
pub use payload::{
    Assignment, Checkpoint, DatabaseCreate, DatabaseDrop, EndOfRecovery, FileCreate, FileTruncate, Message,
    Oids, OverwriteContinued, ParameterChange, Payload, PayloadError, RelFiles, RestorePoint,
    RunningTransactions, TableTruncate, Tablespace, Transaction, Xids,
};
pub use set::RmgrSet;
pub use types::type_name;
