//! `list-processes` and `terminate-process`.

/// List the processes that work for a server.
#[derive(Clone, Debug, clap::Parser)]
pub(crate) struct ListProcessesArgs {
    /// the server
    #[arg(value_name = "server_name")]
    pub(crate) server: String,
}

/// End what a process does for a server.
#[derive(Clone, Debug, clap::Parser)]
pub(crate) struct TerminateProcessArgs {
    /// the server
    #[arg(value_name = "server_name")]
    pub(crate) server: String,
    /// what to end, such as backup or receive-wal
    #[arg(value_name = "task")]
    pub(crate) task: String,
}
