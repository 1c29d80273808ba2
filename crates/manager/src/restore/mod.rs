//! Restoring a backup: plan first, then execute.

mod archived_wal;
mod archives;
mod combine;
mod delta;
mod destination;
mod elsewhere;
mod error;
mod execute;
mod here;
mod occupied;
mod options;
mod places;
mod plan;
mod recovery_conf;
pub mod settings;
mod stop_point;
mod target_time;
mod time_reach;
mod wal_plan;
mod wals;

pub use delta::DeltaPlan;
pub use error::{PartialReach, RestoreError, RestorePlanError};
pub use execute::RestoreReport;
pub use occupied::Unfinished;
pub(crate) use occupied::server_on;
pub use options::{BackupChoice, RecoveryTarget, RemoteOptions, RestoreOptions, TargetAction};
pub use places::TablespacePlace;
pub use plan::RestorePlan;
pub use settings::SettingAt;
pub use target_time::{TargetTimeError, parse_target_time};
pub use time_reach::TransactionEnd;
pub(crate) use wal_plan::leads_to;
pub use wal_plan::{TimelineTarget, WalPlan, WalPlanError, WalRequest, plan_wal};
