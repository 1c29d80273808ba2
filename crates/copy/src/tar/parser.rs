//! The push parser.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use super::error::{TarError, printable};
use super::header::RawHeader;
use super::pax::{Extended, set};
use super::{BLOCK, name, padding};

/// Largest extended header accepted; room for a path and a link of the longest length.
const MAX_EXTENDED: u64 = 64 * 1024;

/// One member of an archive.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Member {
    /// Relative, of plain components only: no `..`, no root. Empty for the archive's own root directory.
    pub path: PathBuf,
    /// What it is.
    pub kind: MemberKind,
    /// Bytes of data; zero unless a file.
    pub size: u64,
    /// Permission bits as sent.
    pub mode: u32,
    /// Modification time, seconds since 1970.
    pub mtime: u64,
    /// Nanoseconds beyond it, where an extended header tells them.
    pub mtime_nanoseconds: u32,
}

/// The kinds of member a base backup holds.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum MemberKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link and its target, **unchecked**: whether to make one, and to where, is for whoever
    /// writes to decide.
    Symlink(OsString),
}

/// What the parser found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Event<'a> {
    /// A member begins. For each one, `End` follows, with `Data` in between if it is a file.
    Member(Member),
    /// The next bytes of the file, as they lie in the input.
    Data(&'a [u8]),
    /// The member is complete, its padding read.
    End,
    /// The zero block at the end of the archive. Servers up to PostgreSQL 14 do not send it.
    EndOfArchive,
}

/// What the bytes at the parser's position are, for those who pass an archive on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Region {
    /// Headers of a member to come.
    Header,
    /// A member's data and padding.
    Body,
    /// Zeros after the last member.
    Trailer,
}

/// A parser of one archive, fed in pieces of any size.
///
/// Memory: one block, and at most 64 KiB of an extended header. After an error the parser is of no more use.
#[derive(Debug)]
pub struct Parser {
    state: State,
    header: [u8; BLOCK],
    filled: usize,
    extended: Extended,
    text: Vec<u8>,
    offset: u64,
    current: PathBuf,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Header,
    /// The contents of an extended header of this kind.
    Extended {
        kind: u8,
        left: u64,
        padding: u64,
    },
    Data {
        left: u64,
        padding: u64,
    },
    Padding {
        left: u64,
    },
    Trailer,
}

impl Default for Parser {
    fn default() -> Self {
        Self::new()
    }
}

impl Parser {
    /// A parser at the start of an archive.
    pub const fn new() -> Self {
        Self {
            state: State::Header,
            header: [0; BLOCK],
            filled: 0,
            extended: Extended { path: None, link: None, size: None, mtime: None },
            text: Vec::new(),
            offset: 0,
            current: PathBuf::new(),
        }
    }

