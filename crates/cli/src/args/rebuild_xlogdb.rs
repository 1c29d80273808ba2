//! `rebuild-xlogdb`.

/// List the WAL archive anew in its index.
#[derive(Clone, Debug, clap::Parser)]
pub(crate) struct RebuildXlogdbArgs {
    /// servers, or 'all'
    #[arg(value_name = "server_name", required = true)]
    pub(crate) servers: Vec<String>,
}
