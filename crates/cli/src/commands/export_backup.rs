//! `export-backup` and `import-backup`.

use serde_json::json;
use tapster_catalog::Selector;
use tapster_copy::compress::StreamCodec;
use tapster_manager::ExportOptions;

use crate::args::export_backup::{ExportBackupArgs, ExportCompression, ImportBackupArgs};
use crate::failure::Failure;
use crate::session::Session;
use crate::startup::{Rules, Setup};

/// Writes a backup and its WAL into one file.
pub(crate) fn export(args: &ExportBackupArgs, session: &Session) -> Result<(), Failure> {
    let setup = Setup::new(session)?;
    let server = setup.one(&args.server, Rules::CATALOG)?;
    let record = server.catalog().select(&Selector::from(args.backup.as_str()))?;
    session.watch_signals()?;
    let mut options = ExportOptions::new(&args.directory);
    options.codec = args.compression.map(|codec| match codec {
        ExportCompression::Gzip => StreamCodec::Gzip,
        ExportCompression::Bzip2 => StreamCodec::Bzip2,
        ExportCompression::Xz => StreamCodec::Xz,
    });
    options.level = args.compression_level.map(|level| u32::try_from(level).unwrap_or(u32::MAX));
    let output = &session.output;
    server.check_export(&record, &options).map_err(|error| Failure::export_backup(&error))?;
    output.info(format!(
        "Exporting backup '{}' from server '{}' to '{}'",
        args.backup,
        server.name(),
        args.directory.display()
    ));
    let observer = setup.observer(server.name());
    output.start_progress("Exporting", record.size);
    let done = server.export_backup(&record, &options, &setup.context(&observer));
    output.stop_progress();
    let report = done.map_err(|error| Failure::export_backup(&error))?;
    output.info(format!("Export completed successfully: {}", report.path.display()));
    output.json_insert(
        server.name(),
        json!({
            "backup_id": record.id.to_string(),
            "path": report.path.display().to_string(),
            "size_bytes": report.size,
            "sha256": report.sha256,
            "wal_files": report.wals,
            "history_files": report.histories,
        }),
    );
    Ok(())
}

/// Makes such a file a backup of the catalog.
pub(crate) fn import(args: &ImportBackupArgs, session: &Session) -> Result<(), Failure> {
    let setup = Setup::new(session)?;
    let server = setup.one(&args.server, Rules::CATALOG)?;
    session.watch_signals()?;
    let output = &session.output;
    output.info(format!("Importing backup from '{}' to server '{}'", args.tarball.display(), server.name()));
    let observer = setup.observer(server.name());
    output.start_progress("Importing", None);
    let done = server.import_backup(&args.tarball, &setup.context(&observer));
    output.stop_progress();
    let report = done.map_err(|error| Failure::import_backup(&error))?;
    output.info(format!(
        "Successfully imported backup '{}' into server '{}'",
        report.record.id,
        server.name()
    ));
    output.json_insert(
        server.name(),
        json!({
            "backup_id": report.record.id.to_string(),
            "wal_files": report.wals,
            "wal_files_already_archived": report.already_archived,
        }),
    );
    Ok(())
}
