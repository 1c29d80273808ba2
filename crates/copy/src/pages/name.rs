//! Which files have pages.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

/// The number of the segment if `path`, relative to the data directory, is a file of a relation: `base/5/16384` is
/// segment 0, `base/5/16384_vm.2` segment 2. Everything else has no pages: other files, those of temporary
/// relations, and the transaction logs (`pg_xact` and such), whose pages carry no checksum.
///
/// ```
/// use std::path::Path;
/// use tapster_copy::pages::relation_segment;
///
/// assert_eq!(relation_segment(Path::new("pg_tblspc/16390/PG_15_202209061/5/16391_fsm")), Some(0));
/// assert_eq!(relation_segment(Path::new("pg_xact/0000")), None);
/// ```
pub fn relation_segment(path: &Path) -> Option<u32> {
    let mut parts = path.components();
    let mut next = || match parts.next() {
        Some(Component::Normal(name)) => Some(name.as_bytes()),
        _ => None,
    };
    match next()? {
        b"global" => last(&mut next),
        b"base" => database(&mut next),
        b"pg_tblspc" => {
            number(next()?)?;
            in_tablespace(&mut next)
        }
        _ => None,
    }
}

/// As [`relation_segment`], with a path relative to the directory of a tablespace: `PG_15_202209061/5/16391`.
pub fn tablespace_segment(path: &Path) -> Option<u32> {
    let mut parts = path.components().map(Component::as_os_str).map(OsStr::as_bytes);
    in_tablespace(&mut || parts.next())
}

fn in_tablespace<'p>(next: &mut impl FnMut() -> Option<&'p [u8]>) -> Option<u32> {
    next()?.strip_prefix(b"PG_")?;
    database(next)
}

fn database<'p>(next: &mut impl FnMut() -> Option<&'p [u8]>) -> Option<u32> {
    number(next()?)?;
    last(next)
}

fn last<'p>(next: &mut impl FnMut() -> Option<&'p [u8]>) -> Option<u32> {
    let name = next()?;
    if next().is_some() {
        return None;
    }
    let (relation, segment) = match name.iter().position(|byte| *byte == b'.') {
        Some(dot) => (name.get(..dot)?, number(name.get(dot + 1..)?)?),
        None => (name, 0),
    };
    let node = [b"_fsm".as_slice(), b"_vm", b"_init"]
        .iter()
        .find_map(|fork| relation.strip_suffix(*fork))
        .unwrap_or(relation);
    number(node).map(|_| segment)
}

/// A number as PostgreSQL writes it into a name: no sign, no leading zero.
fn number(text: &[u8]) -> Option<u32> {
    if !text.first().is_some_and(|digit| (b'1'..=b'9').contains(digit)) {
        return None;
    }
    text.iter().try_fold(0u32, |value, byte| {
        let digit = byte.is_ascii_digit().then(|| u32::from(byte - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l_b23_only_files_of_relations_have_pages() {
        for (path, expected) in [
            ("base/5/16384", Some(0)),
            ("base/5/16384.1", Some(1)),
            ("base/5/16384_fsm", Some(0)),
            ("base/5/16384_vm.12", Some(12)),
            ("base/5/16384_init", Some(0)),
            ("global/1262", Some(0)),
            ("pg_tblspc/16390/PG_15_202209061/5/16391.3", Some(3)),
            ("pg_xact/0000", None),
            ("pg_multixact/offsets/0000", None),
            ("pg_subtrans/0001", None),
            ("pg_commit_ts/0000", None),
            ("global/pg_control", None),
            ("global/pg_filenode.map", None),
            ("global/pg_internal.init", None),
            ("base/5/PG_VERSION", None),
            ("base/5/t3_16384", None),
            ("base/5/016384", None),
            ("base/5/16384.0", None),
            ("base/5/16384.01", None),
            ("base/5/16384.", None),
            ("base/5/16384_", None),
            ("base/5/_fsm", None),
            ("base/5/16384_main", None),
            ("base/5/99999999999", None),
            ("base/pgsql_tmp/16384", None),
            ("base/16384", None),
            ("base/5/6/16384", None),
            ("16384", None),
            ("", None),
            ("/base/5/16384", None),
            ("../base/5/16384", None),
        ] {
            assert_eq!(relation_segment(Path::new(path)), expected, "{path}");
        }
        assert_eq!(tablespace_segment(Path::new("PG_15_202209061/5/16391.3")), Some(3));
        assert_eq!(tablespace_segment(Path::new("base/5/16391")), None);
    }
}
