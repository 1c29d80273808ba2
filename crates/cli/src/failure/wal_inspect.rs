//! `wal inspect`: the form and the exit code of `pg_waldump`.

use tapster_manager::wal_inspect::WalInspectError;

use super::Failure;

const NAME: &str = "tapster wal inspect";

impl Failure {
    /// `tapster wal inspect: error: …`, exit 1.
    pub(crate) fn wal_inspect(text: impl std::fmt::Display) -> Self {
        Self::fatal(format!("{NAME}: error: {text}"))
    }
}

impl From<WalInspectError> for Failure {
    fn from(error: WalInspectError) -> Self {
        Self::wal_inspect(error)
    }
}
