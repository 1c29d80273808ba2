//! `rebuild-xlogdb`.

/// Make the index of the WAL archive anew, from the files that are there.
#[derive(Clone, Debug, clap::Parser)]
pub(crate) struct RebuildXlogdbArgs {
    /// servers, or 'all'
    #[arg(value_name = "server_name", required = true)]
    pub(crate) servers: Vec<String>,
}
