//! `get-wal`.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use tapster_catalog::WalStoreError;
use tapster_copy::publish;
use tapster_manager::{GetWalError, GetWalOptions, Server, WalForm};
use walfile::WalName;
use walfile::codec::Compression;

use crate::args::get_wal::GetWalArgs;
use crate::failure::Failure;
use crate::output::Output;
use crate::recovery;
use crate::session::Session;
use crate::startup::{Rules, Setup};

/// Exit code for a name that is none, and for an output that cannot be opened.
const NOT_USABLE: u8 = 3;

/// A file that may well be there was not handed out. To a `restore_command` every exit code up to 125 says that there is
/// none, and PostgreSQL ends recovery there and promotes; on more its `RestoreArchivedFile` fails. Not 126 or 127, which
/// its log explains as a command that cannot be run, and not 255, which is how `ssh` itself fails.
const STOP_RECOVERY: u8 = recovery::GET_WAL;

/// Sends one WAL file, or says which ones could be sent.
pub(crate) fn run(args: &GetWalArgs, session: &Session) -> Result<(), Failure> {
    // The original's exit code 1, but not where PostgreSQL itself calls and would take it for the end of the archive.
    let unusable = |failure: Failure| {
        if recovery::is_fatal(&[], Path::new(".")) { failure.with_exit_code(STOP_RECOVERY) } else { failure }
    };
    let setup = Setup::for_postgresql(session).map_err(unusable)?;
    let server = setup.one(&args.server, Rules::CATALOG).map_err(unusable)?;
    let output = &session.output;
    if args.test {
        output.info(format!("Ready to retrieve WAL files from the server {}", server.name()));
        return Ok(());
    }
    let form = form(args)?;
    let name: WalName = args.wal.parse().map_err(|_| {
        Failure::user(format!("'{}' is not a valid wal file name", args.wal)).with_exit_code(NOT_USABLE)
    })?;
    if let Some(count) = args.peek {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        for name in server.peek_wal(name, count).map_err(|error| failure(&error.into()))? {
            output.line(name.to_string());
        }
        return Ok(());
    }
    let mut options = GetWalOptions::default();
    options.partial = args.partial;
    options.form = form;
    match &args.output_directory {
        Some(directory) => into_directory(&server, name, &options, directory, output),
        None => {
            let mut stdout = Output::stdout_bytes()
                .map_err(|error| Failure::user(format!("cannot write to standard output: {error}")))?;
            send(&server, name, &options, &mut stdout)
        }
    }
}

fn form(args: &GetWalArgs) -> Result<WalForm, Failure> {
    let asked = [(args.gzip, "gzip", Compression::Gzip), (args.bzip2, "bzip2", Compression::Bzip2)];
    let wanted = asked.into_iter().find(|(asked, ..)| *asked);
    match wanted {
        Some((_, option, _)) if args.keep_compression => {
            Err(Failure::user(format!("argument `{option}` not allowed with argument `keep-compression`")))
        }
        Some((.., compression)) => Ok(WalForm::Compressed(compression)),
        None if args.keep_compression => Ok(WalForm::Stored),
        None => Ok(WalForm::Plain),
    }
}

fn send(
    server: &Server,
    name: WalName,
    options: &GetWalOptions,
    to: &mut dyn std::io::Write,
) -> Result<(), Failure> {
    server.get_wal(name, options, to).map(|_| ()).map_err(|error| failure(&error))
}

fn failure(error: &GetWalError) -> Failure {
    let failure = Failure::get_wal(error);
    match error {
        GetWalError::Store(WalStoreError::NotFound { .. }) => failure,
        _ => failure.with_exit_code(STOP_RECOVERY),
    }
}

/// Under its own name only when it is whole and on disk: whoever waits for the file must not see a part of it.
fn into_directory(
    server: &Server,
    name: WalName,
    options: &GetWalOptions,
    directory: &Path,
    output: &Output,
) -> Result<(), Failure> {
    let path = directory.join(name.to_string());
    let unusable = |error: &dyn std::fmt::Display| {
        Failure::user(format!("Unable to open '{}' file: {error}", path.display())).with_exit_code(NOT_USABLE)
    };
    let temporary = Temporary(directory.join(format!(".{name}.{}.tmp", std::process::id())));
    let mut file = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary.0)
        .map_err(|error| unusable(&error))?;
    output.info(format!(
        "Sending WAL '{name}' for server '{}' into '{}' file",
        server.name(),
        path.display()
    ));
    match server.get_wal(name, options, &mut file) {
        Ok(_) => {}
        Err(GetWalError::Write(error)) => {
            return Err(Failure::user(format!("cannot write '{}': {error}", path.display())));
        }
        Err(error) => return Err(failure(&error)),
    }
    drop(file);
    publish::publish(&temporary.0, &path).map_err(|error| unusable(&error))
}

/// Taken away whatever happens; after the rename there is nothing left to take.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
