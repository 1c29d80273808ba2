//! Bytes over time in a bounded number of columns.

use std::collections::BTreeMap;

/// Hours of a column: an hour, six, a day, a week, four weeks, a year, ten years, a thousand.
const WIDTHS: [i64; 8] = [1, 6, 24, 168, 672, 8_760, 87_600, 8_760_000];
const HOUR: i64 = 3600;
/// More columns than this, and they are made wider.
const MOST: usize = 180;

/// Adds up sizes by time. The columns are as narrow as their number allows.
#[derive(Clone, Debug, Default)]
pub(super) struct Histogram {
    width: usize,
    columns: BTreeMap<i64, Column>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Column {
    files: u64,
    bytes: u64,
}

impl Histogram {
    /// Adds a file of `bytes` written at `seconds` since 1970.
    pub(super) fn add(&mut self, seconds: i64, bytes: u64) {
        let column = self.columns.entry(seconds.div_euclid(self.seconds())).or_default();
        column.files += 1;
        column.bytes = column.bytes.saturating_add(bytes);
        while self.is_too_long() && self.width + 1 < WIDTHS.len() {
            self.widen();
        }
    }

    fn is_too_long(&self) -> bool {
        let span = self.columns.keys().next_back().zip(self.columns.keys().next());
        let span = span.map_or(0, |(last, first)| last.saturating_sub(*first));
        span >= i64::try_from(MOST).unwrap_or(i64::MAX)
    }

    fn widen(&mut self) {
        let old = self.seconds();
        self.width += 1;
        let new = self.seconds();
        let mut columns: BTreeMap<i64, Column> = BTreeMap::new();
        for (at, column) in &self.columns {
            let sum = columns.entry(at.saturating_mul(old).div_euclid(new)).or_default();
            sum.files += column.files;
            sum.bytes = sum.bytes.saturating_add(column.bytes);
        }
        self.columns = columns;
    }

    /// The width of a column.
    pub(super) fn seconds(&self) -> i64 {
        WIDTHS.get(self.width).copied().unwrap_or(1) * HOUR
    }

    /// Columns that are not empty: where each begins, in seconds since 1970, its files and bytes.
    pub(super) fn columns(&self) -> impl Iterator<Item = (i64, u64, u64)> {
        let width = self.seconds();
        self.columns.iter().map(move |(at, column)| (at.saturating_mul(width), column.files, column.bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_widen_and_lose_nothing() {
        let mut histogram = Histogram::default();
        for hour in 0..10_i64 {
            histogram.add(hour * HOUR + 5, 16);
        }
        assert_eq!((histogram.seconds(), histogram.columns().count()), (HOUR, 10));
        for day in 0..60_i64 {
            histogram.add(day * 24 * HOUR, 1);
        }
        assert_eq!((histogram.seconds(), histogram.columns().count()), (24 * HOUR, 60));
        for hostile in [i64::MIN, i64::MAX, -1, 0] {
            histogram.add(hostile, 0);
        }
        assert!(histogram.columns().count() <= MOST + 1);
        assert_eq!(histogram.columns().map(|column| column.1).sum::<u64>(), 74);
        assert_eq!(histogram.columns().map(|column| column.2).sum::<u64>(), 220);
    }
}
