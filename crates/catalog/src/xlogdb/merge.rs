//! Entries into the middle of the index.

use std::collections::HashSet;
use std::io::Write as _;

use walfile::WalName;

use super::{XlogDb, XlogDbError, XlogEntry, XlogLine};

impl XlogDb<'_> {
    /// Lists files that belong before others that are listed already: each new entry stands before the first line of a higher
    /// name, and takes the place of an entry of its own name. The order of what is there stays.
    ///
    /// # Errors
    /// When the storage fails; the old index is then still there.
    pub fn merge(&mut self, mut new: Vec<XlogEntry>) -> Result<(), XlogDbError> {
        if new.is_empty() {
            return Ok(());
        }
        new.sort_by_cached_key(|entry| entry.name.to_string());
        let names: HashSet<WalName> = new.iter().map(|entry| entry.name).collect();
        let mut new = new.into_iter().peekable();
        let mut output = self.rewrite()?;
        for line in self.lines()? {
            match line.map_err(|source| self.unreadable(source))? {
                XlogLine::Entry(entry) => {
                    let name = entry.name.to_string();
                    while let Some(first) = new.next_if(|first| first.name.to_string() <= name) {
                        self.put(&mut output, &first)?;
                    }
                    if !names.contains(&entry.name) {
                        self.put(&mut output, &entry)?;
                    }
                }
                XlogLine::Unreadable(mut bytes) => {
                    bytes.push(b'\n');
                    output.write_all(&bytes).map_err(|e| self.unwritable(e))?;
                }
                XlogLine::Torn(_) => {}
            }
        }
        for entry in new {
            self.put(&mut output, &entry)?;
        }
        self.finish(output)
    }
}
