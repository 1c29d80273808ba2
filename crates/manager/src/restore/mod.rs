//! Restoring a backup: plan first, then execute.

mod archived_wal;
mod archives;
#[cfg(feature = "cloud")]
mod bucket;
mod combine;
mod control;
mod delta;
mod destination;
mod elsewhere;
mod error;
mod execute;
mod here;
mod hooks;
mod occupied;
mod options;
mod pace;
mod places;
mod plan;
mod reach;
mod recovery_conf;
mod restore_points;
mod segment_facts;
pub mod settings;
mod space;
mod standby;
mod stop_point;
mod target_time;
mod time_reach;
mod unarchived;
mod wal_end;
mod wal_plan;
mod wal_proof;
mod wals;
mod ways;

pub use delta::DeltaPlan;
pub use error::{PartialReach, RestoreError, RestorePlanError};
pub use execute::RestoreReport;
pub use occupied::Unfinished;
pub(crate) use occupied::server_on;
pub use options::{BackupChoice, RecoveryTarget, RemoteOptions, RestoreOptions, TargetAction};
pub use places::TablespacePlace;
#[cfg(feature = "cloud")]
pub(crate) use places::{absolute, check_places, is_empty, place_tablespaces};
pub use plan::RestorePlan;
pub use settings::SettingAt;
pub use stop_point::{RecordTarget, RestorePointAt, StopAt, StopPoint, TargetPlace};
pub use target_time::{TargetTimeError, parse_target_time};
pub use time_reach::TransactionEnd;
pub(crate) use wal_plan::leads_to;
pub use wal_plan::{TimelineTarget, WalPlan, WalPlanError, WalRequest, plan_wal};
pub use ways::RestoreWay;
