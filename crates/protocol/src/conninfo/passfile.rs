//! `.pgpass`: passwords by host, port, database and user (`passwordFromFile` of libpq).

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::Password;

/// Far above any real file; a device or a log named by mistake must not fill the memory.
const SIZE_LIMIT: u64 = 16 * 1024 * 1024;

/// The contents of a password file.
#[derive(Clone, Default)]
pub struct Passfile {
    lines: Vec<Vec<u8>>,
}

/// Why an existing password file was not used. libpq prints these and goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ignored {
    NotPlain,
    Open,
}

impl Passfile {
    /// Splits the bytes of a file into entries; comments and empty lines go.
    pub fn parse(bytes: &[u8]) -> Self {
        let lines = bytes
            .split(|byte| *byte == b'\n')
            .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
            .filter(|line| !line.is_empty() && !line.starts_with(b"#"))
            .map(<[u8]>::to_vec)
            .collect();
        Self { lines }
    }

    /// Reads a file. One that is missing or unreadable counts as empty, as in libpq.
    pub(super) fn read(path: &Path) -> Result<Self, Ignored> {
        // A FIFO must not block the connection, so the type is looked at before opening.
        let Ok(metadata) = std::fs::metadata(path) else { return Ok(Self::default()) };
        if !metadata.is_file() {
            return Err(Ignored::NotPlain);
        }
        if metadata.permissions().mode() & 0o077 != 0 {
            return Err(Ignored::Open);
        }
        Ok(Self::read_bytes(path).map(|bytes| Self::parse(&bytes)).unwrap_or_default())
    }

    fn read_bytes(path: &Path) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(path)?.take(SIZE_LIMIT).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// The password of the first entry that matches all four.
    pub fn find(&self, host: &str, port: &str, database: &str, user: &str) -> Option<Password> {
        self.lines.iter().find_map(|line| {
            let rest = match_field(line, host)?;
            let rest = match_field(rest, port)?;
            let rest = match_field(rest, database)?;
            let rest = match_field(rest, user)?;
            Some(Password::new(unescape_to_colon(rest)))
        })
    }
}

impl fmt::Debug for Passfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Passfile({} entries)", self.lines.len())
    }
}

/// What follows the field and its colon, if the field is `*` or, unescaped, the wanted text.
fn match_field<'a>(line: &'a [u8], wanted: &str) -> Option<&'a [u8]> {
    if let Some(rest) = line.strip_prefix(b"*:") {
        return Some(rest);
    }
    let mut wanted = wanted.bytes();
    let mut rest = line;
    loop {
        let (&byte, tail) = rest.split_first()?;
        if byte == b':' {
            return wanted.next().is_none().then_some(tail);
        }
        let (byte, tail) = match (byte, tail.split_first()) {
            (b'\\', Some((&escaped, tail))) => (escaped, tail),
            _ => (byte, tail),
        };
        if wanted.next() != Some(byte) {
            return None;
        }
        rest = tail;
    }
}

fn unescape_to_colon(text: &[u8]) -> Vec<u8> {
    let mut password = Vec::with_capacity(text.len());
    let mut bytes = text.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            b':' => break,
            b'\\' => password.push(bytes.next().unwrap_or(b'\\')),
            _ => password.push(byte),
        }
    }
    password
}

/// Something about the surroundings that the user should hear of; the connection goes on without it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectWarning {
    /// The password file can be read by others and was ignored.
    PassfileAccess {
        /// The file.
        path: PathBuf,
    },
    /// The password file is no regular file and was ignored.
    PassfileNotPlain {
        /// The file.
        path: PathBuf,
    },
}

impl ConnectWarning {
    pub(super) fn passfile(path: PathBuf, ignored: Ignored) -> Self {
        match ignored {
            Ignored::NotPlain => Self::PassfileNotPlain { path },
            Ignored::Open => Self::PassfileAccess { path },
        }
    }
}

impl fmt::Display for ConnectWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PassfileAccess { path } => write!(
                f,
                "password file \"{}\" has group or world access; permissions should be u=rw (0600) or less",
                path.display()
            ),
            Self::PassfileNotPlain { path } => {
                write!(f, "password file \"{}\" is not a plain file", path.display())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Passfile;

    fn find(text: &str, host: &str, database: &str) -> Option<Vec<u8>> {
        Passfile::parse(text.as_bytes()).find(host, "5432", database, "barman").map(|p| p.expose().to_vec())
    }

    #[test]
    fn first_match_wins() {
        let text = "# comment\npg:5433:*:barman:port\npg:*:app:barman:app\r\npg:*:*:barman:any\n";
        assert_eq!(find(text, "pg", "app"), Some(b"app".to_vec()));
        assert_eq!(find(text, "pg", "replication"), Some(b"any".to_vec()));
        assert_eq!(find(text, "pg2", "app"), None);
    }

    #[test]
    fn escapes() {
        assert_eq!(
            find(r"fe80\:\:1:*:a\\b:barman:p\:a\\s:rest", "fe80::1", r"a\b"),
            Some(br"p:a\s".to_vec())
        );
        assert_eq!(find(r"*:*:*:*:end\", "x", "y"), Some(br"end\".to_vec()));
        assert_eq!(find("*:*:*", "x", "y"), None);
        // A star is a wildcard only when it is the whole field.
        assert_eq!(find("p*:*:*:*:no", "pg", "y"), None);
        assert_eq!(find(r"\*:*:*:*:star", "*", "y"), Some(b"star".to_vec()));
    }
}
