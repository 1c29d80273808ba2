//! The files under `tests/data`, made by `tests/data/make`.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// The majors whose files are there.
pub const MAJORS: [u16; 9] = [10, 11, 12, 13, 14, 15, 16, 17, 18];

pub fn path(major: u16) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(major.to_string())
}

pub fn read(major: u16, name: &str) -> Vec<u8> {
    let path = path(major).join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The only file of a major whose name satisfies the test.
pub fn find(major: u16, is: impl Fn(&str) -> bool) -> (String, Vec<u8>) {
    let names =
        std::fs::read_dir(path(major)).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let found: Vec<String> = names.filter(|name| is(name)).collect();
    let [name] = found.as_slice() else { panic!("{major}: {found:?}") };
    (name.clone(), read(major, name))
}

/// `key=value` lines.
pub fn expected(major: u16, name: &str) -> BTreeMap<String, String> {
    let text = String::from_utf8(read(major, name)).unwrap();
    text.lines().map(|line| line.split_once('=').unwrap()).map(|(k, v)| (k.into(), v.into())).collect()
}

/// The output of `pg_controldata`; there for the majors that share a control version with PostgreSQL 15.
pub fn controldata(major: u16, state: &str) -> Option<BTreeMap<String, String>> {
    let file = path(major).join(format!("{state}.controldata"));
    assert_eq!(file.exists(), (13..=16).contains(&major), "{}", file.display());
    let text = std::fs::read_to_string(file).ok()?;
    let lines = text.lines().map(|line| line.split_once(':').unwrap());
    Some(lines.map(|(k, v)| (k.into(), v.trim().into())).collect())
}
