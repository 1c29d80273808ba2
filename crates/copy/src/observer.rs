//! Who is told about the progress of a copy.

use std::path::Path;

/// Told about progress, from whatever thread made it; must be quick.
pub trait CopyObserver: Sync {
    /// `n` more bytes have been moved or checked.
    fn bytes(&self, n: u64) {
        let _ = n;
    }

    /// One more file is complete. The path is as the operation names it (relative to its root).
    fn file(&self, path: &Path) {
        let _ = path;
    }
}

/// The observer that does not care.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl CopyObserver for Silent {}
