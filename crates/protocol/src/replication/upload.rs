//! UPLOAD_MANIFEST (17+).

use std::io::{ErrorKind, Read};

use postgres_protocol::message::frontend::{self, CopyData};

use super::backup_error::BaseBackupError;
use crate::connection::{CopyKind, Step, unexpected};
use crate::{Connection, ConnectionError};

pub(super) fn upload_manifest(
    connection: &mut Connection,
    manifest: &mut dyn Read,
) -> Result<(), BaseBackupError> {
    let found = connection.server_version();
    if found.major() < 17 {
        return Err(BaseBackupError::Unsupported { option: "UPLOAD_MANIFEST", needs: "17 or later", found });
    }
    connection.command("UPLOAD_MANIFEST")?;
    match connection.step()? {
        Step::Copy(CopyKind::In) => {}
        Step::Refused(error) => return Err(BaseBackupError::Server(connection.refusal(error))),
        _ => return Err(unexpected("another message", "CopyInResponse").into()),
    }
    let mut piece = vec![0; 64 * 1024];
    loop {
        let count = match manifest.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            // The connection is in the middle of the upload and of no more use; the server drops what it has.
            Err(error) => return Err(BaseBackupError::Manifest(error)),
        };
        CopyData::new(piece.get(..count).unwrap_or_default())
            .map_err(ConnectionError::Io)?
            .write(connection.out());
        connection.send(None, true)?;
    }
    frontend::copy_done(connection.out());
    connection.send(None, true)?;
    match connection.settle()? {
        Some(error) => Err(BaseBackupError::Server(error)),
        None => Ok(()),
    }
}
