//! `generate-manifest`.

/// Make a backup_manifest for a backup that has none.
#[derive(Clone, Debug, clap::Parser)]
pub(crate) struct GenerateManifestArgs {
    /// the server
    #[arg(value_name = "server_name")]
    pub(crate) server: String,
    /// an id, a name, or a word such as 'latest'
    #[arg(value_name = "backup_id")]
    pub(crate) backup: String,
}
