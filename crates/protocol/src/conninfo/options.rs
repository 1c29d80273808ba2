//! A connection string completed and checked: what [`Connection::connect`](crate::Connection::connect) takes.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::keyvalue::is_space;
use super::keyword::KEYWORDS;
use super::passfile::ConnectWarning;
use super::{
    ChannelBinding, ConnInfo, ConnInfoError, Environment, GssEncMode, Host, Keepalives, LoadBalanceHosts,
    Passfile, Password, Replication, RequireAuth, SslSettings, TargetSessionAttrs, hosts, service,
};

/// The database name that a password file uses for physical replication.
const REPLICATION_DATABASE: &str = "replication";

/// Everything needed to open a connection. Holds secrets: `Debug` shows none.
#[derive(Clone)]
pub struct ConnectOptions {
    hosts: Vec<Host>,
    user: String,
    dbname: String,
    password: Option<Password>,
    passfile: Passfile,
    default_socket: PathBuf,
    application_name: Option<String>,
    options: Option<String>,
    client_encoding: Option<String>,
    connect_timeout: Option<Duration>,
    tcp_user_timeout: Option<Duration>,
    keepalives: Keepalives,
    ssl: SslSettings,
    channel_binding: ChannelBinding,
    require_auth: RequireAuth,
    require_peer: Option<String>,
    target_session_attrs: TargetSessionAttrs,
    load_balance_hosts: LoadBalanceHosts,
    replication: Replication,
    warnings: Vec<ConnectWarning>,
}

impl ConnectOptions {
    /// Completes a connection string as libpq does: its service file, then `PG*` variables, then defaults, then the
    /// password file. Reads those two files and nothing else.
    ///
    /// # Errors
    /// A service that cannot be found, or values that libpq refuses when it connects.
    pub fn resolve(conninfo: &ConnInfo, environment: &Environment) -> Result<Self, ConnInfoError> {
        let mut completed = conninfo.clone();
        service::apply(&mut completed, environment)?;
        apply_variables(&mut completed, environment)?;
        let values = Values { conninfo: &completed };

        let default_socket = environment.socket_directory.clone();
        let [host, hostaddr, port] =
            ["host", "hostaddr", "port"].map(|name| values.get(name).unwrap_or_default());
        let user = values.nonempty("user").map(str::to_owned).or_else(|| environment.os_user.clone());
        let user = user.ok_or(ConnInfoError::NoUser)?;
        for keyword in ["scram_client_key", "scram_server_key"] {
            if values.nonempty(keyword).is_some() {
                return Err(ConnInfoError::Unsupported { keyword, value: super::MASK.to_owned() });
            }
        }
        if values.choice("gssencmode", GssEncMode::from_value)? == GssEncMode::Require {
            return Err(ConnInfoError::Unsupported { keyword: "gssencmode", value: "require".to_owned() });
        }

        let password = values.nonempty("password").map(Password::new);
        let mut warnings = Vec::new();
        let mut passfile = Passfile::default();
        let passfile_path =
            values.nonempty("passfile").map(PathBuf::from).or_else(|| environment.home_file(".pgpass"));
        if let (None, Some(path)) = (&password, passfile_path) {
            match Passfile::read(&path) {
                Ok(read) => passfile = read,
                Err(ignored) => warnings.push(ConnectWarning::passfile(path, ignored)),
            }
        }

        let count = |keyword| Ok(values.integer(keyword)?.map(|value| u32::try_from(value).unwrap_or(0)));
        Ok(Self {
            hosts: hosts::parse(host, hostaddr, port, &default_socket)?,
            dbname: values.nonempty("dbname").unwrap_or(&user).to_owned(),
            user,
            password,
            passfile,
            default_socket,
            application_name: values
                .nonempty("application_name")
                .or_else(|| values.nonempty("fallback_application_name"))
                .map(str::to_owned),
            options: values.nonempty("options").map(str::to_owned),
            client_encoding: values.nonempty("client_encoding").map(str::to_owned),
            connect_timeout: positive(values.integer("connect_timeout")?).map(Duration::from_secs),
            tcp_user_timeout: positive(values.integer("tcp_user_timeout")?).map(Duration::from_millis),
            keepalives: Keepalives {
                enabled: values.integer("keepalives")?.is_none_or(|value| value != 0),
                idle: count("keepalives_idle")?.filter(|value| *value > 0),
                interval: count("keepalives_interval")?.filter(|value| *value > 0),
                count: count("keepalives_count")?.filter(|value| *value > 0),
            },
            ssl: SslSettings::resolve(&values, environment)?,
            channel_binding: values.choice("channel_binding", ChannelBinding::from_value)?,
            require_auth: RequireAuth::parse(values.get("require_auth").unwrap_or_default())?,
            require_peer: values.nonempty("requirepeer").map(str::to_owned),
            target_session_attrs: values.choice("target_session_attrs", TargetSessionAttrs::from_value)?,
            load_balance_hosts: values.choice("load_balance_hosts", LoadBalanceHosts::from_value)?,
            replication: Replication::from_value(values.get("replication").unwrap_or_default())?,
            warnings,
        })
    }

