//! The pages in the archives of a base backup.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::file::{FilePages, PageCounts, PageRules, PageState, Suspect};
use super::incremental::IncrementalPages;
use super::name::relation_segment;
use super::report::PageReport;
use crate::combine::PREFIX;

/// Checks the pages of one file of a base-backup stream after the other.
///
/// The server has checked them before it sent them, and read those again that looked torn. It tells how many were bad, but not
/// which: here they get their names. A page it took for new (`pd_upper` is zero) it sends as it was read, even when it
/// was half written; recovery writes that one anew, so such pages are not called bad here.
#[derive(Debug)]
pub(crate) struct StreamPages {
    rules: PageRules,
    current: Option<Current>,
    report: PageReport,
}

#[derive(Debug)]
struct Current {
    path: PathBuf,
    pages: Pages,
}

#[derive(Debug)]
enum Pages {
    Whole { pages: FilePages, offset: u64 },
    Incremental(IncrementalPages),
}

impl Pages {
    /// Those of a file with this name; `None` if it has none.
    fn of(path: &Path, rules: PageRules) -> Option<Self> {
        if let Some(segment) = relation_segment(path) {
            return Some(Self::Whole { pages: FilePages::new(rules, segment), offset: 0 });
        }
        let name = path.file_name()?.as_bytes().strip_prefix(PREFIX.as_bytes())?;
        let segment = relation_segment(&path.with_file_name(OsStr::from_bytes(name)))?;
        Some(Self::Incremental(IncrementalPages::new(rules, segment)))
    }

    fn feed(&mut self, bytes: &[u8], suspect: impl FnMut(Suspect)) {
        match self {
            Self::Whole { pages, offset } => {
                pages.feed(*offset, bytes, suspect);
                *offset = offset.saturating_add(bytes.len() as u64);
            }
            Self::Incremental(pages) => pages.feed(bytes, suspect),
        }
    }

    fn finish(self) -> PageCounts {
        match self {
            Self::Whole { pages, .. } => pages.finish(),
            Self::Incremental(pages) => pages.finish(),
        }
    }
}

impl StreamPages {
    pub(crate) fn new(rules: PageRules) -> Self {
        Self { rules, current: None, report: PageReport::default() }
    }

    /// A file begins, by its name relative to the data directory.
    pub(crate) fn begin(&mut self, name: &[u8]) {
        let path = Path::new(OsStr::from_bytes(name));
        self.current = Pages::of(path, self.rules).map(|pages| Current { path: path.to_path_buf(), pages });
    }

    /// Its next bytes.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        let Some(Current { path, pages }) = &mut self.current else { return };
        pages.feed(bytes, |suspect| {
            if suspect.state != PageState::Garbage {
                self.report.add(path, &suspect);
            }
        });
    }

    /// It is complete.
    pub(crate) fn end(&mut self) {
        if let Some(current) = self.current.take() {
            self.report.count(&current.pages.finish());
        }
    }

    /// What was found in all files.
    pub(crate) fn finish(self) -> PageReport {
        self.report
    }
}
