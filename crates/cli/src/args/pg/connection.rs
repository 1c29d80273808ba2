//! The connection options that all of PostgreSQL's programs share.

/// `-d -h -p -U -w -W`.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct ConnectionArgs {
    /// connection string
    #[arg(short, long, value_name = "CONNSTR", allow_hyphen_values = true)]
    pub(crate) dbname: Option<String>,
    /// server host or socket directory
    #[arg(short = 'h', long, allow_hyphen_values = true)]
    pub(crate) host: Option<String>,
    /// server port
    #[arg(short, long, allow_hyphen_values = true)]
    pub(crate) port: Option<String>,
    /// user
    #[arg(short = 'U', long, allow_hyphen_values = true)]
    pub(crate) username: Option<String>,
    /// never ask for a password
    #[arg(short = 'w', long, overrides_with = "password")]
    pub(crate) no_password: bool,
    /// ask for a password before connecting
    #[arg(short = 'W', long, overrides_with = "no_password")]
    pub(crate) password: bool,
}

/// Their part of the help texts.
pub(super) const HELP: &str = "
Connection options:
  -d, --dbname=CONNSTR   connection string
  -h, --host=HOSTNAME    server host or socket directory
  -p, --port=PORT        server port
  -U, --username=NAME    user to connect as
  -w, --no-password      never ask for a password
  -W, --password         ask for a password before connecting

  -V, --version          print the version and exit
  -?, --help             print this help and exit
";
