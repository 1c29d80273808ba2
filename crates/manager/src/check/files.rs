//! The lines about the way to the server's files.

use std::fs::File;
use std::path::Path;

use tapster_copy::rsync::{RsyncError, SSH_OPTIONS};

use super::CheckReport;
use crate::probe;
use crate::remote::Remote;
use crate::{Context, Server};

impl Server {
    /// Unlike Barman's line of this name, it can fail.
    pub(super) fn check_local_files(&self, report: &mut CheckReport, context: &Context<'_>) {
        let line = "local PGDATA";
        // Without a connection nobody knows the directory, and another line says why.
        let Ok(mut connection) = self.connect(context.stop.clone()) else { return };
        let pgdata = match Remote::new(&mut connection).show("data_directory") {
            Ok(pgdata) => pgdata,
            Err(error) => return report.failed(line, error.to_string()),
        };
        let control = Path::new(&pgdata).join("global/pg_control");
        match File::open(&control) {
            Ok(_) => {
                report.push(line, true, Some("Access to local PGDATA".to_owned()));
            }
            Err(error) => report.failed(line, format!("cannot read '{}': {error}", control.display())),
        }
    }

    /// Returns the words of the ssh command when it leads somewhere.
    pub(super) fn check_ssh(&self, report: &mut CheckReport, context: &Context<'_>) -> Option<Vec<String>> {
        let (key, command, whom) = match &self.config.primary_ssh_command {
            Some(command) => ("primary_ssh_command", Some(command), "Barman primary node"),
            None => ("ssh_command", self.config.ssh_command.as_ref(), "PostgreSQL server"),
        };
        let command = command.map(String::as_str).unwrap_or_default();
        let Some(words) = shlex::split(command).filter(|words| !words.is_empty()) else {
            report.failed("ssh", format!("{key} is not set, or has an open quote"));
            return None;
        };
        match tapster_copy::rsync::try_ssh(&words, &context.stop) {
            Ok(said) => {
                report.push("ssh", true, Some(whom.to_owned()));
                if said.is_some() {
                    report.failed(
                        "ssh output clean",
                        "the configured ssh_command must not add anything to the remote command output",
                    );
                }
                Some(words)
            }
            Err(error @ RsyncError::Ssh { status, .. }) if status.code().is_some() => {
                let code = status.code().unwrap_or_default();
                let hint =
                    format!("Connection failed using '{command} {SSH_OPTIONS}' return code {code}: {error}");
                report.failed("ssh", hint);
                None
            }
            Err(error) => {
                report.failed("ssh", error.to_string());
                None
            }
        }
    }

    /// Whether there is such a file at the other end of `ssh`; no answer is none.
    pub(super) fn exists_there(&self, ssh: &[String], path: &Path, context: &Context<'_>) -> bool {
        let Some(quoted) = path.to_str().and_then(|path| shlex::try_quote(path).ok()) else { return false };
        let words = ssh.iter().cloned().chain(SSH_OPTIONS.split(' ').map(str::to_owned));
        let script = format!("test -e {quoted} && echo it is there");
        probe::ask_host(&words.collect::<Vec<_>>(), &script, &context.stop)
            .is_some_and(|said| said.lines().any(|line| line == "it is there"))
    }
}
