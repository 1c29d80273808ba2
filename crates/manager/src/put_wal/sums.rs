//! `SHA256SUMS` and `MD5SUMS`: lines of `HEX *NAME`, as of the programs `sha256sum` and `md5sum`.

use std::io::{self, Read};

use super::PutWalError;

/// More than a stream with the most members needs.
const MAX_TEXT: u64 = 64 * 1024;

/// Which of the two.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Algorithm {
    Sha256,
    Md5,
}

impl Algorithm {
    /// Of the member called `name`.
    pub(super) fn of_member(name: &str) -> Option<Self> {
        match name {
            "SHA256SUMS" => Some(Self::Sha256),
            "MD5SUMS" => Some(Self::Md5),
            _ => None,
        }
    }

    const fn digits(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Md5 => 32,
        }
    }
}

/// The pairs of checksum, in lower case, and name.
pub(super) fn read(
    member: &str,
    algorithm: Algorithm,
    input: impl Read,
) -> Result<Vec<(String, String)>, PutWalError> {
    let refuse = |problem: &str| PutWalError::Member { name: member.to_owned(), problem: problem.to_owned() };
    let mut text = String::new();
    input.take(MAX_TEXT + 1).read_to_string(&mut text).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData => refuse("it is no text"),
        _ => PutWalError::Stream(error),
    })?;
    if text.len() as u64 > MAX_TEXT {
        return Err(refuse("it is too long"));
    }
    let line = |line: &str| {
        let (sum, name) = line.split_once(' ')?;
        let name = name.strip_prefix([' ', '*']).unwrap_or(name);
        let hex = sum.len() == algorithm.digits() && sum.bytes().all(|byte| byte.is_ascii_hexdigit());
        (hex && !name.is_empty()).then(|| (sum.to_ascii_lowercase(), name.to_owned()))
    };
    text.lines().map(|text| line(text).ok_or_else(|| refuse("a line is not a checksum and a name"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_are_read_and_nothing_else() {
        let read = |text: &str| read("MD5SUMS", Algorithm::Md5, text.as_bytes());
        let sum = "c004eec7c51d4326768f2bdba92109bc";
        for text in [format!("{sum} *a"), format!("{sum}  a\n"), format!("{} a", sum.to_uppercase())] {
            assert_eq!(read(&text).unwrap(), [(sum.to_owned(), "a".to_owned())]);
        }
        for text in
            ["x", "abc *a", &format!("{sum} "), sum, &format!("g{sum} *a"), &sum.replace("c0", "g0"), "\n"]
        {
            assert!(read(text).is_err(), "{text:?}");
        }
        assert!(read(&" ".repeat(70_000)).is_err());
    }
}
