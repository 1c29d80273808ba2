//! `tapster cloud receive-wal`.

use std::time::Duration;

use tapster_manager::cloud::backup::PostgresSource;
use tapster_manager::cloud::{Acknowledge, CloudReceiveOptions, create_receive_slot, drop_receive_slot};
use tapster_protocol::SlotName;

use super::{Tool, source, stop_flag};
use crate::args::cloud::receive_wal::{AcknowledgeName, CloudReceiveWalArgs};
use crate::failure::Failure;
use crate::output::cloud_receive as output;
use crate::session::Session;

/// What errors call it.
const VERB: &str = "WAL receiver";

/// Receives until it is told to stop, or makes or drops the slot.
pub(crate) fn run(args: &CloudReceiveWalArgs, session: &Session) -> Result<(), Failure> {
    let tool = Tool { verb: VERB, args: &args.cloud, url: &args.url, server: &args.server };
    let stop = stop_flag()?;
    let mut how = args.cloud.store_options();
    how.concurrency = 1;
    tool.run_with(args.how.encrypted(how), |server| {
        let failed = |error| Failure::cloud_receive(VERB, &error);
        let source = source(&args.connection, &args.database)?;
        let slot = args.slot.as_deref().map(SlotName::new).transpose();
        let slot = slot.map_err(|error| Failure::cloud_usage(error.to_string()))?;
        if let Some(slot) = slot.as_ref().filter(|_| args.create_slot || args.drop_slot) {
            return change_slot(args, &source, slot);
        }
        let Some(spool) = &args.spool_dir else { return Ok(()) };
        let mut options = CloudReceiveOptions::new(spool);
        options.slot = slot;
        options.acknowledge = match args.acknowledge {
            AcknowledgeName::Spool => Acknowledge::Spool,
            AcknowledgeName::Store => Acknowledge::Store,
        };
        options.partial_interval =
            Some(Duration::from_secs(args.partial_interval)).filter(|time| !time.is_zero());
        options.status_interval = Duration::from_secs(args.status_interval);
        options.spool_max_size = args.spool_max_size;
        options.from_slot = args.from_slot;
        options.archive = args.how.options();
        options.archive.parallel = usize::try_from(args.parallel).unwrap_or(usize::MAX);
        options.archive.take_over = args.take_over;
        session.output.raw_line(format!("Receiving WAL into {}", server.store().url()));
        let report = server.receive_wal(&source, &options, &output::tell, &stop).map_err(failed)?;
        output::ended(&report, spool);
        Ok(())
    })
}

fn change_slot(args: &CloudReceiveWalArgs, source: &PostgresSource, slot: &SlotName) -> Result<(), Failure> {
    let failed = |error| Failure::cloud_receive(VERB, &error);
    if args.drop_slot {
        if drop_receive_slot(source, slot).map_err(failed)? {
            return Ok(());
        }
        return Err(Failure::cloud_operation(format!("replication slot '{slot}' does not exist")));
    }
    if create_receive_slot(source, slot).map_err(failed)? || args.if_not_exists {
        return Ok(());
    }
    Err(Failure::cloud_operation(format!("replication slot '{slot}' exists already")))
}
