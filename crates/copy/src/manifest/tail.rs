//! The SHA-256 over everything before a manifest's last line, taken while the bytes pass.

use sha2::{Digest, Sha256};

use crate::Checksum;

/// Longest last line; a real one has 89 bytes.
const WINDOW: usize = 1024;

/// Hashes all bytes but the last line, which is only known to be the last when nothing follows.
#[derive(Debug, Default)]
pub(super) struct AllButLastLine {
    hash: Sha256,
    held: Vec<u8>,
}

impl AllButLastLine {
    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
        let settled = self.held.len().saturating_sub(WINDOW);
        if settled > 0 {
            self.hash.update(self.held.get(..settled).unwrap_or_default());
            self.held.drain(..settled);
        }
    }

    /// The checksum; `None` when the last line is unterminated or longer than the window.
    pub(super) fn finish(mut self) -> Option<Checksum> {
        let without_last = self.held.strip_suffix(b"\n")?;
        let end = without_last.iter().rposition(|byte| *byte == b'\n')?;
        self.hash.update(self.held.get(..=end)?);
        Checksum::new(self.hash.finalize().as_slice())
    }
}
