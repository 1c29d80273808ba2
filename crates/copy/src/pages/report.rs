//! What was found in all files of a backup.

use std::fmt;
use std::path::{Path, PathBuf};

use super::file::{PageCounts, PageState, Suspect};

/// How many bad pages are listed; all are counted.
const MAX_LISTED: usize = 1000;
/// How many are named in the text.
const MAX_NAMED: usize = 5;

/// A page that is bad, and stayed so when it was read again.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct BadPage {
    /// The file, as the copy names it.
    pub path: PathBuf,
    /// The block in the relation's fork, over all segments.
    pub block: u32,
    /// Where it begins in the file.
    pub offset: u64,
    /// What is wrong.
    pub state: PageState,
}

/// Pages seen and bad pages found.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct PageReport {
    /// Pages with a right checksum, all zeros, or newer than the backup's start.
    pub good: u64,
    /// Bad pages.
    pub bad: u64,
    /// The first thousand of them.
    pub pages: Vec<BadPage>,
}

impl PageReport {
    /// Notes a bad page.
    pub fn add(&mut self, path: &Path, suspect: &Suspect) {
        self.bad += 1;
        if self.pages.len() < MAX_LISTED {
            let Suspect { block, offset, state } = *suspect;
            self.pages.push(BadPage { path: path.to_path_buf(), block, offset, state });
        }
    }

    /// Counts the good pages of a file.
    pub fn count(&mut self, counts: &PageCounts) {
        self.good += counts.valid + counts.newer;
    }

    /// Takes in what another thread found.
    pub fn merge(&mut self, other: Self) {
        self.good += other.good;
        self.bad += other.bad;
        let room = MAX_LISTED.saturating_sub(self.pages.len());
        self.pages.extend(other.pages.into_iter().take(room));
    }
}

impl fmt::Display for BadPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} block {}", self.path.display(), self.block)?;
        match self.state {
            PageState::Bad { stored, calculated } => {
                write!(f, " (checksum {stored}, calculated {calculated})")
            }
            _ => write!(f, " (not initialised, yet not empty)"),
        }
    }
}

/// One line: how many, and the first of them.
impl fmt::Display for PageReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = if self.bad == 1 { "" } else { "s" };
        write!(f, "{} bad page{s}", self.bad)?;
        for (index, page) in self.pages.iter().take(MAX_NAMED).enumerate() {
            write!(f, "{}{page}", if index == 0 { ": " } else { ", " })?;
        }
        if self.bad > MAX_NAMED as u64 { f.write_str(", …") } else { Ok(()) }
    }
}
