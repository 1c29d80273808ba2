//! Which servers a command works with: `all`, unknown, inactive, disabled and passive ones.

use tapster_manager::Server;
use tapster_manager::config::ServerConfig;

use super::Setup;
use crate::failure::Failure;

/// What a command does with a server whose configuration is wrong.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Disabled {
    /// It works all the same.
    Allowed,
    /// Its first problem is the error.
    Refused,
}

/// How a command chooses servers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// Whether it works with inactive servers.
    pub(crate) inactive: bool,
    /// Whether it works with passive ones.
    pub(crate) passive: bool,
    /// What it does with disabled ones.
    pub(crate) disabled: Disabled,
}

impl Rules {
    /// Commands that only look.
    pub(crate) const LOOK: Self = Self { inactive: true, passive: true, disabled: Disabled::Allowed };
    /// Commands that take from or remove from the catalog.
    pub(crate) const CATALOG: Self = Self { inactive: true, passive: true, disabled: Disabled::Refused };
    /// Commands that bring something in.
    pub(crate) const ACTIVE: Self = Self { inactive: false, passive: true, disabled: Disabled::Refused };
    /// Commands that only the node with the connection to PostgreSQL can do.
    pub(crate) const PRIMARY: Self = Self { inactive: false, passive: false, disabled: Disabled::Refused };
}

impl Setup<'_> {
    /// The server of a command that takes one; `None` when there is nothing to do, which was said then.
    ///
    /// # Errors
    /// It is unknown, `all`, or disabled.
    pub(crate) fn server(&self, name: &str, rules: Rules) -> Result<Option<Server>, Failure> {
        if name == "all" {
            return Err(Failure::user("You cannot use 'all' in a single server context"));
        }
        let server = self.config.servers.get(name).ok_or_else(|| unknown(name))?;
        self.admit(server, rules)
    }

    /// Like [`Self::server`], but nothing to do is an error: for commands that allow every server that is not disabled.
    ///
    /// # Errors
    /// As [`Self::server`].
    pub(crate) fn one(&self, name: &str, rules: Rules) -> Result<Server, Failure> {
        self.server(name, rules)?.ok_or_else(|| Failure::reported(0))
    }

    /// The servers of a command that takes several, sorted by name. What is wrong with one of them is printed and does
    /// not keep the command from the others.
    pub(crate) fn servers(&self, names: &[String], rules: Rules) -> impl Iterator<Item = Server> {
        let output = &self.session.output;
        let all = names.iter().any(|name| name == "all");
        if all && names.len() > 1 {
            output.error("You cannot use 'all' with other server names");
        }
        let mut wanted: Vec<String> =
            if all { self.config.servers.keys().cloned().collect() } else { names.to_vec() };
        wanted.sort_unstable();
        wanted.dedup();
        // Lazily, so that what is wrong with a server stands where its output would.
        wanted.into_iter().filter_map(move |name| {
            let server = self.config.servers.get(&name).ok_or_else(|| unknown(&name));
            server.and_then(|server| self.admit(server, rules)).unwrap_or_else(|failure| {
                output.error(failure.text());
                None
            })
        })
    }

    /// All servers, whatever their state.
    pub(crate) fn all_servers(&self) -> impl Iterator<Item = &ServerConfig> {
        self.config.servers.values().inspect(|server| {
            for warning in &server.warnings {
                self.show_warning(warning);
            }
        })
    }

    /// All servers `cron` works for, sorted by name; the others are named and passed over.
    pub(crate) fn working_servers(&self) -> impl Iterator<Item = Server> {
        let output = &self.session.output;
        self.config.servers.values().filter_map(move |server| {
            if server.active && server.disabled {
                output.info(format!("Skipping temporarily disabled server '{}'", server.name));
                return None;
            }
            let rules = Rules { inactive: false, passive: true, disabled: Disabled::Refused };
            self.admit(server, rules).unwrap_or_else(|failure| {
                output.failure(&failure);
                None
            })
        })
    }

    fn admit(&self, server: &ServerConfig, rules: Rules) -> Result<Option<Server>, Failure> {
        let output = &self.session.output;
        let name = server.name.as_str();
        for warning in &server.warnings {
            self.show_warning(warning);
        }
        if !server.active && !rules.inactive {
            output.info(format!("Skipping inactive server '{name}'"));
            return Ok(None);
        }
        if server.disabled && rules.disabled == Disabled::Refused {
            let problem = server.problems.first().cloned();
            return Err(Failure::user(problem.unwrap_or_else(|| format!("server '{name}' is disabled"))));
        }
        if server.is_passive() && !rules.passive {
            output.info(format!("Skipping passive server '{name}'"));
            return Ok(None);
        }
        Ok(Some(self.open(&self.config, name)?))
    }
}

fn unknown(name: &str) -> Failure {
    Failure::user(format!("Unknown server '{name}'"))
}
