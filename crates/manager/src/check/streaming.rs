//! What the replication connection answers, asked once for all lines that depend on it.

use std::cell::OnceCell;

use tapster_protocol::SystemIdentity;

use super::CheckReport;
use crate::server::ServerConnectError;
use crate::tools::connect_text;
use crate::{Context, Server};

/// The answer, or why there is none.
#[derive(Debug)]
pub(super) enum Answer {
    Identity(SystemIdentity),
    /// No connection, or none that replicates.
    Silent(String),
    /// There is no usable connection string.
    Unusable(String),
}

impl Server {
    /// Why there is no connection to `conninfo`, as the first line of libpq's message has it, which is what Barman shows.
    pub(super) fn in_words_of_libpq(&self, error: &ServerConnectError, conninfo: Option<&str>) -> String {
        let options = self.options("conninfo", conninfo, "barman");
        match (error, options) {
            (ServerConnectError::Connect(error), Ok(options)) => {
                connect_text(error, &options).lines().next().unwrap_or_default().to_owned()
            }
            _ => error.to_string(),
        }
    }
}

/// The answer, once somebody has asked.
#[derive(Debug, Default)]
pub(super) struct Streaming(OnceCell<Answer>);

impl Streaming {
    pub(super) fn ask(&self, server: &Server, context: &Context<'_>) -> &Answer {
        self.0.get_or_init(|| {
            let application = &server.config.streaming_backup_name;
            match server.connect_streaming(application, context.stop.clone()) {
                Ok(mut connection) => match connection.identify_system() {
                    Ok(identity) => Answer::Identity(identity),
                    Err(error) => Answer::Silent(error.to_string()),
                },
                Err(error @ ServerConnectError::Connect(_)) => {
                    let conninfo = server.config.streaming_conninfo.as_deref();
                    Answer::Silent(server.in_words_of_libpq(&error, conninfo))
                }
                Err(error) => Answer::Unusable(error.to_string()),
            }
        })
    }

    /// The line of one of PostgreSQL's programs that Barman needs. Here its work is built in; whether it suits the server cannot be
    /// told while that does not say its version.
    pub(super) fn compatible(
        &self,
        report: &mut CheckReport,
        program: &str,
        server: &Server,
        context: &Context<'_>,
    ) {
        let line = format!("{program} compatible");
        let version = match self.ask(server, context) {
            Answer::Identity(_) => return report.ok(line),
            Answer::Silent(_) => "None",
            Answer::Unusable(_) => "Unknown",
        };
        report.failed(line, format!("PostgreSQL version: {version}, {program} version: built in"));
    }
}
