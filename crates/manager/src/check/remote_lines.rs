//! The lines that need the PostgreSQL server.

use tapster_protocol::{Connection, Mode, QueryError};

use super::CheckReport;
use super::streaming::{Answer, Streaming};
use crate::config::BackupMethod;
use crate::remote::Remote;
use crate::{Context, Server};

/// Runs `query` over a new connection and keeps nothing of a failure but that it happened.
fn ask<T>(
    server: &Server,
    context: &Context<'_>,
    query: impl FnOnce(&mut Remote<'_>) -> Result<T, QueryError>,
) -> Option<T> {
    let mut connection = server.connect(context.stop.clone()).ok()?;
    query(&mut Remote::new(&mut connection)).ok()
}

fn check_wal_level(report: &mut CheckReport, line: &str, remote: &mut Remote<'_>) -> Result<(), QueryError> {
    if remote.show("wal_level")? == "minimal" {
        report.failed(line, "please set it to a higher level than 'minimal'");
    } else {
        report.ok(line);
    }
    Ok(())
}

impl Server {
    pub(super) fn check_postgres(
        &self,
        report: &mut CheckReport,
        context: &Context<'_>,
        streaming: &Streaming,
    ) {
        if !self.asks_postgres() {
            return;
        }
        let mut connection = match self.connect(context.stop.clone()) {
            Ok(connection) => connection,
            Err(error) => {
                let conninfo = self.config.conninfo.as_deref();
                report.failed("PostgreSQL", self.in_words_of_libpq(&error, conninfo));
                if self.has_own_wal_host() {
                    self.check_wal_host(report, context);
                } else if self.config.slot_name.is_some() && self.config.streaming_archiver {
                    report.failed("replication slot", "unknown: PostgreSQL cannot be reached");
                }
                return;
            }
        };
        report.ok("PostgreSQL");
        let result = self.check_connected(report, &mut connection, context, streaming);
        if let Err(error) = result {
            report.failed("PostgreSQL", error.to_string());
        }
        if self.has_own_wal_host() {
            self.check_wal_host(report, context);
        }
    }

    /// Barman does not ask the server of one that is off, or of which it only has copies.
    pub(super) const fn asks_postgres(&self) -> bool {
        self.config.active && !self.config.is_passive()
    }

    fn check_connected(
        &self,
        report: &mut CheckReport,
        connection: &mut Connection,
        context: &Context<'_>,
        streaming: &Streaming,
    ) -> Result<(), QueryError> {
        let mut remote = Remote::new(connection);
        if remote.has_backup_privileges()? {
            report.ok("superuser or standard user with backup privileges");
        } else {
            report.failed(
                "no access to backup functions",
                "privileges for PostgreSQL backup functions are required (see documentation)",
            );
        }
        if self.streams() {
            match streaming.ask(self, context) {
                Answer::Identity(_) => report.ok("PostgreSQL streaming"),
                Answer::Silent(error) | Answer::Unusable(error) => {
                    report.failed("PostgreSQL streaming", error);
                }
            }
        }
        check_wal_level(report, "wal_level", &mut remote)?;
        if let Some(primary) = &self.config.primary_conninfo {
            self.check_standby(report, primary, &mut remote, context)?;
        }
        if self.has_own_wal_host() {
            return Ok(());
        }
        self.check_slot(report, "replication slot", &mut remote)
    }

    /// The lines of the server that WAL comes from, when that is not the one of `conninfo`.
    fn check_wal_host(&self, report: &mut CheckReport, context: &Context<'_>) {
        let connection = self.connect_wal_host(context.stop.clone());
        let mut normal = None;
        let denied = "no access to monitoring functions";
        let asked = connection.map_err(|error| error.to_string()).and_then(|mut connection| {
            let privileges = Remote::new(&mut connection).has_monitoring_privileges();
            privileges.map(|privileges| (connection, privileges)).map_err(|error| error.to_string())
        });
        let connection = match asked {
            Ok((connection, true)) => {
                report.ok("has monitoring privileges (WAL streaming)");
                Some(connection)
            }
            Ok((connection, false)) => {
                let hint = "privileges for PostgreSQL monitoring functions are required (see documentation)";
                report.failed(denied, hint);
                Some(connection)
            }
            Err(error) => {
                report.failed(denied, error);
                None
            }
        };
        let line = "PostgreSQL streaming (WAL streaming)";
        let application = &self.config.streaming_archiver_name;
        let streaming = self.connect_wal_streaming(application, context.stop.clone());
        let (_, conninfo) = self.wal_streaming_conninfo();
        let identified = streaming
            .map_err(|error| self.in_words_of_libpq(&error, conninfo))
            .and_then(|mut streaming| streaming.identify_system().map_err(|error| error.to_string()));
        match &identified {
            Ok(_) => report.ok(line),
            Err(error) => report.failed(line, error),
        }
        let mut connection = connection;
        if let Some(connection) = &mut connection {
            let mut remote = Remote::new(connection);
            if let Err(error) = check_wal_level(report, "wal_level (WAL streaming)", &mut remote) {
                report.failed("wal_level (WAL streaming)", error.to_string());
            }
            normal = remote.system_id().ok().flatten();
        }
        let streaming = identified.ok().map(|identity| identity.system_id.to_string());
        self.compare_systems(report, "systemid coherence (WAL streaming)", normal, streaming);
        let line = "replication slot (WAL streaming)";
        match &mut connection {
            Some(connection) => {
                if let Err(error) = self.check_slot(report, line, &mut Remote::new(connection)) {
                    report.failed(line, error.to_string());
                }
            }
            None if self.config.slot_name.is_some() && self.config.streaming_archiver => {
                report.failed(line, "unknown: PostgreSQL cannot be reached");
            }
            None => {}
        }
    }

    /// Whether the connection for replication is used at all.
    fn streams(&self) -> bool {
        self.config.streaming_archiver || self.config.backup_method == BackupMethod::Postgres
    }

    /// The server is a standby of the one of `primary_conninfo`.
    fn check_standby(
        &self,
        report: &mut CheckReport,
        primary: &str,
        standby: &mut Remote<'_>,
        context: &Context<'_>,
    ) -> Result<(), QueryError> {
        let line = "PostgreSQL server is standby";
        if standby.in_recovery()? {
            report.ok(line);
        } else {
            report.failed(line, "conninfo should point to a standby server if primary_conninfo is set");
            return Ok(());
        }
        let own = standby.system_id()?;
        let stop = context.stop.clone();
        let asked = self
            .connect_with("primary_conninfo", Some(primary), "barman", Mode::Sql, stop)
            .map_err(|error| error.to_string())
            .and_then(|mut connection| {
                let mut remote = Remote::new(&mut connection);
                let both = remote.in_recovery().and_then(|standby| Ok((standby, remote.system_id()?)));
                both.map_err(|error| error.to_string())
            });
        let line = "Primary server is not a standby";
        let theirs = match asked {
            Ok((false, id)) => {
                report.ok(line);
                id
            }
            Ok((true, id)) => {
                report.failed(line, "primary_conninfo should point to a primary server, not a standby");
                id
            }
            Err(error) => {
                report.failed(line, error);
                None
            }
        };
        let line = "Primary and standby have same system ID";
        if own == theirs {
            report.ok(line);
        } else {
            report.failed(
                line,
                "primary_conninfo and conninfo should point to primary and standby servers which share the same system \
                 identifier",
            );
        }
        Ok(())
    }

    fn check_slot(
        &self,
        report: &mut CheckReport,
        line: &str,
        remote: &mut Remote<'_>,
    ) -> Result<(), QueryError> {
        let Some(name) = &self.config.slot_name else { return Ok(()) };
        let slot = remote.slot(name)?;
        if !self.config.streaming_archiver {
            if let Some(slot) = slot.filter(|slot| slot.restart_lsn.is_some()) {
                let state = if slot.active { "active" } else { "initialised" };
                let hint =
                    format!("WARNING: slot '{name}' is {state} but not required by the current config");
                report.push(line, true, Some(hint));
            }
            return Ok(());
        }
        match slot {
            None => report.failed(
                line,
                format!(
                    "replication slot '{name}' doesn't exist. Please execute 'barman receive-wal --create-slot {}'",
                    self.name()
                ),
            ),
            Some(slot) if slot.is_lost() && !slot.active => report.failed(
                line,
                format!(
                    "slot '{name}' lost WAL it was to keep: please execute 'barman receive-wal --drop-slot {server}' and \
                     'barman receive-wal --create-slot {server}', then see what 'barman receive-wal {server}' says",
                    server = self.name()
                ),
            ),
            Some(slot) if slot.restart_lsn.is_none() => {
                report.failed(line, format!("slot '{name}' not initialised: is 'receive-wal' running?"));
            }
            Some(slot) if !slot.active => {
                report.failed(line, format!("slot '{name}' not active: is 'receive-wal' running?"));
            }
            Some(_) => report.ok(line),
        }
        Ok(())
    }

    pub(super) fn check_identity(
        &self,
        report: &mut CheckReport,
        context: &Context<'_>,
        streaming: &Streaming,
    ) {
        let line = "systemid coherence";
        if !self.asks_postgres() {
            return self.compare_systems(report, line, None, None);
        }
        let normal = ask(self, context, |remote| remote.system_id()).flatten();
        let streaming = match self.streams().then(|| streaming.ask(self, context)) {
            Some(Answer::Identity(identity)) => Some(identity.system_id.to_string()),
            _ => None,
        };
        self.compare_systems(report, line, normal, streaming);
    }

    /// Whether both connections lead to one cluster, and to the one the catalog belongs to.
    fn compare_systems(
        &self,
        report: &mut CheckReport,
        line: &str,
        normal: Option<String>,
        streaming: Option<String>,
    ) {
        let stored = tapster_catalog::Identity::load(&self.layout().identity());
        let Some(found) = normal.clone().or_else(|| streaming.clone()) else {
            report.push(line, true, Some("no system Id available".to_owned()));
            return;
        };
        if normal.is_some() && streaming.is_some() && normal != streaming {
            report.failed(
                line,
                "is the streaming DSN targeting the same server of the PostgreSQL connection string?",
            );
            return;
        }
        match stored {
            Err(error) => report.failed(line, error.to_string()),
            Ok(None) => drop(report.push(line, true, Some("no system Id stored on disk".to_owned()))),
            Ok(Some(identity)) if identity.system_id == found => report.ok(line),
            Ok(Some(identity)) => report.failed(
                line,
                format!(
                    "the system Id of the connected PostgreSQL server changed, stored in \"{}\": {}, now {found}",
                    self.layout().identity().display(),
                    identity.system_id
                ),
            ),
        }
    }

    pub(super) fn check_archivers(
        &self,
        report: &mut CheckReport,
        context: &Context<'_>,
        streaming: &Streaming,
    ) {
        if self.asks_postgres() && self.config.streaming_archiver {
            // Barman's names; Tapster brings its own receiver, which is always there.
            report.ok("pg_receivexlog");
            streaming.compatible(report, "pg_receivexlog", self, context);
            self.check_receiver(report);
        }
        if self.asks_postgres() && self.config.archiver {
            let asked = ask(self, context, |remote| {
                Ok((remote.show("archive_mode")?, remote.show("archive_command")?, remote.archiver()?))
            });
            if let Some((mode, command, archiver)) = asked {
                if mode == "on" || mode == "always" {
                    report.ok("archive_mode");
                } else {
                    report.failed("archive_mode", "please set it to 'on' or 'always'");
                }
                if command.is_empty() || command == "(disabled)" {
                    report.failed("archive_command", "please set it accordingly to documentation");
                } else {
                    report.ok("archive_command");
                    // Unlike Barman's, it fails also where nothing but failures was seen.
                    if let Some(is_archiving) = archiver.is_archiving {
                        report.push("continuous archiving", is_archiving, None);
                    }
                }
            }
        }
        self.check_errors_directory(report);
    }
}
