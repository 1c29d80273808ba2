//! What `basebackup` and `receivewal` share: the connection of PostgreSQL's programs, their log lines, and asking for a password.

use std::fs::File;
use std::io::{BufRead as _, BufReader, IsTerminal as _, Write as _};

use rustix::fs::Mode;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use tapster_manager::tools::NO_PASSWORD;
use tapster_protocol::{ConnInfo, ConnInfoError, ConnectError, ConnectOptions, Environment, SlotName};

use crate::args::pg::connection::ConnectionArgs;
use crate::failure::Failure;
use crate::session::Session;

/// One of the tools: its name, its connection, its voice.
#[derive(Debug)]
pub(crate) struct Tool<'a> {
    session: &'a Session,
    name: String,
    args: &'a ConnectionArgs,
    conninfo: ConnInfo,
    environment: Environment,
    application: &'static str,
}

impl<'a> Tool<'a> {
    /// `original` is PostgreSQL's program, whose name the server sees: `synchronous_standby_names` may hold it.
    pub(crate) fn new(
        session: &'a Session,
        command: &str,
        original: &'static str,
        args: &'a ConnectionArgs,
    ) -> Result<Self, Failure> {
        // Modes are given explicitly; the group may read what it may read on the server, others nothing.
        rustix::process::umask(Mode::from_raw_mode(0o027));
        session.watch_signals()?;
        let mut tool = Self {
            session,
            name: format!("{} {command}", session.program.name()),
            args,
            conninfo: ConnInfo::new(),
            environment: Environment::from_process(),
            application: original,
        };
        match tool.read_conninfo() {
            Ok(conninfo) => tool.conninfo = conninfo,
            Err(error) => return Err(tool.fail(&error.to_string())),
        }
        if args.password {
            tool.ask_password();
        }
        Ok(tool)
    }

    fn read_conninfo(&self) -> Result<ConnInfo, ConnInfoError> {
        let mut conninfo = ConnInfo::parse(self.args.dbname.as_deref().unwrap_or_default())?;
        let given = [("host", &self.args.host), ("port", &self.args.port), ("user", &self.args.username)];
        for (keyword, value) in given {
            if let Some(value) = value {
                conninfo.set(keyword, value.as_str())?;
            }
        }
        Ok(conninfo)
    }

    /// The connection, completed.
    pub(crate) fn options(&self) -> Result<ConnectOptions, Failure> {
        ConnectOptions::resolve(&self.conninfo, &self.environment)
            .map(|options| options.with_fallback_application_name(self.application))
            .map_err(|error| self.fail(&error.to_string()))
    }

    /// What `-R` writes.
    pub(crate) fn primary_conninfo(&self) -> String {
        tapster_manager::tools::recovery_settings::primary_conninfo(&self.conninfo, &self.environment)
    }

    /// Checks the name of a slot.
    pub(crate) fn slot(&self, name: &str) -> Result<SlotName, Failure> {
        SlotName::new(name).map_err(|error| self.fail(&error.to_string()))
    }

    /// `NAME: text` on stderr.
    pub(crate) fn info(&self, text: &str) {
        self.session.output.raw_error_line(format!("{}: {text}", self.name));
    }

    /// `NAME: error: text` on stderr.
    pub(crate) fn error(&self, text: &str) {
        self.info(&format!("error: {text}"));
    }

    /// The same, as the end of the program.
    pub(crate) fn fail(&self, text: &str) -> Failure {
        self.error(text);
        Failure::reported(1)
    }

    /// Whether a password is all that is missing, and there is somebody to ask.
    pub(crate) fn may_ask(&self, error: &ConnectError) -> bool {
        let missing =
            matches!(error, ConnectError::Authentication { reason, .. } if reason.contains(NO_PASSWORD));
        missing && !self.args.no_password && !self.args.password && std::io::stdin().is_terminal()
    }

    /// Asks for the password on the terminal.
    pub(crate) fn ask_password(&mut self) {
        // A value with a zero byte cannot be typed.
        let _ = self.conninfo.set("password", prompt("Password: "));
    }
}

/// Reads a line without showing it; from stdin when there is no terminal, as `simple_prompt` does.
fn prompt(text: &str) -> String {
    let mut line = String::new();
    let Ok(terminal) = File::options().read(true).write(true).open("/dev/tty") else {
        let _ = std::io::stdin().lock().read_line(&mut line);
        return line.trim_end_matches(['\r', '\n']).to_owned();
    };
    let saved = tcgetattr(&terminal).ok();
    if let Some(mut silent) = saved.clone() {
        silent.local_modes -= LocalModes::ECHO;
        let _ = tcsetattr(&terminal, OptionalActions::Flush, &silent);
    }
    let _ = (&terminal).write_all(text.as_bytes());
    let _ = BufReader::new(&terminal).read_line(&mut line);
    if let Some(saved) = saved {
        let _ = tcsetattr(&terminal, OptionalActions::Flush, &saved);
    }
    let _ = (&terminal).write_all(b"\n");
    line.trim_end_matches(['\r', '\n']).to_owned()
}
