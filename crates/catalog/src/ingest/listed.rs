//! Whether the index lists a file that the archive has already.

use walfile::WalName;

use crate::{XlogDb, XlogDbError};

/// Remembers what one pass over the index found, so that a queue of files that are all archived costs one pass and not one
/// for each.
#[derive(Debug, Default)]
pub(super) struct Listed {
    /// The files of the run that were listed, sorted.
    found: Option<Vec<WalName>>,
}

impl Listed {
    /// Whether `name`, one of `run`, is listed. Most are near the end of the index: what one source brought a moment ago and
    /// the other brings now. For the rest the index is read once in the run, and only then.
    pub(super) fn contains(
        &mut self,
        index: &XlogDb<'_>,
        name: WalName,
        run: &[WalName],
    ) -> Result<bool, XlogDbError> {
        if index.contains_recent(name)? {
            return Ok(true);
        }
        if self.found.is_none() {
            let mut run = run.to_vec();
            run.sort_unstable();
            let mut found = Vec::new();
            for entry in index.entries()? {
                let name = entry?.name;
                if run.binary_search(&name).is_ok() {
                    found.push(name);
                }
            }
            found.sort_unstable();
            self.found = Some(found);
        }
        Ok(self.found.as_ref().is_some_and(|found| found.binary_search(&name).is_ok()))
    }
}
