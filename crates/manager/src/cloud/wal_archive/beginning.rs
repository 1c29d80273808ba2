//! The beginning of a segment that is archived already with another content.
//!
//! A promoted server archives that of the last segment of the timeline it left (`.partial`), and a receiver that streams into the same
//! place has archived it before, with more of it or with less. Refused, the server would ask for ever, and archive nothing else.

use std::path::PathBuf;

use tapster_catalog::same_content::Unread;
use tapster_cloud::PutMode;
use walfile::WalName;

use super::super::wal_content::has_all;
use super::super::wal_objects::StoredWal;
use super::super::{CloudServer, CloudWalError};
use super::source::{FileState, Source};
use super::{CloudArchiveOptions, CloudArchived};

impl CloudServer {
    /// What has more of it stays, or takes the place of what has less.
    ///
    /// # Errors
    /// [`CloudWalError::Different`] when neither has all of the other.
    pub(super) fn settle_beginning(
        &self,
        source: &Source,
        name: WalName,
        there: &[StoredWal],
        options: &CloudArchiveOptions,
    ) -> Result<(CloudArchived, FileState), CloudWalError> {
        let read = |source| CloudWalError::Read { path: PathBuf::from(name.to_string()), source };
        for stored in there {
            let mut ours = source.reopen()?;
            let has_more = has_all(self.open_wal(stored)?, &mut ours).map_err(|unread| match unread {
                Unread::First(error) => self.unreadable(stored, error),
                Unread::Second(error) => read(error),
            })?;
            if has_more {
                return Ok((CloudArchived::Identical, ours.finish()?));
            }
        }
        for stored in there {
            let mut ours = source.reopen()?;
            let has_more = has_all(&mut ours, self.open_wal(stored)?).map_err(|unread| match unread {
                Unread::First(error) => read(error),
                Unread::Second(error) => self.unreadable(stored, error),
            })?;
            if !has_more {
                let (store, key) = (self.store().url().to_string(), stored.key.clone());
                return Err(CloudWalError::Different { name, store, key });
            }
        }
        let mut ours = source.reopen()?;
        let (key, state, stored) = self.send_source(&mut ours, name, PutMode::Replace, options)?;
        stored?;
        // In another form it would be taken for the newest.
        let others = there.iter().map(|stored| stored.key.clone()).filter(|other| *other != key);
        self.store().delete(&others.collect::<Vec<_>>())?;
        Ok((CloudArchived::Uploaded, state))
    }
}
