//! `receive-wal --reset`: a new position, chosen by hand.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use tapster_catalog::durable;
use tapster_protocol::receive::start_position;
use walfile::{LongPageHeader, SegmentName, WalName};

use super::ReceiveWalError;
use crate::{Context, Server};

/// What [`Server::reset_receive_wal`] did.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ReceiveReset {
    /// The position was right.
    Aligned,
    /// The position was moved.
    Reset {
        /// A `.partial` without WAL that was removed.
        removed: Option<PathBuf>,
        /// The empty `.partial` that marks the new position.
        created: PathBuf,
    },
}

impl Server {
    /// Moves the position of the receiver to where the slot (or, without one, the server) is now. WAL between the two is
    /// given up, so this is only for when the receiver cannot go on. The beginning of a segment that was received stays for
    /// the archive.
    ///
    /// # Errors
    /// When a receiver runs, the server cannot be reached, or our newest file is ahead of the server.
    pub fn reset_receive_wal(&self, context: &Context<'_>) -> Result<ReceiveReset, ReceiveWalError> {
        if !self.config.streaming_archiver {
            return Err(ReceiveWalError::Disabled);
        }
        self.create_directories()?;
        let _lock = self.receiver_lock()?;
        let slot = self.slot_name()?;
        let mut connection =
            self.connect_wal_streaming(&self.config.streaming_archiver_name, context.stop.clone())?;
        let size = connection.wal_segment_size()?;
        let identity = connection.identify_system()?;
        let target = start_position(&mut connection, slot.as_ref())?;
        let wanted = SegmentName::containing(target.timeline, target.position, size);
        let streaming = &self.layout().streaming;
        let newest = newest_file(streaming);
        if let Some((name, _)) = newest {
            if name == wanted {
                return Ok(ReceiveReset::Aligned);
            }
            if name.timeline() >= target.timeline
                && name.start(size).is_ok_and(|start| start > identity.position)
            {
                return Err(ReceiveWalError::Ahead { file: name, server: identity.position });
            }
        }
        let disk = self.catalog.disk();
        let removed = match newest {
            // What is left of an older timeline, or was received at all, is for the archive.
            Some((name, true)) if name.timeline() >= target.timeline && !has_wal(streaming, name) => {
                let path = streaming.join(WalName::Partial(name).to_string());
                durable::remove_file(disk, &path)?;
                Some(path)
            }
            _ => None,
        };
        let created = streaming.join(WalName::Partial(wanted).to_string());
        durable::write_new(disk, &created, &[], Some(0o600))?;
        Ok(ReceiveReset::Reset { removed, created })
    }
}

/// The newest segment in a directory and whether only its beginning is there.
pub(crate) fn newest_file(dir: &Path) -> Option<(SegmentName, bool)> {
    let names = std::fs::read_dir(dir).ok()?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names
        .filter_map(|name| match name.parse() {
            Ok(WalName::Segment(segment)) => Some((segment, false)),
            Ok(WalName::Partial(segment)) => Some((segment, true)),
            _ => None,
        })
        .max()
}

/// Whether anything was written to the `.partial`.
fn has_wal(dir: &Path, name: SegmentName) -> bool {
    let mut first = [0; LongPageHeader::LEN];
    let path = dir.join(WalName::Partial(name).to_string());
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut first));
    read.is_ok() && LongPageHeader::parse(&first).is_ok()
}
