//! `generate-manifest`.

/// Make a backup_manifest for a backup that has none.
#[derive(Clone, Debug, clap::Parser)]
pub(crate) struct GenerateManifestArgs {
    /// the server
    #[arg(value_name = "server_name")]
    pub(crate) server: String,
    /// the backup
    #[arg(value_name = "backup_id")]
    pub(crate) backup: String,
}
