//! The environment, read once: the only place of the program that looks at it for its own purposes (libpq's
//! variables are read by `tapster_protocol`).

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// Set for processes `cron` starts: they leave its session before they begin, so that they outlive its terminal.
pub(crate) const DETACH: &str = "TAPSTER_DETACH";

/// What the program wants to know from its surroundings.
#[derive(Clone, Debug, Default)]
pub(crate) struct Environment {
    /// `HOME`.
    pub(crate) home: Option<PathBuf>,
    /// `BARMAN_CONFIG_FILE`.
    pub(crate) config_file: Option<PathBuf>,
    /// `NOTIFY_SOCKET`: where systemd wants to be told that a service is ready.
    pub(crate) notify_socket: Option<OsString>,
    /// `WATCHDOG_USEC`, when it is meant for this process (`WATCHDOG_PID`): how often systemd wants to hear of it.
    pub(crate) watchdog: Option<Duration>,
    /// `NO_COLOR` is set to something, or the terminal is dumb.
    pub(crate) no_color: bool,
    /// `PATH`.
    pub(crate) path: Vec<PathBuf>,
    /// `LD_LIBRARY_PATH`.
    pub(crate) library_path: Option<OsString>,
    /// `TZ`, empty or not.
    pub(crate) time_zone: Option<String>,
    /// [`DETACH`].
    pub(crate) detach: bool,
}

impl Environment {
    /// Reads the process's environment.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads it")]
    pub(crate) fn from_process() -> Self {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        Self {
            home: variable("HOME").map(PathBuf::from),
            config_file: variable("BARMAN_CONFIG_FILE").map(PathBuf::from),
            path: variable("PATH").iter().flat_map(std::env::split_paths).collect(),
            library_path: variable("LD_LIBRARY_PATH"),
            time_zone: std::env::var("TZ").ok(),
            detach: variable(DETACH).is_some(),
            notify_socket: variable("NOTIFY_SOCKET"),
            watchdog: variable("WATCHDOG_USEC")
                .filter(|_| {
                    variable("WATCHDOG_PID").is_none_or(|pid| pid == std::process::id().to_string().as_str())
                })
                .and_then(|text| text.to_str()?.parse().ok())
                .map(Duration::from_micros),
            no_color: variable("NO_COLOR").is_some() || variable("TERM") == Some(OsString::from("dumb")),
        }
    }

    /// Where a configuration file is looked for when none is named, in this order.
    pub(crate) fn default_config_files(&self) -> Vec<PathBuf> {
        let mut files = vec![PathBuf::from("/etc/tapster.conf")];
        files.extend(self.home.as_ref().map(|home| home.join(".barman.conf")));
        files.extend(["/etc/barman.conf", "/etc/barman/barman.conf"].map(PathBuf::from));
        files
    }
}

/// The WAL file that a cloud tool is to archive: the one that Barman's hook script has in its environment, or else `given`. The error
/// is what is wrong with how the tool was called.
#[cfg(feature = "cloud")]
#[expect(clippy::disallowed_methods, reason = "the program's environment is read in this file")]
pub(crate) fn hooked_wal(given: Option<&std::path::Path>) -> Result<PathBuf, String> {
    let variable = |name| std::env::var(name).ok();
    match (variable("BARMAN_HOOK"), variable("BARMAN_PHASE")) {
        (Some(hook), Some(phase)) => {
            if phase != "pre" || !matches!(hook.as_str(), "archive_script" | "archive_retry_script") {
                return Err(format!(
                    "barman-cloud-wal-archive called as unsupported hook script: {phase}_{hook}"
                ));
            }
            let file = std::env::var_os("BARMAN_FILE").map(PathBuf::from);
            file.ok_or_else(|| "Expected environment variable BARMAN_FILE not set".to_owned())
        }
        _ => given
            .map(std::path::Path::to_owned)
            .ok_or_else(|| "the following arguments are required: wal_path".to_owned()),
    }
}

/// What the clients of object stores look for: credentials, regions and where configuration files are, of which there are too
/// many names to list.
#[cfg(feature = "cloud")]
pub(crate) fn of_clouds() -> tapster_cloud::Environment {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}
