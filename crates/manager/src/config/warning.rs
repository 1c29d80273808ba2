//! What is wrong with a configuration without making it unusable.

use std::fmt;
use std::path::PathBuf;

/// A remark on the configuration. `Display` gives Barman's text, without its `WARNING: ` prefix.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ConfigWarning {
    /// A key nobody knows.
    UnknownKey {
        /// The section.
        section: String,
        /// The key.
        key: String,
    },
    /// A value that the key cannot have; the next level (server, global, default) is used.
    InvalidValue {
        /// The section.
        section: String,
        /// The key.
        key: String,
        /// The value.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Neither archiver is on.
    NoArchiver {
        /// The server.
        server: String,
    },
    /// What follows from it.
    ArchiverForced,
    /// A copy method without a backup strategy.
    NoBackupStrategy {
        /// The server.
        server: String,
    },
    /// `exclusive_backup` with a method that cannot do it.
    ExclusiveBackupIgnored,
    /// The include directory is not a directory, or is not there: nobody knows what its files say.
    NotADirectory {
        /// The directory.
        path: PathBuf,
    },
    /// Something in the include directory is no file.
    Discarded {
        /// What is called like one.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A file of the include directory cannot be read, or is a link that leads nowhere, so that nobody knows what it says.
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// A setting without effect: `.barman.auto.conf`, which `config-update` writes, is read last and says otherwise. Barman does not
    /// mention it.
    Hidden {
        /// The section.
        section: String,
        /// The key.
        key: String,
        /// The file that has it in vain.
        file: PathBuf,
        /// `.barman.auto.conf`.
        by: PathBuf,
    },
    /// A value replaced by its default, which Barman reports in its log alone.
    Replaced {
        /// Barman's text.
        text: String,
    },
}

impl ConfigWarning {
    /// Whether it is shown on the terminal with every command, as Barman does it, or because settings may be missing, which it has in
    /// its log alone; the others go to the log alone.
    pub const fn is_shown(&self) -> bool {
        !matches!(self, Self::Discarded { .. } | Self::Hidden { .. } | Self::Replaced { .. })
    }

    /// Whether there are settings, or may be, that nobody knows.
    pub(super) const fn is_about_missing_settings(&self) -> bool {
        matches!(self, Self::Unreadable { .. } | Self::NotADirectory { .. })
    }
}

impl fmt::Display for ConfigWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownKey { section, key } => {
                write!(f, "Invalid configuration option \"{key}\" in [{section}] section.")
            }
            Self::InvalidValue { section, key, value, reason } => write!(
                f,
                "Ignoring invalid configuration value '{value}' for key {key} in [{section}] section: {reason}"
            ),
            Self::NoArchiver { server } => write!(
                f,
                "No archiver enabled for server '{server}'. Please turn on 'archiver', 'streaming_archiver' or both"
            ),
            Self::ArchiverForced => f.write_str("Forcing 'archiver = on'"),
            Self::NoBackupStrategy { server } => write!(
                f,
                "No backup strategy set for server '{server}' (using default 'concurrent_backup')."
            ),
            Self::ExclusiveBackupIgnored => f.write_str(
                "'exclusive_backup' is not a valid backup_option using postgres backup_method. Overriding with \
                 'concurrent_backup'.",
            ),
            Self::NotADirectory { path } => write!(
                f,
                "Ignoring the \"configuration_files_directory\" option as \"{}\" is not a directory",
                path.display()
            ),
            Self::Discarded { path, reason } => {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                write!(f, "Discarding configuration file: {name} ({reason})")
            }
            Self::Unreadable { path, reason } => {
                write!(f, "Cannot read configuration file {}, whose settings are missing: {reason}", path.display())
            }
            Self::Hidden { section, key, file, by } => write!(
                f,
                "\"{key}\" in [{section}] section of {} has no effect: {} says otherwise and comes last",
                file.display(),
                by.display()
            ),
            Self::Replaced { text } => f.write_str(text),
        }
    }
}
