//! Checksums of data pages, verified while files are copied.
//!
//! A cluster made with checksums (`initdb --data-checksums`) stores one in every page of every relation. [`FilePages`] takes
//! the bytes of one file as they pass, from a directory or out of a base-backup stream, and names the pages that are not
//! what they should be. On a running server a page can be caught half written; who can read it again should
//! ([`check_page`]), before it is called bad.
//!
//! Which files have pages, which pages are looked at and how the checksum is made are PostgreSQL's rules
//! (`checksum_impl.h`, and `verify_page_checksum` and `parse_filename_for_nontemp_relation` of `basebackup.c`, 10 to 18).
//!
//! ```
//! use std::path::Path;
//! use tapster_copy::pages::{FilePages, PAGE_SIZE, PageReport, PageRules, relation_segment};
//!
//! let path = Path::new("base/5/16384.1");
//! let rules = PageRules { segment_blocks: 131_072, start: "0/3000028".parse()? };
//! let segment = relation_segment(path).expect("a file of a relation");
//! let mut pages = FilePages::new(rules, segment);
//! let mut report = PageReport::default();
//! let mut wrong = vec![7; PAGE_SIZE];
//! wrong[..8].fill(0); // its LSN: last changed before the backup
//! pages.feed(0, &wrong, |suspect| report.add(path, &suspect));
//! report.count(&pages.finish());
//! assert_eq!(report.to_string(), "1 bad page: base/5/16384.1 block 131072 (checksum 1799, calculated 46719)");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod checksum;
mod file;
mod incremental;
mod name;
mod report;
mod stream;

pub use checksum::{PAGE_SIZE, page_checksum};
pub use file::{FilePages, PageCounts, PageRules, PageState, Suspect, check_page};
pub use name::{relation_segment, tablespace_segment};
pub use report::{BadPage, PageReport};
pub(crate) use stream::StreamPages;
