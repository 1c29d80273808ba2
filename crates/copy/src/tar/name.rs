//! Member names: which may reach the file system.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::error::{NameProblem, TarError, printable};

/// Longest name accepted, Linux's `PATH_MAX`.
pub(super) const MAX_NAME: usize = 4096;
const MAX_COMPONENT: usize = 255;

/// The name as a relative path of plain components; empty only for the archive's root (`./`), which
/// `directory` allows.
pub(super) fn checked(name: &[u8], directory: bool) -> Result<PathBuf, TarError> {
    let refuse = |problem| Err(TarError::Name { name: printable(name), problem });
    if name.is_empty() {
        return refuse(NameProblem::Empty);
    }
    if name.len() > MAX_NAME {
        return refuse(NameProblem::TooLong);
    }
    if name.contains(&0) {
        return refuse(NameProblem::Nul);
    }
    if name.starts_with(b"/") {
        return refuse(NameProblem::Absolute);
    }
    let mut path = PathBuf::with_capacity(name.len());
    for component in name.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => return refuse(NameProblem::Parent),
            long if long.len() > MAX_COMPONENT => return refuse(NameProblem::TooLong),
            plain => path.push(OsStr::from_bytes(plain)),
        }
    }
    // A file named `x/` or `.` would be written under a name other than the one checked.
    let trailing = name.ends_with(b"/") || name.ends_with(b"/.") || name == b".";
    if !directory && (trailing || path.as_os_str().is_empty()) {
        return refuse(NameProblem::Empty);
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_names_pass_and_are_normalised() {
        for (name, expected) in [
            ("base/1/2", "base/1/2"),
            ("./base//1", "base/1"),
            ("a\nb", "a\nb"),
            ("a..b", "a..b"),
            (".hidden", ".hidden"),
        ] {
            assert_eq!(checked(name.as_bytes(), false).unwrap(), PathBuf::from(expected));
        }
        assert_eq!(checked(b"pg_wal/", true).unwrap(), PathBuf::from("pg_wal"));
        assert_eq!(checked(b"./", true).unwrap(), PathBuf::new());
    }

    #[test]
    fn hostile_names_are_refused() {
        let long = "x".repeat(256);
        let deep = "x/".repeat(2049);
        for (name, problem) in [
            ("", NameProblem::Empty),
            ("/etc/passwd", NameProblem::Absolute),
            ("..", NameProblem::Parent),
            ("a/../../b", NameProblem::Parent),
            ("a/..", NameProblem::Parent),
            ("a\0b", NameProblem::Nul),
            ("file/", NameProblem::Empty),
            ("file/.", NameProblem::Empty),
            (".", NameProblem::Empty),
            (&long, NameProblem::TooLong),
            (&deep, NameProblem::TooLong),
        ] {
            let error = checked(name.as_bytes(), false).unwrap_err();
            assert!(
                matches!(error, TarError::Name { problem: found, .. } if found == problem),
                "{name:?} {error}"
            );
        }
    }
}
