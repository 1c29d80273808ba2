//! What a path is on the other host, as the script there tells it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Place {
    pub(super) state: State,
    pub(super) is_writable: bool,
    pub(super) free: Option<u64>,
    /// The part of the path that exists, and the same without links.
    pub(super) existing: PathBuf,
    pub(super) real: PathBuf,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum State {
    Absent,
    Empty,
    /// A mount point, with what the file system itself has put there.
    Bare,
    Full,
    Other,
}

/// What [`LOOK`](super::shell::LOOK) says about so many paths.
pub(super) fn parse(said: &[u8], count: usize) -> Option<Vec<Place>> {
    let mut lines = said.strip_suffix(b"\n")?.split(|byte| *byte == b'\n');
    let mut places = Vec::with_capacity(count);
    for _ in 0..count {
        let (first, existing, real) = (lines.next()?, lines.next()?, lines.next()?);
        let first = String::from_utf8_lossy(first);
        let mut words = first.split_ascii_whitespace();
        let state = match words.next()? {
            "absent" => State::Absent,
            "empty" => State::Empty,
            "bare" => State::Bare,
            "full" => State::Full,
            "other" => State::Other,
            _ => return None,
        };
        let is_writable = match words.next()? {
            "yes" => true,
            "no" => false,
            _ => return None,
        };
        let path = |bytes: &[u8]| Some(PathBuf::from(OsStr::from_bytes(bytes))).filter(|p| p.is_absolute());
        places.push(Place {
            state,
            is_writable,
            free: free(words),
            existing: path(existing)?,
            real: path(real)?,
        });
    }
    lines.next().is_none().then_some(places)
}

/// The number before the percentage in a line of `df -Pk`, in bytes. Names of file systems may hold blanks.
fn free<'w>(words: impl Iterator<Item = &'w str>) -> Option<u64> {
    let mut before = None;
    for word in words {
        if word.ends_with('%') {
            return before.and_then(|text: &str| text.parse::<u64>().ok())?.checked_mul(1024);
        }
        before = Some(word);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::restore::elsewhere::shell;

    #[test]
    fn places_as_the_other_host_tells_them() {
        let said = b"absent yes /dev/a b 1000 200 800 20% /srv\n/srv\n/mnt/x\nfull no \n/srv/pg\n/mnt/x/pg\n";
        let places = parse(said, 2).unwrap();
        assert_eq!(places[0].free, Some(800 * 1024));
        assert_eq!((places[0].state, places[0].is_writable), (State::Absent, true));
        assert_eq!((places[1].state, places[1].is_writable, places[1].free), (State::Full, false, None));
        for bad in [
            &b""[..],
            b"\n",
            b"absent yes\n/srv\n",
            b"absent perhaps x\n/srv\n/srv\n",
            b"gone yes x\n/srv\n/srv\n",
            b"absent yes x\nsrv\n/srv\n",
            b"absent yes x\n/srv\n/srv\nmore\n",
            b"absent yes x\n/srv\n/srv",
        ] {
            assert_eq!(parse(bad, 1), None, "{bad:?}");
        }
    }

    #[test]
    fn the_script_says_it_so() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("a 'quoted' place");
        std::fs::create_dir_all(root.join("full/x")).unwrap();
        std::fs::create_dir(root.join("empty")).unwrap();
        std::fs::create_dir_all(root.join("bare/lost+found")).unwrap();
        std::fs::File::create(root.join("file")).unwrap();
        std::os::unix::fs::symlink(&root, dir.path().join("link")).unwrap();
        let paths = [
            root.join("full"),
            root.join("empty"),
            root.join("bare"),
            root.join("file"),
            dir.path().join("link/no/where"),
        ];
        let output = std::process::Command::new("sh")
            .arg("-c")
            .arg(shell::LOOK)
            .arg("sh")
            .args(&paths)
            .output()
            .unwrap();
        let places = parse(&output.stdout, 5).unwrap();
        let states: Vec<_> = places.iter().map(|place| place.state).collect();
        assert_eq!(states, [State::Full, State::Empty, State::Bare, State::Other, State::Absent]);
        assert!(places.iter().all(|place| place.free.is_some() && place.is_writable));
        let last = &places[4];
        assert_eq!((&last.existing, &last.real), (&dir.path().join("link"), &root.canonicalize().unwrap()));
    }
}
