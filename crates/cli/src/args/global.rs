//! Options before the command.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Parser;

use crate::output::{ColourChoice, Format};

/// Back up and recover PostgreSQL servers.
#[derive(Clone, Debug, Default, Parser)]
pub(crate) struct GlobalArgs {
    /// show the program's version and exit
    #[arg(short, long, action = clap::ArgAction::Version)]
    version: Option<bool>,
    /// configuration file (default: the first of /etc/tapster.conf, ~/.barman.conf, /etc/barman.conf,
    /// /etc/barman/barman.conf)
    #[arg(short, long)]
    pub(crate) config: Option<PathBuf>,
    /// when to colour the output
    #[arg(long, alias = "colour", value_enum, default_value = "auto")]
    pub(crate) color: ColourChoice,
    /// log messages from this level on, whatever the configuration says
    #[arg(long, value_parser = ["NOTSET", "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"])]
    pub(crate) log_level: Option<String>,
    /// print no informational lines
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// print debug messages
    #[arg(short, long)]
    pub(crate) debug: bool,
    /// output format
    #[arg(short, long, value_enum, default_value = "console")]
    pub(crate) format: Format,
    /// The command and what belongs to it, not looked at yet.
    #[arg(hide = true, trailing_var_arg = true)]
    pub(crate) rest: Vec<OsString>,
}
