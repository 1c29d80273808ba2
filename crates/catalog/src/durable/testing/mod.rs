//! A [`Disk`](super::Disk) that records, and the states a crash can leave behind. For tests, here and in
//! crates that build on this one.
//!
//! ```
//! use tapster_catalog::durable::{self, testing::RecordingDisk};
//! let root = tempfile::tempdir()?;
//! let disk = RecordingDisk::new(root.path())?;
//! durable::write_new(&disk, &root.path().join("a"), b"whole", None)?;
//! disk.mark("a is there");
//! disk.for_each_crash(|crash| {
//!     let after = tempfile::tempdir()?;
//!     crash.materialise(after.path())?;
//!     match std::fs::read(after.path().join("a")) {
//!         Ok(content) => assert_eq!(content, b"whole"),
//!         Err(_) => assert!(crash.marks.is_empty(), "acknowledged, and lost: {crash}"),
//!     }
//!     Ok(())
//! })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod model;
mod recorder;
mod tree;

pub use recorder::{Operation, RecordingDisk};
pub use tree::CrashState;
