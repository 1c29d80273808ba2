//! `diagnose`.

/// Show everything that somebody who helps wants to know, as JSON.
#[derive(Clone, Debug, clap::Parser)]
pub(crate) struct DiagnoseArgs {
    /// tell of each setting which file it comes from
    #[arg(long)]
    pub(crate) show_config_source: bool,
}
