//! Restoring a backup: plan first, then execute.

pub mod settings;
mod target_time;
mod wal_plan;

pub use target_time::{TargetTimeError, parse_target_time};
pub use wal_plan::{TimelineTarget, WalPlan, WalPlanError, WalRequest, plan_wal};
