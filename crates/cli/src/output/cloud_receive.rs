//! What `cloud receive-wal` tells in its log.

use std::path::Path;

use tapster_manager::cloud::{CloudReceiveEvent, CloudReceiveReport};

use crate::failure::chain;

/// One event.
pub(crate) fn tell(event: &CloudReceiveEvent<'_>) {
    use CloudReceiveEvent as E;
    match event {
        E::Streaming { timeline, start } => tracing::info!("Receiving timeline {timeline} from {start}"),
        E::TimelineSwitch { timeline, at } => tracing::info!("Going on with timeline {timeline} from {at}"),
        E::Disconnected { error, retry_in } => {
            tracing::warn!("{}; trying again in {} s", chain(error), retry_in.as_secs());
        }
        E::Archived(name) => tracing::info!("{name} is in the store"),
        E::Begun { segment, position } => {
            tracing::debug!("the beginning of {segment} is in the store, up to {position}");
        }
        E::StoreFailed { error, retry_in } => {
            tracing::warn!("{}; trying again in {} s", chain(error), retry_in.as_secs());
        }
        E::SpoolFull { bytes } => {
            tracing::warn!("{bytes} bytes wait for the store: no more are received until it has taken some");
        }
        E::SpoolHasRoom => tracing::warn!("Receiving goes on"),
        E::Warning(text) => tracing::warn!("{text}"),
        _ => {}
    }
}

/// The end.
pub(crate) fn ended(report: &CloudReceiveReport, spool: &Path) {
    match report.waiting.len() {
        0 => tracing::info!("All that was received is in the store"),
        count => tracing::warn!("{count} WAL files wait in {} for the store", spool.display()),
    }
}
