//! `encryption = gpg`: what the configuration says about it, as a value.

use std::path::Path;

use tapster_catalog::Gpg;

use crate::config::{BackupMethod, ServerConfig};

/// Whether what is stored from now on is encrypted. What was encrypted before is decrypted whatever this says.
pub(crate) fn is_on(config: &ServerConfig) -> bool {
    config.text("encryption").is_some_and(|value| !value.is_empty() && value != "none")
}

/// The program with the key and the passphrase of a server.
pub(crate) fn gpg(config: &ServerConfig) -> Gpg {
    let text = |key| config.text(key).map(str::to_owned);
    let prefix = config.path_prefix.as_deref().unwrap_or_default();
    let program = prefix.split(':').map(|dir| Path::new(dir).join("gpg")).find(|path| path.is_file());
    let gpg = Gpg::new()
        .with_recipient(text("encryption_key_id"))
        .with_passphrase_command(text("encryption_passphrase_command"));
    match program {
        Some(program) => gpg.with_program(program),
        None => gpg,
    }
}

/// What is wrong with the settings, in Barman's words.
pub(crate) fn problem(config: &ServerConfig) -> Option<&'static str> {
    let unset = |key| config.text(key).is_none_or(str::is_empty);
    if unset("encryption_key_id") {
        return Some("Encryption is set as gpg, but encryption_key_id is unset");
    }
    if config.backup_method != BackupMethod::Postgres {
        return Some("Encryption is set as gpg, but backup_method != postgres");
    }
    if unset("backup_compression") {
        return Some("Encryption is set as gpg, but backup_compression is unset");
    }
    // Not set it is tar as well, which Barman overlooks.
    if config.backup_compression_format.as_deref().is_some_and(|format| format != "tar") {
        return Some("Encryption is set as gpg, but backup_compression_format != tar");
    }
    None
}
