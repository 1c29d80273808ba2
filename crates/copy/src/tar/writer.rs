//! Writing an archive, member after member, without knowing more than the one under way.

use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use super::header::{MAX_SHORT, header};
use super::{MemberKind, padding};

/// A member to be written.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NewMember<'a> {
    /// Its name, relative.
    pub path: &'a Path,
    /// What it is.
    pub kind: MemberKind,
    /// Bytes of data; zero unless a file.
    pub size: u64,
    /// Permission bits.
    pub mode: u32,
    /// Numbers of user and group; one too large for the field is written as 0.
    pub owner: (u32, u32),
    /// Modification time, seconds since 1970, and nanoseconds.
    pub mtime: (u64, u32),
}

impl<'a> NewMember<'a> {
    /// A regular file of the superuser, readable by all.
    pub const fn file(path: &'a Path, size: u64) -> Self {
        Self { path, kind: MemberKind::File, size, mode: 0o644, owner: (0, 0), mtime: (0, 0) }
    }
}

/// Writes a tar archive in POSIX's format (ustar with extended headers), as Python and GNU tar read it.
///
/// Memory: one block. What goes to the inner writer is never looked at again, so that it can be a codec or a pipe.
///
/// ```
/// use std::io::Write as _;
/// use tapster_copy::tar::{NewMember, Writer};
/// let mut archive = Writer::new(Vec::new());
/// archive.start(&NewMember::file("PG_VERSION".as_ref(), 3))?;
/// archive.write_all(b"15\n")?;
/// let bytes = archive.finish()?;
/// assert_eq!(bytes.len(), 512 + 512 + 1024);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Writer<W> {
    output: W,
    left: u64,
    padding: u64,
}

impl<W: Write> Writer<W> {
    /// An empty archive.
    pub const fn new(output: W) -> Self {
        Self { output, left: 0, padding: 0 }
    }

    /// Begins a member; its data follows through [`Write`].
    ///
    /// # Errors
    /// When the member before is not complete, or the writer fails.
    pub fn start(&mut self, member: &NewMember<'_>) -> io::Result<()> {
        self.end()?;
        let mut name = member.path.as_os_str().as_bytes().to_vec();
        if member.kind == MemberKind::Directory {
            name.push(b'/');
        }
        let link = match &member.kind {
            MemberKind::Symlink(target) => target.as_bytes(),
            _ => b"",
        };
        let mut records = Vec::new();
        if name.len() > MAX_SHORT {
            record(&mut records, "path", &name);
        }
        if link.len() > MAX_SHORT {
            record(&mut records, "linkpath", link);
        }
        let (seconds, nanoseconds) = member.mtime;
        if nanoseconds > 0 {
            record(&mut records, "mtime", format!("{seconds}.{nanoseconds:09}").as_bytes());
        }
        let owner = (member.mode, member.owner.0, member.owner.1);
        if !records.is_empty() {
            let size = records.len() as u64;
            let block = header(b"././@PaxHeader", b'x', b"", size, (0o644, 0, 0), 0);
            self.output.write_all(&block)?;
            self.output.write_all(&records)?;
            self.zeros(padding(size))?;
        }
        let (kind, size) = match member.kind {
            MemberKind::File => (b'0', member.size),
            MemberKind::Directory => (b'5', 0),
            MemberKind::Symlink(_) => (b'2', 0),
        };
        self.output.write_all(&header(&name, kind, link, size, owner, seconds))?;
        (self.left, self.padding) = (size, padding(size));
        Ok(())
    }

    /// Ends the archive, two blocks of zeros, and gives the writer back.
    ///
    /// # Errors
    /// When the last member is not complete, or the writer fails.
    pub fn finish(mut self) -> io::Result<W> {
        self.end()?;
        self.zeros(1024)?;
        Ok(self.output)
    }

    fn end(&mut self) -> io::Result<()> {
        if self.left > 0 {
            let text = format!("a member ends {} bytes early", self.left);
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
        }
        let padding = std::mem::take(&mut self.padding);
        self.zeros(padding)
    }

    fn zeros(&mut self, count: u64) -> io::Result<()> {
        io::copy(&mut io::Read::take(io::repeat(0), count), &mut self.output).map(|_| ())
    }
}

impl<W: Write> Write for Writer<W> {
    /// Data of the member that was begun last; no more than its size.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() as u64 > self.left {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "more data than the member's size"));
        }
        let written = self.output.write(bytes)?;
        self.left -= written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

/// `LENGTH KEY=VALUE\n`, where the length counts its own digits.
fn record(records: &mut Vec<u8>, key: &str, value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    records.extend_from_slice(format!("{length} {key}=").as_bytes());
    records.extend_from_slice(value);
    records.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tar::{Event, Parser};

    #[test]
    fn the_parser_reads_back_what_was_written() {
        let long = format!("backup/{}", "x/".repeat(80));
        let target = "/t".repeat(90);
        let members = [
            (long.as_str(), MemberKind::Directory, 0, 0),
            ("backup/file", MemberKind::File, 513, 481_722_600),
            ("backup/link", MemberKind::Symlink(target.into()), 0, 5),
            ("empty", MemberKind::File, 0, 0),
        ];
        let mut archive = Writer::new(Vec::new());
        for (name, kind, size, nanoseconds) in &members {
            let mut member = NewMember::file(name.as_ref(), *size);
            (member.kind, member.mtime) = (kind.clone(), (1_795_219_542, *nanoseconds));
            archive.start(&member).unwrap();
            archive.write_all(&vec![7; usize::try_from(*size).unwrap()]).unwrap();
        }
        let bytes = archive.finish().unwrap();
        let (mut parser, mut input, mut found) = (Parser::new(), &bytes[..], Vec::new());
        while let Some(event) = parser.next(&mut input).unwrap() {
            if let Event::Member(member) = event {
                assert_eq!(member.mtime, 1_795_219_542);
                found.push((member.path, member.kind, member.size, member.mtime_nanoseconds));
            }
        }
        parser.finish().unwrap();
        let expected =
            members.map(|(name, kind, size, time)| (name.trim_end_matches('/').into(), kind, size, time));
        assert_eq!(found, expected);
    }

    #[test]
    fn lengths_are_held() {
        let mut archive = Writer::new(Vec::new());
        archive.start(&NewMember::file("a".as_ref(), 3)).unwrap();
        assert!(archive.write(b"four").is_err());
        archive.write_all(b"tw").unwrap();
        assert!(archive.finish().is_err());
        for length in [6, 7, 8, 96, 97, 98, 990, 991] {
            let mut records = Vec::new();
            record(&mut records, "path", &vec![b'x'; length]);
            let text = String::from_utf8(records).unwrap();
            assert_eq!(text.split_once(' ').unwrap().0.parse(), Ok(text.len()), "{length}");
        }
    }
}