    /// The next event in `input`, which is moved past what was used; `None` when all of it was used and
    /// more is needed.
    ///
    /// # Errors
    /// When the stream is damaged or holds what a base backup does not.
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Event<'a>>, TarError> {
        loop {
            match self.state {
                State::Data { left: 0, padding } => self.state = State::Padding { left: padding },
                State::Padding { left: 0 } => {
                    self.state = State::Header;
                    return Ok(Some(Event::End));
                }
                State::Extended { kind, left: 0, padding: 0 } => {
                    self.finish_extended(kind)?;
                    self.state = State::Header;
                }
                _ if input.is_empty() => return Ok(None),
                State::Header => {
                    if let Some(event) = self.read_header(input)? {
                        return Ok(Some(event));
                    }
                }
                State::Extended { kind, left, padding } if left > 0 => {
                    let piece = self.take(input, left);
                    self.text.extend_from_slice(piece);
                    self.state = State::Extended { kind, left: left - length(piece), padding };
                }
                State::Extended { kind, left, padding } => {
                    let piece = self.take(input, padding);
                    self.state = State::Extended { kind, left, padding: padding - length(piece) };
                }
                State::Data { left, padding } => {
                    let piece = self.take(input, left);
                    self.state = State::Data { left: left - length(piece), padding };
                    return Ok(Some(Event::Data(piece)));
                }
                State::Padding { left } => {
                    let piece = self.take(input, left);
                    self.state = State::Padding { left: left - length(piece) };
                }
                State::Trailer => {
                    if let Some(at) = input.iter().position(|byte| *byte != 0) {
                        return Err(TarError::AfterEnd { offset: self.offset.saturating_add(at as u64) });
                    }
                    self.take(input, u64::MAX);
                }
            }
        }
    }

    /// What the next byte belongs to.
    pub const fn region(&self) -> Region {
        match self.state {
            State::Header | State::Extended { .. } => Region::Header,
            State::Data { .. } | State::Padding { .. } => Region::Body,
            State::Trailer => Region::Trailer,
        }
    }

    /// Bytes taken so far.
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// Declares the end of the stream.
    ///
    /// # Errors
    /// When it stopped inside a header or a member. A missing end of archive is no error.
    pub fn finish(&self) -> Result<(), TarError> {
        let inside = match self.state {
            State::Trailer => return Ok(()),
            State::Header if self.filled == 0 && self.extended.is_empty() => return Ok(()),
            State::Header | State::Extended { .. } => "a header".to_owned(),
            State::Data { .. } | State::Padding { .. } => {
                format!("'{}'", printable(self.current.as_os_str().as_bytes()))
            }
        };
        Err(TarError::Truncated { offset: self.offset, inside })
    }

    fn take<'a>(&mut self, input: &mut &'a [u8], most: u64) -> &'a [u8] {
        let wanted = usize::try_from(most).unwrap_or(usize::MAX).min(input.len());
        let (piece, rest) = input.split_at_checked(wanted).unwrap_or((input, &[]));
        *input = rest;
        self.offset = self.offset.saturating_add(length(piece));
        piece
    }

    fn read_header<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Event<'a>>, TarError> {
        let missing = BLOCK.saturating_sub(self.filled);
        let piece = self.take(input, missing as u64);
        self.header.iter_mut().skip(self.filled).zip(piece).for_each(|(to, from)| *to = *from);
        self.filled = self.filled.saturating_add(piece.len());
        if self.filled < BLOCK {
            return Ok(None);
        }
        self.filled = 0;
        let offset = self.offset.saturating_sub(BLOCK as u64);
        if self.header.iter().all(|byte| *byte == 0) {
            if !self.extended.is_empty() {
                return Err(TarError::Field { offset, field: "extended header without a member" });
            }
            self.state = State::Trailer;
            return Ok(Some(Event::EndOfArchive));
        }
        let block = self.header;
        let header = RawHeader::check(&block, offset)?;
        let size = header.size()?;
        match header.kind() {
            kind @ (b'x' | b'L' | b'K') => {
                if size > MAX_EXTENDED {
                    let limit = MAX_EXTENDED;
                    return Err(TarError::TooLong { offset, field: "extended header", length: size, limit });
                }
                self.text.clear();
                self.state = State::Extended { kind, left: size, padding: padding(size) };
                Ok(None)
            }
            _ => self.member(&header, size, offset).map(|member| Some(Event::Member(member))),
        }
    }

    fn finish_extended(&mut self, kind: u8) -> Result<(), TarError> {
        // GNU's long names end with a zero byte.
        let text = || {
            let text = self.text.strip_suffix(b"\0").unwrap_or(&self.text);
            text.to_vec()
        };
        match kind {
            b'L' => set(&mut self.extended.path, text()),
            b'K' => set(&mut self.extended.link, text()),
            _ => self.extended.add_records(&self.text),
        }
        .ok_or(TarError::Field { offset: self.offset, field: "extended header" })
    }

    fn member(&mut self, header: &RawHeader<'_>, size: u64, offset: u64) -> Result<Member, TarError> {
        let extended = std::mem::take(&mut self.extended);
        let name = extended.path.unwrap_or_else(|| header.name());
        let size = extended.size.unwrap_or(size);
        let kind = match header.kind() {
            b'0' | 0 => MemberKind::File,
            b'5' => MemberKind::Directory,
            b'2' => {
                let target = extended.link.unwrap_or_else(|| header.link().to_vec());
                if target.len() > name::MAX_NAME {
                    let (length, limit) = (target.len() as u64, name::MAX_NAME as u64);
                    return Err(TarError::TooLong { offset, field: "link target", length, limit });
                }
                if target.is_empty() || target.contains(&0) {
                    return Err(TarError::Field { offset, field: "link target" });
                }
                MemberKind::Symlink(OsString::from_vec(target))
            }
            kind => return Err(TarError::Kind { offset, name: printable(&name), kind }),
        };
        // The server's links all lead to directories, which it shows by a slash at the end of their names.
        let plain = match &kind {
            MemberKind::Symlink(_) => name.strip_suffix(b"/").unwrap_or(&name),
            _ => &name,
        };
        let path = name::checked(plain, kind == MemberKind::Directory)?;
        if size != 0 && kind != MemberKind::File {
            return Err(TarError::Field { offset, field: "size" });
        }
        // The end of the data must be a position that can be written down.
        if size > u64::MAX / 2 {
            return Err(TarError::Field { offset, field: "size" });
        }
        self.state = State::Data { left: size, padding: padding(size) };
        self.current.clone_from(&path);
        let (mtime, mtime_nanoseconds) = match extended.mtime {
            Some(precise) => precise,
            None => (header.mtime()?, 0),
        };
        Ok(Member { path, kind, size, mode: header.mode()?, mtime, mtime_nanoseconds })
    }
}

const fn length(piece: &[u8]) -> u64 {
    piece.len() as u64
}
