//! Result sets of simple queries.

use std::ops::Range;

use thiserror::Error;

use super::backend::MessageError;
use super::cursor::Cursor;

/// The most a result set may take in memory, in bytes.
const MAX_BYTES: usize = 256 * 1024 * 1024;

/// A result set that cannot be kept.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum RowsError {
    /// A row or its description is malformed.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// The result is larger than any answer a backup needs.
    #[error("result set is larger than {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
}

/// A result set: column names and text values, all in one buffer.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    columns: Vec<String>,
    bytes: Vec<u8>,
    cells: Vec<Option<Range<usize>>>,
    count: usize,
}

impl Rows {
    /// Starts a result set with the body of a RowDescription.
    ///
    /// # Errors
    /// When the body is malformed.
    pub fn describe(body: &[u8]) -> Result<Self, RowsError> {
        let columns = column_names(body).ok_or(MessageError::Malformed { what: "RowDescription" })?;
        Ok(Self { columns, ..Self::default() })
    }

    /// Adds the body of a DataRow.
    ///
    /// # Errors
    /// When the body does not fit the description or the set grows beyond all measure.
    pub fn push(&mut self, body: &[u8]) -> Result<(), RowsError> {
        let overhead = self.cells.len() * size_of::<Option<Range<usize>>>();
        if self.bytes.len() + overhead + body.len() > MAX_BYTES {
            return Err(RowsError::TooLarge { limit: MAX_BYTES });
        }
        self.push_cells(body).ok_or(MessageError::Malformed { what: "DataRow" })?;
        self.count += 1;
        Ok(())
    }

    fn push_cells(&mut self, body: &[u8]) -> Option<()> {
        let mut cursor = Cursor(body);
        if usize::from(cursor.u16()?) != self.columns.len() {
            return None;
        }
        for _ in 0..self.columns.len() {
            let cell = match cursor.i32()? {
                -1 => None,
                length => {
                    let value = cursor.bytes(usize::try_from(length).ok()?)?;
                    let start = self.bytes.len();
                    self.bytes.extend_from_slice(value);
                    Some(start..self.bytes.len())
                }
            };
            self.cells.push(cell);
        }
        Some(())
    }

    /// How many rows there are.
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Whether there is no row.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The names of the columns.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// The value in row `row` (from 0) of the column called `column`: `None` when it is NULL, not UTF-8, or
    /// when there is no such row or column.
    pub fn get(&self, row: usize, column: &str) -> Option<&str> {
        let index = self.columns.iter().position(|name| name == column)?;
        self.value(row, index)
    }

    /// The value in row `row` of the column at `index`, both from 0.
    pub fn value(&self, row: usize, index: usize) -> Option<&str> {
        std::str::from_utf8(self.raw(row, index)?).ok()
    }

    /// The value as the server sent it, whatever its encoding.
    pub fn raw(&self, row: usize, index: usize) -> Option<&[u8]> {
        if index >= self.columns.len() {
            return None;
        }
        let cell = row.checked_mul(self.columns.len())?.checked_add(index)?;
        self.bytes.get(self.cells.get(cell)?.clone()?)
    }

    /// The rows one after the other, each as its values; NULL is `None`.
    pub fn iter(&self) -> impl Iterator<Item = Vec<Option<&str>>> {
        (0..self.count).map(|row| (0..self.columns.len()).map(|index| self.value(row, index)).collect())
    }
}

fn column_names(body: &[u8]) -> Option<Vec<String>> {
    let mut cursor = Cursor(body);
    let count = cursor.u16()?;
    let mut names = Vec::new();
    for _ in 0..count {
        names.push(String::from_utf8_lossy(cursor.cstr()?).into_owned());
        cursor.bytes(18)?;
    }
    Some(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn description(names: &[&str]) -> Vec<u8> {
        let mut body = u16::try_from(names.len()).unwrap().to_be_bytes().to_vec();
        for name in names {
            body.extend_from_slice(name.as_bytes());
            body.extend_from_slice(&[0; 19]);
        }
        body
    }

    #[test]
    fn values_and_nulls() {
        let mut rows = Rows::describe(&description(&["a", "b"])).unwrap();
        rows.push(b"\0\x02\0\0\0\x02hi\xff\xff\xff\xff").unwrap();
        assert_eq!((rows.get(0, "a"), rows.get(0, "b"), rows.get(0, "c")), (Some("hi"), None, None));
        assert_eq!((rows.get(1, "a"), rows.value(0, 2), rows.value(usize::MAX, 1)), (None, None, None));
        for bad in [&b"\0\x01\0\0\0\0"[..], b"\0\x02\0\0\0\x09hi", b"\0\x02\xff\xff\xff\xfe", b""] {
            assert!(rows.push(bad).is_err(), "{bad:?}");
        }
    }
}
