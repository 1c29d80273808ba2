//! What can be wrong with a tar stream.

use thiserror::Error;

/// A tar stream that cannot be taken.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum TarError {
    /// The header's own checksum does not match: damage, or not tar at all.
    #[error("tar header at byte {offset} is damaged: its checksum is {found}, expected {expected}")]
    HeaderChecksum {
        /// Where the header starts.
        offset: u64,
        /// The sum stored in the header.
        expected: u64,
        /// The sum of the bytes.
        found: u64,
    },
    /// A header field cannot be read.
    #[error("tar header at byte {offset}: bad {field}")]
    Field {
        /// Where the header starts.
        offset: u64,
        /// Which field.
        field: &'static str,
    },
    /// A kind of member that no base backup holds (device, hard link, sparse file and so on).
    #[error("tar member '{name}' at byte {offset} has the unsupported type '{}'", char::from(*kind).escape_default())]
    Kind {
        /// Where the header starts.
        offset: u64,
        /// The member's name as the header has it, shortened.
        name: String,
        /// The type flag.
        kind: u8,
    },
    /// A name that must not reach the file system.
    #[error("tar member name '{name}' is refused: {problem}")]
    Name {
        /// The name, shortened, unprintable characters escaped.
        name: String,
        /// Why.
        problem: NameProblem,
    },
    /// A name or extended header longer than any a base backup holds.
    #[error("tar header at byte {offset}: {field} of {length} bytes, at most {limit} are accepted")]
    TooLong {
        /// Where the header starts.
        offset: u64,
        /// What is too long.
        field: &'static str,
        /// How long it is.
        length: u64,
        /// How long it may be.
        limit: u64,
    },
    /// Bytes other than zero after the end of the archive.
    #[error("tar stream has data after its end, at byte {offset}")]
    AfterEnd {
        /// Where.
        offset: u64,
    },
    /// The stream stopped inside a header or a member.
    #[error("tar stream ends at byte {offset}, inside {inside}")]
    Truncated {
        /// Where it stopped.
        offset: u64,
        /// In what: a header, or the named member.
        inside: String,
    },
}

/// Why a name is refused.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum NameProblem {
    /// It is empty.
    #[error("it is empty")]
    Empty,
    /// It starts at the root.
    #[error("it is absolute")]
    Absolute,
    /// It goes up.
    #[error("it contains '..'")]
    Parent,
    /// It holds a zero byte.
    #[error("it contains a zero byte")]
    Nul,
    /// It, or one of its components, is longer than a file system takes.
    #[error("it is too long")]
    TooLong,
}

/// A name for a message: escaped and of bounded length.
pub(crate) fn printable(name: &[u8]) -> String {
    name.iter().take(256).flat_map(|byte| byte.escape_ascii()).map(char::from).collect()
}