    /// The servers, in the order given; never empty.
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// The indexes of [`hosts`](Self::hosts) in the order to try them. With `load_balance_hosts=random` the seed
    /// decides (Fisher-Yates over xorshift); otherwise it is not looked at.
    pub fn connection_order(&self, seed: u64) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.hosts.len()).collect();
        if self.load_balance_hosts == LoadBalanceHosts::Random {
            let mut state = seed | 1;
            for last in (1..order.len()).rev() {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                let bound = u64::try_from(last).unwrap_or(u64::MAX).saturating_add(1);
                order.swap(last, usize::try_from(state % bound).unwrap_or(0));
            }
        }
        order
    }

    /// `user`.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// `dbname`, by default the user.
    pub fn dbname(&self) -> &str {
        &self.dbname
    }

    /// The password for one host: the one given, or the first match in the password file. A physical replication
    /// connection looks for the database `replication` there.
    pub fn password(&self, host: &Host, physical_replication: bool) -> Option<Password> {
        if self.password.is_some() {
            return self.password.clone();
        }
        let database = if physical_replication { REPLICATION_DATABASE } else { &self.dbname };
        let port = host.port.to_string();
        self.passfile.find(&host.passfile_name(&self.default_socket), &port, database, &self.user)
    }

    /// `application_name`, else `fallback_application_name`.
    pub fn application_name(&self) -> Option<&str> {
        self.application_name.as_deref()
    }

    /// Sets the application's name where neither the connection string nor `PGAPPNAME` gave one.
    #[must_use]
    pub fn with_fallback_application_name(mut self, name: &str) -> Self {
        self.application_name.get_or_insert_with(|| name.to_owned());
        self
    }

    /// Replaces the database.
    #[must_use]
    pub fn with_dbname(mut self, dbname: impl Into<String>) -> Self {
        self.dbname = dbname.into();
        self
    }

    /// `options`, sent to the server as it is.
    pub fn options(&self) -> Option<&str> {
        self.options.as_deref()
    }

    /// `client_encoding` as written (`auto` means the locale's).
    pub fn client_encoding(&self) -> Option<&str> {
        self.client_encoding.as_deref()
    }

    /// `connect_timeout` for each address; `None` waits for ever.
    pub fn connect_timeout(&self) -> Option<Duration> {
        self.connect_timeout
    }

    /// `tcp_user_timeout`; `None` is the system's default.
    pub fn tcp_user_timeout(&self) -> Option<Duration> {
        self.tcp_user_timeout
    }

    /// TCP keepalives.
    pub fn keepalives(&self) -> Keepalives {
        self.keepalives
    }

    /// The `ssl*` options.
    pub fn ssl(&self) -> &SslSettings {
        &self.ssl
    }

    /// `channel_binding`.
    pub fn channel_binding(&self) -> ChannelBinding {
        self.channel_binding
    }

    /// `require_auth`.
    pub fn require_auth(&self) -> &RequireAuth {
        &self.require_auth
    }

    /// `requirepeer`: the operating-system user that must own a Unix socket's server.
    pub fn require_peer(&self) -> Option<&str> {
        self.require_peer.as_deref()
    }

    /// `target_session_attrs`.
    pub fn target_session_attrs(&self) -> TargetSessionAttrs {
        self.target_session_attrs
    }

    /// `load_balance_hosts`.
    pub fn load_balance_hosts(&self) -> LoadBalanceHosts {
        self.load_balance_hosts
    }

    /// `replication` as written; the mode given to `connect` decides.
    pub fn replication(&self) -> Replication {
        self.replication
    }

    /// What the user should hear of although the connection can go on.
    pub fn warnings(&self) -> &[ConnectWarning] {
        &self.warnings
    }
}

impl fmt::Debug for ConnectOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectOptions")
            .field("hosts", &self.hosts)
            .field("user", &self.user)
            .field("dbname", &self.dbname)
            .field("ssl", &self.ssl)
            .finish_non_exhaustive()
    }
}

fn apply_variables(conninfo: &mut ConnInfo, environment: &Environment) -> Result<(), ConnInfoError> {
    for keyword in KEYWORDS {
        if conninfo.get(keyword.name).is_some() {
            continue;
        }
        if let Some(value) = keyword.variable.and_then(|name| environment.variable(name)) {
            conninfo.set(keyword.name, value)?;
        } else if keyword.name == "sslmode"
            && environment.variable("PGREQUIRESSL").is_some_and(|value| value.starts_with('1'))
        {
            conninfo.set("sslmode", "require")?;
        }
    }
    Ok(())
}

/// Completed values. libpq takes an empty text or list as absent, but an empty word or number as wrong.
pub(super) struct Values<'a> {
    conninfo: &'a ConnInfo,
}

impl<'a> Values<'a> {
    pub(super) fn get(&self, keyword: &str) -> Option<&'a str> {
        self.conninfo.get(keyword)
    }

    pub(super) fn nonempty(&self, keyword: &str) -> Option<&'a str> {
        self.get(keyword).filter(|value| !value.is_empty())
    }

    pub(super) fn choice<T: Default>(
        &self,
        keyword: &str,
        parse: impl Fn(&str) -> Result<T, ConnInfoError>,
    ) -> Result<T, ConnInfoError> {
        self.get(keyword).map_or_else(|| Ok(T::default()), parse)
    }

    fn integer(&self, keyword: &'static str) -> Result<Option<i32>, ConnInfoError> {
        self.get(keyword).map(|value| parse_integer(keyword, value)).transpose()
    }
}

/// `strtol` as libpq's `parse_int_param` uses it: blanks around, one sign, decimal digits, range of a C int.
pub(super) fn parse_integer(keyword: &'static str, value: &str) -> Result<i32, ConnInfoError> {
    value
        .trim_matches(is_space)
        .parse()
        .map_err(|_| ConnInfoError::InvalidInteger { keyword, value: value.to_owned() })
}

fn positive(value: Option<i32>) -> Option<u64> {
    value.and_then(|value| u64::try_from(value).ok()).filter(|value| *value > 0)
}
