//! What the record says about the server.

use tapster_catalog::{BackupRecord, Identity};
use tapster_protocol::Connection;

use super::BackupStepError;
use super::method::{Position, ServerState};
use crate::remote::Remote;
use crate::restore::parse_target_time;
use crate::{Context, Server};

impl Server {
    /// Fills in what the record says about the server.
    pub(super) fn describe_server(
        &self,
        record: &mut BackupRecord,
        context: &Context<'_>,
    ) -> Result<ServerState, BackupStepError> {
        let mut connection = self.connect(context.stop.clone())?;
        let major = connection.server_version().major();
        let state = describe(record, &mut connection, context)?;
        if let Some(found) = &record.systemid {
            self.settle_identity(found, major)?;
        }
        Ok(state)
    }

    /// The catalog belongs to one cluster for ever.
    fn settle_identity(&self, found: &str, major: u32) -> Result<(), BackupStepError> {
        let path = self.layout().identity();
        match Identity::load(&path)? {
            Some(stored) if stored.system_id != found => {
                Err(BackupStepError::Identity { expected: stored.system_id, found: found.to_owned() })
            }
            Some(_) => Ok(()),
            None => Ok(self.save_identity(&Identity::new(found, major.to_string()))?),
        }
    }
}

/// Fills in what the server behind `connection` says about itself.
pub(crate) fn describe(
    record: &mut BackupRecord,
    connection: &mut Connection,
    context: &Context<'_>,
) -> Result<ServerState, BackupStepError> {
    let version = connection.server_version();
    let mut remote = Remote::new(connection);
    let in_recovery = remote.in_recovery()?;
    record.version = Some(version.0);
    record.systemid = remote.system_id()?;
    record.xlog_segment_size = Some(remote.segment_size()?);
    for (name, setting) in remote.files()? {
        match name.as_str() {
            "config_file" => record.config_file = Some(setting),
            "hba_file" => record.hba_file = Some(setting),
            "ident_file" => record.ident_file = Some(setting),
            _ => record.pgdata = Some(setting),
        }
    }
    let included = remote.included_files()?;
    record.included_files = (!included.is_empty()).then_some(included);
    record.tablespaces = remote.tablespaces()?;
    record.data_checksums = Some(remote.show("data_checksums")?);
    let checked_segment_blocks =
        if record.data_checksums.as_deref() == Some("on") { remote.segment_blocks()? } else { None };
    if version.major() >= 17 {
        record.summarize_wal = Some(remote.show("summarize_wal")?);
    }
    record.cluster_size = remote.cluster_size()?;
    let lsn = remote.current_lsn()?;
    let timeline = if in_recovery { remote.checkpoint_timeline()? } else { remote.timeline()? };
    record.begin_time =
        remote.now()?.and_then(|text| parse_target_time(&text, |_| context.now().offset()).ok());
    let position = timeline.zip(lsn).map(|(timeline, lsn)| Position { timeline, lsn });
    Ok(ServerState { position, in_recovery, checked_segment_blocks })
}
