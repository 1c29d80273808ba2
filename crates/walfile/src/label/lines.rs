//! `KEY: value` lines and the values in them.

use nom::bytes::complete::{tag, take_till1};
use nom::combinator::{all_consuming, map_res};
use nom::sequence::{delimited, preceded};
use nom::{IResult, Parser};

use crate::label::{BackupLabelError, BackupLabelProblem};
use crate::{Lsn, SegmentName};

/// The label itself is at most 1023 bytes and the server's other lines are short.
pub(super) const MAX_FILE: usize = 64 * 1024;

/// The lines of a label file, found by key.
#[derive(Debug)]
pub(super) struct Lines<'a> {
    lines: Vec<(&'a [u8], &'a [u8])>,
}

impl<'a> Lines<'a> {
    /// Splits `content`. Lines without `": "` or with unknown keys do no harm: a later PostgreSQL may add some.
    pub(super) fn split(content: &'a [u8]) -> Result<Self, BackupLabelError> {
        if content.len() > MAX_FILE {
            return Err(BackupLabelError { line: 1, problem: BackupLabelProblem::TooLong });
        }
        let content = content.strip_suffix(b"\n").unwrap_or(content);
        let lines = content.split(|byte| *byte == b'\n').map(|line| {
            let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
            let (key, value) = line.split_at_checked(colon).unwrap_or((line, &[]));
            (key, value.strip_prefix(b": ").unwrap_or(value))
        });
        Ok(Self { lines: lines.collect() })
    }

    /// The value of the only line with this key.
    pub(super) fn optional(&self, key: &'static str) -> Result<Option<Line<'a>>, BackupLabelError> {
        let mut found = self
            .lines
            .iter()
            .zip(1..)
            .filter(|((name, _), _)| *name == key.as_bytes())
            .map(|((_, value), number)| Line { key, number, value });
        let line = found.next();
        match found.next() {
            Some(twice) => Err(twice.error(BackupLabelProblem::Twice { key })),
            None => Ok(line),
        }
    }

    /// As [`Lines::optional`], but the line must be there.
    pub(super) fn required(&self, key: &'static str) -> Result<Line<'a>, BackupLabelError> {
        let missing =
            || BackupLabelError { line: self.lines.len() + 1, problem: BackupLabelProblem::Missing { key } };
        self.optional(key)?.ok_or_else(missing)
    }
}

/// One line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    key: &'static str,
    number: usize,
    /// What follows the colon and the blank, byte for byte.
    pub(super) value: &'a [u8],
}

impl Line<'_> {
    pub(super) fn error(&self, problem: BackupLabelProblem) -> BackupLabelError {
        BackupLabelError { line: self.number, problem }
    }

    /// The value as text; bytes that are not UTF-8 are replaced.
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(self.value).into_owned()
    }

    /// The value read by its `FromStr`.
    pub(super) fn parse<T: std::str::FromStr>(&self) -> Result<T, BackupLabelError> {
        std::str::from_utf8(self.value)
            .ok()
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| self.error(BackupLabelProblem::Value { key: self.key }))
    }

    /// `16/B374D848 (file 0000000100000016000000B3)`.
    pub(super) fn location(&self) -> Result<(Lsn, SegmentName), BackupLabelError> {
        std::str::from_utf8(self.value)
            .ok()
            .and_then(|text| all_consuming(location).parse(text).ok())
            .map(|(_, location)| location)
            .ok_or_else(|| self.error(BackupLabelProblem::Value { key: self.key }))
    }
}

fn location(input: &str) -> IResult<&str, (Lsn, SegmentName)> {
    let lsn = map_res(take_till1(|c| c == ' '), str::parse);
    let name = map_res(take_till1(|c| c == ')'), str::parse);
    (lsn, preceded(tag(" "), delimited(tag("(file "), name, tag(")")))).parse(input)
}
